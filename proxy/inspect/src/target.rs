//! Request targets of HTTP/1 (RFC 9112, section 3.2).
//!
//! ```
//! use tollgate_inspect::target::Target;
//!
//! let target = Target::parse("http://api.example.com/v1?x=1").unwrap();
//! let Target::Absolute { authority, path, .. } = target else { panic!() };
//! assert_eq!((authority.to_string().as_str(), path), ("api.example.com:80", "/v1"));
//! ```

use tollgate_model::{Authority, AuthorityError, Port, Scheme};

/// A request target, taken apart; path and query as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'t> {
    /// `/path?query`.
    Origin {
        /// Begins with `/`.
        path: &'t str,
        /// What stands behind the first `?`.
        query: Option<&'t str>,
    },
    /// `http://host/path?query`, as sent to a proxy.
    Absolute {
        /// The scheme.
        scheme: Scheme,
        /// The host, and the port or the scheme's own.
        authority: Authority,
        /// `/` where none is written.
        path: &'t str,
        /// What stands behind the first `?`.
        query: Option<&'t str>,
    },
    /// `host:port`, as in CONNECT.
    Authority(Authority),
    /// `*`, as in OPTIONS.
    Asterisk,
}

/// Why a text is no request target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// A control character, a blank, `#`, or something beyond ASCII.
    #[error("the request target holds a character that is not allowed")]
    Character,
    /// Another scheme than `http` and `https`.
    #[error("the scheme of the request target is not http or https")]
    Scheme,
    /// A host or port that cannot be read.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl<'t> Target<'t> {
    /// Reads the target of any request but CONNECT.
    ///
    /// # Errors
    /// [`TargetError`] says what cannot be read.
    pub fn parse(text: &'t str) -> Result<Self, TargetError> {
        refuse_characters(text)?;
        if text == "*" {
            return Ok(Self::Asterisk);
        }
        if text.starts_with('/') {
            let (path, query) = split_query(text);
            return Ok(Self::Origin { path, query });
        }
        let (scheme, rest) = text.split_once("://").ok_or(TargetError::Scheme)?;
        let (scheme, port) = match scheme {
            _ if scheme.eq_ignore_ascii_case("http") => (Scheme::Http, Port::HTTP),
            _ if scheme.eq_ignore_ascii_case("https") => (Scheme::Https, Port::HTTPS),
            _ => return Err(TargetError::Scheme),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let authority = Authority::parse_with_default(&rest[..end], port)?;
        let (path, query) = split_query(&rest[end..]);
        Ok(Self::Absolute { scheme, authority, path: if path.is_empty() { "/" } else { path }, query })
    }

    /// Reads the target of CONNECT.
    ///
    /// # Errors
    /// [`TargetError`] says what cannot be read.
    pub fn parse_connect(text: &'t str) -> Result<Self, TargetError> {
        refuse_characters(text)?;
        Ok(Self::Authority(Authority::parse(text)?))
    }
}

fn refuse_characters(text: &str) -> Result<(), TargetError> {
    match text.bytes().all(|b| b.is_ascii_graphic() && b != b'#') {
        true => Ok(()),
        false => Err(TargetError::Character),
    }
}

fn split_query(text: &str) -> (&str, Option<&str>) {
    match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_model::HostError;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, TargetError>) {
        let seen = Target::parse(text).map(|target| match target {
            Target::Origin { path, query } => format!("{path} {query:?}"),
            Target::Absolute { scheme, authority, path, query } => {
                format!("{} {authority} {path} {query:?}", scheme.as_str())
            }
            Target::Authority(authority) => authority.to_string(),
            Target::Asterisk => "*".to_owned(),
        });
        assert_eq!(seen, expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn forms() {
        check("/", Ok("/ None"));
        check("/a?b?c", Ok("/a Some(\"b?c\")"));
        check("/fetch/http://example.test?next=http://o", Ok("/fetch/http://example.test Some(\"next=http://o\")"));
        check("*", Ok("*"));
        check("http://Example.com", Ok("http example.com:80 / None"));
        check("HTTPS://example.com:8443?q", Ok("https example.com:8443 / Some(\"q\")"));
        check("http://[::1]/x", Ok("http [::1]:80 /x None"));
    }

    #[test]
    fn a10_f4_refused() {
        check("/a b", Err(TargetError::Character));
        check("/a#b", Err(TargetError::Character));
        check("/é", Err(TargetError::Character));
        check("/a\u{0}", Err(TargetError::Character));
        check("", Err(TargetError::Scheme));
        check("a/b", Err(TargetError::Scheme));
        check("ftp://a/", Err(TargetError::Scheme));
        check("http:\\\\host", Err(TargetError::Scheme));
        check("http://allowed@evil/", Err(TargetError::Authority(AuthorityError::UserInfo)));
        check("http://a:0/", Err(TargetError::Authority(AuthorityError::BadPort)));
        check("http:///x", Err(TargetError::Authority(AuthorityError::Host(HostError::Empty))));
    }

    #[test]
    fn connect() {
        let authority = |text| Target::parse_connect(text).map(|target| format!("{target:?}"));
        assert!(authority("example.com:443").is_ok());
        assert_eq!(authority("example.com"), Err(TargetError::Authority(AuthorityError::NoPort)));
        assert!(authority("http://example.com:443").is_err());
    }
}
