//! Query strings as servers read them (WHATWG URL, section 5.1, `application/x-www-form-urlencoded`).
//!
//! ```
//! let pairs: Vec<_> = tollgate_inspect::query::pairs("tag=a%20b&x").map(Result::unwrap).collect();
//! assert_eq!(pairs[0], ("tag".into(), "a b".into()));
//! assert_eq!(pairs[1], ("x".into(), "".into()));
//! ```

use std::borrow::Cow;

/// Why a query cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// `%` without two hexadecimal digits.
    #[error("the query holds a broken percent escape")]
    BadEscape,
    /// Escapes that decode to something else than UTF-8.
    #[error("the query decodes to text that is not UTF-8")]
    NotUtf8,
    /// An escape that decodes to NUL, which servers cut text at.
    #[error("the query decodes to a NUL character")]
    Nul,
}

/// A decoded name and its decoded value; a name without `=` has an empty value.
pub type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

/// The parameters in their order, decoded; borrowed where there is nothing to decode.
pub fn pairs(query: &str) -> impl Iterator<Item = Result<Pair<'_>, QueryError>> {
    split(query, |c| c == '&')
}

/// The same as some servers read it, with `;` between parameters as well.
pub fn pairs_with_semicolons(query: &str) -> impl Iterator<Item = Result<Pair<'_>, QueryError>> {
    split(query, |c| c == '&' || c == ';')
}

/// Whether every parameter can be read.
///
/// # Errors
/// The first [`QueryError`].
pub fn check(query: &str) -> Result<(), QueryError> {
    match query.contains('%') {
        true => pairs(query).try_for_each(|pair| pair.map(drop)),
        false => Ok(()),
    }
}

fn split(query: &str, separator: fn(char) -> bool) -> impl Iterator<Item = Result<Pair<'_>, QueryError>> {
    query.split(separator).filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        Ok((decode(name)?, decode(value)?))
    })
}

fn decode(text: &str) -> Result<Cow<'_, str>, QueryError> {
    if !text.contains(['%', '+']) {
        return Ok(Cow::Borrowed(text));
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'+' => b' ',
            b'%' => match escape(&mut bytes)? {
                0 => return Err(QueryError::Nul),
                other => other,
            },
            other => other,
        });
    }
    String::from_utf8(decoded).map(Cow::Owned).map_err(|_| QueryError::NotUtf8)
}

fn escape(bytes: &mut std::str::Bytes<'_>) -> Result<u8, QueryError> {
    let mut digit = || bytes.next().and_then(|byte| char::from(byte).to_digit(16)).ok_or(QueryError::BadEscape);
    let value = digit()? * 16 + digit()?;
    u8::try_from(value).map_err(|_| QueryError::BadEscape)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, expected: Result<&[(&str, &str)], QueryError>) {
        let seen: Result<Vec<_>, _> = pairs(query).collect();
        let expected: Result<Vec<Pair<'_>>, _> =
            expected.map(|pairs| pairs.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect());
        assert_eq!(seen, expected, "{query}");
    }

    #[test]
    fn f5_reading() {
        check("", Ok(&[]));
        check("a=1&a=2", Ok(&[("a", "1"), ("a", "2")]));
        check("a&b=", Ok(&[("a", ""), ("b", "")]));
        check("t%61g=foo+z", Ok(&[("tag", "foo z")]));
        check("a=b=c", Ok(&[("a", "b=c")]));
        check("a=1;b=2", Ok(&[("a", "1;b=2")]));
        check("&&a=1&", Ok(&[("a", "1")]));
        check("a=%C3%A9", Ok(&[("a", "é")]));
        check("a=%zz", Err(QueryError::BadEscape));
        check("a=%2", Err(QueryError::BadEscape));
        check("a=%ff", Err(QueryError::NotUtf8));
        check("a=%00", Err(QueryError::Nul));
    }

    #[test]
    fn semicolons() {
        let pairs: Result<Vec<_>, _> = pairs_with_semicolons("a=1;b=2&c=3").collect();
        assert_eq!(pairs.map(|pairs| pairs.len()), Ok(3));
    }
}
