//! Where connections lead: certificates, upstream connections and names belong to one place each, and to no other.

use std::sync::Arc;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::HandshakeKind;
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore, Resumption, Tls12ClientSessionValue};
use rustls::pki_types::ServerName;
use rustls::{NamedGroup, client::Tls13ClientSessionValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_tests::loopback::{Body, Loopback, Plan, Scripted, Upstreams, server_name, soon};
use tollgate_tests::raw::{Raw, statuses};

const POLICY: &str = "
version: 1
network_policies:
  all:
    endpoints:
    - {host: '*.pair.test', port: 443, protocol: rest, access: full}
    - {host: api.test, port: 443, protocol: rest, rules: [{allow: {method: '*', path: /v1/**}}]}
x-tollgate:
  credentials:
    TOKEN:
      bindings:
      - {host: one.pair.test, header: authorization}
";

const PLACEHOLDER: &str = "the-placeholder-012345678";
const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn get(host: &str) -> http::request::Builder {
    Request::get(format!("https://{host}/v1/x")).header("host", host)
}

fn empty() -> Body {
    Full::default().boxed()
}

async fn ok(_: Request<Incoming>) -> Result<Response<Body>, std::convert::Infallible> {
    Ok(Response::new(Full::from("ok").boxed()))
}

/// One server for every name of the pair, with one certificate, and the gate before it.
fn pair(upstreams: &Upstreams, protocols: &[&str]) -> (Scripted, Loopback) {
    let upstream = upstreams.serve("*.pair.test", protocols, |stream| async move {
        let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(stream), service_fn(ok)).await;
    });
    let plan = Plan::new(POLICY).secret("TOKEN", "the-real-value-0123456789", PLACEHOLDER);
    let plan = plan.pin("one.pair.test:443", upstream.address).pin("two.pair.test:443", upstream.address);
    let gate = plan.start(upstreams);
    (upstream, gate)
}

/// Connections to upstreams are shared only by requests to one name, with the same credentials of the same vault.
#[tokio::test]
async fn b13_no_connection_serves_two_places() {
    for protocols in [&["h2"][..], &["http/1.1"]] {
        let upstreams = Upstreams::new();
        let (upstream, gate) = pair(&upstreams, protocols);
        let (mut one, mut two) = (gate.http2("one.pair.test").await, gate.http2("two.pair.test").await);
        let mut ask = async |host: &str, token: Option<&str>| {
            let client = if host.starts_with("one") { &mut one } else { &mut two };
            let request = token.into_iter().fold(get(host), |request, token| request.header("authorization", token));
            let reply = client.send_request(request.body(empty()).expect("valid")).await.expect("a reply");
            let status = reply.status();
            reply.into_body().collect().await.expect("whole");
            (status, upstream.connections())
        };
        assert_eq!(ask("one.pair.test", None).await, (StatusCode::OK, 1));
        assert_eq!(ask("one.pair.test", None).await, (StatusCode::OK, 1), "the same place shares");
        assert_eq!(ask("two.pair.test", None).await, (StatusCode::OK, 2), "the certificate covers both");
        assert_eq!(ask("one.pair.test", Some(PLACEHOLDER)).await, (StatusCode::OK, 3));
        assert_eq!(ask("one.pair.test", Some(PLACEHOLDER)).await, (StatusCode::OK, 3));
        gate.set_secrets(&[("TOKEN", Ok("a-second-value-0123456789"), PLACEHOLDER)]);
        assert_eq!(ask("one.pair.test", Some(PLACEHOLDER)).await, (StatusCode::OK, 4));
        // A client that takes one connection for both, as browsers do (RFC 9113, section 9.1.1).
        let request = get("two.pair.test").body(empty()).expect("valid");
        assert_eq!(one.send_request(request).await.expect("a reply").status(), StatusCode::MISDIRECTED_REQUEST);
        assert_eq!(upstream.connections(), 4);
    }
}

/// Sessions of all servers under one name, as no honest client keeps them.
#[derive(Debug)]
struct Mixed(ClientSessionMemoryCache);

const EVERY: &str = "every.test";

impl ClientSessionStore for Mixed {
    fn set_kx_hint(&self, _: ServerName<'static>, group: NamedGroup) {
        self.0.set_kx_hint(server_name(EVERY), group);
    }

    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        self.0.kx_hint(&server_name(EVERY))
    }

    fn set_tls12_session(&self, _: ServerName<'static>, value: Tls12ClientSessionValue) {
        self.0.set_tls12_session(server_name(EVERY), value);
    }

    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        self.0.tls12_session(&server_name(EVERY))
    }

    fn remove_tls12_session(&self, _: &ServerName<'static>) {
        self.0.remove_tls12_session(&server_name(EVERY));
    }

    fn insert_tls13_ticket(&self, _: ServerName<'static>, value: Tls13ClientSessionValue) {
        self.0.insert_tls13_ticket(server_name(EVERY), value);
    }

    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        self.0.take_tls13_ticket(&server_name(EVERY))
    }
}

/// A session that was begun with one name is not gone on with under another.
#[tokio::test]
async fn b13_sessions_stay_with_their_name() {
    let upstreams = Upstreams::new();
    let (_upstream, gate) = pair(&upstreams, &["http/1.1"]);
    let mut config = rustls::ClientConfig::clone(gate.connector(&["http/1.1"]).config());
    config.resumption = Resumption::store(Arc::new(Mixed(ClientSessionMemoryCache::new(8))));
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    for (name, expected) in [
        ("one.pair.test", HandshakeKind::Full),
        ("one.pair.test", HandshakeKind::Resumed),
        ("two.pair.test", HandshakeKind::Full),
    ] {
        let stream = gate.tunnel(&format!("{name}:443")).await;
        let mut stream = connector.connect(server_name(name), stream).await.expect("a handshake");
        let request = format!("GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut reply = String::new();
        // Tickets come behind the handshake (RFC 8446, section 4.6.1).
        let _ = soon("the reply", stream.read_to_string(&mut reply)).await;
        assert_eq!(statuses(&reply), ["200"], "{reply}");
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(expected), "{name}");
    }
}

/// Certificates are kept for so many names, and none is made for a name that the policy does not reach.
#[tokio::test]
async fn b9_o7_certificates_are_bounded() {
    let upstreams = Upstreams::new();
    let gate = Plan::new(POLICY).limit("leaves=32").start(&upstreams);
    let kept = || {
        let shown = format!("{:?}", gate.gate);
        let (_, rest) = shown.split_once("CertificateAuthority(").expect("shown");
        rest.split_once(" leaves").and_then(|(count, _)| count.parse::<usize>().ok()).expect("a number")
    };
    for number in 0..5 {
        let (_, answer) = gate.connect(&format!("n{number}.other.test:443")).await;
        assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    }
    let mut odd = gate.tunnel("a.pair.test:443").await;
    odd.write_all(b"GET / HTTP/1.1\r\nHost: a.pair.test\r\nConnection: close\r\n\r\n").await.expect("sent");
    let _ = soon("the end", odd.read_to_end(&mut Vec::new())).await;
    assert_eq!(kept(), 0, "nothing that asked for one");
    for number in 0..200 {
        // With the name checked: what is pushed out is never handed out for another.
        gate.tls(&format!("n{number}.pair.test"), &["h2"]).await;
    }
    assert!((1..=32).contains(&kept()), "{}", kept());
    gate.tls("n0.pair.test", &["h2"]).await;
}

/// The proxy speaks HTTP alone: SOCKS in any version and with any command is refused, recorded, and leads nowhere.
#[tokio::test]
async fn h5_socks() {
    let raw = Raw::new(POLICY, OK);
    for stream in [
        // Greetings without and with a password; version 4 by address and by name; all commands at once behind a greeting.
        &b"\x05\x01\x00"[..],
        b"\x05\x02\x00\x02",
        b"\x04\x01\x01\xbb\x7f\x00\x00\x01\x00",
        b"\x04\x01\x01\xbb\x00\x00\x00\x01\x00api.test\x00",
        b"\x05\x01\x00\x05\x01\x00\x03\x08api.test\x01\xbb",
        b"\x05\x01\x00\x05\x02\x00\x03\x08api.test\x01\xbb",
        b"\x05\x01\x00\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00",
    ] {
        let before = raw.denied();
        let mut client = tokio::net::TcpStream::connect(raw.gate.address).await.expect("the gate listens");
        client.write_all(stream).await.expect("sent");
        client.shutdown().await.expect("ended");
        let mut reply = Vec::new();
        let _ = soon("the end", client.read_to_end(&mut reply)).await;
        let reply = String::from_utf8_lossy(&reply);
        assert!(reply.is_empty() || reply.starts_with("HTTP/1.1 400 "), "{stream:?}: {reply}");
        assert_eq!(raw.denied(), before + 1, "{stream:?} is recorded");
    }
    assert_eq!(raw.upstream.connections(), 0);
}

/// A host that is allowed and would pass requests on to others is asked for itself alone.
#[tokio::test]
async fn h6_a_proxy_behind_the_proxy() {
    let raw = Raw::new(POLICY, OK);
    for (line, status) in [
        ("GET http://evil.test/v1/x", "421"),
        ("GET https://evil.test/v1/x", "421"),
        ("GET http://api.test/v1/x", "421"),
        ("GET https://api.test:444/v1/x", "421"),
        ("CONNECT evil.test:443", "421"),
        ("CONNECT api.test:443", "400"),
    ] {
        let stream = format!("{line} HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n");
        let reply = raw.send(stream.as_bytes()).await;
        assert_eq!(statuses(&reply), [status], "{line}: {reply}");
    }
    assert_eq!(raw.upstream.connections(), 0);
}

/// A policy that names them opens neither this machine's loopback nor the proxy's own port.
#[tokio::test]
async fn j3_the_machine_itself() {
    let upstreams = Upstreams::new();
    let server = Scripted::serve(|mut stream| async move {
        let _ = stream.read(&mut [0]).await;
    });
    let port = server.address.port();
    let policy = format!(
        "version: 1\nnetwork_policies: {{own: {{endpoints: [{{host: 127.0.0.1, port: {port}, protocol: rest, access: full}}]}}}}\n"
    );
    let gate = Plan::new(&policy).start(&upstreams);
    for (authority, error) in [(server.address, "ssrf_denied"), (gate.address, "policy_denied")] {
        let mut client = tokio::net::TcpStream::connect(gate.address).await.expect("the gate listens");
        let request = format!("GET http://{authority}/ HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).await.expect("sent");
        let mut reply = String::new();
        soon("the refusal", client.read_to_string(&mut reply)).await.expect("text");
        assert!(reply.contains(error), "{authority}: {reply}");
    }
    assert_eq!(server.connections(), 0);
}
