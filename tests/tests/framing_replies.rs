//! Replies whose end two readers could find in different places: 502 with the reason, and a new connection afterwards.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_tests::loopback::{Body, Loopback, Plan, Scripted, Upstreams, soon};

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
    - {host: api.test, port: 443, protocol: rest, access: full}
";

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";

/// An upstream that answers the first request of its first connection with these bytes, all others with [`OK`], and
/// keeps what it was sent. Heads have no body here.
fn upstream(upstreams: &Upstreams, reply: Vec<u8>) -> (Scripted, Arc<Mutex<Vec<u8>>>) {
    let first = Arc::new(Mutex::new(Some(reply)));
    let arrived: Arc<Mutex<Vec<u8>>> = Arc::default();
    let all = Arc::clone(&arrived);
    let served = upstreams.serve("api.test", &["http/1.1"], move |mut stream| {
        let (first, all) = (Arc::clone(&first), Arc::clone(&all));
        async move {
            let mut head = Vec::new();
            while let Ok(byte) = stream.read_u8().await {
                head.push(byte);
                all.lock().expect("no panic").push(byte);
                if !head.ends_with(b"\r\n\r\n") {
                    continue;
                }
                head.clear();
                let reply = first.lock().expect("no panic").take().unwrap_or_else(|| OK.as_bytes().to_vec());
                if stream.write_all(&reply).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
        }
    });
    (served, arrived)
}

fn start(upstreams: &Upstreams, upstream: &Scripted) -> Loopback {
    Plan::new(POLICY).pin("api.test:443", upstream.address).start(upstreams)
}

async fn ask(gate: &Loopback, method: Method) -> (StatusCode, String) {
    let empty: Body = http_body_util::Full::default().boxed();
    let request = Request::builder().method(method).uri("/x").header("host", "api.test").body(empty);
    let sent = gate.http1("api.test").await.send_request(request.expect("a request")).await;
    let reply = sent.expect("a reply");
    let status = reply.status();
    let body = soon(&format!("the body of {status}"), reply.into_body().collect()).await;
    let body = body.map(|body| body.to_bytes()).unwrap_or_default();
    (status, String::from_utf8_lossy(&body).into_owned())
}

/// The reply is refused in these words, and the next request gets a connection and a reply of its own.
async fn check(reply: &str, why: &str) {
    let upstreams = Upstreams::new();
    let (upstream, _) = upstream(&upstreams, reply.as_bytes().to_vec());
    let gate = start(&upstreams, &upstream);
    let (status, body) = ask(&gate, Method::GET).await;
    let reply: String = reply.chars().take(200).collect();
    assert_eq!(status, StatusCode::BAD_GATEWAY, "{reply:?}: {body}");
    assert!(body.contains("\"upstream_broken\"") && body.contains(why), "{reply:?}: {body}");
    assert!(!body.contains("smuggled"), "{reply:?}: {body}");
    assert_eq!(ask(&gate, Method::GET).await, (StatusCode::OK, "fine".to_owned()), "{reply:?}");
    assert_eq!(upstream.connections(), 2, "{reply:?}");
}

const SMUGGLED: &str = "HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nsmuggled";

#[tokio::test]
async fn c11_two_lengths() {
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", "").await;
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nab", "more than one Content-Length").await;
    check("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nab", "more than one Content-Length").await;
    check("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab", "").await;
}

#[tokio::test]
async fn c11_a_length_beside_a_coding() {
    for lines in ["Content-Length: 5\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 5"]
    {
        check(&format!("HTTP/1.1 200 OK\r\n{lines}\r\n\r\n0\r\n\r\n{SMUGGLED}"), "both").await;
    }
}

#[tokio::test]
async fn c11_codings() {
    for value in ["identity", "gzip, chunked", "chunked, chunked", "xchunked", "chunked\r\nTransfer-Encoding: chunked"]
    {
        check(&format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {value}\r\n\r\n0\r\n\r\n"), "transfer coding").await;
    }
    check("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "").await;
}

#[tokio::test]
async fn c11_a_switch_that_nobody_asked_for() {
    check(
        &format!("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n{SMUGGLED}"),
        "unasked",
    )
    .await;
}

#[tokio::test]
async fn c11_interim_replies_are_bounded() {
    let flood = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(17);
    check(&flood, "interim").await;
    let upstreams = Upstreams::new();
    let some = "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n".repeat(16);
    let (upstream, _) = upstream(&upstreams, format!("{some}{OK}").into_bytes());
    let gate = start(&upstreams, &upstream);
    assert_eq!(ask(&gate, Method::GET).await, (StatusCode::OK, "fine".to_owned()));
}

#[tokio::test]
async fn c11_lines() {
    check("HTTP/1.1 200 OK\r\nX: y\r\n folded\r\nContent-Length: 2\r\n\r\nab", "").await;
    check("HTTP/1.1 200 OK\r\nContent-Length : 2\r\n\r\nab", "").await;
    check("HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 2\r\n\r\nab", "").await;
    check("HTTP/1.1 2000 OK\r\n\r\n", "").await;
    check("ICY 200 OK\r\n\r\n", "").await;
    check(&format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(300 * 1024)), "").await;
}

/// What stands behind a reply is nobody's: the connection is not used again.
#[tokio::test]
async fn c11_bytes_behind_a_reply() {
    let no_body = [
        (Method::GET, format!("{OK}{SMUGGLED}")),
        (Method::HEAD, format!("HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n{SMUGGLED}")),
        (Method::GET, format!("HTTP/1.1 204 No Content\r\n\r\n{SMUGGLED}")),
        (Method::GET, format!("HTTP/1.1 304 Not Modified\r\nContent-Length: 60\r\n\r\n{SMUGGLED}")),
    ];
    for (method, reply) in no_body {
        let upstreams = Upstreams::new();
        let (upstream, _) = upstream(&upstreams, reply.clone().into_bytes());
        let gate = start(&upstreams, &upstream);
        let (status, body) = ask(&gate, method).await;
        assert!(status != StatusCode::BAD_GATEWAY && !body.contains("smuggled"), "{reply:?}: {status} {body}");
        for _ in 0..2 {
            assert_eq!(ask(&gate, Method::GET).await, (StatusCode::OK, "fine".to_owned()), "{reply:?}");
        }
        assert_eq!(upstream.connections(), 2, "{reply:?}");
    }
}

/// A 204 has no length (RFC 9110, section 8.6), whatever the upstream says: the client would wait for it.
#[tokio::test]
async fn c8_no_length_without_a_body() {
    let upstreams = Upstreams::new();
    let (upstream, _) = upstream(&upstreams, b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n".to_vec());
    let gate = start(&upstreams, &upstream);
    let stream = b"GET /x HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n";
    let reply = gate.raw("api.test", stream).await.to_ascii_lowercase();
    assert!(reply.starts_with("http/1.1 204 ") && !reply.contains("content-length"), "{reply}");
}

/// A body whose length nobody knows arrives whole, for every method.
#[tokio::test]
async fn c8_bodies_of_unknown_length() {
    for method in [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS, Method::POST] {
        let upstreams = Upstreams::new();
        let (upstream, arrived) = upstream(&upstreams, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n".to_vec());
        let gate = start(&upstreams, &upstream);
        let frames = [Ok(Frame::data(Bytes::from("unknown"))), Ok(Frame::data(Bytes::from(" length")))];
        let body = StreamBody::new(tokio_stream::iter(frames)).boxed();
        let request = Request::builder().method(method.clone()).uri("https://api.test/x").header("x", "y").body(body);
        let reply = gate.http2("api.test").await.send_request(request.expect("a request")).await.expect("a reply");
        assert_eq!(reply.status(), StatusCode::OK, "{method}");
        let whole = async {
            loop {
                let text = String::from_utf8_lossy(&arrived.lock().expect("no panic")).into_owned();
                if text.ends_with("0\r\n\r\n") {
                    return text;
                }
                tokio::task::yield_now().await;
            }
        };
        let text = soon("the end of the body", whole).await;
        assert!(text.contains("transfer-encoding: chunked"), "{method}: {text}");
        assert!(text.contains("unknown") && text.contains(" length"), "{method}: {text}");
    }
}

/// An upstream that answers before it has read the body: what it did not read is not the next request.
#[tokio::test]
async fn c10_an_answer_before_the_body() {
    let upstreams = Upstreams::new();
    let (upstream, _) = upstream(&upstreams, b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno".to_vec());
    let gate = start(&upstreams, &upstream);
    let mut client = gate.tls("api.test", &["http/1.1"]).await;
    let head = b"POST /x HTTP/1.1\r\nHost: api.test\r\nContent-Length: 100\r\n\r\nGET /hidden HTTP/1.1\r\n";
    client.write_all(head).await.expect("sent");
    let mut status = [0; 12];
    soon("the early answer", client.read_exact(&mut status)).await.expect("an answer");
    assert_eq!(&status, b"HTTP/1.1 413");
    assert_eq!(ask(&gate, Method::GET).await, (StatusCode::OK, "fine".to_owned()));
    assert_eq!(upstream.connections(), 2);
}
