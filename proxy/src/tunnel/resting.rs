//! An HTTP/1 connection that rests between its requests: without the HTTP library, whose buffers take more than all the rest.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1::{Builder, UpgradeableConnection};
use hyper::service::Service;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Interval, MissedTickBehavior, interval, sleep, timeout};

use super::ending::{FAREWELL, to_its_end};
use crate::Gate;
use crate::framing::{Framed, Heads};
use crate::limits::seconds;
use crate::live::Hold;

/// How often a connection is looked at. One that was quiet all the time rests; a client that asks again soon finds everything as
/// it left it.
const LOOK_EVERY: Duration = Duration::from_millis(200);

type Http1<S, V> = UpgradeableConnection<TokioIo<Framed<S>>, V>;

/// Serves requests until the client goes, or the connection loses its permission; nothing where nobody asks any more.
///
/// Each request is begun with [`Heads::begin`], and held until its reply is dropped.
pub(super) async fn serve<S, V, B>(
    builder: &Builder,
    mut io: Framed<S>,
    service: V,
    gate: &Gate,
    hold: &Hold,
) -> Option<hyper::Result<()>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    V: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Clone,
    B: Body + 'static,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    loop {
        let heads = Arc::clone(io.heads());
        let connection = builder.serve_connection(TokioIo::new(io), service.clone()).with_upgrades();
        let mut connection = Box::new(UntilQuiet::new(connection, heads));
        let finish = |c: Pin<&mut UntilQuiet<Http1<S, V>>>| Pin::new(&mut c.get_mut().connection).graceful_shutdown();
        let never = std::future::pending::<bool>();
        if let Some(ended) = to_its_end(Pin::new(&mut *connection), finish, gate, hold, never).await? {
            return Some(ended);
        }
        let parts = connection.connection.into_parts()?;
        if !parts.read_buf.is_empty() {
            tracing::error!("bytes of a request that was answered are left over; its connection ends");
            return None;
        }
        io = parts.io.into_inner();
        if !rest(&mut io, gate, hold).await {
            // Who does not take the end in time is left without one.
            let _ = timeout(FAREWELL, io.shutdown()).await;
            return None;
        }
    }
}

/// Waits for the next request. False where there will be none.
async fn rest<S: AsyncRead + Unpin>(io: &mut Framed<S>, gate: &Gate, hold: &Hold) -> bool {
    tokio::select! {
        biased;
        arrived = io.arrival() => arrived.unwrap_or(false),
        _ = hold.lost() => false,
        () = gate.capacity.draining() => false,
        () = sleep(seconds(gate.limits.header_seconds)) => false,
    }
}

/// A connection until it ends, or has been quiet for a while.
struct UntilQuiet<C> {
    connection: C,
    heads: Arc<Heads>,
    look: Interval,
    /// Requests that there had been when it was looked at last.
    answered: u64,
}

impl<C> UntilQuiet<C> {
    fn new(connection: C, heads: Arc<Heads>) -> Self {
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        look.reset();
        let answered = heads.answered();
        Self { connection, heads, look, answered }
    }
}

impl<C: Future + Unpin> Future for UntilQuiet<C> {
    /// Nothing where it is quiet.
    type Output = Option<C::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Poll::Ready(ended) = Pin::new(&mut self.connection).poll(cx) {
            return Poll::Ready(Some(ended));
        }
        while self.heads.is_quiet() && self.look.poll_tick(cx).is_ready() {
            let answered = self.heads.answered();
            if answered == std::mem::replace(&mut self.answered, answered) {
                return Poll::Ready(None);
            }
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http_body_util::{BodyExt, Full};
    use hyper::service::service_fn;
    use tokio::io::{AsyncReadExt, DuplexStream, duplex};
    use tokio::sync::Semaphore;

    use super::super::usage::During;
    use super::*;
    use crate::Limits;
    use crate::body::ReplyBody;

    /// Answers each request, once it has read it and has a permit, with the length of its body.
    async fn run(
        io: Framed<DuplexStream>,
        heads: &Arc<Heads>,
        permits: &Arc<Semaphore>,
    ) -> Option<Framed<DuplexStream>> {
        let service = service_fn(|request: Request<Incoming>| {
            let (heads, permits, under_way) = (Arc::clone(heads), Arc::clone(permits), heads.begin());
            async move {
                let method = request.method().clone();
                let serve = Box::pin(async {
                    permits.acquire().await.expect("open").forget();
                    let length = request.into_body().collect().await.map_or(0, |body| body.to_bytes().len());
                    let text = Bytes::from(format!("{length} bytes"));
                    Response::new(ReplyBody::Own(Full::new(text)))
                });
                let refuse = async |_| unreachable!("nothing is wrong");
                let answer = heads.answer(&method, serve, refuse).await;
                Ok::<_, Infallible>(answer.map(|body| During::new(body, under_way)))
            }
        });
        let connection = super::super::http1(&Limits::default()).serve_connection(TokioIo::new(io), service);
        let mut until = Box::pin(UntilQuiet::new(connection.with_upgrades(), Arc::clone(heads)));
        match until.as_mut().await {
            Some(_) => None,
            None => {
                let parts = Pin::into_inner(until).connection.into_parts().expect("not switched");
                assert!(parts.read_buf.is_empty());
                Some(parts.io.into_inner())
            }
        }
    }

    const POST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc";

    /// Says it all, and whether the connection rests within five seconds with so many permits; gives what was answered.
    async fn check(said: &[u8], permits: usize, room: usize, expected: (bool, usize)) {
        let (mut client, server) = duplex(room);
        let (io, heads) = Framed::new(server, &Limits::default());
        let permits = Arc::new(Semaphore::new(permits));
        let writing = async {
            client.write_all(said).await.expect("read");
            std::future::pending::<()>().await
        };
        let rested = tokio::select! {
            rested = timeout(Duration::from_secs(5), run(io, &heads, &permits)) => rested.is_ok_and(|io| io.is_some()),
            () = writing => false,
        };
        drop(permits);
        let mut answers = String::new();
        let _ = timeout(Duration::from_secs(1), client.read_to_string(&mut answers)).await;
        let said = String::from_utf8_lossy(said);
        assert_eq!((rested, answers.matches("\r\n\r\n3 bytes").count()), expected, "{said}: {answers}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_what_is_quiet_rests() {
        check(b"", 0, 4096, (true, 0)).await;
        check(POST, 1, 4096, (true, 1)).await;
        check(&[POST, POST].concat(), 2, 4096, (true, 2)).await;
        // The second is under way.
        check(&[POST, POST].concat(), 1, 4096, (false, 1)).await;
        // Of a head, and of a body, some is still to come.
        check(&POST[..10], 1, 4096, (false, 0)).await;
        check(&[POST, &POST[..10]].concat(), 1, 4096, (false, 1)).await;
        check(&POST[..POST.len() - 1], 1, 4096, (false, 0)).await;
        // The client does not take its answer.
        check(POST, 1, 60, (false, 0)).await;
        check(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 0, 4096, (false, 0)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_rests_goes_on() {
        let (mut client, server) = duplex(4096);
        let (mut io, heads) = Framed::new(server, &Limits::default());
        let permits = Arc::new(Semaphore::new(10));
        for _ in 0..3 {
            // In two pieces, the first of which ends the rest.
            client.write_all(&POST[..20]).await.expect("written");
            assert!(io.arrival().await.expect("readable"));
            client.write_all(&POST[20..]).await.expect("written");
            io = run(io, &heads, &permits).await.expect("it rests again");
            let mut answer = vec![0; 4096];
            let length = client.read(&mut answer).await.expect("readable");
            assert!(String::from_utf8_lossy(&answer[..length]).ends_with("\r\n\r\n3 bytes"));
        }
        drop(client);
        assert!(!io.arrival().await.expect("an end is no error"));
    }
}
