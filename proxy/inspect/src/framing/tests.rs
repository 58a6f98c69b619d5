use proptest::prelude::*;

use super::*;

const BOUNDS: Bounds = Bounds { head_bytes: 1024, headers: 8 };

/// Everything that is passed of a stream that comes in these pieces, and what stopped it.
fn pass(pieces: &[&[u8]]) -> (Vec<u8>, u64, Option<Wrong>) {
    let mut follower = Follower::new(BOUNDS);
    let (mut held, mut passed) = (Vec::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        let (count, followed) = follower.follow(&held);
        passed.extend(held.drain(..count));
        if let Err(wrong) = followed {
            return (passed, follower.heads(), Some(wrong));
        }
    }
    (passed, follower.heads(), None)
}

#[track_caller]
fn check(stream: &[u8], expected: Result<u64, Wrong>) {
    let (passed, heads, wrong) = pass(&[stream]);
    assert_eq!(wrong.map_or(Ok(heads), Err), expected, "{:?}", String::from_utf8_lossy(stream));
    if expected.is_ok() {
        assert_eq!(passed, stream);
    }
}

/// A request with these header lines besides `Host`, and what follows it.
#[track_caller]
fn check_headers(lines: &str, body: &str, expected: Result<u64, Wrong>) {
    check(format!("POST /x HTTP/1.1\r\nHost: a\r\n{lines}\r\n\r\n{body}").as_bytes(), expected);
}

#[test]
fn sound_requests() {
    check(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Ok(1));
    check(b"GET / HTTP/1.0\r\n\r\n", Ok(1));
    check(b"GET http://a/?x=1 HTTP/1.1\r\nhost:a\r\nx: \xe4\t~\r\nempty:\r\n\r\n", Ok(1));
    check(b"CONNECT a:1 HTTP/1.1\r\n\r\n\x16\x03\x01 anything", Ok(1));
    check_headers("Content-Length: 5", "hello", Ok(1));
    check_headers("content-length:0", "GET /y HTTP/1.1\r\nHost: a\r\n\r\n", Ok(2));
    check_headers("Transfer-Encoding: Chunked", "5;a=\"b c\"\r\nhello\r\n00\r\nX: y\r\n\r\n", Ok(1));
    check_headers("Upgrade: h2c", "GET /y HTTP/1.1\r\nHost: a\r\n\r\n", Ok(2));
    check_headers("Upgrade: WebSocket", "\x00\x01", Ok(1));
}

#[test]
fn c1_a_length_beside_a_coding() {
    let chunks = "0\r\n\r\n";
    check_headers("Content-Length: 5\r\nTransfer-Encoding: chunked", chunks, Err(Wrong::LengthAndCoding));
    check_headers("Transfer-Encoding: chunked\r\nContent-Length: 0", chunks, Err(Wrong::LengthAndCoding));
    check_headers("Transfer_Encoding: chunked\r\nContent-Length: 0", chunks, Err(Wrong::Coding));
}

#[test]
fn c2_lengths() {
    for value in ["5\r\nContent-Length: 6", "5\r\nContent-Length: 5", "5, 5", "+5", "-5", "0x5", "5.", "", "5 5", "\t5"]
    {
        check_headers(&format!("Content-Length: {value}"), "hello", Err(Wrong::Length));
    }
    check_headers("Content-Length: 18446744073709551621", "hello", Err(Wrong::Length));
    check_headers("Content_Length: 5", "hello", Err(Wrong::Length));
}

#[test]
fn c3_codings() {
    for value in [
        "chunkedx",
        "xchunked",
        "chunked\t",
        "\tchunked",
        "\x0bchunked",
        "identity, chunked",
        "chunked, chunked",
        "gzip, chunked",
        "chunked, identity",
        "identity",
        "gzip",
        "\"chunked\"",
        "chunked;q=1",
        "",
        ",chunked",
        "chunked\r\nTransfer-Encoding: chunked",
        "chunked\r\nTransfer-Encoding: identity",
    ] {
        let expected = if value.contains('\x0b') { Wrong::HeaderValue } else { Wrong::Coding };
        check_headers(&format!("Transfer-Encoding: {value}"), "0\r\n\r\n", Err(expected));
    }
    check_headers("Transfer-Encoding : chunked", "0\r\n\r\n", Err(Wrong::HeaderName));
    check_headers("tRANSFER-ENCODING: xchunked", "0\r\n\r\n", Err(Wrong::Coding));
    check(b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", Err(Wrong::Coding));
}

#[test]
fn c4_chunks() {
    for body in [
        "g\r\n",
        "0x5\r\nhello",
        "+5\r\nhello",
        "-5\r\nhello",
        " 5\r\nhello",
        "5 \r\nhello",
        "5\nhello",
        "5\rhello",
        "\r\nhello",
        ";a\r\n",
        "5\r\nhelloX",
        "5\r\nhello\n",
        "5\r\nhello\r5",
        "8000000000000000\r\n",
        "0000000000000005\r\nhello",
        "5;a\x00\r\nhello",
        "5;a\nb\r\nhello",
        "5;a\rb\r\nhello",
        "0\r\nX: y\n\r\n",
        "0\r\n X: y\r\n\r\n",
        "0\r\n\rx",
        "0\r\nX\x00: y\r\n\r\n",
    ] {
        check_headers("Transfer-Encoding: chunked", body, Err(Wrong::Chunk));
    }
    check_headers("Transfer-Encoding: chunked", &format!("5;{}\r\nhello", "x".repeat(257)), Err(Wrong::Chunk));
    check_headers("Transfer-Encoding: chunked", &format!("0\r\n{}", "X: y\r\n".repeat(3000)), Err(Wrong::Chunk));
}

#[test]
fn c6_lines() {
    check(b"GET / HTTP/1.1\nHost: a\n\n", Err(Wrong::BareLineFeed));
    check(b"GET / HTTP/1.1\r\nHost: a\n\r\n", Err(Wrong::BareLineFeed));
    check(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\rz\r\n\r\n", Err(Wrong::HeaderValue));
    check(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n", Err(Wrong::HeaderName));
    check(b"GET / HTTP/1.1\r\nHost: a\r\nX: y\x00\r\n\r\n", Err(Wrong::HeaderValue));
    check(b"GET / HTTP/1.1\r\n Host: a\r\n\r\n", Err(Wrong::HeaderName));
    check(b"GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n", Err(Wrong::HeaderName));
    check(b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n", Err(Wrong::HeaderName));
    check(b"GET / HTTP/1.1\r\nHost: a\r\n: y\r\n\r\n", Err(Wrong::HeaderName));
    check(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", Err(Wrong::NotHttp1));
    check(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n", Err(Wrong::NotHttp1));
}

#[test]
fn c9_request_lines() {
    for line in [
        "GET /",
        "GET / ",
        "GET /  HTTP/1.1",
        "GET / HTTP/1.10",
        "GET / http/1.1",
        "GET / HTTP/1.1 ",
        "GET /#x HTTP/1.1",
        "GET /\x7f HTTP/1.1",
        "GET /\u{e4} HTTP/1.1",
        "GET /\t HTTP/1.1",
        "GET / HTTP/11",
    ] {
        check(format!("{line}\r\nHost: a\r\n\r\n").as_bytes(), Err(Wrong::RequestLine));
    }
    for line in ["GET  / HTTP/1.1", " GET / HTTP/1.1", "G(T / HTTP/1.1", "GET\t/ HTTP/1.1"] {
        check(format!("{line}\r\nHost: a\r\n\r\n").as_bytes(), Err(Wrong::NotHttp1));
    }
    for version in ["HTTP/2.0", "HTTP/0.9", "HTTP/1.2"] {
        check(format!("GET / {version}\r\nHost: a\r\n\r\n").as_bytes(), Err(Wrong::Version));
    }
    check(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Err(Wrong::Version));
}

#[test]
fn a7_targets() {
    for target in ["a::1", "http://a:b:c/", "http://a b/", "//", "http:///x", "a<b"] {
        let (_, _, wrong) = pass(&[format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n").as_bytes()]);
        assert!(matches!(wrong, Some(Wrong::Target | Wrong::RequestLine)) || target == "//", "{target}: {wrong:?}");
    }
}

/// A line that is no request line is not waited behind.
#[test]
fn other_protocols_are_found_early() {
    check(b"EHLO there\r\n", Err(Wrong::RequestLine));
    let (_, _, wrong) = pass(&[b"EHLO th", b"ere\r", b"\n"]);
    assert_eq!(wrong, Some(Wrong::RequestLine));
}

/// What may become the preface of HTTP/2 is looked at again once it did not.
#[test]
fn c15_a_preface_that_is_none() {
    let stream = b"PRI * HTTP/2.0\r\n\r\nSM\r\xff";
    let whole = pass(&[stream]);
    assert_eq!(whole, (Vec::new(), 0, Some(Wrong::Version)));
    assert_eq!(pass(&[&stream[..19], &stream[19..]]), whole);
}

#[test]
fn hosts() {
    check(b"GET / HTTP/1.1\r\n\r\n", Err(Wrong::Host));
    check(b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", Err(Wrong::Host));
}

#[test]
fn switches_have_no_body() {
    check(b"CONNECT a:1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", Err(Wrong::SwitchWithBody));
    check_headers("Upgrade: websocket\r\nTransfer-Encoding: chunked", "0\r\n\r\n", Err(Wrong::SwitchWithBody));
}

#[test]
fn c16_heads_are_bounded() {
    check_headers(&format!("X: {}", "y".repeat(2000)), "", Err(Wrong::HeadTooLarge));
    check_headers("X: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y\r\nX: y", "", Err(Wrong::HeadTooLarge));
    let mut follower = Follower::new(BOUNDS);
    let endless = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'y'; 2000]].concat();
    assert_eq!(follower.follow(&endless), (0, Err(Wrong::HeadTooLarge)));
}

/// Requests of which most are sound and some are not.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let pieces = prop::sample::select(vec![
        "GET /a HTTP/1.1\r\n",
        "POST /b HTTP/1.1\r\n",
        "GET / HTTP/1.0\r\n",
        "Host: a\r\n",
        "Host: a\r\n\r\n",
        "\r\n",
        "Content-Length: 5\r\n",
        "Content-Length: 0\r\n",
        "Transfer-Encoding: chunked\r\n",
        "X: y\r\n",
        "hello",
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "0\r\nX: y\r\n\r\n",
        "\n",
        " ",
        "\r",
        "\0",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nS",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ]);
    prop::collection::vec(pieces, 1..12).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    /// However the bytes come, the same ones pass and the same one is refused.
    #[test]
    fn pieces_do_not_matter(stream in stream(), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8)) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        cuts.extend([0, stream.len()]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
        let bytes: Vec<_> = stream.chunks(1).collect();
        let whole = pass(&[&stream]);
        prop_assert_eq!(&pass(&pieces), &whole);
        prop_assert_eq!(&pass(&bytes), &whole);
    }

    /// The parser behind reads each target that passes, also where it was not asked.
    #[test]
    fn targets_that_pass_are_parsed(target in "[/?:@!-~]{1,12}|/[a-z/?%&=+,:@._~-]{0,12}") {
        let request = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
        let passes = pass(&[request.as_bytes()]).2.is_none();
        let is_read = !target.contains('#') && http::Uri::try_from(&*target).is_ok();
        prop_assert_eq!(passes, is_read, "{}", target);
    }

    /// What passes is a beginning of what came, and a head that passes is one that the parser behind takes as well.
    #[test]
    fn what_passes_is_parsed_alike(stream in stream()) {
        let (passed, heads, _) = pass(&[&stream]);
        prop_assert!(stream.starts_with(&passed));
        let (mut rest, mut parsed) = (&passed[..], 0);
        while !rest.is_empty() {
            let mut headers = [httparse::EMPTY_HEADER; 8];
            let mut request = httparse::Request::new(&mut headers);
            let Ok(httparse::Status::Complete(head)) = request.parse(rest) else { panic!("{:?}", String::from_utf8_lossy(rest)) };
            parsed += 1;
            let find = |name: &str| request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            let body = match (find("transfer-encoding"), find("content-length")) {
                (Some(_), _) => chunked_length(&rest[head..]),
                (None, Some(length)) => std::str::from_utf8(length.value).expect("text").parse().expect("a number"),
                (None, None) => 0,
            };
            rest = &rest[(head + body).min(rest.len())..];
        }
        prop_assert_eq!(parsed, heads);
    }

    #[test]
    fn nothing_panics(stream in prop::collection::vec(any::<u8>(), 0..200)) {
        let framed = [b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".as_slice(), &stream].concat();
        pass(&[&stream]);
        pass(&[&framed]);
    }
}

/// As far as it goes, by the parser's own reading of sizes.
fn chunked_length(body: &[u8]) -> usize {
    let mut at = 0;
    while let Ok(httparse::Status::Complete((line, size))) = httparse::parse_chunk_size(&body[at..]) {
        at += line;
        if size == 0 {
            let mut headers = [httparse::EMPTY_HEADER; 8];
            return match httparse::parse_headers(&body[at..], &mut headers) {
                Ok(httparse::Status::Complete((trailers, _))) => at + trailers,
                _ => body.len(),
            };
        }
        at += usize::try_from(size).expect("a size") + 2;
        if at >= body.len() {
            break;
        }
    }
    body.len()
}
