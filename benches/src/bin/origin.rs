//! The server behind every proxy that is measured: HTTPS on loopback, HTTP/1 and HTTP/2 by ALPN.
//!
//! `origin CERTIFICATE.pem KEY.pem AUTHORIZATION` says on its first line where it listens. A request with another
//! `Authorization` is answered with 401, so that a proxy which exchanges nothing is found out.
//!
//! | target | reply |
//! | --- | --- |
//! | `/v1/json` | a small JSON document |
//! | `/v1/bytes/N` | N bytes |
//! | `/v1/events/N/MS` | N server-sent events, one every MS milliseconds, each with the time it was sent at in microseconds |
//! | `/v1/echo` | the request's body |
//! | `/v1/sink` | how many bytes the request's body had |
//! | `/v1/connections` | how many connections there were |

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Interval;
use tokio_rustls::TlsAcceptor;
use tollgate_benches::pieces::Pieces;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;
type Reply = Response<BoxBody<Bytes, hyper::Error>>;

const WINDOW: u32 = 4 * 1024 * 1024;

struct Origin {
    acceptor: TlsAcceptor,
    authorization: HeaderValue,
    connections: AtomicU64,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [certificate, key, authorization] = arguments.as_slice() else {
        return Err("origin CERTIFICATE.pem KEY.pem AUTHORIZATION".into());
    };
    let chain = vec![CertificateDer::from_pem_file(certificate)?];
    let tls = ServerConfig::builder().with_no_client_auth();
    let mut tls = tls.with_single_cert(chain, PrivateKeyDer::from_pem_file(key)?)?;
    tls.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
    let origin = Arc::new(Origin {
        acceptor: TlsAcceptor::from(Arc::new(tls)),
        authorization: HeaderValue::try_from(authorization)?,
        connections: AtomicU64::new(0),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        origin.connections.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(serve(Arc::clone(&origin), stream));
    }
}

async fn serve(origin: Arc<Origin>, stream: TcpStream) -> Result<()> {
    stream.set_nodelay(true)?;
    let stream = origin.acceptor.accept(stream).await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| answer(Arc::clone(&origin), request));
    if !is_http2 {
        return Ok(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?);
    }
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW).max_concurrent_streams(1000);
    Ok(http.serve_connection(TokioIo::new(stream), service).await?)
}

async fn answer(origin: Arc<Origin>, request: Request<Incoming>) -> std::result::Result<Reply, hyper::Error> {
    if request.headers().get(header::AUTHORIZATION) != Some(&origin.authorization) {
        let mut reply = whole("another authorization was expected");
        *reply.status_mut() = StatusCode::UNAUTHORIZED;
        return Ok(reply);
    }
    let path = request.uri().path().to_owned();
    Ok(match path.split('/').skip(2).collect::<Vec<_>>().as_slice() {
        ["json"] => json(r#"{"id":1234,"name":"a quite ordinary JSON reply","tags":["one","other"],"stars":17}"#),
        ["bytes", count] => Response::new(Pieces(number(count)).map_err(|never| match never {}).boxed()),
        ["events", count, pause] => events(number(count), number(pause)),
        ["echo"] => Response::new(request.into_body().boxed()),
        ["sink"] => json(format!("{{\"bytes\":{}}}", drain(request.into_body()).await?)),
        ["connections"] => json(format!("{{\"connections\":{}}}", origin.connections.load(Ordering::Relaxed))),
        _ => {
            let mut reply = whole("there is nothing here");
            *reply.status_mut() = StatusCode::NOT_FOUND;
            reply
        }
    })
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or(0)
}

fn whole(text: impl Into<Bytes>) -> Reply {
    Response::new(Full::new(text.into()).map_err(|never| match never {}).boxed())
}

fn json(text: impl Into<Bytes>) -> Reply {
    of_kind("application/json", whole(text))
}

fn events(left: u64, pause: u64) -> Reply {
    let ticks = tokio::time::interval(Duration::from_millis(pause.max(1)));
    let events = Events { left, ticks };
    of_kind("text/event-stream", Response::new(events.map_err(|never| match never {}).boxed()))
}

fn of_kind(kind: &'static str, mut reply: Reply) -> Reply {
    reply.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    reply
}

async fn drain(mut body: Incoming) -> std::result::Result<u64, hyper::Error> {
    let mut count = 0;
    while let Some(frame) = body.frame().await {
        count += frame?.data_ref().map_or(0, |data| data.len() as u64);
    }
    Ok(count)
}

/// So many events, one at each tick.
struct Events {
    left: u64,
    ticks: Interval,
}

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        ready!(self.ticks.poll_tick(cx));
        self.left -= 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros());
        Poll::Ready(Some(Ok(Frame::data(format!("event: piece\ndata: {{\"sent_at\":{now}}}\n\n").into()))))
    }
}
