//! Protocols on both legs: what a client speaks and what an upstream speaks need not be the same.

use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_inspect::websocket::Opcode;
use tollgate_tests::loopback::{Body, Loopback, Plan, Scripted, Upstreams, server_name, soon};
use tollgate_tests::websocket::{HANDSHAKE, Socket};

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
    - {host: api.test, port: 443, protocol: rest, rules: [{allow: {method: '*', path: /v1/**}}]}
    - {host: raw.test, port: 443, tls: skip}
    - {host: mail.test, port: 25, protocol: tcp}
    - {host: graph.test, port: 443, protocol: graphql, access: read-only}
    - {host: chat.test, port: 443, protocol: websocket, rules: [{allow: {method: GET, path: /ws}}, {allow: {method: WEBSOCKET_TEXT, path: /ws}}]}
";

fn empty() -> Body {
    Full::default().boxed()
}

fn body(text: &'static str) -> Body {
    Full::from(text).boxed()
}

fn get(path: &str) -> Request<Body> {
    Request::get(format!("https://api.test{path}")).header("host", "api.test").body(empty()).expect("a request")
}

/// An upstream that says what it was sent, over any version.
fn echo(upstreams: &Upstreams, name: &str, protocols: &[&str]) -> Scripted {
    upstreams.serve(name, protocols, |stream| async move {
        let service = service_fn(answer);
        let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    })
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, std::convert::Infallible> {
    let (parts, body) = request.into_parts();
    let sent = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let mut reply = Response::builder().header("x-version", format!("{:?}", parts.version));
    for (name, value) in &parts.headers {
        reply = reply.header(format!("got-{name}"), value);
    }
    if parts.headers.get("content-type").is_some_and(|kind| kind == "application/grpc") {
        let trailers = HeaderMap::from_iter([("grpc-status".parse().expect("a name"), "0".parse().expect("a value"))]);
        let body = Full::new(sent).with_trailers(std::future::ready(Some(Ok(trailers)))).boxed();
        return Ok(reply.header("content-type", "application/grpc").body(body).expect("a reply"));
    }
    let text = format!("{} {} {}", parts.method, parts.uri.path(), String::from_utf8_lossy(&sent));
    Ok(reply.body(Full::from(text).boxed()).expect("a reply"))
}

fn start(upstream: &Scripted, upstreams: &Upstreams) -> Loopback {
    Plan::new(POLICY).pin("api.test:443", upstream.address).start(upstreams)
}

async fn text(reply: Response<Incoming>) -> String {
    let body = reply.into_body().collect().await.expect("a body").to_bytes();
    String::from_utf8(body.to_vec()).expect("text")
}

#[tokio::test]
async fn d11_each_leg_speaks_its_own_version() {
    let upstreams = Upstreams::new();
    for (protocols, expected) in
        [(&["h2", "http/1.1"][..], "HTTP/2.0"), (&["http/1.1"][..], "HTTP/1.1"), (&[][..], "HTTP/1.1")]
    {
        let upstream = echo(&upstreams, "api.test", protocols);
        let gate = start(&upstream, &upstreams);
        let mut http1 = gate.http1("api.test").await;
        let mut http2 = gate.http2("api.test").await;
        for round in 0..3 {
            let reply = http1.send_request(get("/v1/x")).await.expect("a reply");
            assert_eq!((reply.version(), reply.status()), (Version::HTTP_11, StatusCode::OK));
            assert_eq!(reply.headers()["x-version"], expected);
            assert_eq!(text(reply).await, "GET /v1/x ", "round {round}");
            let request = Request::post("https://api.test/v1/y").body(body("hello")).expect("a request");
            let reply = http2.send_request(request).await.expect("a reply");
            assert_eq!(reply.version(), Version::HTTP_2);
            assert_eq!(reply.headers()["x-version"], expected);
            assert_eq!(text(reply).await, "POST /v1/y hello");
        }
        assert_eq!(upstream.connections(), 1, "one after another they share a connection");
    }
}

#[tokio::test]
async fn many_requests_share_one_http2_connection() {
    let upstreams = Upstreams::new();
    let upstream = echo(&upstreams, "api.test", &["h2"]);
    let gate = start(&upstream, &upstreams);
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..10 {
        let http2 = gate.http2("api.test").await;
        let mut http1 = gate.http1("api.test").await;
        for _ in 0..10 {
            let mut http2 = http2.clone();
            clients.spawn(async move { text(http2.send_request(get("/v1/x")).await.expect("a reply")).await });
        }
        clients.spawn(async move { text(http1.send_request(get("/v1/x")).await.expect("a reply")).await });
    }
    for said in clients.join_all().await {
        assert_eq!(said, "GET /v1/x ");
    }
    assert_eq!(upstream.connections(), 1);
}

#[tokio::test]
async fn cookie_crumbs_are_joined_for_http1() {
    let upstreams = Upstreams::new();
    let upstream = echo(&upstreams, "api.test", &["http/1.1"]);
    let gate = start(&upstream, &upstreams);
    let request = Request::get("https://api.test/v1/x").header("cookie", "a=1").header("cookie", "b=2");
    let reply = gate.http2("api.test").await.send_request(request.body(empty()).expect("a request")).await;
    assert_eq!(reply.expect("a reply").headers()["got-cookie"], "a=1; b=2");
}

fn grpc(path: &str) -> Request<Body> {
    let request = Request::post(format!("https://api.test{path}"));
    let request = request.header("content-type", "application/grpc").header("te", "trailers");
    request.body(body("message")).expect("a request")
}

#[tokio::test]
async fn d10_grpc_passes_with_trailers_and_is_refused_in_its_own_words() {
    let upstreams = Upstreams::new();
    let upstream = echo(&upstreams, "api.test", &["h2"]);
    let gate = start(&upstream, &upstreams);
    let mut client = gate.http2("api.test").await;
    let reply = client.send_request(grpc("/v1/Service/Call")).await.expect("a reply");
    assert_eq!(reply.headers()["got-te"], "trailers");
    let body = reply.into_body().collect().await.expect("a body");
    assert_eq!(body.trailers().expect("trailers")["grpc-status"], "0");
    assert_eq!(body.to_bytes(), "message");
    let reply = client.send_request(grpc("/v2/Service/Call")).await.expect("a reply");
    assert_eq!(reply.status(), StatusCode::OK);
    assert_eq!(reply.headers()["grpc-status"], "7");
    assert_eq!(gate.events("request").last().expect("recorded")["error"], "policy_denied");
}

#[tokio::test]
async fn d11_grpc_needs_http2_to_the_end() {
    let upstreams = Upstreams::new();
    let upstream = echo(&upstreams, "api.test", &["http/1.1"]);
    let gate = start(&upstream, &upstreams);
    let reply = gate.http2("api.test").await.send_request(grpc("/v1/Service/Call")).await.expect("a reply");
    assert_eq!(reply.headers()["grpc-status"], "14");
    let why = reply.headers()["grpc-message"].to_str().expect("text").to_owned();
    assert!(why.contains("speaks no HTTP/2"), "{why}");
}

#[tokio::test]
async fn b2_an_authority_inside_http2_must_be_the_tunnels() {
    let upstreams = Upstreams::new();
    let upstream = echo(&upstreams, "api.test", &["h2"]);
    let gate = start(&upstream, &upstreams);
    let mut client = gate.http2("api.test").await;
    for (uri, host) in [("https://other.test/v1/x", None), ("https://api.test/v1/x", Some("other.test"))] {
        let mut request = Request::get(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let reply = client.send_request(request.body(empty()).expect("a request")).await.expect("a reply");
        assert_eq!(reply.status(), StatusCode::MISDIRECTED_REQUEST, "{uri}");
    }
    assert_eq!(upstream.connections(), 0, "nothing was even dialled");
}

#[tokio::test]
async fn tunnels_pass_bytes_whoever_speaks_first() {
    let upstreams = Upstreams::new();
    let mail = Scripted::serve(|mut stream| async move {
        stream.write_all(b"220 mail.test\r\n").await.expect("sent");
        let mut said = String::new();
        stream.read_to_string(&mut said).await.expect("text");
        stream.write_all(format!("you said {said}").as_bytes()).await.expect("sent");
    });
    let gate = Plan::new(POLICY).pin("mail.test:25", mail.address).start(&upstreams);
    let mut stream = gate.tunnel("mail.test:25").await;
    let mut greeting = [0; 15];
    soon("the greeting", stream.read_exact(&mut greeting)).await.expect("a greeting");
    assert_eq!(&greeting, b"220 mail.test\r\n");
    stream.write_all(b"QUIT").await.expect("sent");
    // Half a connection is closed; the other half still brings the answer.
    stream.shutdown().await.expect("closed");
    let mut answer = String::new();
    soon("the answer", stream.read_to_string(&mut answer)).await.expect("text");
    assert_eq!(answer, "you said QUIT");
    let ended = soon("the record", recorded(&gate, "tunnel")).await;
    assert_eq!((&ended["up"], &ended["down"], &ended["outcome"]), (&4.into(), &28.into(), &"complete".into()));
}

/// The first record of a kind, once it is there.
async fn recorded(gate: &Loopback, kind: &str) -> serde_json::Value {
    loop {
        if let Some(event) = gate.events(kind).first() {
            return event.clone();
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn b1_a_tunnel_that_nobody_reads_still_names_its_server() {
    let upstreams = Upstreams::new();
    let upstream = echo(&upstreams, "raw.test", &["http/1.1"]);
    let gate = Plan::new(POLICY).pin("raw.test:443", upstream.address).start(&upstreams);
    let mut roots = rustls::RootCertStore::empty();
    let pem = std::fs::read(upstreams.file()).expect("a file");
    let root = <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(&pem);
    roots.add(root.expect("a certificate")).expect("added");
    let config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(config));
    let stream = gate.tunnel("raw.test:443").await;
    let mut stream = connector.connect(server_name("raw.test"), stream).await.expect("end to end");
    stream.write_all(b"GET /any HTTP/1.1\r\nHost: raw.test\r\nConnection: close\r\n\r\n").await.expect("sent");
    let mut reply = String::new();
    soon("the reply", stream.read_to_string(&mut reply)).await.expect("text");
    assert!(reply.ends_with("GET /any "), "{reply}");
    let stream = gate.tunnel("raw.test:443").await;
    let refused = connector.connect(server_name("other.test"), stream).await;
    assert!(refused.expect_err("another name").to_string().contains("AccessDenied"));
}

#[tokio::test]
async fn a_tunnel_to_nowhere_is_refused_at_connect() {
    let upstreams = Upstreams::new();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("bound");
    let gate = Plan::new(POLICY).pin("mail.test:25", gone).start(&upstreams);
    let (_, answer) = gate.connect("mail.test:25").await;
    assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
}

/// A query would be judged, and everything that the socket carries after it would not.
#[tokio::test]
async fn f14_an_endpoint_of_operations_opens_no_socket() {
    let upstreams = Upstreams::new();
    let upstream = echo(&upstreams, "graph.test", &["http/1.1"]);
    let gate = Plan::new(POLICY).pin("graph.test:443", upstream.address).start(&upstreams);
    let request = format!("GET /graphql?query=%7Bviewer%7Bid%7D%7D HTTP/1.1\r\nHost: graph.test\r\n{HANDSHAKE}");
    let mut stream = gate.tls("graph.test", &["http/1.1"]).await;
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut head = [0; 12];
    soon("the refusal", stream.read_exact(&mut head)).await.expect("an answer");
    assert_eq!(&head, b"HTTP/1.1 403");
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn h3_a_connect_with_a_body_is_refused() {
    let upstreams = Upstreams::new();
    let gate = Plan::new(POLICY).start(&upstreams);
    for header in ["Content-Length: 5", "Transfer-Encoding: chunked"] {
        let mut stream = tokio::net::TcpStream::connect(gate.address).await.expect("the gate listens");
        let request = format!("CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\n{header}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut head = [0; 12];
        soon("the refusal", stream.read_exact(&mut head)).await.expect("an answer");
        assert_eq!(&head, b"HTTP/1.1 400", "{header}");
    }
}

/// Text is judged message by message: what may not pass ends the socket with 1008, and no byte of it arrives.
#[tokio::test]
async fn e5_messages_are_judged() {
    let upstreams = Upstreams::new();
    let upstream = upstreams.serve("chat.test", &["http/1.1"], |stream| Socket::serve(stream, <[u8]>::to_vec));
    let rules = "{allow: {method: GET, path: /ws}}, {allow: {method: WEBSOCKET_TEXT, path: /ws}}";
    let policy = |rules: &str| {
        format!(
            "version: 1\nnetwork_policies: {{c: {{endpoints: [{{host: chat.test, port: 443, protocol: websocket, rules: [{rules}]}}]}}}}"
        )
    };
    for (rules, expected) in [(rules, Opcode::Text), (&rules[..33], Opcode::Close)] {
        let gate = Plan::new(&policy(rules)).pin("chat.test:443", upstream.address).start(&upstreams);
        let stream = gate.tls("chat.test", &["http/1.1"]).await;
        let mut socket = Socket::open(stream, "chat.test", "/ws").await.expect("opened");
        socket.send(Opcode::Text, b"hi").await;
        let (opcode, payload) = socket.next().await.expect("an answer");
        assert_eq!(opcode, expected);
        let (decision, said) = match opcode {
            Opcode::Close => ("denied", &1008_u16.to_be_bytes()[..]),
            _ => ("allowed", &b"hi"[..]),
        };
        assert!(payload.starts_with(said), "{payload:?}");
        let judged = gate.events("request").into_iter().find(|event| event["method"] == "WEBSOCKET_TEXT");
        assert_eq!(judged.expect("recorded")["decision"], decision);
    }
}

/// An upstream may close a kept connection just as the next request comes: one that changes nothing is sent again, one that
/// may have changed something is not.
#[tokio::test]
async fn a_kept_connection_that_closes_costs_no_safe_request() {
    let upstreams = Upstreams::new();
    let upstream = upstreams.serve("api.test", &["http/1.1"], |mut stream| async move {
        let mut head = Vec::new();
        for answer in [&b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"[..], b""] {
            head.clear();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                head.push(byte);
            }
            stream.write_all(answer).await.expect("sent");
            stream.flush().await.expect("sent");
        }
    });
    let gate = start(&upstream, &upstreams);
    let mut client = gate.http1("api.test").await;
    for number in 1..=3 {
        let reply = client.send_request(get("/v1/x")).await.expect("a reply");
        assert_eq!(reply.status(), StatusCode::OK, "request {number}");
        reply.into_body().collect().await.expect("a body");
    }
    assert_eq!(upstream.connections(), 3, "each was closed as its second request came");
    let post = Request::post("/v1/x").header("host", "api.test").body(empty()).expect("a request");
    let reply = client.send_request(post).await.expect("a reply");
    assert_eq!(reply.status(), StatusCode::BAD_GATEWAY);
}

/// Behind CGI `x_api_key` is `x-api-key`: what a policy or a binding says of one name must not be had by another.
#[tokio::test]
async fn g1_names_with_underscores_stay_here() {
    let upstreams = Upstreams::new();
    let upstream = echo(&upstreams, "api.test", &["h2", "http/1.1"]);
    let gate = start(&upstream, &upstreams);
    let mut client = gate.http2("api.test").await;
    let request = Request::get("https://api.test/v1/x").header("x_api_key", "own").header("content_length", "5");
    let request = request.header("x-plain", "kept").body(empty()).expect("a request");
    let reply = client.send_request(request).await.expect("a reply");
    let arrived: Vec<_> = reply.headers().keys().filter_map(|name| name.as_str().strip_prefix("got-")).collect();
    assert!(arrived.contains(&"x-plain") && arrived.iter().all(|name| !name.contains('_')), "{arrived:?}");
}
