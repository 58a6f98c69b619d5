//! However an upstream frames a reply on the wire, compresses it, cuts it and spells what it has been sent, none of it comes
//! through the gate, and nothing else is altered.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::Request;
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_tests::loopback::{Loopback, Plan, Scripted, Upstreams, soon};

const POLICY: &str = "
version: 1
network_policies: {api: {endpoints: [{host: api.test, port: 443, protocol: rest, access: full}]}}
x-tollgate: {credentials: {TOKEN: {bindings: [{host: api.test, header: authorization}]}}}
";

const SECRET: &str = "sk-live/0123+abcDEF\"ghi&jkl=456789";
const PLACEHOLDER: &str = "sk-live-placeholder-0123456789-abc";

/// How a reply is framed (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy)]
enum Framing {
    Length,
    Chunked,
    Close,
}

/// One reply to be sent.
#[derive(Debug, Clone)]
struct Case {
    framing: Framing,
    coding: &'static str,
    spelling: usize,
    before: String,
    after: String,
    /// Where the bytes on the wire are cut into writes, and chunked bodies into chunks.
    cuts: Vec<usize>,
}

fn cases() -> impl Strategy<Value = Case> {
    (
        prop_oneof![Just(Framing::Length), Just(Framing::Chunked), Just(Framing::Close)],
        prop_oneof![Just("identity"), Just("gzip"), Just("br"), Just("zstd")],
        0..SPELLINGS,
        "[ -~]{0,40}",
        "[ -~]{0,40}",
        prop::collection::vec(1..60_usize, 1..6),
    )
        .prop_map(|(framing, coding, spelling, before, after, cuts)| Case {
            framing,
            coding,
            spelling,
            before,
            after,
            cuts,
        })
}

const SPELLINGS: usize = 6;

/// A spelling that an honest service might use.
fn spell(kind: usize) -> String {
    match kind {
        0 => SECRET.to_owned(),
        1 => STANDARD.encode(format!("user:{SECRET}")),
        2 => URL_SAFE_NO_PAD.encode(format!("x{SECRET}")),
        3 => SECRET.bytes().map(|b| format!("{b:02x}")).collect(),
        4 => SECRET.bytes().map(|b| format!("%{b:02X}")).collect(),
        _ => SECRET.replace('"', "\\\"").replace('/', "\\/"),
    }
}

fn pack(coding: &str, plain: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(plain).and_then(|()| encoder.finish()).expect("a Vec takes everything")
        }
        "br" => {
            let mut out = Vec::new();
            brotli::CompressorWriter::new(&mut out, 4096, 5, 22).write_all(plain).expect("a Vec takes everything");
            out
        }
        "zstd" => {
            let mut out = vec![0; zstd_safe::compress_bound(plain.len())];
            let length = zstd_safe::compress(&mut out[..], plain, 3).expect("enough room");
            out.truncate(length);
            out
        }
        _ => plain.to_vec(),
    }
}

fn cut<'a>(mut bytes: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    for at in cuts.iter().cycle() {
        if bytes.is_empty() {
            break;
        }
        let (piece, rest) = bytes.split_at((*at).min(bytes.len()));
        pieces.push(piece);
        bytes = rest;
    }
    pieces
}

impl Case {
    fn plain(&self) -> String {
        format!("{}<{}>{}", self.before, spell(self.spelling), self.after)
    }

    /// What goes over the wire.
    fn wire(&self) -> Vec<u8> {
        let body = pack(self.coding, self.plain().as_bytes());
        let mut wire = format!("HTTP/1.1 200 OK\r\nContent-Encoding: {}\r\n", self.coding).into_bytes();
        match self.framing {
            Framing::Length => {
                wire.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
                wire.extend(body);
            }
            Framing::Close => {
                wire.extend(b"Connection: close\r\n\r\n");
                wire.extend(body);
            }
            Framing::Chunked => {
                wire.extend(b"Transfer-Encoding: chunked\r\nTrailer: x-echo\r\n\r\n");
                for chunk in cut(&body, &self.cuts) {
                    wire.extend(format!("{:x}\r\n", chunk.len()).bytes());
                    wire.extend(chunk);
                    wire.extend(b"\r\n");
                }
                wire.extend(format!("0\r\nx-echo: {}\r\n\r\n", spell(self.spelling)).bytes());
            }
        }
        wire
    }
}

/// An upstream that answers each connection with the next case.
fn upstream(upstreams: &Upstreams, cases: &Arc<Mutex<VecDeque<Case>>>) -> Scripted {
    let cases = Arc::clone(cases);
    upstreams.serve("api.test", &["http/1.1"], move |mut stream| {
        let cases = Arc::clone(&cases);
        async move {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let Ok(byte) = stream.read_u8().await else { return };
                head.push(byte);
            }
            let Some(case) = cases.lock().expect("no panic").pop_front() else { return };
            for piece in cut(&case.wire(), &case.cuts) {
                if stream.write_all(piece).await.is_err() || stream.flush().await.is_err() {
                    return;
                }
            }
            let _ = stream.shutdown().await;
        }
    })
}

/// Body and trailers, as the agent gets them.
async fn ask(gate: &Loopback) -> (String, String) {
    let mut client = gate.http1("api.test").await;
    let request = Request::get("/x").header("host", "api.test").header("te", "trailers");
    let request = request.header("authorization", format!("Bearer {PLACEHOLDER}")).header("connection", "close");
    let sent = client.send_request(request.body(Full::default().boxed()).expect("valid"));
    let reply = soon("a reply", sent).await.expect("a reply");
    let body = soon("the body", reply.into_body().collect()).await.expect("whole");
    let trailers = format!("{:?}", body.trailers());
    (String::from_utf8(body.to_bytes().to_vec()).expect("text"), trailers)
}

#[test]
fn k4_no_framing_no_coding_and_no_spelling_brings_a_secret_back() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let next = Arc::new(Mutex::new(VecDeque::new()));
    let gate = runtime.block_on(async {
        let upstreams = Upstreams::new();
        let upstream = upstream(&upstreams, &next);
        Plan::new(POLICY).secret("TOKEN", SECRET, PLACEHOLDER).pin("api.test:443", upstream.address).start(&upstreams)
    });
    let config = Config { cases: 150, failure_persistence: None, ..Config::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let checked = runner.run(&cases(), |case| {
        next.lock().expect("no panic").push_back(case.clone());
        let (body, trailers) = runtime.block_on(ask(&gate));
        let spelled = spell(case.spelling);
        prop_assert!(!body.contains(&spelled) && !trailers.contains(&spelled), "{body} {trailers}");
        // Base64 keeps what lies in one group with its neighbours; of the secret's middle nothing is left.
        let middle = &SECRET[3..SECRET.len() - 3];
        for text in [body.clone(), decoded(&body, &STANDARD), decoded(&body, &URL_SAFE_NO_PAD)] {
            prop_assert!(!text.contains(middle), "{text}");
        }
        prop_assert!(body.starts_with(&format!("{}<", case.before)), "{body}");
        prop_assert!(body.ends_with(&format!(">{}", case.after)), "{body}");
        Ok(())
    });
    checked.unwrap_or_else(|failure| panic!("{failure}"));
}

/// What stands between the marks, decoded; nothing where it is not in that code.
fn decoded(body: &str, code: &impl Engine) -> String {
    let inner = body.split_once('<').and_then(|(_, rest)| rest.rsplit_once('>')).map_or("", |(inner, _)| inner);
    code.decode(inner).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

/// The search finds what is there: where nothing is bound, a reply is nobody's secret and comes as it is.
#[test]
fn what_is_not_searched_is_seen() {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let (before, after) = ("a".to_owned(), "b".to_owned());
    let (framing, coding) = (Framing::Chunked, "identity");
    let case = Case { framing, coding, spelling: 1, before, after, cuts: vec![7] };
    let next = Arc::new(Mutex::new(VecDeque::from([case])));
    let (body, trailers) = runtime.block_on(async {
        let upstreams = Upstreams::new();
        let upstream = upstream(&upstreams, &next);
        let unbound = POLICY.split("x-tollgate").next().expect("a part");
        let gate = Plan::new(unbound).pin("api.test:443", upstream.address).start(&upstreams);
        ask(&gate).await
    });
    assert!(body.contains(&spell(1)) && decoded(&body, &STANDARD).contains(SECRET), "{body}");
    assert!(trailers.contains(&spell(1)), "{trailers}");
}
