//! Two sides that take turns, each on a thread of its own.

use std::io::{PipeReader, PipeWriter, Read, Write};
use std::thread::JoinHandle;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

/// So many repetitions, and whom to tell when they are done.
pub type Order = (u64, oneshot::Sender<()>);

/// One side's end of a baton. Who has it runs, and gives it to the other once it has looked what there is to do and done it. So
/// each finds what the other had to say as a whole, however fast either is, and takes the same instructions every time.
pub struct Baton {
    begins: bool,
    given: PipeWriter,
    taken: PipeReader,
}

impl Baton {
    /// Both ends; the first has it.
    pub fn pair() -> [Self; 2] {
        let [(taken, to_first), (other_taken, to_second)] = [(), ()].map(|()| std::io::pipe().expect("a pipe"));
        [Self { begins: true, given: to_second, taken }, Self { begins: false, given: to_first, taken: other_taken }]
    }

    fn give(&mut self) {
        // Where the other has ended, there is nobody to wait for.
        let _ = self.given.write_all(&[0]);
    }

    fn take(&mut self) {
        let _ = self.taken.read(&mut [0]);
    }

    /// A runtime whose tasks run in turns with those of the other.
    pub fn runtime(mut self) -> Runtime {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.spawn(async move {
            if !self.begins {
                self.take();
            }
            loop {
                self.give();
                self.take();
                // Returns once the runtime has looked at its sockets.
                tokio::task::yield_now().await;
            }
        });
        runtime
    }
}

/// One side on this thread, the other on its own, where it does what is ordered. The order of the fields is that of their end.
pub struct Sides {
    own: Runtime,
    orders: mpsc::Sender<Order>,
    _other: Joined,
}

/// A thread that is waited for: what it holds, a folder among it, is gone when this is.
struct Joined(Option<JoinHandle<()>>);

impl Sides {
    /// `work` runs the other side's runtime, until there are no more orders.
    pub fn new(own: Runtime, work: impl FnOnce(mpsc::Receiver<Order>) + Send + 'static) -> Self {
        let (orders, taken) = mpsc::channel(1);
        Self { own, orders, _other: Joined(Some(std::thread::spawn(move || work(taken)))) }
    }

    /// Runs this side until the other has done that many repetitions.
    pub fn repeat(&self, count: u64) {
        self.own.block_on(async {
            let (done, ended) = oneshot::channel();
            self.orders.send((count, done)).await.expect("the other side is there");
            ended.await.expect("every repetition went well");
        });
    }
}

impl Drop for Joined {
    fn drop(&mut self) {
        // Where it panicked it has said why.
        let _ = self.0.take().map(JoinHandle::join);
    }
}
