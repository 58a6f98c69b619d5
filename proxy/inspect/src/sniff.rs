//! The first bytes of a connection: which protocol is this? Looks, takes nothing, and does not judge.
//!
//! ```
//! use tollgate_inspect::sniff::{Opening, sniff};
//!
//! assert_eq!(sniff(b"GET / HTTP/1.1\r\n"), Opening::Http1);
//! assert_eq!(sniff(b"\x16\x03"), Opening::Unknown { more: true });
//! ```

/// What a connection begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// A TLS record with a handshake (RFC 8446, section 5.1).
    Tls,
    /// A request line of HTTP/1 (RFC 9112, section 3).
    Http1,
    /// The preface of HTTP/2 (RFC 9113, section 3.4).
    Http2,
    /// None of them.
    Unknown {
        /// True where more bytes could still make it one of them.
        more: bool,
    },
}

/// Bytes after which the answer is always final.
pub const ENOUGH: usize = HTTP1_LINE + 1;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HANDSHAKE: u8 = 0x16;
const CLIENT_HELLO: u8 = 1;

/// The longest method and the blank behind it.
const HTTP1_LINE: usize = 33;

/// Classifies what has come so far.
#[must_use]
pub fn sniff(bytes: &[u8]) -> Opening {
    match bytes {
        [] => Opening::Unknown { more: true },
        [HANDSHAKE, rest @ ..] => tls(rest),
        _ if bytes.starts_with(PREFACE) => Opening::Http2,
        _ if PREFACE.starts_with(bytes) => Opening::Unknown { more: true },
        _ => http1(bytes),
    }
}

/// Whether these bytes, or these and what follows, are TLS. Of any other protocol nothing needs to be waited for.
#[must_use]
pub fn may_be_tls(bytes: &[u8]) -> bool {
    match sniff(bytes) {
        Opening::Tls => true,
        Opening::Unknown { more } => more && matches!(bytes, [] | [HANDSHAKE, ..]),
        Opening::Http1 | Opening::Http2 => false,
    }
}

/// After the content type: version 3.x, a length, and a ClientHello.
fn tls(rest: &[u8]) -> Opening {
    match rest {
        [3, 0..=4, _, _, CLIENT_HELLO, ..] => Opening::Tls,
        [] | [3] | [3, 0..=4] | [3, 0..=4, _] | [3, 0..=4, _, _] => Opening::Unknown { more: true },
        _ => Opening::Unknown { more: false },
    }
}

/// RFC 9110, section 5.6.2.
pub(crate) const fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~')
}

/// A token, then a blank, then something that no blank follows: servers that take less than that are not ours to serve.
fn http1(bytes: &[u8]) -> Opening {
    let method = bytes.iter().take(HTTP1_LINE).take_while(|byte| is_token(**byte)).count();
    match (method, bytes.get(method), bytes.get(method + 1)) {
        (0 | HTTP1_LINE.., _, _) => Opening::Unknown { more: false },
        (_, Some(b' '), Some(target)) if target.is_ascii_graphic() => Opening::Http1,
        (1..HTTP1_LINE, None, _) | (_, Some(b' '), None) => Opening::Unknown { more: true },
        _ => Opening::Unknown { more: false },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], expected: Opening) {
        assert_eq!(sniff(bytes), expected, "{bytes:?}");
    }

    #[test]
    fn openings() {
        let (more, never) = (Opening::Unknown { more: true }, Opening::Unknown { more: false });
        check(b"", more);
        check(b"\x16", more);
        check(b"\x16\x03\x01\x02\x00\x01", Opening::Tls);
        check(b"\x16\x03\x01\x02\x00\x02", never);
        check(b"\x16\x05", never);
        check(PREFACE, Opening::Http2);
        check(&PREFACE[..10], more);
        check(b"PRI / HTTP/1.1", Opening::Http1);
        check(b"G", more);
        check(b"GET ", more);
        check(b"GET /", Opening::Http1);
        check(b"CONNECT a:443 HTTP/1.1", Opening::Http1);
        check(b"SSH-2.0-OpenSSH_9\r\n", never);
        check(b"\x00\x00", never);
        check(&[b'A'; 40], never);
        check(&[b'A'; 33], never);
        check(&[&[b'A'; 33][..], b" /"].concat(), never);
        check(&[&[b'A'; 32][..], b" "].concat(), more);
        check(&[&[b'A'; 32][..], b" /"].concat(), Opening::Http1);
    }

    #[test]
    fn only_tls_is_waited_for() {
        for (bytes, expected) in
            [(&b""[..], true), (b"\x16", true), (b"\x16\x03\x01", true), (b"\x16\x05", false), (b"p", false)]
        {
            assert_eq!(may_be_tls(bytes), expected, "{bytes:?}");
        }
    }
}
