//! Streams of requests, right and slightly wrong, through the gate and through two other parsers: what the gate passes on
//! is what they would have read as well.

use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tollgate_tests::loopback::{Body, Loopback, Plan, Scripted, Upstreams, soon};
use tollgate_tests::raw::statuses;

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
    - {host: api.test, port: 80, protocol: rest, access: full}
";

/// Streams that are right.
const CORPUS: &[&str] = &[
    "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "GET /a?b=c HTTP/1.0\r\nHost: api.test\r\nX: y\r\n\r\n",
    "GET /a HTTP/1.1\r\nHost: api.test\r\n\r\nGET /b HTTP/1.1\r\nHost: api.test\r\n\r\nHEAD /c HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 5\r\n\r\nhelloGET /b HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "PUT /a HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\nGET /b HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: api.test\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n00\r\nX: y\r\n\r\nGET /b HTTP/1.1\r\nHost: api.test\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: api.test\r\nContent-Length: 0\r\nX: y\r\n\r\nPOST /b HTTP/1.1\r\nHost: api.test\r\nContent-Length: 25\r\n\r\nGET /hidden HTTP/1.1\r\n\r\n\r\n",
];

/// What is put in.
const PIECES: &[&str] = &[
    "\r",
    "\n",
    "\r\n",
    "\r\n\r\n",
    "\0",
    " ",
    "\t",
    "\x0b",
    "\x7f",
    ":",
    ",",
    ";",
    "0",
    "1",
    "+",
    "-",
    "x",
    "chunked",
    "identity, ",
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "content-length : 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: x\r\n",
    "Connection: close\r\n",
    "Host: api.test\r\n",
    "0\r\n\r\n",
    "GET /hidden HTTP/1.1\r\nHost: api.test\r\n\r\n",
    " HTTP/1.1\r\n",
    "#",
    "..",
];

/// As many as take a few seconds.
const STREAMS: usize = 600;

/// Numbers that are the same in every run (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % bound as u64).expect("below a usize")
    }

    fn mutate(&mut self, stream: &mut Vec<u8>) {
        let at = self.below(stream.len());
        let end = (at + 1 + self.below(12)).min(stream.len());
        match self.below(5) {
            0 => drop(stream.drain(at..end)),
            1 => stream[at] = u8::try_from(self.below(256)).expect("a byte"),
            2 => stream[at..end].make_ascii_uppercase(),
            3 => {
                let again = stream[at..end].to_vec();
                stream.splice(at..at, again);
            }
            _ => {
                let piece = PIECES[self.below(PIECES.len())];
                stream.splice(at..at, piece.bytes());
            }
        }
    }
}

fn streams() -> Vec<Vec<u8>> {
    let mut numbers = Numbers(1);
    let mut streams: Vec<Vec<u8>> = CORPUS.iter().map(|stream| stream.as_bytes().to_vec()).collect();
    while streams.len() < STREAMS {
        let mut stream = CORPUS[numbers.below(CORPUS.len())].as_bytes().to_vec();
        for _ in 0..=numbers.below(3) {
            if !stream.is_empty() {
                numbers.mutate(&mut stream);
            }
        }
        streams.push(stream);
    }
    streams
}

/// What the other parsers find.
fn read_by_others(streams: &[Vec<u8>]) -> Vec<Value> {
    let folder = std::env::var("TOLLGATE_TEST_PYTHON").expect("TOLLGATE_TEST_PYTHON names a folder; run tests/run.sh");
    let mut python = Command::new(format!("{folder}/bin/python"));
    let python = python.arg("-c").arg(include_str!("../src/readers.py"));
    let mut python = python.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started");
    let lines: String = streams.iter().map(|stream| STANDARD.encode(stream) + "\n").collect();
    let mut input = python.stdin.take().expect("piped");
    let writing = std::thread::spawn(move || input.write_all(lines.as_bytes()));
    let output = python.wait_with_output().expect("ended");
    writing.join().expect("no panic").expect("written");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("text");
    text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

type Arrived = Arc<Mutex<Vec<Value>>>;

/// A gate before an upstream that notes method, target and length of each whole request.
fn start() -> (Loopback, Arrived) {
    let (upstreams, arrived) = (Upstreams::new(), Arrived::default());
    let all = Arc::clone(&arrived);
    let upstream = Scripted::serve(move |stream| {
        let all = Arc::clone(&all);
        async move {
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let all = Arc::clone(&all);
                async move {
                    let (parts, body) = request.into_parts();
                    let length = body.collect().await?.to_bytes().len();
                    let request = json!([parts.method.as_str(), parts.uri.to_string(), length]);
                    all.lock().expect("no panic").push(request);
                    let empty: Body = Full::default().boxed();
                    Ok::<_, hyper::Error>(http::Response::new(empty))
                }
            });
            // A request that breaks off ends its connection.
            let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        }
    });
    (Plan::new(POLICY).pin("api.test:80", upstream.address).start(&upstreams), arrived)
}

/// Everything that the gate answers to a stream that ends.
async fn send(gate: &Loopback, stream: &[u8]) -> String {
    let mut client = gate.tunnel("api.test:80").await;
    // The gate may have closed by then.
    let _ = client.write_all(stream).await;
    let _ = client.shutdown().await;
    let mut reply = Vec::new();
    let _ = soon("the end", client.read_to_end(&mut reply)).await;
    String::from_utf8_lossy(&reply).into_owned()
}

/// Targets that are sent as they came.
fn is_plain(target: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/?=&_-".contains(&byte);
    target.starts_with('/') && !target.contains("//") && target.bytes().all(plain)
}

/// The `number`th request of a stream, as the gate passed it on and as another read it.
fn check(number: usize, passed: &Value, other: &Value, stream: &str) {
    assert_eq!(passed[0], other[0], "method of request {number} of {stream}");
    assert_eq!(passed[2], other[2], "body of request {number} of {stream}");
    if other[1].as_str().is_some_and(is_plain) {
        assert_eq!(passed[1], other[1], "target of request {number} of {stream}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_passes_is_what_others_read() {
    let streams = streams();
    let others = read_by_others(&streams);
    assert_eq!(others.len(), streams.len());
    let (gate, arrived) = start();
    let (mut compared, mut refused) = (0, 0);
    for (stream, others) in streams.iter().zip(&others) {
        let reply = send(&gate, stream).await;
        let stream = format!("{:?} ({reply:?})", String::from_utf8_lossy(stream));
        let mut passed = std::mem::take(&mut *arrived.lock().expect("no panic")).into_iter();
        for (number, status) in statuses(&reply).into_iter().enumerate() {
            if status != "200" {
                refused += 1;
                continue;
            }
            let passed = passed.next().unwrap_or_else(|| panic!("answered and not passed on: {stream}"));
            for other in others.as_array().expect("two readers").iter().filter_map(|found| found.get(number)) {
                check(number, &passed, other, &stream);
                compared += 1;
            }
        }
        assert_eq!(passed.next(), None, "passed on and not answered: {stream}");
    }
    // Both kinds were there, so that neither the gate nor the readers may refuse everything.
    assert!(compared > STREAMS / 2 && refused > STREAMS / 4, "{compared} compared, {refused} refused");
}
