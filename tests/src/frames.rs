//! HTTP/2 frames of a test's own making (RFC 9113, section 4; RFC 7541): nothing here keeps to the rules.

use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::loopback::{Loopback, soon};

/// A frame's type.
pub type Kind = u8;

/// `DATA`.
pub const DATA: Kind = 0;
/// `HEADERS`.
pub const HEADERS: Kind = 1;
/// `PRIORITY`.
pub const PRIORITY: Kind = 2;
/// `RST_STREAM`.
pub const RST_STREAM: Kind = 3;
/// `SETTINGS`.
pub const SETTINGS: Kind = 4;
/// `PUSH_PROMISE`.
pub const PUSH_PROMISE: Kind = 5;
/// `PING`.
pub const PING: Kind = 6;
/// `GOAWAY`.
pub const GOAWAY: Kind = 7;
/// `WINDOW_UPDATE`.
pub const WINDOW_UPDATE: Kind = 8;
/// `CONTINUATION`.
pub const CONTINUATION: Kind = 9;

/// The last frame of a stream.
pub const END_STREAM: u8 = 1;
/// The last frame of a header block.
pub const END_HEADERS: u8 = 4;
/// Both.
pub const ENDS: u8 = END_STREAM | END_HEADERS;

/// What a client begins with: the preface and its settings.
#[must_use]
pub fn beginning(settings: &[u8]) -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &frame(SETTINGS, 0, 0, settings)[..]].concat()
}

/// One frame.
#[must_use]
pub fn frame(kind: Kind, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block of literals that enter no table.
#[must_use]
pub fn block(headers: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in headers {
        block.push(0);
        literal(&mut block, name.as_bytes());
        literal(&mut block, value.as_bytes());
    }
    block
}

/// The same, with one literal that enters the table and is then named `times` over.
#[must_use]
pub fn bomb(headers: &[(&str, &str)], value: &str, times: usize) -> Vec<u8> {
    let mut bomb = block(headers);
    bomb.push(0x40);
    literal(&mut bomb, b"x");
    literal(&mut bomb, value.as_bytes());
    // The first entry of the dynamic table has index 62.
    bomb.extend(std::iter::repeat_n(0x80 | 62, times));
    bomb
}

/// A string without Huffman coding (RFC 7541, section 5.2).
fn literal(block: &mut Vec<u8>, text: &[u8]) {
    let mut length = text.len();
    if length < 127 {
        block.push(u8::try_from(length).expect("seven bits"));
    } else {
        block.push(127);
        length -= 127;
        while length >= 128 {
            block.push(u8::try_from(length % 128 + 128).expect("eight bits"));
            length /= 128;
        }
        block.push(u8::try_from(length).expect("seven bits"));
    }
    block.extend_from_slice(text);
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// A reply of status 200.
    Served,
    /// A reply of another status.
    Refused,
    /// `RST_STREAM` with this code.
    Reset(u32),
    /// `GOAWAY` with this code.
    GoneAway(u32),
    /// The connection ended without a word.
    Closed,
}

/// A client's side of an HTTP/2 connection through a gate.
pub struct Frames {
    reader: ReadHalf<TlsStream<TcpStream>>,
    /// Where bytes go.
    pub writer: WriteHalf<TlsStream<TcpStream>>,
}

impl Frames {
    /// A connection on which these bytes have been sent.
    pub async fn open(gate: &Loopback, name: &str, bytes: &[u8]) -> Self {
        let (reader, writer) = tokio::io::split(gate.tls(name, &["h2"]).await);
        let mut frames = Self { reader, writer };
        // A gate that has had enough closes while there is more to send.
        let _ = frames.writer.write_all(bytes).await;
        let _ = frames.writer.flush().await;
        frames
    }

    /// The next frame: kind, stream and payload; nothing at the end.
    pub async fn next(&mut self) -> Option<(Kind, u32, Vec<u8>)> {
        let mut head = [0; 9];
        self.reader.read_exact(&mut head).await.ok()?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let mut payload = vec![0; length];
        self.reader.read_exact(&mut payload).await.ok()?;
        Some((head[3], u32::from_be_bytes([head[5], head[6], head[7], head[8]]), payload))
    }

    /// What becomes of a stream, or of the whole connection.
    pub async fn fate(&mut self, stream: u32) -> Fate {
        loop {
            let Some((kind, of, payload)) = soon("a frame", self.next()).await else { return Fate::Closed };
            match kind {
                HEADERS if of == stream => {
                    // Behind changes of the table's size stands the status; 200 has an index of its own.
                    let status = payload.iter().find(|byte| !(0x20..0x40).contains(*byte));
                    return if status == Some(&0x88) { Fate::Served } else { Fate::Refused };
                }
                RST_STREAM if of == stream => return Fate::Reset(code(&payload)),
                GOAWAY => return Fate::GoneAway(code(&payload[4..])),
                _ => {}
            }
        }
    }

    /// Reads until the connection ends; the code of its last `GOAWAY`.
    pub async fn end(&mut self) -> Option<u32> {
        let mut last = None;
        while let Some((kind, _, payload)) = soon("the end", self.next()).await {
            if kind == GOAWAY {
                last = Some(code(&payload[4..]));
            }
        }
        last
    }
}

fn code(payload: &[u8]) -> u32 {
    u32::from_be_bytes([payload[0], payload[1], payload[2], payload[3]])
}
