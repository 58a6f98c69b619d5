//! Bounds that a client or an upstream runs into: what they end, and what goes on.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_inspect::websocket::Opcode;
use tollgate_tests::loopback::{Plan, Scripted, Upstreams, soon};
use tollgate_tests::websocket::Socket;

const POLICY: &str = "
version: 1
network_policies:
  all:
    endpoints:
    - {host: api.test, port: 443, protocol: rest, rules: [{allow: {method: '*', path: /**}}]}
    - {host: chat.test, port: 443, protocol: websocket, rules: [{allow: {method: GET, path: /ws}}, {allow: {method: WEBSOCKET_TEXT, path: /ws}}]}
    - {host: raw.test, port: 9000, protocol: tcp}
";

/// A socket that says back what it is told.
fn chat(upstreams: &Upstreams) -> Scripted {
    upstreams.serve("chat.test", &["http/1.1"], |stream| async move {
        let mut socket = Socket::accept(stream).await;
        while let Some((opcode, payload)) = socket.next().await {
            socket.send(opcode, &payload).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o1_a_websocket_holds_its_connections_place() {
    let upstreams = Upstreams::new();
    let upstream = chat(&upstreams);
    let gate = Plan::new(POLICY).pin("chat.test:443", upstream.address).limit("connections=1").start(&upstreams);
    let stream = gate.tls("chat.test", &["http/1.1"]).await;
    let mut socket = Socket::open(stream, "chat.test", "/ws").await.expect("opened");
    socket.send(Opcode::Text, b"hi").await;
    assert_eq!(socket.next().await, Some((Opcode::Text, b"hi".to_vec())));
    let mut second = tokio::net::TcpStream::connect(gate.address).await.expect("the backlog takes it");
    second.write_all(b"CONNECT chat.test:443 HTTP/1.1\r\nHost: chat.test:443\r\n\r\n").await.expect("sent");
    let mut answer = [0; 12];
    let early = tokio::time::timeout(Duration::from_millis(300), second.read_exact(&mut answer)).await;
    assert!(early.is_err(), "it was served beside the socket");
    drop(socket);
    soon("its turn", second.read_exact(&mut answer)).await.expect("an answer");
    assert_eq!(&answer, b"HTTP/1.1 200");
}

/// A client that asks and does not read what it is sent loses its connection; its neighbour does not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h7_what_is_left_unread_is_let_go() {
    let upstreams = Upstreams::new();
    let upstream = upstreams.serve("api.test", &["http/1.1"], |stream| async move {
        let service = service_fn(|_: Request<Incoming>| async {
            Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::from(vec![b'x'; 64 << 20])))
        });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    });
    let raw = Scripted::serve(|mut stream| async move {
        let _ = stream.write_all(&vec![b'x'; 64 << 20]).await;
        let _ = stream.read(&mut [0]).await;
    });
    let plan = Plan::new(POLICY).pin("api.test:443", upstream.address).pin("raw.test:9000", raw.address);
    let gate = plan.limit("stall_seconds=1").start(&upstreams);
    let begun = Instant::now();
    let mut unread = gate.tls("api.test", &["http/1.1"]).await;
    unread.write_all(b"GET / HTTP/1.1\r\nHost: api.test\r\n\r\n").await.expect("sent");
    let _tunnel = gate.tunnel("raw.test:9000").await;
    let reply = gate.ending(1).await;
    assert_ne!(reply["outcome"], "complete", "{reply}");
    let tunnels = async {
        while gate.events("tunnel").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of the tunnel", tunnels).await;
    let tunnel = &gate.events("tunnel")[0];
    assert!(tunnel["outcome"].as_str().expect("text").contains("not read in time"), "{tunnel}");
    assert!(tunnel["down"].as_u64().expect("a number") > 0, "{tunnel}");
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

/// HTTP/2 that was agreed on and is not spoken, and a connection on which nothing is asked any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h7_an_idle_http2_connection_ends() {
    let upstreams = Upstreams::new();
    let gate = Plan::new(POLICY).limit("header_seconds=1").start(&upstreams);
    let mut silent = gate.tls("api.test", &["h2"]).await;
    let mut client = gate.http2("api.test").await;
    let refused = Request::get("https://other.test/").body(Full::default().boxed()).expect("valid");
    assert_eq!(client.send_request(refused).await.expect("a reply").status(), StatusCode::MISDIRECTED_REQUEST);
    let mut rest = Vec::new();
    let _ = soon("the end of the silent one", silent.read_to_end(&mut rest)).await;
    let closed = async {
        while client.ready().await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of the idle one", closed).await;
    assert_eq!(gate.gate.open(), 0);
}

/// RFC 8441 on both legs: no HTTP/1 anywhere.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e7_a_websocket_over_http2() {
    let upstreams = Upstreams::new();
    let upstream = upstreams.serve("chat.test", &["h2"], |stream| async move {
        let service = service_fn(|mut request: Request<Incoming>| async move {
            assert_eq!(request.method(), Method::CONNECT);
            assert_eq!(request.extensions().get::<Protocol>().map(Protocol::as_str), Some("websocket"));
            tokio::spawn(async move {
                let stream = hyper::upgrade::on(&mut request).await.expect("opened");
                let mut socket = Socket::server(TokioIo::new(stream));
                while let Some((opcode, payload)) = socket.next().await {
                    socket.send(opcode, &payload).await;
                }
            });
            Ok::<_, std::convert::Infallible>(Response::new(Full::<Bytes>::default()))
        });
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let _ = builder.enable_connect_protocol().serve_connection(TokioIo::new(stream), service).await;
    });
    let gate = Plan::new(POLICY).pin("chat.test:443", upstream.address).start(&upstreams);
    let mut client = gate.http2("chat.test").await;
    let request = Request::connect("https://chat.test/ws").extension(Protocol::from_static("websocket"));
    let request = request.header("sec-websocket-version", "13").body(Full::default().boxed()).expect("valid");
    let mut reply = soon("the handshake", client.send_request(request)).await.expect("a reply");
    assert_eq!(reply.status(), StatusCode::OK);
    let stream = hyper::upgrade::on(&mut reply).await.expect("opened");
    let mut socket = Socket::client(TokioIo::new(stream));
    socket.send(Opcode::Text, b"hi").await;
    assert_eq!(socket.next().await, Some((Opcode::Text, b"hi".to_vec())));
    let judged = gate.events("request").into_iter().filter(|event| event["method"] == "WEBSOCKET_TEXT").count();
    assert_eq!(judged, 1);
    gate.set_policy("version: 1\n");
    let (opcode, payload) = socket.next().await.expect("a close");
    assert_eq!((opcode, &payload[..2]), (Opcode::Close, &1008_u16.to_be_bytes()[..]));
}
