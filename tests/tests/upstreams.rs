//! Upstreams that ask for more than they are due, and bodies that nobody reads.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_tests::loopback::{Body, Plan, Scripted, Upstreams, soon};
use tollgate_tests::raw::{Raw, statuses};
use tollgate_tests::websocket::head;

const POLICY: &str = "
version: 1
network_policies:
  all:
    endpoints:
    - {host: api.test, port: 443, protocol: rest, rules: [{allow: {method: '*', path: /v1/**}}]}
    - {host: api.test, port: 443, path: /graphql, protocol: graphql, access: full}
    - {host: api.test, port: 443, path: /rpc, protocol: json-rpc, rules: [{allow: {method: reports.list}}]}
";

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const GET: &[u8] = b"GET /v1/x HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n";

async fn ok(_: Request<Incoming>) -> Result<Response<Body>, std::convert::Infallible> {
    Ok(Response::new(Full::from("ok").boxed()))
}

/// An upstream that wants to know who asks gets no certificate, since none is bound to it.
#[tokio::test]
async fn b14_no_certificate_is_shown() {
    let upstreams = Upstreams::new();
    for (required, status) in [(false, "200"), (true, "502")] {
        let shown: Arc<Mutex<Vec<bool>>> = Arc::default();
        let kept = Arc::clone(&shown);
        let (chain, key) = upstreams.leaf("api.test");
        let mut roots = rustls::RootCertStore::empty();
        let pem = std::fs::read(upstreams.file()).expect("readable");
        let root = <rustls::pki_types::CertificateDer<'_> as rustls::pki_types::pem::PemObject>::from_pem_slice(&pem);
        roots.add(root.expect("a certificate")).expect("added");
        let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots));
        let verifier = if required { verifier } else { verifier.allow_unauthenticated() };
        let config = rustls::ServerConfig::builder().with_client_cert_verifier(verifier.build().expect("a verifier"));
        let config = config.with_single_cert(chain, key).expect("usable");
        let upstream = Scripted::serve_tls(Arc::new(config), move |stream| {
            kept.lock().expect("no panic").push(stream.get_ref().1.peer_certificates().is_some());
            async move {
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service_fn(ok))
                    .await;
            }
        });
        let gate = Plan::new(POLICY).pin("api.test:443", upstream.address).start(&upstreams);
        let reply = gate.raw("api.test", b"GET /v1/x HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n").await;
        assert_eq!(statuses(&reply), [status], "{reply}");
        assert_eq!(*shown.lock().expect("no panic"), if required { vec![] } else { vec![false] });
    }
}

/// Where an upstream sends a client, the client has to ask for itself.
#[tokio::test]
async fn j4_redirects_are_not_followed() {
    let raw = Raw::new(
        POLICY,
        b"HTTP/1.1 307 Temporary Redirect\r\nLocation: https://evil.test/v1/x\r\nContent-Length: 0\r\n\r\n",
    );
    let reply = raw.send(b"GET /v1/x HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n").await;
    assert_eq!(statuses(&reply), ["307"], "{reply}");
    assert!(reply.contains("https://evil.test/v1/x"), "{reply}");
    assert_eq!(raw.gate.events("request").len(), 1);
    assert_eq!(raw.upstream.connections(), 1);
    let (_, answer) = raw.gate.connect("evil.test:443").await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
}

/// What stands behind a multipart body's parts is read by servers in many ways: where a body is judged, it is none of them.
#[tokio::test]
async fn f11_a_multipart_body_is_not_judged() {
    let raw = Raw::new(POLICY, OK);
    let part =
        |name: &str, text: &str| format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n");
    let query = r#"{"query":"{ viewer }"}"#;
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"reports.list"}"#;
    let post = |path: &str, kind: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nHost: api.test\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
    };
    for path in ["/graphql", "/rpc"] {
        for kind in [
            "multipart/form-data; boundary=b",
            "multipart/form-data; boundary=b; boundary=c",
            "multipart/mixed; boundary=b",
            "multipart/related; type=\"application/json\"; boundary=b",
            "application/json, multipart/form-data; boundary=b",
            "application/json\r\nContent-Type: multipart/form-data; boundary=b",
            "application/x-www-form-urlencoded",
        ] {
            let parts = part("operations", query) + &part("map", "{}") + "--b--\r\n";
            for body in [&parts, &format!("{query}\r\n{parts}"), query, call] {
                let stream = post(path, kind, body);
                let reply = raw.send(stream.as_bytes()).await;
                assert!(matches!(statuses(&reply)[..], ["403" | "400" | "415"]), "{path} {kind} {body}: {reply}");
            }
        }
    }
    assert_eq!(raw.upstream.connections(), 0);
    for (path, body) in [("/graphql", query), ("/rpc", call)] {
        let reply = raw.send(post(path, "application/json", body).as_bytes()).await;
        assert_eq!(statuses(&reply), ["200"], "{path}: {reply}");
    }
}

/// A part of a reply could hold a part of a secret: where there may be one, none is asked for and none is taken.
#[tokio::test]
async fn g6_parts_of_replies() {
    const BOUND: &str = "x-tollgate: {credentials: {TOKEN: {bindings: [{host: api.test, header: authorization}]}}}\n";
    const PART: &[u8] = b"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-1/40\r\nContent-Length: 2\r\n\r\nth";
    let ranges = ["range: bytes=0-1\r\n", "if-range: \"x\"\r\n", "range: bytes=0-0,5-5\r\n"];
    for (bound, status) in [(true, "502"), (false, "206")] {
        let policy = if bound { format!("{POLICY}{BOUND}") } else { POLICY.to_owned() };
        let plan = Plan::new(&policy).secret("TOKEN", "the-real-value-0123456789", "the-placeholder-012345678");
        let raw = Raw::with(plan, PART);
        for range in ranges {
            let stream = format!(
                "GET /v1/x HTTP/1.1\r\nHost: api.test\r\n{range}If-None-Match: \"kept\"\r\nConnection: close\r\n\r\n"
            );
            let reply = raw.send(stream.as_bytes()).await;
            assert_eq!(statuses(&reply), [status], "{range}: {reply}");
            assert_eq!(reply.contains("reply_not_readable"), bound, "{reply}");
            let arrived = raw.arrived().to_ascii_lowercase();
            assert_eq!(arrived.contains(range), !bound, "{arrived}");
            assert!(arrived.contains("if-none-match: \"kept\""), "{arrived}");
        }
    }
}

/// An upstream that takes requests and breaks off gets each of them once; one that changes nothing a second time where the
/// connection had answered before (RFC 9110, section 9.2.2).
#[tokio::test]
async fn o9_what_was_sent_is_not_sent_again() {
    for served in [0, 1] {
        let upstreams = Upstreams::new();
        let heads: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&heads);
        let upstream = upstreams.serve("api.test", &["http/1.1"], move |mut stream| {
            let heads = Arc::clone(&kept);
            async move {
                for _ in 0..served {
                    head(&mut stream).await;
                    stream.write_all(OK).await.expect("sent");
                    stream.flush().await.expect("sent");
                }
                let last = head(&mut stream).await;
                heads.lock().expect("no panic").push(last);
            }
        });
        let gate = Plan::new(POLICY).pin("api.test:443", upstream.address).start(&upstreams);
        let mut client = gate.http1("api.test").await;
        for number in 0..=served {
            let request = Request::get("/v1/x").header("host", "api.test").body(Full::default().boxed());
            let reply = soon("a reply", client.send_request(request.expect("valid"))).await.expect("a reply");
            let expected = if served == 0 { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
            assert_eq!(reply.status(), expected, "{number}");
            reply.into_body().collect().await.expect("whole");
        }
        let broken = heads.lock().expect("no panic").len();
        assert_eq!((broken, upstream.connections()), (1, served + 1), "after {served} replies");
    }
}

/// An upstream that closes each connection as soon as it is there is not knocked at for ever.
#[tokio::test]
async fn o9_an_upstream_that_takes_nothing() {
    for protocols in [&["h2"][..], &["http/1.1"]] {
        let upstreams = Upstreams::new();
        let upstream = upstreams.serve("api.test", protocols, |stream| async move { drop(stream) });
        let gate = Plan::new(POLICY).pin("api.test:443", upstream.address).start(&upstreams);
        let reply = gate.raw("api.test", GET).await;
        assert_eq!(statuses(&reply), ["502"], "{reply}");
        assert!(upstream.connections() <= 4, "{} connections for one request", upstream.connections());
    }
}

/// Replies that do not end take the places of their own upstream and of no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o8_slow_replies_hold_up_nobody_else() {
    let upstreams = Upstreams::new();
    let slow = upstreams.serve("slow.test", &["http/1.1"], |mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx").await;
        let _ = stream.flush().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let quick = upstreams.serve("api.test", &["http/1.1"], |stream| async move {
        let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(stream), service_fn(ok)).await;
    });
    let policy = format!("{POLICY}    - {{host: slow.test, port: 443, protocol: rest, access: full}}\n");
    let plan = Plan::new(&policy).pin("slow.test:443", slow.address).pin("api.test:443", quick.address);
    let gate = plan.limit("upstream_connections=2").limit("connect_seconds=1").start(&upstreams);
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = gate.http1("slow.test").await;
        let request = Request::get("/x").header("host", "slow.test").body(Full::default().boxed()).expect("valid");
        let reply = soon("a head", client.send_request(request)).await.expect("a reply");
        assert_eq!(reply.status(), StatusCode::OK);
        held.push((client, reply));
    }
    let begun = Instant::now();
    let ask = b"GET /x HTTP/1.1\r\nHost: slow.test\r\nConnection: close\r\n\r\n";
    let (busy, served) = tokio::join!(gate.raw("slow.test", ask), gate.raw("api.test", GET));
    assert_eq!((&statuses(&busy)[..], &statuses(&served)[..]), (&["503"][..], &["200"][..]), "{busy} {served}");
    assert!(busy.contains("upstream_busy"), "{busy}");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(held);
    let again = soon("a place", async {
        loop {
            let mut client = gate.http1("slow.test").await;
            let request = Request::get("/x").header("host", "slow.test").body(Full::<bytes::Bytes>::default().boxed());
            let reply = client.send_request(request.expect("valid")).await.expect("a reply");
            if reply.status() == StatusCode::OK {
                return reply.status();
            }
        }
    });
    assert_eq!(again.await, StatusCode::OK);
}

/// All upstreams share one bound: connections that nobody uses make room, others are waited for and then refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn o8_all_upstreams_together_are_bounded() {
    let upstreams = Upstreams::new();
    let serve = |name: &'static str| {
        upstreams.serve(name, &["http/1.1"], |stream| async move {
            let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
            let _ = builder.serve_connection(TokioIo::new(stream), service_fn(ok)).await;
        })
    };
    let names = ["a.test", "b.test", "c.test", "d.test"];
    let serving = names.map(serve);
    let slow = upstreams.serve("slow.test", &["http/1.1"], |mut stream| async move {
        head(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nx").await;
        let _ = stream.flush().await;
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let mut policy = POLICY.to_owned();
    for name in names.iter().chain(&["slow.test"]) {
        policy += &format!("    - {{host: {name}, port: 443, protocol: rest, access: full}}\n");
    }
    let mut plan = Plan::new(&policy).pin("slow.test:443", slow.address);
    for (name, upstream) in names.iter().zip(&serving) {
        plan = plan.pin(&format!("{name}:443"), upstream.address);
    }
    let gate = plan.limit("all_upstream_connections=2").limit("connect_seconds=1").start(&upstreams);
    let ask = |name: &str| format!("GET /x HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n");
    // Each leaves an idle connection behind, which the next but one takes the place of.
    for name in names.iter().chain(&names) {
        let reply = gate.raw(name, ask(name).as_bytes()).await;
        assert_eq!(statuses(&reply), ["200"], "{name}: {reply}");
    }
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut client = gate.http1("slow.test").await;
        let request = Request::get("/x").header("host", "slow.test").body(Full::default().boxed()).expect("valid");
        held.push((soon("a head", client.send_request(request)).await.expect("a reply"), client));
    }
    let refused = gate.raw("a.test", ask("a.test").as_bytes()).await;
    assert_eq!(statuses(&refused), ["503"], "{refused}");
    assert!(refused.contains("upstream_busy") && refused.contains("as many connections"), "{refused}");
    drop(held);
    let served =
        soon("a place", async { while statuses(&gate.raw("a.test", ask("a.test").as_bytes()).await) != ["200"] {} });
    served.await;
}

/// The length that a gRPC message claims is believed by nobody here: it passes as it is, or is refused unread.
#[tokio::test]
async fn d10_o10_a_message_that_claims_to_be_huge() {
    let upstreams = Upstreams::new();
    let upstream = upstreams.serve("api.test", &["h2"], |stream| async move {
        let service = service_fn(|request: Request<Incoming>| async move {
            let length = request.into_body().collect().await.map_or(0, |body| body.to_bytes().len());
            Ok::<_, std::convert::Infallible>(Response::new(Full::<bytes::Bytes>::from(length.to_string())))
        });
        let builder = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    });
    let gate = Plan::new(POLICY).pin("api.test:443", upstream.address).start(&upstreams);
    let mut client = gate.http2("api.test").await;
    // A flag for compression and four gibibytes, of which five bytes come.
    let message: &[u8] = b"\x01\xff\xff\xff\xffhello";
    for (path, expected) in [("/v2/Service/Call", Some("7")), ("/v1/Service/Call", None)] {
        let request = Request::post(format!("https://api.test{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("grpc-timeout", "99999999H")
            .body(Full::from(message).boxed());
        let reply = soon("a reply", client.send_request(request.expect("valid"))).await.expect("a reply");
        let status = reply.headers().get("grpc-status").map(|status| status.to_str().expect("text").to_owned());
        assert_eq!(status.as_deref(), expected, "{path}");
        let said = reply.into_body().collect().await.expect("whole").to_bytes();
        assert_eq!(&said[..], if expected.is_some() { &b""[..] } else { b"10" });
    }
    assert_eq!(upstream.connections(), 1);
}
