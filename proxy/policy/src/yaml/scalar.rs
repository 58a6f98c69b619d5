//! Plain scalars after YAML 1.2.2, section 10.3.2 (core schema), without its looser spellings.

use super::Value;

/// What a plain scalar means. A number with a leading zero is text, since readers disagree on its base.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => number(text).unwrap_or_else(|| Value::Text(text.into())),
    }
}

fn number(text: &str) -> Option<Value> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let radix = [("0x", 16), ("0o", 8)];
    if let Some((digits, base)) = radix.iter().find_map(|(prefix, base)| Some((text.strip_prefix(prefix)?, *base))) {
        return i64::from_str_radix(digits, base).ok().filter(|n| *n >= 0).map(Value::Integer);
    }
    let leading_zero = digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
    if leading_zero {
        return None;
    }
    if digits.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().map(Value::Integer);
    }
    let float = digits.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'));
    // `2e443`, which may be a host: writers leave it plain, since it is larger than any number of theirs.
    text.parse().ok().filter(|number: &f64| float && number.is_finite()).map(Value::Float)
}
