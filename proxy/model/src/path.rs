//! Request paths in their one canonical spelling.

use std::borrow::Cow;
use std::fmt;

/// A path that was reduced to one spelling: what is judged is what is sent.
///
/// The order of the steps matters, since each removes a way to say the same path twice:
/// 1. refuse control bytes, non-ASCII and `#`; refuse what does not start with `/`;
/// 2. percent-decode once; refuse bad escapes, decoded control bytes and text that is not UTF-8;
/// 3. cut each segment at the first `;` (so that `..;x` is `..`), resolve `.` and `..`, refuse to climb above the root, collapse `//`;
/// 4. encode again: unreserved and pchar characters (RFC 3986, section 3.3) literal, the rest as upper-case `%XX`.
///
/// Borrowed where the input is canonical already.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CanonicalPath<'a>(Cow<'a, str>);

/// What to do with `%2F` inside a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodedSlash {
    /// Refuse the path.
    Refuse,
    /// Keep it as data of its segment (`allow_encoded_slash`).
    Keep,
}

/// Why a path has no canonical spelling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Empty, or not starting with a slash.
    #[error("the path does not start with `/`")]
    NotAbsolute,
    /// Longer than [`MAX_PATH_BYTES`].
    #[error("the path is longer than {MAX_PATH_BYTES} bytes")]
    TooLong,
    /// A raw byte that may not stand in a request target.
    #[error("the path holds a control, non-ASCII or `#` character")]
    BadByte,
    /// `%` without two hexadecimal digits.
    #[error("the path holds a broken percent escape")]
    BadEscape,
    /// An escape that decodes to a control byte, or bytes that are not UTF-8.
    #[error("the path decodes to a control character or to text that is not UTF-8")]
    BadDecoded,
    /// `%2F` without `allow_encoded_slash`.
    #[error("the path holds an encoded slash (%2F)")]
    EncodedSlash,
    /// `..` at the root, or dots hidden behind an encoded slash or a backslash.
    #[error("the path climbs above the root or hides dot segments")]
    Traversal,
}

/// The longest raw path that is read.
pub const MAX_PATH_BYTES: usize = 4096;

impl<'a> CanonicalPath<'a> {
    /// Reads the path part of a request target (without `?` and what follows).
    ///
    /// # Errors
    /// [`PathError`]; a path that could be read in two ways is refused, never repaired.
    pub fn parse(raw: &'a str, slash: EncodedSlash) -> Result<Self, PathError> {
        if !raw.starts_with('/') {
            return Err(PathError::NotAbsolute);
        }
        if raw.len() > MAX_PATH_BYTES {
            return Err(PathError::TooLong);
        }
        match odd_segment(raw.as_bytes()) {
            None => Ok(Self(Cow::Borrowed(raw))),
            Some(start) => canonicalise(raw, start, slash).map(|path| Self(Cow::Owned(path))),
        }
    }

    /// The canonical text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A copy that borrows nothing.
    #[must_use]
    pub fn into_owned(self) -> CanonicalPath<'static> {
        CanonicalPath(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Display for CanonicalPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CanonicalPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CanonicalPath({})", self.0)
    }
}

/// Where the first segment begins that some step may change: one with other than literal characters, an empty one, one that
/// begins with a dot.
fn odd_segment(path: &[u8]) -> Option<usize> {
    let mut previous = 0;
    let odd = path.iter().position(|&byte| {
        let literal = LITERAL[usize::from(byte)] || (byte == b'/' && previous != b'/');
        let is_odd = !literal || (byte == b'.' && previous == b'/');
        previous = byte;
        is_odd
    })?;
    path[..odd].iter().rposition(|&b| b == b'/').map(|slash| slash + 1)
}

/// Stands for an encoded slash between decoding and encoding; a real NUL is refused before.
const KEPT_SLASH: u8 = 0;

/// `start` is where a segment begins; those before it are canonical.
fn canonicalise(raw: &str, start: usize, slash: EncodedSlash) -> Result<String, PathError> {
    let mut path = Vec::with_capacity(raw.len() + SPARE_BYTES);
    let (done, rest) = raw.as_bytes().split_at(start);
    path.extend_from_slice(&done[..start - 1]);
    let mut rest = Some(rest);
    let mut ends_open = true;
    while let Some(left) = rest {
        // One look at each byte: most segments are literal to their end.
        let run = left.iter().position(|&b| !LITERAL[usize::from(b)]).unwrap_or(left.len());
        let end = left[run..].iter().position(|&b| b == b'/').map_or(left.len(), |slash| run + slash);
        rest = left.get(end + 1..);
        let start = path.len();
        path.push(b'/');
        path.extend_from_slice(&left[..run]);
        let is_literal = run == end || decode(&left[run..end], slash, &mut path)?;
        let name = &path[start + 1..];
        ends_open = matches!(name, b"" | b"." | b"..");
        match name {
            b"" | b"." => path.truncate(start),
            b".." => {
                let parent = path[..start].iter().rposition(|&b| b == b'/').ok_or(PathError::Traversal)?;
                path.truncate(parent);
            }
            _ if is_literal => {}
            name => {
                refuse_hidden_dots(name)?;
                let name = path.split_off(start + 1);
                encode(&name, &mut path);
            }
        }
    }
    if ends_open {
        path.push(b'/');
    }
    Ok(String::from_utf8(path).expect("only ASCII is left"))
}

/// Room for a few escapes that the raw path did not have.
const SPARE_BYTES: usize = 16;

/// Appends what of a segment is not literal decoded and without its parameters; true where it needs no escapes then. An
/// escape cannot hold a separator that was missed: an encoded slash is kept apart, and a character of several bytes that
/// begins in one segment cannot end in another.
fn decode(segment: &[u8], slash: EncodedSlash, path: &mut Vec<u8>) -> Result<bool, PathError> {
    let start = path.len();
    let mut rest = segment;
    // The first byte that is not literal once it is decoded, and the first that ends the name.
    let (mut odd, mut name) = (None, None);
    while let Some((&byte, after)) = rest.split_first() {
        let byte = match (byte, after) {
            (b'%', [high, low, after @ ..]) => {
                rest = after;
                escaped(high, low, slash)?
            }
            (b'%', _) => return Err(PathError::BadEscape),
            (0..=b' ' | 0x7f.. | b'#' | b'?', _) => return Err(PathError::BadByte),
            (byte, after) => {
                rest = after;
                byte
            }
        };
        if !LITERAL[usize::from(byte)] {
            odd.get_or_insert(path.len());
            if byte == b';' {
                name.get_or_insert(path.len());
            }
        }
        path.push(byte);
        let run = rest.iter().position(|&b| !LITERAL[usize::from(b)]).unwrap_or(rest.len());
        path.extend_from_slice(&rest[..run]);
        rest = &rest[run..];
    }
    if odd.is_some() && std::str::from_utf8(&path[start..]).is_err() {
        return Err(PathError::BadDecoded);
    }
    let end = name.unwrap_or(path.len());
    path.truncate(end);
    Ok(odd.is_none_or(|odd| odd >= end))
}

fn escaped(high: &u8, low: &u8, slash: EncodedSlash) -> Result<u8, PathError> {
    let high = hex(high).ok_or(PathError::BadEscape)?;
    let low = hex(low).ok_or(PathError::BadEscape)?;
    match (high << 4 | low, slash) {
        (b'/', EncodedSlash::Refuse) => Err(PathError::EncodedSlash),
        (b'/', EncodedSlash::Keep) => Ok(KEPT_SLASH),
        (0..=0x1f | 0x7f, _) => Err(PathError::BadDecoded),
        (byte, _) => Ok(byte),
    }
}

fn hex(digit: &u8) -> Option<u8> {
    char::from(*digit).to_digit(16).and_then(|d| u8::try_from(d).ok())
}

/// Some servers split at a decoded slash or at a backslash as well; dots that would then become segments are refused.
fn refuse_hidden_dots(segment: &[u8]) -> Result<(), PathError> {
    let is_separator = |b: u8| b == KEPT_SLASH || b == b'\\';
    if !segment.iter().any(|&b| is_separator(b)) {
        return Ok(());
    }
    let mut parts = segment.split(|&b| is_separator(b));
    if parts.any(|part| part == b"." || part == b"..") {
        return Err(PathError::Traversal);
    }
    Ok(())
}

fn encode(segment: &[u8], path: &mut Vec<u8>) {
    for &byte in segment {
        if LITERAL[usize::from(byte)] {
            path.push(byte);
        } else {
            let byte = if byte == KEPT_SLASH { b'/' } else { byte };
            path.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// pchar of RFC 3986 without `;`, which never survives, and without `%`.
const LITERAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = b.is_ascii_alphanumeric()
            || matches!(
                b,
                b'-' | b'.'
                    | b'_'
                    | b'~'
                    | b'!'
                    | b'$'
                    | b'&'
                    | b'\''
                    | b'('
                    | b')'
                    | b'*'
                    | b'+'
                    | b','
                    | b'='
                    | b':'
                    | b'@'
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, slash: EncodedSlash, expected: Result<&str, PathError>) {
        let parsed = CanonicalPath::parse(input, slash);
        assert_eq!(parsed.as_ref().map(CanonicalPath::as_str), expected.as_ref().map(|s| *s), "{input:?}");
    }

    #[test]
    fn f1_one_spelling() {
        use EncodedSlash::Refuse;
        for (input, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("/a/./b", "/a/b"),
            ("/a/b/.", "/a/b/"),
            ("/a/b/..", "/a/"),
            ("/public/%2e%2e/secret", "/secret"),
            ("/public/..;x/secret", "/secret"),
            ("/public/..%3B/secret", "/secret"),
            ("//public//../secret", "/secret"),
            ("/a;jsessionid=1/b", "/a/b"),
            ("/users/%40alice", "/users/@alice"),
            ("/caf%c3%a9", "/caf%C3%A9"),
            ("/a/100%25", "/a/100%25"),
            ("/a/%252F/b", "/a/%252F/b"),
            ("/fetch/http://example.test", "/fetch/http:/example.test"),
            ("/.well-known/x", "/.well-known/x"),
            ("/a/...", "/a/..."),
            ("/a\\b", "/a%5Cb"),
        ] {
            check(input, Refuse, Ok(expected));
        }
    }

    #[test]
    fn f2_what_can_be_read_twice_is_refused() {
        use EncodedSlash::{Keep, Refuse};
        check("/a/%2f/b", Refuse, Err(PathError::EncodedSlash));
        check("/a/%2f/b", Keep, Ok("/a/%2F/b"));
        check("/a%2Fb", Keep, Ok("/a%2Fb"));
        check("/public/..%2fsecret", Keep, Err(PathError::Traversal));
        check("/public/..%5csecret", Refuse, Err(PathError::Traversal));
        for (input, error) in [
            ("", PathError::NotAbsolute),
            ("*", PathError::NotAbsolute),
            ("a/b", PathError::NotAbsolute),
            ("/..", PathError::Traversal),
            ("/a/%2e%2e/%2e%2e", PathError::Traversal),
            ("/public/..;/..;/x", PathError::Traversal),
            ("/%zz", PathError::BadEscape),
            ("/%2", PathError::BadEscape),
            ("/%u002e", PathError::BadEscape),
            ("/%00", PathError::BadDecoded),
            ("/%0d%0a", PathError::BadDecoded),
            ("/%c0%af", PathError::BadDecoded),
            ("/a#b", PathError::BadByte),
            ("/a b", PathError::BadByte),
            ("/a\tb", PathError::BadByte),
            ("/é", PathError::BadByte),
        ] {
            check(input, Refuse, Err(error));
        }
        check(&format!("/{}", "a".repeat(MAX_PATH_BYTES)), Refuse, Err(PathError::TooLong));
    }

    #[test]
    fn canonical_input_is_borrowed() {
        let path = CanonicalPath::parse("/v1/chat/completions", EncodedSlash::Refuse).expect("canonical");
        assert!(matches!(path.0, Cow::Borrowed(_)));
    }
}
