//! The HTTP server of one connection, HTTP/1 or HTTP/2, with its bounds.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, Request};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tollgate_model::Scheme;

use super::ending::to_its_end;
use super::usage::{During, Usage};
use super::{refuse, resting};
use crate::exchange::{Place, exchange};
use crate::framing::{self, Framed};
use crate::limits::seconds;
use crate::live::Hold;
use crate::origin::Origin;
use crate::tasks::Tasks;
use crate::{Gate, Limits};

/// What a client and the gate agreed to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Serves requests until the client goes, or the connection loses its permission.
pub(super) async fn serve<S>(
    gate: Arc<Gate>,
    origin: Arc<Origin>,
    place: Arc<Place>,
    protocol: Protocol,
    hold: Hold,
    io: S,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (served_by, whose, to) = (Arc::clone(&gate), Arc::clone(&origin), place.authority.clone());
    let is_private = place.scheme == Scheme::Https;
    // On the heap from its beginning: it takes kilobytes, which would be moved with every future and task around it, and kept
    // by connections without a request.
    let serve =
        Arc::new(move |request| Box::pin(exchange(Arc::clone(&gate), Arc::clone(&origin), place.clone(), request)));
    let ended = match protocol {
        Protocol::Http1 => {
            let (io, heads) = Framed::new(io, &served_by.limits);
            let asked = Arc::new((Arc::clone(&served_by), Arc::clone(&whose), to.clone()));
            let service = service_fn(move |request: Request<Incoming>| {
                let (heads, method) = (Arc::clone(&heads), request.method().clone());
                let under_way = heads.begin();
                let (serve, asked) = (Arc::clone(&serve), Arc::clone(&asked));
                async move {
                    let refuse = async |wrong| {
                        let (by, whose, to) = &*asked;
                        let refusal = framing::refusal(wrong, whose.asked(to));
                        super::record(by, whose, to, refusal.verdict());
                        refusal
                    };
                    let answer = heads.answer(&method, serve(request), refuse).await;
                    Ok::<_, Infallible>(answer.map(|body| During::new(body, under_way)))
                }
            });
            // In TLS nobody half-closes: a client that says so has gone, and what it waited for may end.
            let mut http1 = http1(&served_by.limits);
            resting::serve(http1.half_close(!is_private), io, service, &served_by, &hold).await
        }
        Protocol::Http2 => {
            let usage = Arc::new(Usage::new());
            let used = Arc::clone(&usage);
            let service = service_fn(move |mut request: Request<Incoming>| {
                let turn = used.begin();
                // What the request may become holds it as well.
                if request.method() == Method::CONNECT {
                    request.extensions_mut().insert(Arc::clone(&turn));
                }
                let serve = Arc::clone(&serve);
                async move { Ok::<_, Infallible>(serve(request).await.map(|body| During::new(body, turn))) }
            });
            let connection = http2(&served_by.limits).serve_connection(TokioIo::new(io), service);
            let idle = async {
                usage.idle_for(seconds(served_by.limits.header_seconds)).await;
                usage.was_used()
            };
            // It has a place of its own, since a future that is passed on by value takes up its kilobytes twice.
            to_its_end(Box::pin(connection).as_mut(), |c| c.graceful_shutdown(), &served_by, &hold, idle).await
        }
    };
    match ended {
        // What could not be read was answered with 400 or 431, or with a GOAWAY; it leaves a record as well.
        Some(Err(error)) if error.is_parse() => {
            refuse(&served_by, &whose, &to, &format!("no HTTP request: {error}"));
        }
        Some(Err(error)) => tracing::debug!(connection = whose.connection, %error, "connection ended"),
        Some(Ok(())) | None => {}
    }
}

/// The HTTP/1 server.
pub(crate) fn http1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(seconds(limits.header_seconds))
        .max_buf_size(usize::try_from(limits.header_bytes).unwrap_or(usize::MAX).max(SMALLEST_BUFFER))
        // A client that half-closes after its request still wants the reply.
        .half_close(true);
    if limits.headers != HEADERS {
        builder.max_headers(usize::try_from(limits.headers).unwrap_or(usize::MAX));
    }
    builder
}

fn http2(limits: &Limits) -> http2::Builder<Tasks> {
    let mut builder = http2::Builder::new(Tasks);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.header_bytes)
        .max_pending_accept_reset_streams(usize::try_from(limits.resets).unwrap_or(usize::MAX))
        .max_local_error_reset_streams(usize::try_from(limits.resets).unwrap_or(usize::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .enable_connect_protocol();
    builder
}

/// What a client may send ahead of what the upstream takes: on one stream, and on all of a connection.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// A client that has gone silently is noticed while it is owed a reply.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// What waits to be sent on one stream.
const SEND_BUFFER: usize = 128 * 1024;

/// As many as hyper reads where no number is set; where one is, it clears its memory for each head.
const HEADERS: u32 = 100;

/// hyper takes no smaller one.
const SMALLEST_BUFFER: usize = 8192;
