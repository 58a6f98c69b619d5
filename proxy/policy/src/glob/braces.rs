//! `{a,b}` written out: one pattern becomes several without braces.

use super::{GlobError, MAX_ALTERNATIVES, MAX_GLOB_BYTES};

/// Every pattern that the text stands for, in reading order; escapes and classes are left as they are.
pub(super) fn expand(text: &str) -> Result<Vec<String>, GlobError> {
    if text.is_empty() {
        return Err(GlobError::Empty);
    }
    if text.len() > MAX_GLOB_BYTES {
        return Err(GlobError::TooLong);
    }
    let mut rest = text;
    let patterns = sequence(&mut rest, Level::Top)?;
    match rest.is_empty() {
        true => Ok(patterns),
        false => Err(GlobError::StrayBrace),
    }
}

/// What ends a run of plain characters.
const SPECIAL: [char; 5] = ['{', '}', ',', '[', '\\'];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Top,
    Inside,
}

/// Reads up to the end of the text or, inside braces, up to `,` or `}`, which stay unread.
fn sequence(rest: &mut &str, level: Level) -> Result<Vec<String>, GlobError> {
    let mut heads = vec![String::with_capacity(rest.len())];
    while let Some(first) = rest.chars().next() {
        match first {
            ',' | '}' if level == Level::Inside => break,
            '}' => return Err(GlobError::StrayBrace),
            '{' => {
                *rest = &rest[1..];
                heads = product(&heads, &alternatives(rest)?)?;
            }
            _ => {
                let run = rest.find(SPECIAL).unwrap_or(rest.len());
                let (plain, after) = rest.split_at(if run > 0 { run } else { plain_len(rest)? });
                heads.iter_mut().for_each(|head| head.push_str(plain));
                *rest = after;
            }
        }
    }
    Ok(heads)
}

/// Reads after `{` up to and with its `}`.
fn alternatives(rest: &mut &str) -> Result<Vec<String>, GlobError> {
    let mut all = Vec::new();
    loop {
        let some = sequence(rest, Level::Inside)?;
        if some.iter().any(String::is_empty) {
            return Err(GlobError::EmptyAlternative);
        }
        all.extend(some);
        let end = rest.chars().next().ok_or(GlobError::OpenBrace)?;
        *rest = &rest[1..];
        if end == '}' {
            return Ok(all);
        }
    }
}

fn product(heads: &[String], tails: &[String]) -> Result<Vec<String>, GlobError> {
    if heads.len() * tails.len() > MAX_ALTERNATIVES {
        return Err(GlobError::TooManyAlternatives);
    }
    Ok(heads.iter().flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}"))).collect())
}

/// The bytes of one character, one escape or one class.
fn plain_len(text: &str) -> Result<usize, GlobError> {
    let mut characters = text.chars();
    match characters.next() {
        Some('\\') => characters.next().map(|c| 1 + c.len_utf8()).ok_or(GlobError::DanglingEscape),
        Some('[') => class_len(text),
        Some(other) => Ok(other.len_utf8()),
        None => Ok(0),
    }
}

/// The bytes from `[` to its `]`; a `]` right after the opening belongs to the class.
pub(super) fn class_len(text: &str) -> Result<usize, GlobError> {
    let body = text[1..].strip_prefix(['!', '^']).unwrap_or(&text[1..]);
    let start = text.len() - body.len();
    let skip = usize::from(body.starts_with(']'));
    body[skip..].find(']').map(|end| start + skip + end + 1).ok_or(GlobError::OpenClass)
}
