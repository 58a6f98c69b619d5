//! Bytes of a test's own making through a gate, and the bytes that come out behind it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::loopback::{Loopback, Plan, Scripted, Upstreams, soon};

/// A gate before the upstream `api.test:443`, which keeps every byte that it gets.
pub struct Raw {
    /// The gate.
    pub gate: Loopback,
    /// The upstream.
    pub upstream: Scripted,
    arrived: Arc<Mutex<Vec<u8>>>,
}

impl Raw {
    /// The upstream speaks HTTP/1 and gives `reply` each time that something comes.
    #[must_use]
    pub fn new(policy: &str, reply: &'static [u8]) -> Self {
        Self::with(Plan::new(policy), reply)
    }

    /// The same, with more than a policy.
    #[must_use]
    pub fn with(plan: Plan, reply: &'static [u8]) -> Self {
        let upstreams = Upstreams::new();
        let arrived: Arc<Mutex<Vec<u8>>> = Arc::default();
        let all = Arc::clone(&arrived);
        let upstream = upstreams.serve("api.test", &["http/1.1"], move |mut stream| {
            let all = Arc::clone(&all);
            async move {
                let mut some = [0; 4096];
                while let Ok(count @ 1..) = stream.read(&mut some).await {
                    all.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&some[..count]);
                    if stream.write_all(reply).await.is_err() || stream.flush().await.is_err() {
                        return;
                    }
                }
            }
        });
        let gate = plan.pin("api.test:443", upstream.address).start(&upstreams);
        Self { gate, upstream, arrived }
    }

    /// What the upstream got.
    #[must_use]
    pub fn arrived(&self) -> String {
        String::from_utf8_lossy(&self.arrived.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// Sends a stream inside TLS; everything that the gate says until it closes.
    pub async fn send(&self, stream: &[u8]) -> String {
        self.gate.raw("api.test", stream).await
    }

    /// Sends a stream to the proxy's own port; everything that the gate says until it closes.
    pub async fn send_clear(&self, stream: &[u8]) -> Vec<u8> {
        let mut client = TcpStream::connect(self.gate.address).await.expect("the gate listens");
        client.write_all(stream).await.expect("sent");
        until_closed(client).await
    }

    /// Opens a tunnel and sends a stream through it; everything that the gate says until it closes.
    pub async fn send_through(&self, authority: &str, stream: &[u8]) -> Vec<u8> {
        let mut client = self.gate.tunnel(authority).await;
        client.write_all(stream).await.expect("sent");
        until_closed(client).await
    }

    /// Decisions of the journal that say no.
    #[must_use]
    pub fn denied(&self) -> usize {
        let events = self.gate.events("connection").into_iter().chain(self.gate.events("request"));
        events.filter(|event| event["decision"] == "denied").count()
    }
}

async fn until_closed(mut client: TcpStream) -> Vec<u8> {
    let mut reply = Vec::new();
    // A connection that is reset has said what it had to say.
    let _ = soon("the gate's last byte", client.read_to_end(&mut reply)).await;
    reply
}

/// Status codes of HTTP/1 replies, in their order.
#[must_use]
pub fn statuses(replies: &str) -> Vec<&str> {
    let rests = replies.lines().filter_map(|line| line.rsplit_once("HTTP/1."));
    // The minor version and a blank.
    rests.filter_map(|(_, rest)| rest.get(2..5)).filter(|code| code.bytes().all(|byte| byte.is_ascii_digit())).collect()
}

/// A TLS 1.2 client hello with these extensions, as one record.
#[must_use]
pub fn client_hello(version: [u8; 2], extensions: &[(u16, Vec<u8>)]) -> Vec<u8> {
    let sized = |bytes: &[u8]| [&u16::try_from(bytes.len()).expect("short").to_be_bytes(), bytes].concat();
    let extensions: Vec<u8> =
        extensions.iter().flat_map(|(kind, body)| [&kind.to_be_bytes(), &sized(body)[..]].concat()).collect();
    let suites = sized(&[0xc0, 0x2b, 0xc0, 0x2f]);
    let body = [&version[..], &[7; 32], &[0], &suites, &[1, 0], &sized(&extensions)].concat();
    let handshake = [&[1, 0], &sized(&body)[..]].concat();
    [&[22, 3, 1], &sized(&handshake)[..]].concat()
}

/// The extension that names a server (RFC 6066, section 3).
#[must_use]
pub fn server_name_extension(name: &str) -> (u16, Vec<u8>) {
    let length = u16::try_from(name.len()).expect("short");
    (0, [&(length + 3).to_be_bytes()[..], &[0], &length.to_be_bytes(), name.as_bytes()].concat())
}

/// Groups and signatures, without which no TLS 1.2 handshake goes on.
#[must_use]
pub fn usual_extensions() -> Vec<(u16, Vec<u8>)> {
    vec![(10, vec![0, 2, 0, 0x17]), (13, vec![0, 4, 4, 3, 8, 4]), (23, Vec::new())]
}
