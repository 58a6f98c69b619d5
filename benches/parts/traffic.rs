//! The whole gate at its real job: 1,000 rules, 100 credentials, a journal, TLS on both sides, over sockets on loopback.
//!
//! The gate has a thread of its own, and that is the one which is measured: client and origin take turns with it on another, so
//! that how fast they are plays no part. The journal's thread is not in the count, since how often it writes and signs is the clock's doing; `journal/…` has its work.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use futures_util::stream::poll_fn;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::mpsc;
use tokio_rustls::client::TlsStream;
use tollgate_benches::job::{AUTHORIZATION, RULES, SECRETS, SERVICE, placeholder, policy, value};
use tollgate_inspect::websocket::Opcode;
use tollgate_tests::loopback::{Body, Loopback, Plan, Upstreams};
use tollgate_tests::websocket::Socket;

use crate::part::{Part, Run, measured};
use crate::turns::{Baton, Order, Sides};

pub fn parts() -> Vec<Part> {
    let part = |kind: Kind| Part::new(kind.name(), move || through_the_gate(kind)).counted(100);
    Kind::ALL.map(part).into()
}

/// What goes through the gate in one repetition.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// A request and its reply, whose client speaks HTTP/1; the gate has one HTTP/2 connection to the origin.
    Http1,
    /// The same where the origin speaks HTTP/1 as well.
    Http1Throughout,
    /// A request and its reply, HTTP/2 on both sides.
    Http2,
    /// A connection with TLS inside a tunnel, and a request and its reply over HTTP/1 in it.
    Connection,
    /// One event of a stream that is open.
    Event,
    /// A text message and its echo over a WebSocket that is open.
    Message,
    /// A question for the address of a name.
    Name,
}

impl Kind {
    const ALL: [Self; 7] =
        [Self::Http1, Self::Http1Throughout, Self::Http2, Self::Connection, Self::Event, Self::Message, Self::Name];

    fn name(self) -> &'static str {
        match self {
            Self::Http1 => "traffic/h1 request, h2 upstream",
            Self::Http1Throughout => "traffic/h1 request, h1 upstream",
            Self::Http2 => "traffic/h2 request",
            Self::Connection => "traffic/new connection",
            Self::Event => "traffic/SSE event",
            Self::Message => "traffic/WebSocket message and echo",
            Self::Name => "traffic/DNS answer",
        }
    }

    /// What the origin speaks, as ALPN has it.
    fn protocols(self) -> &'static [&'static str] {
        match self {
            Self::Http1Throughout | Self::Message => &["http/1.1"],
            Self::Http1 | Self::Http2 | Self::Connection | Self::Event | Self::Name => &["h2", "http/1.1"],
        }
    }
}

fn through_the_gate(kind: Kind) -> Run {
    let [own, other] = Baton::pair();
    let (upstreams, own, peers) = (Upstreams::new(), own.runtime(), other.runtime());
    let (event, events) = mpsc::channel(1);
    let origin = {
        let _inside = peers.enter();
        serve(kind, &upstreams, events)
    };
    let gate = own.block_on(async { plan(origin).start(&upstreams) });
    let sides = Sides::new(own, move |orders| peers.block_on(converse(kind, gate, event, orders)));
    // Connections are open, certificates minted, buffers grown.
    sides.repeat(WARM);
    Box::new(move |count| measured(&mut || sides.repeat(count)))
}

/// Repetitions before the first that is measured.
const WARM: u64 = 5;

fn plan(origin: SocketAddr) -> Plan {
    // Its messages are read, and a credential is bound to it, so that what comes back is searched.
    let chat = format!(
        "  chat:\n    endpoints:\n    - {{host: {CHAT}, port: 443, protocol: websocket, websocket_credential_rewrite: true, \
         rules: [{{allow: {{method: GET, path: /v1/socket}}}}, {{allow: {{method: WEBSOCKET_TEXT, path: /v1/socket}}}}]}}\n"
    );
    let text = policy(443, RULES, SECRETS);
    let text = text.replacen("network_policies:\n", &format!("network_policies:\n{chat}"), 1);
    let bound = format!("      - {{host: {CHAT}, port: 443, header: authorization}}\n    TOKEN_1:");
    let text = text.replacen("    TOKEN_1:", &bound, 1);
    let plan = Plan::new(&text).pin(&format!("{SERVICE}:443"), origin).pin(&format!("{CHAT}:443"), origin);
    (0..SECRETS)
        .fold(plan, |plan, number| plan.secret(&format!("TOKEN_{number}"), &value(number), &placeholder(number)))
}

const CHAT: &str = "chat.bench.test";

/// The origin of one part.
fn serve(kind: Kind, upstreams: &Upstreams, events: mpsc::Receiver<Bytes>) -> SocketAddr {
    if matches!(kind, Kind::Message) {
        let echo = |stream| Socket::serve(stream, <[u8]>::to_vec);
        return upstreams.serve(CHAT, kind.protocols(), echo).address;
    }
    let events = Arc::new(tokio::sync::Mutex::new(events));
    let script = move |stream| {
        let events = Arc::clone(&events);
        async move {
            let service = service_fn(move |request| answer(request, Arc::clone(&events)));
            let http = auto::Builder::new(TokioExecutor::new());
            // The gate may close it as it likes.
            let _ = http.serve_connection(TokioIo::new(stream), service).await;
        }
    };
    upstreams.serve(SERVICE, kind.protocols(), script).address
}

type Reply = Response<BoxBody<Bytes, Infallible>>;

async fn answer(
    request: Request<Incoming>,
    events: Arc<tokio::sync::Mutex<mpsc::Receiver<Bytes>>>,
) -> Result<Reply, Infallible> {
    let is_exchanged = request.headers().get(header::AUTHORIZATION).is_some_and(|value| value == AUTHORIZATION);
    let reply = match request.uri().path() {
        _ if !is_exchanged => Response::builder().status(StatusCode::UNAUTHORIZED).body(Full::default().boxed()),
        "/v1/json" => Response::builder()
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::from(r#"{"id":1234,"name":"a quite ordinary JSON reply","tags":["one","other"]}"#).boxed()),
        _ => {
            let mut events = events.lock_owned().await;
            let frames = poll_fn(move |cx| events.poll_recv(cx).map(|event| event.map(|data| Ok(Frame::data(data)))));
            let body = BodyExt::boxed(StreamBody::new(frames));
            Response::builder().header(header::CONTENT_TYPE, "text/event-stream").body(body)
        }
    };
    Ok(reply.expect("a valid reply"))
}

/// The client of one part, connected.
enum Client {
    Http1(http1::SendRequest<Body>),
    Http2(http2::SendRequest<Body>),
    Connection,
    Events(Incoming, mpsc::Sender<Bytes>),
    Socket(Box<Socket<TlsStream<TcpStream>>>),
    Resolver(UdpSocket),
}

async fn converse(kind: Kind, gate: Loopback, event: mpsc::Sender<Bytes>, mut orders: mpsc::Receiver<Order>) {
    let mut client = Client::open(kind, &gate, event).await;
    while let Some((count, done)) = orders.recv().await {
        for _ in 0..count {
            client.once(&gate).await;
        }
        // Who ordered waits for it.
        let _ = done.send(());
    }
}

const EVENT: &[u8] = b"event: piece\ndata: {\"text\":\"some ordinary words of a model\"}\n\n";
const MESSAGE: &[u8] = b"{\"type\":\"message\",\"text\":\"some ordinary words of an agent\"}";

impl Client {
    async fn open(kind: Kind, gate: &Loopback, event: mpsc::Sender<Bytes>) -> Self {
        match kind {
            Kind::Http1 | Kind::Http1Throughout => Self::Http1(gate.http1(SERVICE).await),
            Kind::Http2 => Self::Http2(gate.http2(SERVICE).await),
            Kind::Connection => Self::Connection,
            Kind::Event => {
                let mut http1 = gate.http1(SERVICE).await;
                let reply = http1.send_request(request("/v1/events/0/0")).await.expect("a reply");
                assert_eq!(reply.status(), StatusCode::OK);
                Self::Events(reply.into_body(), event)
            }
            Kind::Message => {
                let stream = gate.tls(CHAT, &["http/1.1"]).await;
                Self::Socket(Box::new(Socket::open(stream, CHAT, "/v1/socket").await.expect("an open socket")))
            }
            Kind::Name => {
                let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
                socket.connect(gate.dns).await.expect("connected");
                Self::Resolver(socket)
            }
        }
    }

    async fn once(&mut self, gate: &Loopback) {
        match self {
            Self::Http1(sender) => {
                sender.ready().await.expect("kept open");
                whole(sender.send_request(request("/v1/json")).await).await;
            }
            Self::Http2(sender) => {
                sender.ready().await.expect("kept open");
                let target = format!("https://{SERVICE}/v1/json");
                whole(sender.send_request(request(&target)).await).await;
            }
            Self::Connection => {
                let mut sender = gate.http1(SERVICE).await;
                whole(sender.send_request(request("/v1/json")).await).await;
            }
            Self::Events(body, event) => {
                event.send(Bytes::from_static(EVENT)).await.expect("the origin is there");
                let mut left = EVENT.len();
                while left > 0 {
                    let frame = body.frame().await.expect("a frame").expect("whole");
                    left -= frame.into_data().expect("data").len();
                }
            }
            Self::Socket(socket) => {
                socket.send(Opcode::Text, MESSAGE).await;
                assert_eq!(socket.next().await, Some((Opcode::Text, MESSAGE.to_vec())));
            }
            Self::Resolver(socket) => {
                let mut reply = [0; 512];
                socket.send(QUESTION).await.expect("sent");
                let count = socket.recv(&mut reply).await.expect("an answer");
                assert_eq!((reply[3] & 15, reply[7], count > QUESTION.len()), (0, 1, true), "one address");
            }
        }
    }
}

/// The address of [`SERVICE`] (RFC 1035, section 4.1).
const QUESTION: &[u8] = b"\0\x07\x01\0\0\x01\0\0\0\0\0\0\x03api\x05bench\x04test\0\0\x01\0\x01";

fn request(target: &str) -> Request<Body> {
    Request::get(target)
        .header(header::HOST, SERVICE)
        .header(header::USER_AGENT, "parts/1.0 (an agent's client)")
        .header(header::ACCEPT, "application/json")
        .header(header::ACCEPT_ENCODING, "identity")
        .header("x-request-source", "bench")
        .header(header::AUTHORIZATION, format!("Bearer {}", placeholder(0)))
        .body(Full::default().boxed())
        .expect("a valid request")
}

async fn whole(reply: hyper::Result<Response<Incoming>>) {
    let reply = reply.expect("a reply");
    assert_eq!(reply.status(), StatusCode::OK);
    let body = reply.into_body().collect().await.expect("whole").to_bytes();
    assert!(body.starts_with(b"{"), "{body:?}");
}
