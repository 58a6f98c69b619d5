//! One frame (RFC 6455, section 5.2).

use super::WebSocketError;

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// The last frame of its message.
    pub fin: bool,
    /// The first frame of a message that is compressed (RFC 7692, section 6: the first reserved bit).
    pub compressed: bool,
    /// What it carries.
    pub opcode: Opcode,
    /// The key that its payload is masked with.
    pub mask: Option<[u8; 4]>,
    /// The bytes of its payload.
    pub payload: u64,
}

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// More of the message before.
    Continuation,
    /// Text.
    Text,
    /// Bytes.
    Binary,
    /// The end.
    Close,
    /// A question whether the peer is there.
    Ping,
    /// The answer.
    Pong,
}

/// Who sends the frame; clients must mask, servers must not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// The client.
    Client,
    /// The server.
    Server,
}

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const COMPRESSED: u8 = 0x40;
const MASKED: u8 = 0x80;
const MAX_CONTROL: u64 = 125;

impl Header {
    /// Reads the header at the start of the bytes: it and its length, or nothing where more bytes are needed.
    ///
    /// # Errors
    /// [`WebSocketError`] for what the sender may not send.
    pub fn read(bytes: &[u8], sender: Sender) -> Result<Option<(Self, usize)>, WebSocketError> {
        match bytes.first() {
            Some(first) if first & COMPRESSED != 0 => Err(WebSocketError::Reserved),
            _ => Self::read_deflated(bytes, sender),
        }
    }

    /// The same where `permessage-deflate` was agreed on.
    ///
    /// # Errors
    /// [`WebSocketError`] for what the sender may not send.
    pub fn read_deflated(bytes: &[u8], sender: Sender) -> Result<Option<(Self, usize)>, WebSocketError> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let opcode = Opcode::from_bits(first & 0x0f)?;
        let compressed = first & COMPRESSED != 0;
        // Section 6.1 of RFC 7692: only what begins a message says so.
        let may_be = matches!(opcode, Opcode::Text | Opcode::Binary);
        if first & (RESERVED & !COMPRESSED) != 0 || (compressed && !may_be) {
            return Err(WebSocketError::Reserved);
        }
        let fin = first & FIN != 0;
        let masked = second & MASKED != 0;
        if masked != (sender == Sender::Client) {
            return Err(WebSocketError::Masking);
        }
        let Some((payload, extended)) = length(second & 0x7f, rest)? else { return Ok(None) };
        if opcode.is_control() && (!fin || payload > MAX_CONTROL) {
            return Err(WebSocketError::Control);
        }
        let mask = match (masked, rest[extended..].first_chunk::<4>()) {
            (false, _) => None,
            (true, Some(key)) => Some(*key),
            (true, None) => return Ok(None),
        };
        let len = 2 + extended + if masked { 4 } else { 0 };
        Ok(Some((Self { fin, compressed, opcode, mask, payload }, len)))
    }

    /// Writes the header in its shortest form.
    pub fn write(&self, out: &mut Vec<u8>) {
        let masked = if self.mask.is_some() { MASKED } else { 0 };
        let (fin, compressed) = (if self.fin { FIN } else { 0 }, if self.compressed { COMPRESSED } else { 0 });
        out.push(fin | compressed | self.opcode.bits());
        match self.payload {
            short @ 0..=125 => out.push(masked | u8::try_from(short).unwrap_or_default()),
            medium @ 126..=0xffff => {
                out.push(masked | 126);
                out.extend(u16::try_from(medium).unwrap_or_default().to_be_bytes());
            }
            long => {
                out.push(masked | 127);
                out.extend(long.to_be_bytes());
            }
        }
        out.extend(self.mask.iter().flatten());
    }
}

/// The length and how many bytes it took after the second; nothing where they are not there yet.
fn length(short: u8, rest: &[u8]) -> Result<Option<(u64, usize)>, WebSocketError> {
    let (value, taken, shortest) = match short {
        126 => match rest.first_chunk::<2>() {
            Some(bytes) => (u64::from(u16::from_be_bytes(*bytes)), 2, 126),
            None => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(bytes) => (u64::from_be_bytes(*bytes), 8, 1 << 16),
            None => return Ok(None),
        },
        short => (u64::from(short), 0, 0),
    };
    match value < shortest || value > i64::MAX.unsigned_abs() {
        true => Err(WebSocketError::Length),
        false => Ok(Some((value, taken))),
    }
}

impl Opcode {
    fn from_bits(bits: u8) -> Result<Self, WebSocketError> {
        Ok(match bits {
            0 => Self::Continuation,
            1 => Self::Text,
            2 => Self::Binary,
            8 => Self::Close,
            9 => Self::Ping,
            10 => Self::Pong,
            _ => return Err(WebSocketError::Opcode),
        })
    }

    const fn bits(self) -> u8 {
        match self {
            Self::Continuation => 0,
            Self::Text => 1,
            Self::Binary => 2,
            Self::Close => 8,
            Self::Ping => 9,
            Self::Pong => 10,
        }
    }

    /// True for frames that may stand between the fragments of a message.
    #[must_use]
    pub const fn is_control(self) -> bool {
        matches!(self, Self::Close | Self::Ping | Self::Pong)
    }
}

/// Masks or unmasks bytes of a payload that begin at `offset` in it (section 5.3).
pub fn mask(bytes: &mut [u8], key: [u8; 4], offset: u64) {
    let start = usize::try_from(offset % 4).unwrap_or_default();
    for (byte, key) in bytes.iter_mut().zip(key.iter().cycle().skip(start)) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], sender: Sender, expected: Result<Option<(u64, usize)>, WebSocketError>) {
        let seen = Header::read(bytes, sender).map(|read| read.map(|(header, len)| (header.payload, len)));
        assert_eq!(seen, expected, "{bytes:?}");
    }

    #[test]
    fn headers() {
        use Sender::{Client, Server};
        check(b"", Server, Ok(None));
        check(b"\x81", Server, Ok(None));
        check(b"\x81\x05", Server, Ok(Some((5, 2))));
        check(b"\x81\x85abcd", Client, Ok(Some((5, 6))));
        check(b"\x81\x85abc", Client, Ok(None));
        check(b"\x82\x7e\x01\x00", Server, Ok(Some((256, 4))));
        check(b"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", Server, Ok(Some((65_536, 10))));
        check(b"\x82\x7e\x01", Server, Ok(None));
        check(b"\x89\x00", Server, Ok(Some((0, 2))));
    }

    #[test]
    fn e4_what_may_not_be_sent() {
        use Sender::{Client, Server};
        check(b"\xc1\x00", Server, Err(WebSocketError::Reserved));
        for first in [0xa1, 0x91, 0xc0, 0xc9] {
            assert_eq!(Header::read_deflated(&[first, 0], Server), Err(WebSocketError::Reserved), "{first:x}");
        }
        check(b"\x83\x00", Server, Err(WebSocketError::Opcode));
        check(b"\x81\x05", Client, Err(WebSocketError::Masking));
        check(b"\x81\x85abcd", Server, Err(WebSocketError::Masking));
        check(b"\x09\x00", Server, Err(WebSocketError::Control));
        check(b"\x89\x7e\x00\x7e", Server, Err(WebSocketError::Control));
        check(b"\x81\x7e\x00\x7d", Server, Err(WebSocketError::Length));
        check(b"\x81\x7f\x00\x00\x00\x00\x00\x00\xff\xff", Server, Err(WebSocketError::Length));
        check(b"\x81\x7f\xff\x00\x00\x00\x00\x00\xff\xff", Server, Err(WebSocketError::Length));
    }

    #[test]
    fn written_headers_are_read_back() {
        for payload in [0, 125, 126, 65_535, 65_536, 1 << 40] {
            let mask = Some([1, 2, 3, 4]);
            let header = Header { fin: true, compressed: payload > 125, opcode: Opcode::Binary, mask, payload };
            let mut bytes = Vec::new();
            header.write(&mut bytes);
            assert_eq!(Header::read_deflated(&bytes, Sender::Client), Ok(Some((header, bytes.len()))));
        }
    }

    #[test]
    fn masking_in_pieces() {
        let mut whole = *b"hello world";
        mask(&mut whole, [1, 2, 3, 4], 0);
        let mut pieces = *b"hello world";
        mask(&mut pieces[..3], [1, 2, 3, 4], 0);
        mask(&mut pieces[3..], [1, 2, 3, 4], 3);
        assert_eq!(whole, pieces);
    }
}
