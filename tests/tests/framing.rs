//! Requests whose framing two readers could take differently: refused with a reason, and no byte of them arrives.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_tests::loopback::soon;
use tollgate_tests::raw::{Raw, statuses};

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
    - {host: api.test, port: 443, protocol: rest, access: full}
    - {host: api.test, port: 80, protocol: rest, access: full}
";

struct Bench(Raw);

impl Bench {
    fn new() -> Self {
        Self(Raw::new(POLICY, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
    }

    async fn send(&self, stream: &[u8]) -> String {
        self.0.send(stream).await
    }

    fn arrived(&self) -> String {
        self.0.arrived()
    }

    /// The stream is refused as a whole, in these words.
    #[track_caller]
    fn check_reply(&self, stream: &[u8], reply: &str, status: u16, detail: &str) {
        let sent = String::from_utf8_lossy(stream);
        let sent: String = sent.chars().take(300).collect();
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{sent:?}: {reply}");
        assert!(reply.contains("content-type: application/problem+json"), "{sent:?}: {reply}");
        assert!(reply.contains("connection: close"), "{sent:?}: {reply}");
        assert!(reply.contains(detail), "{sent:?}: {reply}");
        assert_eq!(reply.matches("content-length: ").count(), 1, "one answer, then the end: {reply}");
        assert_eq!(self.0.upstream.connections(), 0, "{sent:?}");
    }

    async fn check(&self, stream: &[u8], status: u16, detail: &str) {
        let before = self.0.denied();
        let reply = self.send(stream).await;
        self.check_reply(stream, &reply, status, detail);
        assert_eq!(self.0.denied(), before + 1, "{:?} is recorded", String::from_utf8_lossy(stream));
    }

    async fn check_headers(&self, lines: &str, body: &str, detail: &str) {
        let stream = format!("POST /x HTTP/1.1\r\nHost: api.test\r\n{lines}\r\n\r\n{body}");
        self.check(stream.as_bytes(), 400, detail).await;
    }
}

/// A request that a server would find in the body of the one before it.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: api.test\r\n\r\n";

#[tokio::test]
async fn c1_a_length_beside_a_coding() {
    let bench = Bench::new();
    let body = format!("0\r\n\r\n{HIDDEN}");
    for lines in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 5",
        "Transfer-Encoding: chunked\r\nContent-Length: 0",
        "Content-Length: x\r\nTransfer-Encoding: chunked",
    ] {
        let detail = if lines.starts_with("Content-Length: x") { "Content-Length" } else { "both" };
        bench.check_headers(lines, &body, detail).await;
    }
}

#[tokio::test]
async fn c2_lengths() {
    let bench = Bench::new();
    for value in [
        "5\r\nContent-Length: 6",
        "5\r\nContent-Length: 5",
        "5, 5",
        "+5",
        "-5",
        "0x5",
        "",
        "5 5",
        "18446744073709551621",
    ] {
        bench.check_headers(&format!("Content-Length: {value}"), &format!("hello{HIDDEN}"), "Content-Length").await;
    }
    bench.check_headers("Content_Length: 5", "hello", "Content-Length").await;
}

#[tokio::test]
async fn c3_codings() {
    let bench = Bench::new();
    for value in [
        "chunkedx",
        "xchunked",
        "chunked\t",
        "identity",
        "identity, chunked",
        "gzip, chunked",
        "chunked, chunked",
        "chunked, identity",
        "",
        "chunked\r\nTransfer-Encoding: identity",
        "chunked\r\ntRANSFER-ENCODING: chunked",
    ] {
        bench.check_headers(&format!("Transfer-Encoding: {value}"), "0\r\n\r\n", "Transfer-Encoding").await;
    }
    bench.check_headers("Transfer-Encoding : chunked", "0\r\n\r\n", "no valid name").await;
    bench.check_headers("Transfer-Encoding\t: chunked", "0\r\n\r\n", "no valid name").await;
    let old = b"POST /x HTTP/1.0\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    bench.check(old, 400, "Transfer-Encoding").await;
}

/// The head may have gone on by then, but the upstream never sees an end to it, and no second request.
#[tokio::test]
async fn c4_chunks() {
    let extension = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(5000));
    for chunks in [
        "0x5\r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "5\nhello\n0\n\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5;a\rb\r\nhello\r\n0\r\n\r\n",
        "8000000000000000\r\nhello",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        &extension,
    ] {
        let bench = Bench::new();
        let stream =
            format!("POST /x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{HIDDEN}");
        let reply = bench.send(stream.as_bytes()).await;
        assert!(reply.starts_with("HTTP/1.1 400 "), "{chunks:?}: {reply}");
        assert!(reply.contains("chunked body is wrong"), "{chunks:?}: {reply}");
        assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "{reply}");
        let arrived = bench.arrived();
        assert!(!arrived.contains("0\r\n\r\n") && !arrived.contains("hidden"), "{chunks:?}: {arrived}");
        assert!(bench.0.upstream.connections() <= 1);
    }
}

/// What is taken of chunks goes on as the gate's own.
#[tokio::test]
async fn c4_c5_extensions_and_trailers_stay_here() {
    let bench = Bench::new();
    let stream = "POST /x HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
                  5;name=\"value\"\r\nhello\r\n0\r\nAuthorization: x\r\nHost: y\r\nContent-Length: 3\r\n\r\n";
    let reply = bench.send(stream.as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    let arrived = bench.arrived();
    assert!(arrived.contains("hello") && arrived.contains("transfer-encoding: chunked"), "{arrived}");
    for gone in ["value", "authorization", "uthorization", "Host: y", "ontent-"] {
        assert!(!arrived.contains(gone), "{gone}: {arrived}");
    }
}

#[tokio::test]
async fn c6_lines() {
    let bench = Bench::new();
    bench.check(b"GET /x HTTP/1.1\nHost: api.test\n\n", 400, "carriage return").await;
    bench.check(b"GET /x HTTP/1.1\r\nHost: api.test\n\r\n", 400, "carriage return").await;
    bench.check(b"\r\nGET /x HTTP/1.1\r\nHost: api.test\r\n\r\n", 400, "request line").await;
    bench.check_headers("X: y\rz", "", "control character").await;
    bench.check_headers("X: y\r\n folded", "", "no valid name").await;
    bench.check_headers("X: y\r\n\tfolded: 1", "", "no valid name").await;
    bench.check_headers("X: a\0b", "", "control character").await;
    bench.check_headers("X\0: b", "", "no valid name").await;
    bench.check_headers("X : b", "", "no valid name").await;
    bench.check_headers("X", "", "no valid name").await;
}

#[tokio::test]
async fn c9_request_lines() {
    let bench = Bench::new();
    for line in [
        "GET  /x HTTP/1.1",
        "GET /x  HTTP/1.1",
        "GET /x",
        "GET /x ",
        "GET /x HTTP/1.10",
        "GET /x http/1.1",
        "GET /x#y HTTP/1.1",
        "GET https://api.test/x#y HTTP/1.1",
        "GET /\x01 HTTP/1.1",
    ] {
        bench.check(format!("{line}\r\nHost: api.test\r\n\r\n").as_bytes(), 400, "invalid_request").await;
    }
    for version in ["HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3.0"] {
        let stream = format!("GET /x {version}\r\nHost: api.test\r\n\r\n");
        bench.check(stream.as_bytes(), 505, "unsupported_http_version").await;
    }
}

#[tokio::test]
async fn a13_hosts() {
    let bench = Bench::new();
    bench.check(b"GET /x HTTP/1.1\r\n\r\n", 400, "exactly one Host").await;
    bench.check(b"GET /x HTTP/1.1\r\nHost: api.test\r\nHost: api.test\r\n\r\n", 400, "exactly one Host").await;
    let empty = bench.send(b"GET /x HTTP/1.1\r\nHost: \r\nConnection: close\r\n\r\n").await;
    assert!(empty.starts_with("HTTP/1.1 4"), "{empty}");
    assert_eq!(bench.0.upstream.connections(), 0);
}

#[tokio::test]
async fn c15_http2_without_an_agreement() {
    let bench = Bench::new();
    bench.check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", 505, "unsupported_http_version").await;
    let stream = "GET /x HTTP/1.1\r\nHost: api.test\r\nConnection: Upgrade, HTTP2-Settings, close\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n\r\n";
    let reply = bench.send(stream.as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 200 "), "{reply}");
    let arrived = bench.arrived().to_ascii_lowercase();
    assert!(!arrived.contains("upgrade") && !arrived.contains("http2"), "{arrived}");
}

#[tokio::test]
async fn c16_heads_are_bounded() {
    let bench = Bench::new();
    let many = "x: y\r\n".repeat(5000);
    bench
        .check(format!("GET /x HTTP/1.1\r\nHost: api.test\r\n{many}\r\n").as_bytes(), 431, "request_head_too_large")
        .await;
    let long = format!("GET /x HTTP/1.1\r\nHost: api.test\r\nx: {}", "y".repeat(70_000));
    bench.check(long.as_bytes(), 431, "request_head_too_large").await;
}

#[tokio::test]
async fn a_head_that_breaks_off() {
    let bench = Bench::new();
    // In TLS a client that ends has gone; in the clear it may still listen.
    let mut client = tokio::net::TcpStream::connect(bench.0.gate.address).await.expect("the gate listens");
    client.write_all(b"GET http://api.test/ HTTP/1.1\r\nHost: api").await.expect("sent");
    client.shutdown().await.expect("half closed");
    let mut reply = String::new();
    soon("the refusal", client.read_to_string(&mut reply)).await.expect("text");
    bench.check_reply(b"", &reply, 400, "breaks off");
}

/// Requests in one piece are answered in their order; the one that is wrong ends the connection.
#[tokio::test]
async fn c7_pipelined_requests_are_judged_one_by_one() {
    let bench = Bench::new();
    let sound = "GET /1 HTTP/1.1\r\nHost: api.test\r\n\r\n\
                 POST /2 HTTP/1.1\r\nHost: api.test\r\nContent-Length: 5\r\n\r\nhello\
                 POST /3 HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n";
    let wrong = format!(
        "POST /4 HTTP/1.1\r\nHost: api.test\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n{HIDDEN}"
    );
    let reply = bench.send(format!("{sound}{wrong}").as_bytes()).await;
    assert_eq!(statuses(&reply), ["200", "200", "200", "400"], "{reply}");
    let arrived = bench.arrived();
    assert!(["GET /1 ", "POST /2 ", "POST /3 "].iter().all(|line| arrived.contains(line)), "{arrived}");
    assert!(!arrived.contains("/4") && !arrived.contains("hidden"), "{arrived}");
}

/// A request that is not let in takes none of what follows it down with it, and lets none of it through.
#[tokio::test]
async fn c14_the_second_request_on_a_connection_is_judged_too() {
    let bench = Bench::new();
    let stream = "GET /x HTTP/1.1\r\nHost: api.test\r\n\r\nGET /x HTTP/1.1\r\nHost: other.test\r\n\r\n\
                  GET /y HTTP/1.1\r\nHost: api.test\r\nConnection: close\r\n\r\n";
    let reply = bench.send(stream.as_bytes()).await;
    assert_eq!(statuses(&reply), ["200", "421", "200"], "{reply}");
    assert!(!bench.arrived().contains("other.test"));
}

/// Behind a request that asks for another protocol nothing is read as HTTP any more.
#[tokio::test]
async fn e1_a_refused_switch_is_the_last_request() {
    let bench = Bench::new();
    let stream = format!("GET /x HTTP/1.1\r\nHost: api.test\r\nUpgrade: websocket\r\n\r\n{HIDDEN}");
    let reply = bench.send(stream.as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 200 ") && reply.contains("connection: close"), "{reply}");
    assert_eq!(reply.matches("HTTP/1.1 ").count(), 1, "{reply}");
    assert!(!bench.arrived().contains("hidden"));
    let stream =
        format!("POST /x HTTP/1.1\r\nHost: api.test\r\nUpgrade: websocket\r\nContent-Length: 5\r\n\r\nhello{HIDDEN}");
    let reply = bench.send(stream.as_bytes()).await;
    assert!(reply.starts_with("HTTP/1.1 400 ") && reply.contains("has no body"), "{reply}");
}

/// The same on the proxy's own port, where requests come in absolute form and tunnels are asked for.
#[tokio::test]
async fn c1_c6_on_the_proxy_port() {
    let bench = Bench::new();
    for (stream, detail) in [
        (
            "GET http://api.test/ HTTP/1.1\r\nHost: api.test\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "both",
        ),
        ("GET http://api.test/ HTTP/1.1\nHost: api.test\n\n", "carriage return"),
        ("CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\nContent-Length: 5\r\n\r\nhello", "has no body"),
        ("CONNECT api.test:443 HTTP/1.1\r\nHost: api.test:443\r\nHost: b\r\n\r\n", "exactly one Host"),
    ] {
        let mut client = tokio::net::TcpStream::connect(bench.0.gate.address).await.expect("the gate listens");
        client.write_all(stream.as_bytes()).await.expect("sent");
        let mut reply = String::new();
        soon("the refusal", client.read_to_string(&mut reply)).await.expect("text");
        bench.check_reply(stream.as_bytes(), &reply, 400, detail);
    }
}

/// A CONNECT that is refused is not followed by requests in the clear.
#[tokio::test]
async fn h2_a_refused_connect_ends_the_connection() {
    let bench = Bench::new();
    let mut client = tokio::net::TcpStream::connect(bench.0.gate.address).await.expect("the gate listens");
    let stream = "CONNECT other.test:443 HTTP/1.1\r\nHost: other.test:443\r\n\r\nGET http://api.test/ HTTP/1.1\r\nHost: api.test\r\n\r\n";
    client.write_all(stream.as_bytes()).await.expect("sent");
    let mut reply = String::new();
    soon("the refusal", client.read_to_string(&mut reply)).await.expect("text");
    bench.check_reply(stream.as_bytes(), &reply, 403, "policy_denied");
}
