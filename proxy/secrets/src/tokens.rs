//! Tokens: everything that stands for a secret in a request, and whose it is.
//!
//! Beside the shaped placeholder of a secret these references are known:
//!
//! | form | example |
//! | --- | --- |
//! | canonical | `openshell:resolve:env:NAME` |
//! | of a revision | `openshell:resolve:env:v3_NAME` |
//! | stable handle | `openshell:resolve:env:s<64 hexadecimal digits>_NAME` |
//! | alias, for clients that check a prefix | `xoxb-OPENSHELL-RESOLVE-ENV-NAME` |
//!
//! All of them mean the value that is current. They can be guessed, so what they are worth is decided by the binding alone.

use std::collections::HashMap;

use crate::search::Searcher;
use crate::{Secret, SecretName};

/// What finds the tokens of a vault.
pub(crate) struct Tokens {
    searcher: Searcher,
    by_name: HashMap<SecretName, usize>,
}

/// A token that stands somewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) whose: Whose,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Whose token it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The index of the secret in its vault.
    Secret(usize),
    /// A reference to a secret that there is not.
    Unknown(SecretName),
}

const MARKER: &str = "openshell:resolve:env:";
const ALIAS: &str = "OPENSHELL-RESOLVE-ENV-";

impl Tokens {
    pub(crate) fn new(secrets: &[Secret]) -> Self {
        let placeholders = secrets.iter().map(|secret| secret.placeholder().as_bytes().to_vec());
        let markers = [MARKER, ALIAS].map(|marker| marker.as_bytes().to_vec());
        let by_name = secrets.iter().enumerate().map(|(index, secret)| (secret.name().clone(), index)).collect();
        Self { searcher: Searcher::new(placeholders.chain(markers)), by_name }
    }

    /// False where no token is, which is so for nearly every header; true for a few texts without one as well.
    #[inline(always)]
    pub(crate) fn may_find(&self, text: &[u8]) -> bool {
        self.searcher.may_find(text)
    }

    /// The first token that begins at `from` or later.
    pub(crate) fn find(&self, text: &[u8], from: usize) -> Option<Token> {
        let secrets = self.searcher.len() - 2;
        let mut at = from;
        while let Some(hit) = self.searcher.find(text, at) {
            if hit.pattern < secrets {
                return Some(Token { whose: Whose::Secret(hit.pattern), start: hit.start, end: hit.end });
            }
            let start = match hit.pattern - secrets {
                0 => Some(hit.start),
                _ => alias_start(text, at, hit.start),
            };
            if let Some(token) = start.and_then(|start| self.reference(text, start, hit.end)) {
                return Some(token);
            }
            at = hit.end;
        }
        None
    }

    /// The token that is all of `text`.
    pub(crate) fn whole(&self, text: &[u8]) -> Option<Whose> {
        let token = self.find(text, 0)?;
        (token.start == 0 && token.end == text.len()).then_some(token.whose)
    }

    /// The reference whose marker ends at `name`.
    fn reference(&self, text: &[u8], start: usize, name: usize) -> Option<Token> {
        let length = text[name..].iter().take_while(|b| b.is_ascii_alphanumeric() || **b == b'_').count();
        let written = std::str::from_utf8(&text[name..name + length]).ok()?;
        let bare = SecretName::parse(without_revision(written)).ok()?;
        let whose = self.by_name.get(&bare).map_or(Whose::Unknown(bare), |index| Whose::Secret(*index));
        Some(Token { whose, start, end: name + length })
    }
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tokens({})", self.by_name.len())
    }
}

/// Where the prefix of an alias begins, not before `from`; an alias without one is none.
fn alias_start(text: &[u8], from: usize, marker: usize) -> Option<usize> {
    let prefix =
        text[from..marker].iter().rev().take_while(|b| b.is_ascii_alphanumeric() || b"_-.~".contains(b)).count();
    (prefix > 0).then_some(marker - prefix)
}

/// `v3_NAME` and `s<64 hex>_NAME` name the same secret as `NAME`.
fn without_revision(name: &str) -> &str {
    let Some((handle, rest)) = name.split_once('_') else { return name };
    let all = |text: &str, is: fn(&u8) -> bool| !text.is_empty() && text.as_bytes().iter().all(is);
    let is_revision = handle.strip_prefix('v').is_some_and(|digits| all(digits, u8::is_ascii_digit));
    let is_stable = handle.strip_prefix('s').is_some_and(|hex| hex.len() == 64 && all(hex, u8::is_ascii_hexdigit));
    if is_revision || is_stable { rest } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACEHOLDER: &str = "ghp_AAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn tokens() -> Tokens {
        let secret = |name: &str, placeholder: &str| {
            let name = SecretName::parse(name).expect("a name");
            Secret::new(name, "a-real-value".into(), placeholder.to_owned()).expect("a value")
        };
        Tokens::new(&[secret("TOKEN", PLACEHOLDER), secret("TOKEN_2", "another-placeholder-of-24")])
    }

    #[track_caller]
    fn check(text: &str, expected: Option<(&str, &str)>) {
        let tokens = tokens();
        let seen = tokens.find(text.as_bytes(), 0).map(|token| {
            let name = match token.whose {
                Whose::Secret(index) => ["TOKEN", "TOKEN_2"][index].to_owned(),
                Whose::Unknown(name) => format!("?{name}"),
            };
            (name, &text[token.start..token.end])
        });
        assert_eq!(seen.as_ref().map(|(name, text)| (&**name, *text)), expected, "{text}");
    }

    #[test]
    fn forms() {
        check("", None);
        check("nothing of interest in this text", None);
        check(&format!("x {PLACEHOLDER} y"), Some(("TOKEN", PLACEHOLDER)));
        for form in
            ["openshell:resolve:env:TOKEN", "openshell:resolve:env:v12_TOKEN", "xoxb-OPENSHELL-RESOLVE-ENV-TOKEN"]
        {
            check(&format!("a {form} b"), Some(("TOKEN", form)));
            check(form, Some(("TOKEN", form)));
        }
        let stable = format!("openshell:resolve:env:s{}_TOKEN_2", "a1".repeat(32));
        check(&stable, Some(("TOKEN_2", &stable)));
        check("openshell:resolve:env:TOKEN_2", Some(("TOKEN_2", "openshell:resolve:env:TOKEN_2")));
        check("openshell:resolve:env:NOPE", Some(("?NOPE", "openshell:resolve:env:NOPE")));
        check("openshell:resolve:env:v_TOKEN", Some(("?v_TOKEN", "openshell:resolve:env:v_TOKEN")));
        check("openshell:resolve:env:", None);
        check("OPENSHELL-RESOLVE-ENV-TOKEN", None);
        check("openshell:resolve:env:-openshell:resolve:env:TOKEN", Some(("TOKEN", "openshell:resolve:env:TOKEN")));
    }

    #[test]
    fn whole_or_not() {
        let tokens = tokens();
        assert_eq!(tokens.whole(PLACEHOLDER.as_bytes()), Some(Whose::Secret(0)));
        assert_eq!(tokens.whole(format!("{PLACEHOLDER}x").as_bytes()), None);
        assert_eq!(tokens.whole(format!("x{PLACEHOLDER}").as_bytes()), None);
    }
}
