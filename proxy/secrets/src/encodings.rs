//! The spellings in which a reply may bring a secret back.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// A spelling of the secret and the same spelling of its placeholder.
pub(crate) struct Spelling {
    pub(crate) needle: Vec<u8>,
    pub(crate) replacement: Vec<u8>,
}

/// Every spelling that is searched for: plain in either case and as UTF-16, base64 and base64url at any offset,
/// hexadecimal, percent-encoded (also twice), JSON- and HTML-escaped.
///
/// These are the spellings of honest services. One that means to hand a secret over can always make up another (reversed,
/// one character a line); the binding decides who gets to see it in the first place.
pub(crate) fn spellings(value: &str, placeholder: &str) -> Vec<Spelling> {
    let mut all = Vec::new();
    for encode in WHOLE {
        let (needle, mut replacement) = (encode(value).into_bytes(), encode(placeholder).into_bytes());
        if value.len() == placeholder.len() {
            // A spelling may be longer for some characters than for others; a `Content-Length` is to stay true all the same.
            replacement.resize(needle.len(), b'A');
        }
        push(&mut all, needle, replacement);
    }
    for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
        for offset in 0..3 {
            let needle = base64_core(engine, value.as_bytes(), offset);
            // Only characters that no neighbour influences are searched for, so only those can be put back.
            let mut replacement = base64_core(engine, placeholder.as_bytes(), offset);
            replacement.resize(needle.len(), b'A');
            push(&mut all, needle, replacement);
        }
    }
    all
}

fn push(all: &mut Vec<Spelling>, needle: Vec<u8>, replacement: Vec<u8>) {
    if needle.len() >= MIN_NEEDLE_BYTES && all.iter().all(|known| known.needle != needle) {
        all.push(Spelling { needle, replacement });
    }
}

/// Shorter pieces would be found in innocent text.
pub(crate) const MIN_NEEDLE_BYTES: usize = 6;

const WHOLE: &[fn(&str) -> String] = &[
    str::to_owned,
    str::to_lowercase,
    str::to_uppercase,
    |s| s.chars().flat_map(|c| [c, '\0']).collect(),
    |s| s.chars().flat_map(|c| ['\0', c]).collect(),
    |s| s.chars().map(|c| format!("&#{};", u32::from(c))).collect(),
    |s| s.chars().map(|c| format!("&#x{:x};", u32::from(c))).collect(),
    |s| s.chars().map(|c| format!("&#x{:X};", u32::from(c))).collect(),
    |s| hex(s, false),
    |s| hex(s, true),
    |s| percent(s, is_unreserved, true),
    |s| percent(s, is_unreserved, false),
    |s| percent(s, is_component, true),
    |s| percent(s, is_component, false),
    |s| percent(s, is_pchar, true),
    |s| percent(s, |b| is_unreserved(b) || b == b' ', true).replace(' ', "+"),
    |s| percent(s, |_| false, true),
    |s| percent(s, |_| false, false),
    |s| percent(&percent(s, is_unreserved, true), is_unreserved, true),
    |s| json(s, |c| matches!(c, '"' | '\\')),
    |s| json(s, |c| matches!(c, '"' | '\\' | '/')),
    |s| json(s, |c| matches!(c, '"' | '\\') || !c.is_ascii()),
    |s| json(s, |c| matches!(c, '"' | '\\' | '<' | '>' | '&' | '\'') || !c.is_ascii()),
    |s| s.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect(),
    |s| s.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect(),
    |s| html(s, &[('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&quot;"), ('\'', "&#39;")]),
    |s| html(s, &[('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&#34;"), ('\'', "&#39;")]),
    |s| html(s, &[('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&quot;"), ('\'', "&#x27;"), ('/', "&#x2F;")]),
    |s| html(s, &[('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;")]),
];

fn hex(text: &str, upper: bool) -> String {
    text.bytes().map(|b| if upper { format!("{b:02X}") } else { format!("{b:02x}") }).collect()
}

pub(crate) fn percent(text: &str, keep: fn(u8) -> bool, upper: bool) -> String {
    let escape = |b: u8| if upper { format!("%{b:02X}") } else { format!("%{b:02x}") };
    text.bytes().map(|b| if keep(b) { char::from(b).to_string() } else { escape(b) }).collect()
}

/// RFC 3986, section 2.3.
pub(crate) fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// What JavaScript's `encodeURIComponent` leaves alone.
fn is_component(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.!~*'()".contains(&byte)
}

/// RFC 3986, section 3.3.
pub(crate) fn is_pchar(byte: u8) -> bool {
    is_unreserved(byte) || b"!$&'()*+,;=:@".contains(&byte)
}

/// RFC 8259, section 7: short escapes where they exist, `\uXXXX` for the rest.
pub(crate) fn json(text: &str, escape: fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            _ if !escape(c) => out.push(c),
            '"' | '\\' | '/' => out.extend(['\\', c]),
            _ => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    out
}

fn html(text: &str, entities: &[(char, &str)]) -> String {
    let entity = |c: char| entities.iter().find(|(plain, _)| *plain == c).map(|(_, entity)| (*entity).to_owned());
    text.chars().map(|c| entity(c).unwrap_or_else(|| c.to_string())).collect()
}

/// The base64 characters that depend on `bytes` alone when `offset` unknown bytes stand before and unknown ones follow.
fn base64_core(engine: &impl Engine, bytes: &[u8], offset: usize) -> Vec<u8> {
    let mut shifted = vec![0; offset];
    shifted.extend_from_slice(bytes);
    let encoded = engine.encode(&shifted).into_bytes();
    // n bytes before touch the first ceil(8n/6) characters; a last group that is not full shares its last character.
    let first = (offset * 8).div_ceil(6);
    let last = shifted.len() * 8 / 6;
    encoded[first.min(last)..last].to_vec()
}
