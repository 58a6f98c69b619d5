//! Globs over request paths: those that no canonical path can match are mistakes, not rules.

use std::fmt::Write as _;

use crate::glob::PathGlob;
use crate::yaml::Node;
use crate::yaml::reader::Reader;

pub(super) fn request_path(reader: &mut Reader, node: &Node, what: &str) -> Option<PathGlob> {
    let text = reader.word(node, what)?;
    if !text.starts_with('/') && text != "**" && !text.starts_with("**/") {
        reader
            .error(node.at, format!("{what} `{text}` never matches, since every path begins with `/`"))
            .hint(if text == "*" { "write `/**` for any path".to_owned() } else { format!("write `/{text}`") });
        return None;
    }
    if let Some(canonical) = other_spelling(text) {
        reader
            .error(node.at, format!("{what} `{text}` never matches, since paths are compared in canonical form"))
            .hint(format!("write `{canonical}`"));
        return None;
    }
    PathGlob::parse(text).map_err(|error| drop(reader.error(node.at, format!("{what} `{text}`: {error}")))).ok()
}

/// The spelling that can match, where the text as it stands cannot: escapes that a canonical path would not hold,
/// characters that it would escape, and segments that it would resolve.
pub fn other_spelling(text: &str) -> Option<String> {
    let spelled = (!is_spelled_well(text)).then(|| respelled(text))?;
    (spelled != text).then_some(spelled)
}

fn respelled(text: &str) -> String {
    let mut spelled = String::with_capacity(text.len());
    let mut in_class = false;
    let mut characters = text.char_indices().peekable();
    while let Some((at, character)) = characters.next() {
        match character {
            '%' => match escape(&text[at..]) {
                Some(byte) => {
                    push_byte(&mut spelled, byte);
                    characters.next();
                    characters.next();
                }
                None => spelled.push_str("%25"),
            },
            '[' => {
                in_class = true;
                spelled.push(character);
            }
            ']' => {
                in_class = false;
                spelled.push(character);
            }
            '\\' => {
                spelled.push(character);
                spelled.extend(characters.next().map(|(_, escaped)| escaped));
            }
            '^' if in_class => spelled.push(character),
            ';' | '#' | ' ' | '"' | '<' | '>' | '^' | '`' | '|' => push_byte(&mut spelled, character as u8),
            other if other.is_ascii_graphic() => spelled.push(other),
            other => other.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| push_escaped(&mut spelled, byte)),
        }
    }
    resolved(&spelled)
}

/// True for most patterns, at a glance: no character that would be spelled otherwise, no segment that would be resolved.
fn is_spelled_well(text: &str) -> bool {
    let is_plain =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'-' | b'.' | b'_' | b'~' | b'*' | b'{' | b',' | b'}');
    let mut segments = text.strip_prefix('/').unwrap_or(text).split('/').peekable();
    let mut is_kept = text.bytes().all(is_plain);
    while let Some(segment) = segments.next().filter(|_| is_kept) {
        let is_last = segments.peek().is_none();
        is_kept = !matches!(segment, "." | "..") && (is_last || !segment.is_empty());
    }
    is_kept
}

fn escape(text: &str) -> Option<u8> {
    u8::from_str_radix(text.get(1..3).filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))?, 16).ok()
}

/// A byte as a canonical path holds it: a character where that is literal in paths, an escape otherwise.
fn push_byte(spelled: &mut String, byte: u8) {
    let literal = byte.is_ascii_alphanumeric() || b"-._~!$&'()+,=:@".contains(&byte);
    match literal {
        true => spelled.push(char::from(byte)),
        // `*` is literal in paths and special in globs.
        false if byte == b'*' => spelled.push_str("\\*"),
        false => push_escaped(spelled, byte),
    }
}

fn push_escaped(spelled: &mut String, byte: u8) {
    let _ = write!(spelled, "%{byte:02X}");
}

/// Without empty, `.` and `..` segments, which no canonical path holds.
fn resolved(text: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = text.split('/').collect();
    for (index, segment) in segments.iter().enumerate() {
        let is_last = index + 1 == segments.len();
        match *segment {
            "" if index == 0 || is_last => kept.push(segment),
            "" | "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    kept.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_never_match() {
        for (text, expected) in [
            ("/a/b", None),
            ("/**", None),
            ("/a%20b", None),
            ("/a%2Fb", None),
            ("/users/@me", None),
            ("/v[0-9]/{a,b}?*", None),
            ("/n[^0-9]", None),
            ("/a/", None),
            ("/a b", Some("/a%20b")),
            ("/a%2fb", Some("/a%2Fb")),
            ("/%41", Some("/A")),
            ("/100%", Some("/100%25")),
            ("/é", Some("/%C3%A9")),
            ("/a;b", Some("/a%3Bb")),
            ("//a", Some("/a")),
            ("/a/./b", Some("/a/b")),
            ("/a/../b", Some("/b")),
        ] {
            assert_eq!(other_spelling(text).as_deref(), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_spelled_well_at_a_glance_is(text in "[/.a~*{},%\\[ -]{0,8}") {
            proptest::prop_assert!(!is_spelled_well(&text) || respelled(&text) == text, "{}", respelled(&text));
        }
    }
}
