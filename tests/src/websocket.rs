//! Both ends of a WebSocket for tests (RFC 6455), over any stream.

use std::io::Read;

use flate2::read::DeflateDecoder;
use flate2::{Compress, Compression, FlushCompress};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tollgate_inspect::websocket::{Header, Opcode, Sender, mask};

use crate::loopback::soon;

/// What a client's handshake ends with.
pub const HANDSHAKE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// What a server answers to [`HANDSHAKE`] (RFC 6455, section 1.3).
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// One end of an open socket.
pub struct Socket<S> {
    stream: S,
    own: Sender,
    deflated: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Socket<S> {
    /// Opens it as a client.
    ///
    /// # Errors
    /// The head of the answer, where it opens nothing.
    pub async fn open(stream: S, host: &str, path: &str) -> Result<Self, String> {
        Self::open_with(stream, host, path, "").await.map(|(socket, _)| socket)
    }

    /// The same with more headers, each with its line's end; the socket and the head of the answer.
    ///
    /// # Errors
    /// The head of the answer, where it opens nothing.
    pub async fn open_with(mut stream: S, host: &str, path: &str, headers: &str) -> Result<(Self, String), String> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}{HANDSHAKE}");
        stream.write_all(request.as_bytes()).await.expect("sent");
        let head = head(&mut stream).await;
        match head.starts_with("HTTP/1.1 101") && head.contains(ACCEPT) {
            true => Ok((Self { stream, own: Sender::Client, deflated: false }, head)),
            false => Err(head),
        }
    }

    /// A client's end of one that is open.
    pub fn client(stream: S) -> Self {
        Self { stream, own: Sender::Client, deflated: false }
    }

    /// A server's end of one that is open.
    pub fn server(stream: S) -> Self {
        Self { stream, own: Sender::Server, deflated: false }
    }

    /// Takes it as a server.
    pub async fn accept(stream: S) -> Self {
        Self::accept_with(stream, "").await.0
    }

    /// Takes one of a client that offers compression as a server that compresses.
    pub async fn accept_deflated(stream: S) -> Self {
        let agreed = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n";
        let (socket, head) = Self::accept_with(stream, agreed).await;
        assert!(head.to_ascii_lowercase().contains("permessage-deflate; server_no_context_takeover"), "{head}");
        socket.deflated()
    }

    /// The same with more headers, each with its line's end; the socket and the head of the request.
    async fn accept_with(mut stream: S, headers: &str) -> (Self, String) {
        let head = head(&mut stream).await;
        let answer = format!("{}{headers}\r\n", answer(&head));
        stream.write_all(answer.as_bytes()).await.expect("sent");
        stream.flush().await.expect("sent");
        (Self::server(stream), head)
    }

    /// An open one with compressed messages, each on its own (RFC 7692).
    #[must_use]
    pub fn deflated(self) -> Self {
        Self { deflated: true, ..self }
    }

    /// Sends bytes as they are.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("sent");
        self.stream.flush().await.expect("sent");
    }

    /// Takes it as a server and answers each message, as `answer` says, until the client has gone.
    pub async fn serve(stream: S, answer: impl Fn(&[u8]) -> Vec<u8>) {
        Self::accept(stream).await.answer_all(answer).await;
    }

    /// Answers each message, as `answer` says, until the other end has gone.
    pub async fn answer_all(mut self, answer: impl Fn(&[u8]) -> Vec<u8>) {
        while let Some((opcode, payload)) = self.next().await {
            self.send(opcode, &answer(&payload)).await;
        }
    }

    /// Sends one message in one frame.
    pub async fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        let key = matches!(self.own, Sender::Client).then_some([1, 2, 3, 4]);
        let mut frame = Vec::new();
        let compressed = self.deflated && matches!(opcode, Opcode::Text | Opcode::Binary);
        let payload = if compressed { deflate(payload) } else { payload.to_vec() };
        Header { fin: true, compressed, opcode, mask: key, payload: payload.len() as u64 }.write(&mut frame);
        let start = frame.len();
        frame.extend_from_slice(&payload);
        if let Some(key) = key {
            mask(&mut frame[start..], key, 0);
        }
        self.write(&frame).await;
    }

    /// The next message; nothing when the other end has gone.
    pub async fn next(&mut self) -> Option<(Opcode, Vec<u8>)> {
        let (first, mut held) = soon("a frame", self.frame()).await?;
        let mut fin = first.fin;
        while !fin {
            let (header, payload) = soon("a frame", self.frame()).await?;
            held.extend(payload);
            fin = header.fin;
        }
        assert!(first.compressed || !self.deflated || held.len() < 1000, "not compressed");
        Some((first.opcode, if first.compressed { inflate(&held) } else { held }))
    }

    async fn frame(&mut self) -> Option<(Header, Vec<u8>)> {
        let from = match self.own {
            Sender::Client => Sender::Server,
            Sender::Server => Sender::Client,
        };
        let mut bytes = Vec::new();
        let header = loop {
            bytes.push(self.stream.read_u8().await.ok()?);
            let read = if self.deflated { Header::read_deflated } else { Header::read };
            if let Some((header, _)) = read(&bytes, from).expect("a frame") {
                break header;
            }
        };
        let mut payload = vec![0; usize::try_from(header.payload).expect("a small frame")];
        self.stream.read_exact(&mut payload).await.ok()?;
        if let Some(key) = header.mask {
            mask(&mut payload, key, 0);
        }
        Some((header, payload))
    }
}

/// One message as it is sent (RFC 7692, section 7.2.1).
#[must_use]
pub fn deflate(message: &[u8]) -> Vec<u8> {
    let mut packed = Vec::with_capacity(message.len() + 64);
    let mut state = Compress::new(Compression::best(), false);
    state.compress_vec(message, &mut packed, FlushCompress::Sync).expect("room");
    assert!(packed.len() < packed.capacity() && packed.ends_with(&TAIL), "flushed");
    packed.truncate(packed.len() - TAIL.len());
    packed
}

/// One message as it was before.
fn inflate(message: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    DeflateDecoder::new([message, &TAIL, &[1, 0, 0, 0xff, 0xff]].concat().as_slice())
        .read_to_end(&mut plain)
        .expect("deflate");
    plain
}

/// What is not sent of a message (RFC 7692, section 7.2.1).
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// Everything up to an empty line.
pub async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("a head", stream.read_u8()).await.expect("a head"));
    }
    String::from_utf8(head).expect("text")
}

/// The lines with which a server agrees to a handshake, without the empty one behind them.
#[must_use]
pub fn answer(head: &str) -> String {
    let named = |line: &&str| line.to_ascii_lowercase().starts_with("sec-websocket-key:");
    let key = head.lines().find(named).and_then(|line| line.split_once(':')).expect("a key");
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {}\r\n",
        accept(key.1.trim())
    )
}

fn accept(key: &str) -> String {
    const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let hash =
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, format!("{key}{GUID}").as_bytes());
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, hash)
}
