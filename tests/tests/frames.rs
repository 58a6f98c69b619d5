//! HTTP/2 in frames: requests that hide something are refused, floods end their own connection and no other.

use http::Request;
use http_body_util::{BodyExt, Full};
use tokio::io::AsyncWriteExt;
use tollgate_tests::frames::*;
use tollgate_tests::loopback::{Body, Plan, soon};
use tollgate_tests::raw::Raw;

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
    - {host: api.test, port: 443, protocol: rest, rules: [{allow: {method: GET, path: /v1/**}}, {allow: {method: POST, path: /v1/**}}]}
";

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "api.test"), (":path", "/v1/x")];

fn raw() -> Raw {
    Raw::new(POLICY, OK)
}

/// The request of [`GET`] with one header replaced, or one more at the end.
fn with(name: &'static str, value: &'static str) -> Vec<(&'static str, &'static str)> {
    let mut headers = GET.to_vec();
    match headers.iter_mut().find(|(known, _)| *known == name) {
        Some(header) => header.1 = value,
        None => headers.push((name, value)),
    }
    headers
}

async fn fate(raw: &Raw, frames: &[Vec<u8>]) -> Fate {
    let bytes = [beginning(&[]), frames.concat()].concat();
    Frames::open(&raw.gate, "api.test", &bytes).await.fate(1).await
}

/// A request of one header block, which is refused in some way; the upstream hears nothing of it.
async fn check(raw: &Raw, headers: &[(&str, &str)]) {
    let fate = fate(raw, &[frame(HEADERS, ENDS, 1, &block(headers))]).await;
    assert!(!matches!(fate, Fate::Served | Fate::Closed), "{headers:?}: {fate:?}");
    assert_eq!(raw.upstream.connections(), 0, "{headers:?}");
}

async fn check_frames(raw: &Raw, what: &str, frames: &[Vec<u8>]) {
    let fate = fate(raw, frames).await;
    assert!(!matches!(fate, Fate::Served | Fate::Closed), "{what}: {fate:?}");
    assert_eq!(raw.upstream.connections(), 0, "{what}");
}

/// An honest client, at the same time.
async fn is_served(raw: &Raw) {
    let empty: Body = Full::default().boxed();
    let request = Request::get("https://api.test/v1/x").body(empty).expect("a request");
    let reply = soon("a reply for another client", async {
        let mut client = raw.gate.http2("api.test").await;
        client.send_request(request).await
    });
    assert_eq!(reply.await.expect("a reply").status(), 200);
}

#[tokio::test]
async fn the_frames_are_right() {
    let raw = raw();
    assert_eq!(fate(&raw, &[frame(HEADERS, ENDS, 1, &block(&GET))]).await, Fate::Served);
    let post = block(&with(":method", "POST"));
    let frames = [frame(HEADERS, END_HEADERS, 1, &post), frame(DATA, END_STREAM, 1, b"hello")];
    assert_eq!(fate(&raw, &frames).await, Fate::Served);
    let (one, two) = post.split_at(10);
    let frames = [frame(HEADERS, END_STREAM, 1, one), frame(CONTINUATION, END_HEADERS, 1, two)];
    assert_eq!(fate(&raw, &frames).await, Fate::Served);
}

#[tokio::test]
async fn d5_lines_of_http1_in_headers() {
    let raw = raw();
    for path in ["/v1/x HTTP/1.1\r\nEvil: 1\r\n\r\nGET /", "/v1/x y", "/v1/x\r\n", "/v1/x\0", "/v1/\u{e4}", "v1/x", ""]
    {
        check(&raw, &with(":path", path)).await;
    }
    for method in ["GET / HTTP/1.1\r\nEvil: 1\r\n\r\nGET", "GE T", "", "GET\r\n", "CONNECT", "G\0T"] {
        check(&raw, &with(":method", method)).await;
    }
    for authority in
        ["api.test\r\nEvil: 1", "api.test evil", "user@api.test", "evil.test", "api.test:444", "", "api.test/x"]
    {
        check(&raw, &with(":authority", authority)).await;
    }
    for (name, value) in [
        ("x", "1\r\nEvil: 1"),
        ("x", "1\0"),
        ("x", "1\n"),
        ("x\r\nevil", "1"),
        ("x y", "1"),
        ("x: y", "1"),
        ("X-Upper", "1"),
        ("", "1"),
        ("x\0", "1"),
    ] {
        check(&raw, &with(name, value)).await;
    }
}

#[tokio::test]
async fn d6_headers_of_a_connection() {
    let raw = raw();
    for (name, value) in [
        ("connection", "close"),
        ("transfer-encoding", "chunked"),
        ("keep-alive", "5"),
        ("proxy-connection", "close"),
        ("upgrade", "h2c"),
        ("te", "gzip"),
    ] {
        check(&raw, &with(name, value)).await;
    }
    for (length, body) in [("10", "hello"), ("2", "hello"), ("x", "hello"), ("+5", "hello")] {
        let mut headers = with("content-length", length);
        headers[0].1 = "POST";
        let frames = [frame(HEADERS, END_HEADERS, 1, &block(&headers)), frame(DATA, END_STREAM, 1, body.as_bytes())];
        let fate = fate(&raw, &frames).await;
        assert!(!matches!(fate, Fate::Served | Fate::Closed), "{length}: {fate:?}");
        assert!(!raw.arrived().contains("hello"), "{length}: {}", raw.arrived());
    }
}

#[tokio::test]
async fn d7_pseudo_headers() {
    let raw = raw();
    for missing in [":method", ":path", ":scheme"] {
        let headers: Vec<_> = GET.into_iter().filter(|(name, _)| *name != missing).collect();
        check(&raw, &headers).await;
    }
    for (name, value) in GET {
        check(&raw, &[&GET[..], &[(name, value)]].concat()).await;
    }
    check(&raw, &[&[("x", "1")], &GET[..]].concat()).await;
    check(&raw, &with(":status", "200")).await;
    check(&raw, &with(":unknown", "1")).await;
    check(&raw, &with(":path", "*")).await;
    check(&raw, &with(":scheme", "http")).await;
    check(&raw, &with(":scheme", "ftp")).await;
    check(&raw, &with("host", "evil.test")).await;
    check(&raw, &[&GET[..], &[("host", "api.test"), ("host", "api.test")]].concat()).await;
}

#[tokio::test]
async fn d8_d9_frames_out_of_order() {
    let raw = raw();
    let get = block(&GET);
    let connect = [
        (":method", "CONNECT"),
        (":protocol", "connect-udp"),
        (":scheme", "https"),
        (":authority", "api.test"),
        (":path", "/v1/x"),
    ];
    check(&raw, &connect).await;
    check(&raw, &[(":method", "CONNECT"), (":authority", "evil.test:443")]).await;
    check_frames(&raw, "data first", &[frame(DATA, END_STREAM, 1, b"hello")]).await;
    check_frames(&raw, "a push", &[frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2][..], &get].concat())]).await;
    check_frames(&raw, "an even stream", &[frame(HEADERS, ENDS, 2, &get)]).await;
    check_frames(&raw, "stream zero", &[frame(HEADERS, ENDS, 0, &get)]).await;
    check_frames(&raw, "a continuation alone", &[frame(CONTINUATION, END_HEADERS, 1, &get)]).await;
    check_frames(&raw, "a gap in a block", &[frame(HEADERS, END_STREAM, 1, &get[..9]), frame(PING, 0, 0, &[0; 8])])
        .await;
    check_frames(&raw, "a window of nothing", &[frame(WINDOW_UPDATE, 0, 0, &[0; 4])]).await;
    check_frames(&raw, "a window too wide", &[frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])]).await;
    check_frames(&raw, "settings in part", &[frame(SETTINGS, 0, 0, &[0; 5])]).await;
    check_frames(&raw, "an initial window too wide", &[frame(SETTINGS, 0, 0, &[0, 4, 0xff, 0xff, 0xff, 0xff])]).await;
    check_frames(&raw, "a frame too long", &[frame(HEADERS, ENDS, 1, &[0; 20_000])]).await;
    check_frames(&raw, "an index of nothing", &[frame(HEADERS, ENDS, 1, &[0xff, 0xff, 0xff, 0xff, 0x0f])]).await;
}

/// What a request goes on with after its end, or in its trailers, does not arrive.
#[tokio::test]
async fn d9_what_follows_a_body() {
    let raw = raw();
    let post = block(&with(":method", "POST"));
    let late = [frame(HEADERS, ENDS, 1, &post), frame(DATA, END_STREAM, 1, b"late")];
    fate(&raw, &late).await;
    let trailers = block(&[(":path", "/v2/y"), ("authorization", "late")]);
    let frames =
        [frame(HEADERS, END_HEADERS, 1, &post), frame(DATA, 0, 1, b"body"), frame(HEADERS, ENDS, 1, &trailers)];
    fate(&raw, &frames).await;
    let trailers = block(&[("authorization", "late"), ("x-late", "late")]);
    let frames =
        [frame(HEADERS, END_HEADERS, 1, &post), frame(DATA, 0, 1, b"body"), frame(HEADERS, ENDS, 1, &trailers)];
    fate(&raw, &frames).await;
    is_served(&raw).await;
    assert!(!raw.arrived().contains("late") && !raw.arrived().contains("/v2/y"), "{}", raw.arrived());
}

#[tokio::test]
async fn d4_bombs_of_headers() {
    let raw = raw();
    let value = "y".repeat(3900);
    let block = bomb(&GET, &value, 12_000);
    check_frames(&raw, "a table that is named again and again", &[frame(HEADERS, ENDS, 1, &block)]).await;
    is_served(&raw).await;
}

#[tokio::test]
async fn d2_blocks_without_an_end() {
    for size in [0, 1, 16_000] {
        let raw = raw();
        let mut bytes = [beginning(&[]), frame(HEADERS, END_STREAM, 1, &block(&GET))].concat();
        let piece = match size {
            16_000 => block(&[("x", &"y".repeat(15_990))]),
            size => vec![0x20; size],
        };
        bytes.extend(frame(CONTINUATION, 0, 1, &piece).repeat(5_000_000 / (9 + size).max(1000)));
        let ended = Frames::open(&raw.gate, "api.test", &bytes).await.end().await;
        assert!(!matches!(ended, Some(0)), "continuations of {size} bytes: {ended:?}");
        assert_eq!(raw.upstream.connections(), 0);
        is_served(&raw).await;
    }
}

const ENHANCE_YOUR_CALM: u32 = 11;

#[tokio::test]
async fn d1_rapid_resets() {
    let raw = raw();
    let mut bytes = beginning(&[]);
    for number in 0..20_000 {
        let stream = number * 2 + 1;
        bytes.extend(frame(HEADERS, ENDS, stream, &block(&GET)));
        bytes.extend(frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
    }
    let mut client = Frames::open(&raw.gate, "api.test", &bytes).await;
    is_served(&raw).await;
    assert_eq!(client.end().await, Some(ENHANCE_YOUR_CALM));
    let judged = raw.gate.events("request").len();
    assert!(judged < 2_000, "{judged} of 20000 requests were looked at");
    is_served(&raw).await;
}

/// Frames that cost their sender nothing. Nobody reads the answers: the gate must not keep them.
#[tokio::test]
async fn d3_floods_take_no_memory_and_no_turn() {
    let raw = raw();
    is_served(&raw).await;
    let open = frame(HEADERS, END_HEADERS, 1, &block(&with(":method", "POST")));
    for (what, before, flood) in [
        ("pings", Vec::new(), frame(PING, 0, 0, &[7; 8])),
        ("settings", Vec::new(), frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0xff, 0xff])),
        ("priorities", Vec::new(), frame(PRIORITY, 0, 9, &[0, 0, 0, 3, 1])),
        ("empty data", open.clone(), frame(DATA, 0, 1, &[])),
        ("small windows", open, frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 1])),
        ("frames of no known kind", Vec::new(), frame(99, 0, 0, &[0; 8])),
    ] {
        let begun = resident();
        let mut client = Frames::open(&raw.gate, "api.test", &[beginning(&[]), before].concat()).await;
        let piece = flood.repeat(1000);
        let flooding = async {
            for _ in 0..200 {
                if client.writer.write_all(&piece).await.is_err() {
                    return;
                }
            }
            let _ = client.writer.flush().await;
        };
        // A gate that does not answer any more does not read any more either.
        let patience = std::time::Duration::from_secs(5);
        let (_, ()) = tokio::join!(tokio::time::timeout(patience, flooding), is_served(&raw));
        is_served(&raw).await;
        let grown = resident().saturating_sub(begun);
        assert!(grown < 48 * 1024 * 1024, "{what}: {grown} bytes");
    }
}

/// A client that opens no window gets nothing, and holds no more than what it asked for.
#[tokio::test]
async fn d12_a_window_that_stays_shut() {
    const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n";
    let raw = Raw::with(Plan::new(POLICY), HEAD);
    let begun = resident();
    let mut bytes = beginning(&[0, 4, 0, 0, 0, 0]);
    for number in 0..100 {
        bytes.extend(frame(HEADERS, ENDS, number * 2 + 1, &block(&GET)));
    }
    let mut client = Frames::open(&raw.gate, "api.test", &bytes).await;
    assert_eq!(client.fate(1).await, Fate::Served);
    is_served(&raw).await;
    let grown = resident().saturating_sub(begun);
    assert!(grown < 64 * 1024 * 1024, "{grown} bytes");
}

/// More streams at a time than the gate allows.
#[tokio::test]
async fn d14_streams_are_counted() {
    let raw = Raw::with(Plan::new(POLICY).limit("streams=4"), OK);
    let post = block(&with(":method", "POST"));
    let frames: Vec<_> = (0..5).map(|number| frame(HEADERS, END_HEADERS, number * 2 + 1, &post)).collect();
    let bytes = [beginning(&[]), frames.concat()].concat();
    let mut client = Frames::open(&raw.gate, "api.test", &bytes).await;
    const REFUSED_STREAM: u32 = 7;
    assert_eq!(client.fate(9).await, Fate::Reset(REFUSED_STREAM));
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let text = std::fs::read_to_string("/proc/self/statm").expect("readable");
    let pages = text.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number of pages");
    pages * 4096
}
