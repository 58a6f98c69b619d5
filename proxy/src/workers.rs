//! Threads that serve connections, each with a runtime of its own.
//!
//! What belongs to a connection stays on one thread, and so does the upstream connection that its requests share with others of
//! that thread: nothing on the way of a request waits for another thread's lock or wakes another thread.

use std::cell::Cell;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// The threads; they end when this is dropped, with everything that they still serve.
#[derive(Debug)]
pub struct Workers {
    all: Arc<[Worker]>,
    _running: watch::Sender<()>,
}

/// Hands work to workers.
#[derive(Debug, Clone)]
pub struct Crew(Arc<[Worker]>);

#[derive(Debug)]
struct Worker {
    runtime: Handle,
    /// Connections that it serves.
    load: Arc<AtomicUsize>,
}

/// More share their upstream connections with others.
const MAX_WORKERS: usize = 8;

thread_local! {
    static NUMBER: Cell<usize> = const { Cell::new(0) };
}

/// The worker that this thread is, counted from 1; 0 for every other thread.
pub(crate) fn current() -> usize {
    NUMBER.get()
}

impl Workers {
    /// One for each processor that this process may use, at most eight.
    ///
    /// # Errors
    /// When a thread or its runtime cannot be started.
    pub fn start() -> std::io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(1, NonZero::get).min(MAX_WORKERS);
        let running = watch::Sender::new(());
        let all = (1..=count).map(|number| Worker::start(number, running.subscribe())).collect::<Result<_, _>>()?;
        Ok(Self { all, _running: running })
    }

    /// What hands work to them.
    #[must_use]
    pub fn crew(&self) -> Crew {
        Crew(Arc::clone(&self.all))
    }
}

impl Worker {
    fn load(&self) -> usize {
        self.load.load(Ordering::Relaxed)
    }

    fn count(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let counted = Counted::new(&self.load);
        self.runtime.spawn(async move {
            connection.await;
            drop(counted);
        });
    }

    fn start(number: usize, mut running: watch::Receiver<()>) -> std::io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        std::thread::Builder::new().name(format!("worker-{number}")).spawn(move || {
            NUMBER.set(number);
            // Until nobody holds the other end.
            while runtime.block_on(running.changed()).is_ok() {}
            // What still reads an executable or waits for a name server has nobody left to answer.
            runtime.shutdown_background();
        })?;
        Ok(Self { runtime: handle, load: Arc::default() })
    }
}

impl Crew {
    /// Calls `start` once in the runtime of each.
    pub(crate) fn each(&self, mut start: impl FnMut() -> std::io::Result<()>) -> std::io::Result<()> {
        self.0.iter().try_for_each(|worker| {
            let _inside = worker.runtime.enter();
            start()
        })
    }

    /// Serves a connection that this worker has accepted, here or where there are clearly fewer.
    pub(crate) fn serve<F>(&self, stream: TcpStream, serve: impl FnOnce(TcpStream) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let here = current().checked_sub(1).and_then(|number| self.0.get(number));
        let Some(idlest) = self.0.iter().min_by_key(|worker| worker.load()) else { return };
        match here {
            Some(here) if here.load() <= idlest.load() + 1 => here.count(serve(stream)),
            // A socket that refuses to be moved is already dead.
            _ => match stream.into_std() {
                Ok(stream) => idlest.count(async move {
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        serve(stream).await;
                    }
                }),
                Err(error) => tracing::debug!(%error, "an accepted connection ended at once"),
            },
        }
    }
}

/// A connection among those of its worker.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(load: &Arc<AtomicUsize>) -> Self {
        load.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(load))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;
    use tokio::sync::{Barrier, mpsc};

    #[tokio::test]
    async fn connections_go_to_whoever_has_the_fewest_and_end_with_the_workers() {
        let workers = Workers::start().expect("threads");
        let count = workers.all.len();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let together = Arc::new(Barrier::new(count));
        let (say, mut said) = mpsc::unbounded_channel();
        for _ in 0..count {
            let stream = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
            let (together, say) = (Arc::clone(&together), say.clone());
            workers.crew().serve(stream, async move |mut stream| {
                tokio::io::AsyncWriteExt::write_all(&mut stream, b"it is registered here").await.expect("written");
                together.wait().await;
                say.send(current()).expect("heard");
                std::future::pending().await
            });
        }
        drop(say);
        let mut numbers = HashSet::new();
        for _ in 0..count {
            numbers.extend(said.recv().await);
        }
        assert_eq!((numbers, current()), ((1..=count).collect(), 0));
        drop(workers);
        assert_eq!(said.recv().await, None, "what was pending is dropped with its worker");
    }
}
