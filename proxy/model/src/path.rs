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

/// Where the slash stands before the first segment that some step may change: one with other than literal characters, an
/// empty one, one that begins with a dot. `path` begins with a slash.
fn odd_segment(path: &[u8]) -> Option<usize> {
    let mut start = 1;
    // Paths of many bytes are most often canonical, and sixteen bytes are looked at as fast as two.
    while let Some((before, chunk)) = path.get(start - 1..start - 1 + CHUNK).zip(path.get(start..start + CHUNK)) {
        let is_odd = before.iter().zip(chunk).fold(false, |odd, (&before, &byte)| odd | may_be_odd(before, byte));
        if is_odd {
            break;
        }
        start += CHUNK;
    }
    let mut before = path[start - 1];
    let odd = path[start..].iter().position(|&byte| {
        let is_odd = match byte {
            b'/' | b'.' => before == b'/',
            byte => !LITERAL[usize::from(byte)],
        };
        before = byte;
        is_odd
    })?;
    path[..start + odd].iter().rposition(|&b| b == b'/')
}

const CHUNK: usize = 16;

/// Whether a segment may be odd because of `byte` behind `before`: in arithmetic that is done for many bytes at once, and
/// true for a few literal characters as well.
fn may_be_odd(before: u8, byte: u8) -> bool {
    let is_lower = byte.wrapping_sub(b'a') < 26;
    // `@` and capitals; digits, `/`, `.`, `-` and others down to `&`, and `:`.
    let is_upper = byte.wrapping_sub(b'@') < 27;
    let is_middle = byte.wrapping_sub(b'&') <= b':' - b'&';
    let is_dotted = (before == b'/') & (byte | 1 == b'/');
    !(is_lower | is_upper | is_middle | (byte == b'_')) | is_dotted
}

/// Stands for an encoded slash between decoding and encoding; a real NUL is refused before.
const KEPT_SLASH: u8 = 0;

/// What stands before the slash at `odd` is canonical.
fn canonicalise(raw: &str, odd: usize, slash: EncodedSlash) -> Result<String, PathError> {
    let mut path = String::with_capacity(raw.len() + SPARE_BYTES);
    path.push_str(&raw[..odd]);
    let mut rest = &raw.as_bytes()[odd..];
    let mut is_open = false;
    while let Some((_, segment)) = rest.split_first() {
        let start = path.len();
        path.push('/');
        rest = match append_literal(segment, &mut path) {
            Some(rest) => rest,
            None => {
                path.truncate(start + 1);
                append_odd(segment, slash, &mut path)?
            }
        };
        let end = match &path.as_bytes()[start + 1..] {
            b"" | b"." => Some(start),
            b".." => Some(path.as_bytes()[..start].iter().rposition(|&b| b == b'/').ok_or(PathError::Traversal)?),
            _ => None,
        };
        is_open = end.is_some();
        if let Some(end) = end {
            path.truncate(end);
        }
    }
    if is_open {
        path.push('/');
    }
    Ok(path)
}

/// Room for a few escapes that the raw path did not have.
const SPARE_BYTES: usize = 16;

/// Appends the first segment of `rest` if it is literal once it is decoded and its parameters are cut off; what is behind it.
fn append_literal<'a>(mut rest: &'a [u8], path: &mut String) -> Option<&'a [u8]> {
    loop {
        let run = rest.iter().position(|&b| !LITERAL[usize::from(b)]).unwrap_or(rest.len());
        let (literal, odd) = rest.split_at(run);
        // Most runs are a few bytes, fewer than are worth a call.
        literal.iter().for_each(|&byte| path.push(char::from(byte & 0x7f)));
        match odd {
            [] | [b'/', ..] => return Some(odd),
            [b';', ..] => {
                let end = odd.iter().position(|&b| !LITERAL[usize::from(b)] && b != b';').unwrap_or(odd.len());
                return matches!(odd[end..], [] | [b'/', ..]).then_some(&odd[end..]);
            }
            [b'%', high, low, after @ ..] => match (hex(high)?, hex(low)?) {
                (high, low) if LITERAL[usize::from(high << 4 | low)] => {
                    path.push(char::from((high << 4 | low) & 0x7f));
                    rest = after;
                }
                _ => return None,
            },
            _ => return None,
        }
    }
}

/// The same for any segment, or why it has no canonical spelling.
fn append_odd<'a>(rest: &'a [u8], slash: EncodedSlash, path: &mut String) -> Result<&'a [u8], PathError> {
    let (segment, rest) = rest.split_at(rest.iter().position(|&b| b == b'/').unwrap_or(rest.len()));
    let decoded = decode(segment, slash)?;
    let name = decoded.split(|&b| b == b';').next().unwrap_or_default();
    refuse_hidden_dots(name)?;
    encode(name, path);
    Ok(rest)
}

/// An escape cannot hold a separator that was missed: an encoded slash is kept apart, and a character of several bytes that
/// begins in one segment cannot end in another.
fn decode(segment: &[u8], slash: EncodedSlash) -> Result<Vec<u8>, PathError> {
    let mut decoded = Vec::with_capacity(segment.len());
    let mut rest = segment;
    while let Some((&byte, after)) = rest.split_first() {
        let (byte, after) = match (byte, after) {
            (b'%', [high, low, after @ ..]) => (escaped(high, low, slash)?, after),
            (b'%', _) => return Err(PathError::BadEscape),
            (0..=b' ' | 0x7f.. | b'#' | b'?', _) => return Err(PathError::BadByte),
            (byte, after) => (byte, after),
        };
        decoded.push(byte);
        rest = after;
    }
    if std::str::from_utf8(&decoded).is_err() {
        return Err(PathError::BadDecoded);
    }
    Ok(decoded)
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
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
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

fn encode(segment: &[u8], path: &mut String) {
    for &byte in segment {
        if LITERAL[usize::from(byte)] {
            path.push(char::from(byte));
        } else {
            let byte = if byte == KEPT_SLASH { b'/' } else { byte };
            path.extend(['%', char::from(HEX[usize::from(byte >> 4)]), char::from(HEX[usize::from(byte & 15)])]);
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

    /// The rules again, with nothing done for speed.
    fn by_segments(raw: &str, slash: EncodedSlash) -> Result<String, PathError> {
        let (mut names, mut is_open) = (Vec::new(), false);
        for segment in raw.split('/').skip(1) {
            let mut name = String::new();
            append_odd(segment.as_bytes(), slash, &mut name)?;
            is_open = matches!(&name[..], "" | "." | "..");
            match &name[..] {
                "" | "." => {}
                ".." => drop(names.pop().ok_or(PathError::Traversal)?),
                _ => names.push(name),
            }
        }
        if is_open {
            names.push(String::new());
        }
        Ok(names.iter().map(|name| format!("/{name}")).collect())
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2000))]
        #[test]
        fn speed_changes_no_path(
            raw in "(/|/[a-zA-Z0-9_~@:&=!-]{1,20}|/([a-z.;~^\\\\]|%2[eEfF5]|%[0-9a-f]{2}|%C3%A9|é){0,4}){1,8}",
            keep in proptest::bool::ANY,
        ) {
            let slash = if keep { EncodedSlash::Keep } else { EncodedSlash::Refuse };
            let parsed = CanonicalPath::parse(&raw, slash).map(|path| path.as_str().to_owned());
            proptest::prop_assert_eq!(&parsed, &by_segments(&raw, slash), "{}", raw);
            if let Ok(path) = parsed {
                let again = CanonicalPath::parse(&path, EncodedSlash::Keep).map(|path| path.as_str().to_owned());
                proptest::prop_assert_eq!(again, Ok(path));
            }
        }
    }
}
