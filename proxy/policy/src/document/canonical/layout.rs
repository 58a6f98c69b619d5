//! The layout of the canonical YAML text: that of `serde_yaml`, byte for byte, in a fraction of its time.
//!
//! Only what needs no quotes for certain is written here; each other scalar is asked of `serde_yaml`, and so is the whole of a
//! document that has something rarer. Hashes of policies are of this text, so that a policy of 1,000 rules is written each time
//! that one is set.

use super::value::{Fields, Value};

/// The text of a map.
pub(super) fn yaml(value: &Value<'_>) -> String {
    let mut text = String::with_capacity(USUAL_BYTES);
    let written = match value {
        Value::Map(fields) if !fields.0.is_empty() => map(&mut text, fields, 0),
        _ => Err(Rare),
    };
    match written {
        Ok(()) => text,
        Err(Rare) => by_the_library(value),
    }
}

/// Something that is not laid out here.
struct Rare;

/// A document of few rules.
const USUAL_BYTES: usize = 4096;

const MAX_KEY_BYTES: usize = 128;

/// Words that mean something else than their letters, to some reader.
const WORDS: [&str; 13] =
    ["null", "true", "false", "yes", "no", "on", "off", "y", "n", "nan", "inf", "infinity", "none"];

/// The fields of a map, of which the first goes on with the line that is begun.
fn map(text: &mut String, Fields(fields): &Fields<'_>, indent: usize) -> Result<(), Rare> {
    for (index, (name, value)) in fields.iter().enumerate() {
        if index > 0 {
            begin(text, indent);
        }
        key(text, name)?;
        text.push(':');
        match value {
            Value::Map(inner) if !inner.0.is_empty() => {
                text.push('\n');
                begin(text, indent + 2);
                map(text, inner, indent + 2)?;
            }
            // Items stand where the key does.
            Value::List(items) if !items.is_empty() => {
                text.push('\n');
                list(text, items, indent)?;
            }
            other => {
                text.push(' ');
                leaf(text, other)?;
            }
        }
    }
    Ok(())
}

fn list(text: &mut String, items: &[Value<'_>], indent: usize) -> Result<(), Rare> {
    for item in items {
        begin(text, indent);
        text.push_str("- ");
        match item {
            Value::Map(fields) if !fields.0.is_empty() => map(text, fields, indent + 2)?,
            other => leaf(text, other)?,
        }
    }
    Ok(())
}

/// What ends its line.
fn leaf(text: &mut String, value: &Value<'_>) -> Result<(), Rare> {
    match value {
        Value::Text(word) => scalar(text, word)?,
        Value::Flag(true) => text.push_str("true"),
        Value::Flag(false) => text.push_str("false"),
        Value::Whole(number) => text.push_str(&number.to_string()),
        Value::Map(fields) if fields.0.is_empty() => text.push_str("{}"),
        Value::List(items) if items.is_empty() => text.push_str("[]"),
        Value::Map(_) | Value::List(_) | Value::Fraction(_) | Value::Free(_) => return Err(Rare),
    }
    text.push('\n');
    Ok(())
}

/// A key that is long or has line breaks is written in another way.
fn key(text: &mut String, name: &str) -> Result<(), Rare> {
    let is_break = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    match name.len() > MAX_KEY_BYTES || name.contains(is_break) {
        true => Err(Rare),
        false => scalar(text, name),
    }
}

fn scalar(text: &mut String, word: &str) -> Result<(), Rare> {
    if is_plain(word) {
        text.push_str(word);
        return Ok(());
    }
    let quoted = by_the_library(&Value::Text(word.into()));
    match quoted.strip_suffix('\n') {
        Some(line) if !line.contains('\n') => text.push_str(line),
        _ => return Err(Rare),
    }
    Ok(())
}

/// Begins as no number and no mark does, goes on with what means nothing in any place, and is no word of YAML.
fn is_plain(word: &str) -> bool {
    let begins_plain = word.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let is_inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'/' | b'_' | b'.' | b'-' | b'*');
    begins_plain && word.bytes().all(is_inner) && !WORDS.iter().any(|other| other.eq_ignore_ascii_case(word))
}

fn begin(text: &mut String, indent: usize) {
    text.extend(std::iter::repeat_n(' ', indent));
}

fn by_the_library(value: &Value<'_>) -> String {
    serde_yaml::to_string(value).expect("maps with text keys can always be written")
}
