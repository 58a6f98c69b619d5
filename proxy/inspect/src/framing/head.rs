//! One head: where it ends, and what it says of its body.

use memchr::memchr;

use super::{Bounds, Wrong};
use crate::sniff::{self, Opening, sniff};

/// What follows a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes.
    Length(u64),
    Chunked,
    /// Perhaps no HTTP any more.
    Switching,
}

/// A head whose lines are read as they come, each of them once.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Head {
    /// Where the first line begins that has not been read.
    line: usize,
    /// Bytes behind which no line has ended.
    seen: usize,
    request: Option<RequestLine>,
    headers: usize,
    found: Found,
}

impl Head {
    /// Reads what `bytes`, the head from its beginning, hold beyond what was shown before: the length of the head with its
    /// empty line and what follows it, once it is whole.
    pub(super) fn follow(&mut self, bytes: &[u8], bounds: Bounds) -> Result<Option<(usize, Body)>, Wrong> {
        if self.request.is_none() && self.seen < sniff::ENOUGH && !is_request(bytes)? {
            return Ok(None);
        }
        while let Some(at) = memchr(b'\n', &bytes[self.seen..]) {
            let end = self.seen + at;
            if end >= bounds.head_bytes {
                return Err(Wrong::HeadTooLarge);
            }
            let Some(line) = bytes[self.line..end].strip_suffix(b"\r") else { return Err(Wrong::BareLineFeed) };
            (self.line, self.seen) = (end + 1, end + 1);
            match self.request {
                // At once: who says something else than requests need not be waited for.
                None => self.request = Some(RequestLine::read(line)?),
                Some(request) if line.is_empty() => return Ok(Some((end + 1, self.found.body(request)?))),
                Some(_) if self.headers == bounds.headers => return Err(Wrong::HeadTooLarge),
                Some(_) => self.header(line)?,
            }
        }
        if bytes.len() >= bounds.head_bytes {
            return Err(Wrong::HeadTooLarge);
        }
        self.seen = bytes.len();
        Ok(None)
    }

    fn header(&mut self, line: &[u8]) -> Result<(), Wrong> {
        self.headers += 1;
        let (name, value) = header_line(line)?;
        self.found.take(name, value)
    }
}

/// False where more must come before that can be said.
fn is_request(bytes: &[u8]) -> Result<bool, Wrong> {
    match sniff(bytes) {
        Opening::Http1 => Ok(true),
        Opening::Unknown { more: true } => Ok(false),
        Opening::Http2 => Err(Wrong::Version),
        Opening::Tls | Opening::Unknown { more: false } => Err(Wrong::NotHttp1),
    }
}

#[derive(Debug, Clone, Copy)]
struct RequestLine {
    is_connect: bool,
    is_http_11: bool,
}

impl RequestLine {
    fn read(line: &[u8]) -> Result<Self, Wrong> {
        check_request_line(line)?;
        Ok(Self { is_connect: line.starts_with(b"CONNECT "), is_http_11: line.ends_with(b" HTTP/1.1") })
    }
}

fn check_request_line(line: &[u8]) -> Result<(), Wrong> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Wrong::RequestLine);
    };
    let is_target = !target.is_empty() && all(target, TARGET);
    if !is_target || method.is_empty() || !all(method, TOKEN) {
        return Err(Wrong::RequestLine);
    }
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" => {}
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => return Err(Wrong::Version),
        _ => return Err(Wrong::RequestLine),
    }
    // As it will be read behind, which refuses nothing of a path that is usual.
    if target.starts_with(b"/") && target.len() <= USUAL_LENGTH && all(target, USUAL) {
        return Ok(());
    }
    http::Uri::try_from(target).map(drop).map_err(|_| Wrong::Target)
}

fn header_line(line: &[u8]) -> Result<(&[u8], &[u8]), Wrong> {
    let end = line.iter().position(|byte| KINDS[usize::from(*byte)] & TOKEN == 0).ok_or(Wrong::HeaderName)?;
    let (name, rest) = line.split_at(end);
    let Some((b':', value)) = rest.split_first().filter(|_| !name.is_empty()) else { return Err(Wrong::HeaderName) };
    // By comparisons, which many bytes at a time can be put to.
    let is_value = |byte: u8| (byte >= b' ' && byte != DELETE) || byte == b'\t';
    match value.iter().fold(true, |sound, byte| sound & is_value(*byte)) {
        true => Ok((name, value)),
        false => Err(Wrong::HeaderValue),
    }
}

/// Kinds of characters: of a name (RFC 9110, section 5.6.2), of a request's target, and of a path (RFC 3986, section 3.3) or
/// query that nobody reads in two ways.
const TOKEN: u8 = 1;
const TARGET: u8 = 2;
const USUAL: u8 = 4;

/// Far below what any reader takes.
const USUAL_LENGTH: usize = 8192;

/// The kinds that each byte is of.
static KINDS: [u8; 256] = kinds();

const fn kinds() -> [u8; 256] {
    let mut kinds = [0; 256];
    let mut byte = 0u8;
    loop {
        let is_word = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let is_target = byte.is_ascii_graphic() && byte != b'#';
        let is_usual = is_word || matches!(byte, b'/' | b'?' | b'%' | b'&' | b'=' | b'+' | b',' | b':' | b'@');
        kinds[byte as usize] =
            (sniff::is_token(byte) as u8 * TOKEN) | (is_target as u8 * TARGET) | (is_usual as u8 * USUAL);
        if byte == u8::MAX {
            return kinds;
        }
        byte += 1;
    }
}

const DELETE: u8 = 0x7f;

fn all(bytes: &[u8], kind: u8) -> bool {
    // Without a way out in the middle, which would be asked for with every byte: what is read is sound but for attacks.
    bytes.iter().fold(kind, |kinds, byte| kinds & KINDS[usize::from(*byte)]) == kind
}

/// What the header lines say.
#[derive(Debug, Clone, Copy, Default)]
struct Found {
    length: Option<u64>,
    is_chunked: bool,
    has_host: bool,
    switches: bool,
}

impl Found {
    fn take(&mut self, name: &[u8], value: &[u8]) -> Result<(), Wrong> {
        // Some servers take `_` for `-` and would then find a length or a coding here.
        let is = |known: &[u8]| {
            name.len() == known.len()
                && name
                    .iter()
                    .zip(known)
                    .all(|(byte, known)| byte.eq_ignore_ascii_case(known) || (*byte == b'_' && *known == b'-'))
        };
        if is(b"content-length") {
            let length = if name.contains(&b'_') { None } else { number(blanks_trimmed(value)) };
            return match (self.length, length) {
                (None, Some(_)) => {
                    self.length = length;
                    Ok(())
                }
                _ => Err(Wrong::Length),
            };
        }
        if is(b"transfer-encoding") {
            if self.is_chunked || name.contains(&b'_') || !blanks_trimmed(value).eq_ignore_ascii_case(b"chunked") {
                return Err(Wrong::Coding);
            }
            self.is_chunked = true;
        } else if is(b"host") {
            if self.has_host {
                return Err(Wrong::Host);
            }
            self.has_host = true;
        } else if is(b"upgrade") {
            let websocket = b"websocket";
            self.switches |= value.windows(websocket.len()).any(|part| part.eq_ignore_ascii_case(websocket));
        }
        Ok(())
    }

    fn body(self, line: RequestLine) -> Result<Body, Wrong> {
        if line.is_http_11 && !line.is_connect && !self.has_host {
            return Err(Wrong::Host);
        }
        let switches = line.is_connect || self.switches;
        match (self.is_chunked, self.length) {
            (true, Some(_)) => Err(Wrong::LengthAndCoding),
            (true, None) if !line.is_http_11 => Err(Wrong::Coding),
            (true, None) | (false, Some(1..)) if switches => Err(Wrong::SwitchWithBody),
            (false, None | Some(0)) if switches => Ok(Body::Switching),
            (true, None) => Ok(Body::Chunked),
            (false, length) => Ok(Body::Length(length.unwrap_or(0))),
        }
    }
}

/// Without the blanks around it. Tabs are optional whitespace as well, but nobody sends them except to be misread.
fn blanks_trimmed(value: &[u8]) -> &[u8] {
    let begin = value.iter().position(|byte| *byte != b' ').unwrap_or(value.len());
    let end = value.iter().rposition(|byte| *byte != b' ').map_or(begin, |last| last + 1);
    &value[begin..end]
}

fn number(digits: &[u8]) -> Option<u64> {
    // Signs are not digits, and a number with more digits is beyond any body.
    let valid = (1..=MAX_LENGTH_DIGITS).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    valid.then(|| digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

/// An exabyte has nineteen; all such numbers fit 64 bits with a sign.
const MAX_LENGTH_DIGITS: usize = 18;
