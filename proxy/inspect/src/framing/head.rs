//! One head: where it ends, and what it says of its body.

use memchr::memchr;

use super::Wrong;
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

/// How far a head has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// Its length with its empty line.
    Whole(usize),
    /// Bytes that need not be looked at again.
    Seen(usize),
}

/// Looks for the end of a head of which `seen` bytes have been looked at before.
pub(super) fn progress(bytes: &[u8], seen: usize) -> Result<Progress, Wrong> {
    if seen < sniff::ENOUGH {
        match sniff(bytes) {
            Opening::Http1 => {}
            // Its lines have not been looked at.
            Opening::Unknown { more: true } => return Ok(Progress::Seen(0)),
            Opening::Http2 => return Err(Wrong::Version),
            Opening::Tls | Opening::Unknown { more: false } => return Err(Wrong::NotHttp1),
        }
    }
    // Up to here every line ends with both characters.
    let mut from = seen;
    let mut is_first = !bytes[..seen].contains(&b'\n');
    while let Some(at) = memchr(b'\n', &bytes[from..]) {
        let end = from + at;
        let Some(line) = bytes[..end].strip_suffix(b"\r") else { return Err(Wrong::BareLineFeed) };
        if is_first {
            // At once: who says something else than requests need not be waited for.
            check_request_line(line)?;
            is_first = false;
        } else if line.ends_with(b"\n") {
            return Ok(Progress::Whole(end + 1));
        }
        from = end + 1;
    }
    Ok(Progress::Seen(bytes.len()))
}

/// Reads a whole head, the line of its request being right.
pub(super) fn read(head: &[u8], headers: usize) -> Result<Body, Wrong> {
    let mut rest = head;
    let mut lines = std::iter::from_fn(|| {
        let (line, behind) = rest.split_at_checked(memchr(b'\n', rest)? + 1)?;
        rest = behind;
        line.strip_suffix(b"\r\n")
    });
    let line = lines.next().unwrap_or_default();
    let line = RequestLine { is_connect: line.starts_with(b"CONNECT "), is_http_11: line.ends_with(b" HTTP/1.1") };
    let mut found = Found::default();
    for (count, header) in lines.take_while(|line| !line.is_empty()).enumerate() {
        if count == headers {
            return Err(Wrong::HeadTooLarge);
        }
        let (name, value) = header_line(header)?;
        found.take(name, value)?;
    }
    found.body(&line)
}

struct RequestLine {
    is_connect: bool,
    is_http_11: bool,
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
    match all(value, VALUE) {
        true => Ok((name, value)),
        false => Err(Wrong::HeaderValue),
    }
}

/// Kinds of characters: of a name (RFC 9110, section 5.6.2), of a header's value, of a request's target, and of a path
/// (RFC 3986, section 3.3) or query that nobody reads in two ways.
const TOKEN: u8 = 1;
const VALUE: u8 = 2;
const TARGET: u8 = 4;
const USUAL: u8 = 8;

/// Far below what any reader takes.
const USUAL_LENGTH: usize = 8192;

/// The kinds that each byte is of.
static KINDS: [u8; 256] = kinds();

const fn kinds() -> [u8; 256] {
    let mut kinds = [0; 256];
    let mut byte = 0u8;
    loop {
        let is_word = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        let is_value = byte == b'\t' || (byte >= b' ' && byte != DELETE);
        let is_target = byte.is_ascii_graphic() && byte != b'#';
        let is_usual = is_word || matches!(byte, b'/' | b'?' | b'%' | b'&' | b'=' | b'+' | b',' | b':' | b'@');
        kinds[byte as usize] = (sniff::is_token(byte) as u8 * TOKEN)
            | (is_value as u8 * VALUE)
            | (is_target as u8 * TARGET)
            | (is_usual as u8 * USUAL);
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
#[derive(Default)]
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

    fn body(self, line: &RequestLine) -> Result<Body, Wrong> {
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
