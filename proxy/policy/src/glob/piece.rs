//! A pattern without braces over text without structure: one path segment, one host label, one name.

use std::ops::RangeInclusive;

use super::{GlobError, braces::class_len};

/// `*`, `?`, classes and literal text in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Piece {
    tokens: Box<[Token]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(Box<str>),
    One,
    Run,
    Class { negated: bool, ranges: Box<[RangeInclusive<char>]> },
}

impl Piece {
    /// Reads a pattern whose braces are written out already.
    pub(crate) fn parse(mut rest: &str) -> Result<Self, GlobError> {
        let mut tokens: Vec<Token> = Vec::new();
        let mut literal = String::new();
        while let Some(first) = rest.chars().next() {
            let mut len = first.len_utf8();
            let special = match first {
                '*' => Some(Token::Run),
                '?' => Some(Token::One),
                '[' => {
                    len = class_len(rest)?;
                    Some(class(&rest[1..len - 1])?)
                }
                '\\' => {
                    let escaped = rest[1..].chars().next().ok_or(GlobError::DanglingEscape)?;
                    len += escaped.len_utf8();
                    literal.push(escaped);
                    None
                }
                other => {
                    literal.push(other);
                    None
                }
            };
            if let Some(token) = special {
                flush(&mut literal, &mut tokens);
                if token != Token::Run || tokens.last() != Some(&Token::Run) {
                    tokens.push(token);
                }
            }
            rest = &rest[len..];
        }
        flush(&mut literal, &mut tokens);
        Ok(Self { tokens: tokens.into() })
    }

    /// The text, where the pattern is only text.
    pub(crate) fn literal(&self) -> Option<&str> {
        match &*self.tokens {
            [] => Some(""),
            [Token::Literal(text)] => Some(text),
            _ => None,
        }
    }

    /// The text that every match begins with.
    pub(crate) fn prefix(&self) -> &str {
        match self.tokens.first() {
            Some(Token::Literal(text)) => text,
            _ => "",
        }
    }

    /// False only where no text can match both: their beginnings or their ends contradict each other.
    pub(crate) fn may_overlap(&self, other: &Self) -> bool {
        let (a, b) = (self.prefix(), other.prefix());
        let (c, d) = (self.suffix(), other.suffix());
        (a.starts_with(b) || b.starts_with(a)) && (c.ends_with(d) || d.ends_with(c))
    }

    fn suffix(&self) -> &str {
        match self.tokens.last() {
            Some(Token::Literal(text)) => text,
            _ => "",
        }
    }

    /// True for `*`, which matches everything.
    pub(crate) fn is_any(&self) -> bool {
        *self.tokens == [Token::Run]
    }

    /// True where the whole text matches. Goes back only to the last `*`, so the cost is at most text × pattern.
    pub(crate) fn matches(&self, text: &str) -> bool {
        let (mut token, mut at) = (0, 0);
        let mut last_run: Option<(usize, usize)> = None;
        loop {
            let step = match self.tokens.get(token) {
                None if at == text.len() => return true,
                None => None,
                Some(Token::Run) => {
                    last_run = Some((token + 1, at));
                    Some(0)
                }
                Some(other) => other.take(&text[at..]),
            };
            if let Some(taken) = step {
                token += 1;
                at += taken;
                continue;
            }
            let Some((after, from)) = last_run else { return false };
            let Some(skipped) = text[from..].chars().next() else { return false };
            at = from + skipped.len_utf8();
            token = after;
            last_run = Some((after, at));
        }
    }
}

impl Token {
    /// The bytes that this token takes from the start of the text, if it fits there.
    fn take(&self, text: &str) -> Option<usize> {
        match self {
            Self::Literal(literal) => text.starts_with(&**literal).then_some(literal.len()),
            Self::One => text.chars().next().map(char::len_utf8),
            Self::Run => Some(0),
            Self::Class { negated, ranges } => {
                let first = text.chars().next()?;
                let inside = ranges.iter().any(|range| range.contains(&first));
                (inside != *negated).then_some(first.len_utf8())
            }
        }
    }
}

fn flush(literal: &mut String, tokens: &mut Vec<Token>) {
    if !literal.is_empty() {
        tokens.push(Token::Literal(std::mem::take(literal).into()));
    }
}

/// Reads what stands between `[` and `]`; a `-` at either end is itself.
fn class(body: &str) -> Result<Token, GlobError> {
    let inner = body.strip_prefix(['!', '^']);
    let negated = inner.is_some();
    let characters: Vec<char> = inner.unwrap_or(body).chars().collect();
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < characters.len() {
        let first = characters[at];
        let is_range = characters.get(at + 1) == Some(&'-') && at + 2 < characters.len();
        let last = if is_range { characters[at + 2] } else { first };
        if last < first {
            return Err(GlobError::BackwardRange);
        }
        ranges.push(first..=last);
        at += if is_range { 3 } else { 1 };
    }
    Ok(Token::Class { negated, ranges: ranges.into() })
}
