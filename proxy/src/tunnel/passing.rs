//! Bytes that nobody reads, both ways, counted as they pass: inside the kernel where both ends are TCP sockets (splice(2)),
//! through a small buffer where one of them is TLS or a stream of HTTP/2.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, splice};
use nix::unistd::pipe2;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;

use crate::stalling::unread;

/// Bytes that have passed so far.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    up: AtomicU64,
    down: AtomicU64,
}

/// Bytes that are read at a time where the kernel cannot pass them on by itself.
const BUFFER: usize = 16 * 1024;

/// Bytes that a pipe takes unless it is told otherwise (pipe(7)).
const PIPE: usize = 64 * 1024;

impl Counts {
    /// To the upstream, and to the client.
    pub(crate) fn both(&self) -> (u64, u64) {
        (self.up.load(Ordering::Relaxed), self.down.load(Ordering::Relaxed))
    }

    pub(super) fn add_up(&self, count: usize) {
        self.up.fetch_add(count as u64, Ordering::Relaxed);
    }
}

/// Passes bytes on until both sides are done. A side that is done ends its direction alone.
pub(crate) async fn pass<A, B>(client: A, upstream: B, counts: &Counts, stall: Duration) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let (client_reader, client_writer) = tokio::io::split(client);
    let (upstream_reader, upstream_writer) = tokio::io::split(upstream);
    let ended = Ended::new();
    let up = copy(client_reader, upstream_writer, &counts.up, &ended, stall);
    let down = copy(upstream_reader, client_writer, &counts.down, &ended, stall);
    tokio::try_join!(up, down).map(drop)
}

async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    count: &AtomicU64,
    ended: &Ended,
    stall: Duration,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = ended.unless_silent(from.read(&mut buffer), stall).await?;
        if read == 0 {
            ended.note();
            return to.shutdown().await;
        }
        let written = async {
            to.write_all(&buffer[..read]).await?;
            to.flush().await
        };
        tokio::time::timeout(stall, written).await.map_err(|_| unread())??;
        count.fetch_add(read as u64, Ordering::Relaxed);
    }
}

/// The same between two TCP sockets. A direction that is idle holds neither buffer nor pipe.
pub(super) async fn pass_sockets(
    client: &mut TcpStream,
    upstream: &mut TcpStream,
    counts: &Counts,
    stall: Duration,
) -> io::Result<()> {
    let (client_reader, client_writer) = client.split();
    let (upstream_reader, upstream_writer) = upstream.split();
    let ended = Ended::new();
    let up = move_on(client_reader, upstream_writer, &counts.up, &ended, stall);
    let down = move_on(upstream_reader, client_writer, &counts.down, &ended, stall);
    tokio::try_join!(up, down).map(drop)
}

/// Whether one direction has come to its end. Nobody watches that side any more, so the other may not be silent for ever.
struct Ended(watch::Sender<bool>);

impl Ended {
    fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    fn note(&self) {
        self.0.send_replace(true);
    }

    /// Waits for more, but not longer than `stall` once the other direction has ended.
    async fn unless_silent<T>(&self, more: impl Future<Output = io::Result<T>>, stall: Duration) -> io::Result<T> {
        let mut ended = self.0.subscribe();
        let silence = async {
            // The sender lives as long as this does.
            let _ = ended.wait_for(|ended| *ended).await;
            tokio::time::sleep(stall).await;
        };
        tokio::select! {
            biased;
            more = more => more,
            () = silence => Err(io::Error::new(io::ErrorKind::TimedOut, "one side has ended and the other says nothing")),
        }
    }
}

async fn move_on(
    from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    count: &AtomicU64,
    ended: &Ended,
    stall: Duration,
) -> io::Result<()> {
    loop {
        ended.unless_silent(from.readable(), stall).await?;
        let (outlet, inlet) = match pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC) {
            Ok(pipe) => pipe,
            // Out of descriptors: what is open goes on without.
            Err(Errno::EMFILE | Errno::ENFILE) => return copy(from, to, count, ended, stall).await,
            Err(error) => return Err(error.into()),
        };
        while let Some(taken) = take(from.as_ref(), &inlet)? {
            if taken == 0 {
                ended.note();
                return to.shutdown().await;
            }
            tokio::time::timeout(stall, give(&outlet, to.as_ref(), taken)).await.map_err(|_| unread())??;
            count.fetch_add(taken as u64, Ordering::Relaxed);
            // Others want to run as well, however fast both ends are.
            tokio::task::consume_budget().await;
        }
    }
}

/// Moves what has come into the pipe; nothing when nothing has come, 0 at the end.
fn take(from: &TcpStream, inlet: &OwnedFd) -> io::Result<Option<usize>> {
    match from.try_io(Interest::READABLE, || move_bytes(from, inlet, PIPE)) {
        Ok(count) => Ok(Some(count)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Empties the pipe.
async fn give(outlet: &OwnedFd, to: &TcpStream, mut left: usize) -> io::Result<()> {
    while left > 0 {
        match to.try_io(Interest::WRITABLE, || move_bytes(outlet, to, left)) {
            Ok(count) => left -= count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => to.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn move_bytes(from: impl AsFd, to: impl AsFd, most: usize) -> io::Result<usize> {
    let flags = SpliceFFlags::SPLICE_F_MOVE | SpliceFFlags::SPLICE_F_NONBLOCK;
    Ok(splice(from, None, to, None, most, flags)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let near = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        (near, listener.accept().await.expect("accepted").0)
    }

    #[tokio::test]
    async fn h5_bytes_of_any_number_pass_both_ways_and_each_way_ends_alone() {
        let ((mut client, mut inner), (mut outer, mut server)) = (pair().await, pair().await);
        let passing = tokio::spawn(async move {
            let counts = Counts::default();
            pass_sockets(&mut inner, &mut outer, &counts, Duration::from_secs(20)).await.map(|()| counts.both())
        });
        let sent: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_be_bytes).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            client.write_all(&sent).await.expect("written");
            client.shutdown().await.expect("half closed");
            let mut reply = Vec::new();
            client.read_to_end(&mut reply).await.expect("read");
            reply
        });
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.expect("read");
        assert!(received == expected, "{} of {} bytes, or others", received.len(), expected.len());
        server.write_all(b"after the end").await.expect("the other way is open");
        server.shutdown().await.expect("closed");
        assert_eq!(writing.await.expect("ended"), b"after the end");
        assert_eq!(passing.await.expect("ended").expect("passed"), (expected.len() as u64, 13));
    }
}
