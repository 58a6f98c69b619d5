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
    upstreams.serve("chat.test", &["http/1.1"], |stream| Socket::serve(stream, <[u8]>::to_vec))
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
                Socket::server(TokioIo::new(stream)).answer_all(<[u8]>::to_vec).await;
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

/// A socket is a use of its connection, however long no request comes beside it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e7_a_websocket_keeps_its_http2_connection() {
    let upstreams = Upstreams::new();
    let upstream = chat(&upstreams);
    let plan = Plan::new(POLICY).pin("chat.test:443", upstream.address);
    let gate = plan.limit("header_seconds=1").start(&upstreams);
    let mut client = gate.http2("chat.test").await;
    let request = Request::connect("https://chat.test/ws").extension(Protocol::from_static("websocket"));
    let request = request.header("sec-websocket-version", "13").body(Full::default().boxed()).expect("valid");
    let mut reply = soon("the handshake", client.send_request(request)).await.expect("a reply");
    let mut socket = Socket::client(TokioIo::new(hyper::upgrade::on(&mut reply).await.expect("opened")));
    let opened = Instant::now();
    let mut told = 0_u64;
    while opened.elapsed() < Duration::from_millis(2500) {
        socket.send(Opcode::Text, b"hi").await;
        assert_eq!(socket.next().await, Some((Opcode::Text, b"hi".to_vec())), "after {:?}", opened.elapsed());
        told += 1;
    }
    drop(socket);
    let ended = gate.ending(1).await;
    assert_eq!(ended["sent"].as_u64(), Some(told * 8), "masked frames of two bytes: {ended}");
}

/// Time takes a permission away as well as an edit does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h8_what_expires_ends_what_is_open() {
    let upstreams = Upstreams::new();
    let raw = Scripted::serve(|mut stream| async move {
        let _ = stream.read(&mut [0]).await;
    });
    let expires = std::time::SystemTime::now() + Duration::from_secs(3);
    let expires = time::OffsetDateTime::from(expires).format(&time::format_description::well_known::Rfc3339);
    let policy = format!(
        "version: 1\nnetwork_policies: {{raw: {{x-tollgate: {{when: {{expires: '{}'}}}}, endpoints: [{{host: raw.test, port: 9000, protocol: tcp}}]}}}}",
        expires.expect("a time")
    );
    let gate = Plan::new(&policy).pin("raw.test:9000", raw.address).start(&upstreams);
    let mut tunnel = gate.tunnel("raw.test:9000").await;
    let opened = Instant::now();
    let _ = soon("the end of the tunnel", tunnel.read(&mut [0])).await;
    assert!(opened.elapsed() < Duration::from_secs(6), "{:?}", opened.elapsed());
    assert_eq!(gate.connect("raw.test:9000").await.1.split(' ').nth(1), Some("403"));
}

/// A tunnel whose client has gone does not wait for ever for an upstream that stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h7_half_a_tunnel_is_bounded_and_recorded() {
    let upstreams = Upstreams::new();
    let raw = Scripted::serve(|mut stream| async move {
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all).await;
        std::future::pending::<()>().await;
        drop(stream);
    });
    let plan = Plan::new(POLICY).pin("raw.test:9000", raw.address);
    let gate = plan.limit("stall_seconds=1").start(&upstreams);
    let mut tunnel = gate.tunnel("raw.test:9000").await;
    tunnel.write_all(b"12345").await.expect("sent");
    drop(tunnel);
    let recorded = async {
        while gate.events("tunnel").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    soon("the end of the tunnel", recorded).await;
    let ended = &gate.events("tunnel")[0];
    assert_eq!(ended["up"], 5, "{ended}");
    assert!(ended["outcome"].as_str().expect("text").contains("says nothing"), "{ended}");
    // What is open when the session ends is recorded as well.
    let mut tunnel = gate.tunnel("raw.test:9000").await;
    tunnel.write_all(b"1234567").await.expect("sent");
    while gate.gate.open() < 1 {
        tokio::task::yield_now().await;
    }
    gate.gate.drain().await;
    assert_eq!(gate.events("tunnel").len(), 2);
}

/// A compressed reply whose plain form is far larger than what came, in one piece, arrives whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn k4_coded_replies_arrive_whole() {
    const PLAIN: usize = 3 << 20;
    let upstreams = Upstreams::new();
    let upstream = upstreams.serve("api.test", &["http/1.1"], |stream| async move {
        let service = service_fn(|request: Request<Incoming>| async move {
            let plain = vec![b'x'; PLAIN];
            let coding = request.uri().path().trim_start_matches('/').to_owned();
            let body = match &coding[..] {
                "br" => {
                    let mut coded = Vec::new();
                    let params = brotli::enc::BrotliEncoderParams::default();
                    brotli::BrotliCompress(&mut &plain[..], &mut coded, &params).expect("coded");
                    coded
                }
                "zstd" => {
                    let mut coded = vec![0; zstd_safe::compress_bound(plain.len())];
                    let length = zstd_safe::compress(&mut coded[..], &plain, 3).expect("coded");
                    coded.truncate(length);
                    coded
                }
                _ => {
                    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
                    std::io::Write::write_all(&mut encoder, &plain).expect("coded");
                    encoder.finish().expect("coded")
                }
            };
            let reply = Response::builder().header("content-encoding", coding).body(Full::<Bytes>::from(body));
            Ok::<_, std::convert::Infallible>(reply.expect("a reply"))
        });
        let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    });
    let policy = format!(
        "{POLICY}x-tollgate: {{credentials: {{TOKEN: {{bindings: [{{host: api.test, header: authorization}}]}}}}}}\n"
    );
    let plan = Plan::new(&policy).secret("TOKEN", "the-real-value-0123456789", "the-placeholder-012345678");
    let gate = plan.pin("api.test:443", upstream.address).start(&upstreams);
    for coding in ["gzip", "br", "zstd"] {
        let mut client = gate.http1("api.test").await;
        let request = Request::get(format!("/{coding}")).header("host", "api.test");
        let reply = client.send_request(request.body(Full::default().boxed()).expect("valid")).await.expect("a reply");
        assert!(reply.headers().get("content-encoding").is_none(), "{coding}");
        let plain = soon("the body", reply.into_body().collect()).await;
        assert_eq!(plain.map(|body| body.to_bytes().len()).ok(), Some(PLAIN), "{coding}");
    }
}
