//! Inside a connection that may be open: find out what it speaks, terminate TLS, hand HTTP to the exchange.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::LazyConfigAcceptor;
use tollgate_audit::Verdict;
use tollgate_model::{Authority, Host, Scheme};
use tollgate_policy::{ConnectPermit, Inspection};

use crate::Gate;
use crate::exchange::{Place, exchange};
use crate::origin::{Origin, record_connection};
use crate::refusal::Code;

/// Serves a permitted connection to its end.
pub(crate) async fn run<S>(gate: Arc<Gate>, origin: Arc<Origin>, authority: Authority, permit: &ConnectPermit, io: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    if permit.inspection() == Inspection::Opaque {
        return refuse(&gate, &origin, &authority, "this version opens no tunnels that it cannot read");
    }
    match first_bytes(io).await {
        Some((FirstBytes::Tls, io)) => run_tls(gate, origin, authority, io).await,
        Some((FirstBytes::Http, io)) => serve_http(gate, origin, Place { scheme: Scheme::Http, authority }, io).await,
        Some((FirstBytes::Other, _)) => refuse(&gate, &origin, &authority, "the client speaks neither TLS nor HTTP/1"),
        None => {}
    }
}

async fn run_tls<S>(gate: Arc<Gate>, origin: Arc<Origin>, authority: Authority, io: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), io);
    let hello = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(error)) => {
            return refuse(&gate, &origin, &authority, &format!("the TLS client hello is wrong: {error}"));
        }
        Err(_) => return refuse(&gate, &origin, &authority, "the TLS client hello did not come in time"),
    };
    if let Err(why) = check_server_name(hello.client_hello().server_name(), &authority.host) {
        refuse(&gate, &origin, &authority, &why);
        return alert(hello.io).await;
    }
    let config = match gate.authority.server_config(&authority.host) {
        Ok(config) => config,
        Err(error) => return refuse(&gate, &origin, &authority, &error.to_string()),
    };
    match tokio::time::timeout(HANDSHAKE_TIMEOUT, hello.into_stream(config)).await {
        Ok(Ok(stream)) => serve_http(gate, origin, Place { scheme: Scheme::Https, authority }, stream).await,
        Ok(Err(error)) => refuse(&gate, &origin, &authority, &format!("the TLS handshake failed: {error}")),
        Err(_) => refuse(&gate, &origin, &authority, "the TLS handshake did not end in time"),
    }
}

/// The name in the handshake must be the one that was judged; an address has none (RFC 6066, section 3).
fn check_server_name(name: Option<&str>, host: &Host) -> Result<(), String> {
    match (name, host) {
        (None, Host::Address(_)) => Ok(()),
        (None, Host::Name(_)) => Err("the TLS client hello names no server".to_owned()),
        (Some(name), host) if Host::parse(name).as_ref() == Ok(host) => Ok(()),
        (Some(_), _) => Err("the TLS client hello names another server than the connection".to_owned()),
    }
}

async fn serve_http<S>(gate: Arc<Gate>, origin: Arc<Origin>, place: Place, io: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(|request| {
        let (gate, origin, place) = (Arc::clone(&gate), Arc::clone(&origin), place.clone());
        async move { Ok::<_, Infallible>(exchange(gate, origin, place, request).await) }
    });
    let served = http1().serve_connection(TokioIo::new(io), service);
    if let Err(error) = gate.capacity.serve(served, |c| c.graceful_shutdown()).await {
        tracing::debug!(connection = origin.connection, %error, "connection ended");
    }
}

/// The HTTP/1 server, with its bounds.
pub(crate) fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_headers(MAX_REQUEST_HEADERS)
        .max_buf_size(MAX_HEADER_BYTES);
    builder
}

/// Records a connection that turned out not to be what was allowed. It closes, recorded or not.
fn refuse(gate: &Gate, origin: &Origin, authority: &Authority, reason: &str) {
    let verdict =
        Verdict { decision: "denied", policy: "", rule: "", error: Code::UnsupportedL7Protocol.name(), reason };
    if let Err(refusal) = record_connection(gate, &gate.rules.current(), origin, &authority.to_string(), verdict) {
        tracing::warn!(detail = refusal.problem().detail, "a refused connection could not be recorded");
    }
}

/// What a client begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FirstBytes {
    /// A TLS handshake record (RFC 8446, section 5.1).
    Tls,
    /// An upper-case letter, as every registered method begins.
    Http,
    /// Anything else.
    Other,
}

/// Waits for the first bytes and gives them back in front of the stream; nothing when none come.
pub(crate) async fn first_bytes<S: AsyncRead + Unpin>(mut io: S) -> Option<(FirstBytes, Prefixed<S>)> {
    let mut prefix = BytesMut::with_capacity(FIRST_READ);
    let read = tokio::time::timeout(FIRST_BYTES_TIMEOUT, io.read_buf(&mut prefix)).await;
    if !matches!(read, Ok(Ok(1..))) {
        return None;
    }
    let kind = match prefix.first() {
        Some(22) => FirstBytes::Tls,
        Some(b'A'..=b'Z') => FirstBytes::Http,
        _ => FirstBytes::Other,
    };
    Some((kind, Prefixed { prefix: prefix.freeze(), io }))
}

/// Ends a TLS client's attempt with a fatal `access_denied` alert (RFC 8446, section 6.2), before any key is agreed on.
pub(crate) async fn alert<S: AsyncWrite + Unpin>(mut io: S) {
    const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];
    // The client may have gone; then there is nobody to tell.
    let _ = io.write_all(&ACCESS_DENIED).await;
    let _ = io.shutdown().await;
}

/// A stream with bytes put back in front.
#[derive(Debug)]
pub(crate) struct Prefixed<S> {
    prefix: Bytes,
    io: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Prefixed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if self.prefix.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let count = self.prefix.len().min(buf.remaining());
        buf.put_slice(&self.prefix[..count]);
        self.prefix.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Prefixed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// A client hello with every extension in use fits twice; the rest is read by TLS itself.
const FIRST_READ: usize = 4096;

/// A client that opens a connection and says nothing gives it back after this long.
const FIRST_BYTES_TIMEOUT: Duration = Duration::from_secs(30);

/// Round trips inside one machine, with room for a loaded one.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// From the first byte of a head to its last, and how long a kept connection may idle.
const HEADER_TIMEOUT: Duration = Duration::from_secs(75);

/// Browsers send thirty, generous clients sixty.
const MAX_REQUEST_HEADERS: usize = 128;

/// Head of a request, all headers together.
const MAX_HEADER_BYTES: usize = 64 * 1024;
