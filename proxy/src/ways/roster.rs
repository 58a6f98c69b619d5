//! The agents of a stand-alone proxy, and how they are told apart: by a token, by where they come from, or both.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use http::header::PROXY_AUTHORIZATION;
use tokio::sync::Semaphore;
use tollgate_audit::digest::sha256;
use tollgate_policy::document::Cidr;

use crate::Gate;

/// One agent of a stand-alone proxy.
#[derive(Debug, Clone)]
pub struct Agent {
    /// Its name.
    pub name: Arc<str>,
    /// What it must show; nothing where its address is enough.
    pub token: Option<Token>,
    /// Where it must come from; empty for anywhere.
    pub sources: Vec<Cidr>,
    /// Its rules and secrets.
    pub gate: Arc<Gate>,
    /// The connections that it may hold at a time.
    pub share: Arc<Semaphore>,
}

/// What an agent shows to be let in: only its SHA-256 is kept.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; 32]);

/// The agents of one moment. No two may share a token, and no address without a token may mean two agents: whoever puts
/// a roster together sees to that.
#[derive(Debug, Default)]
pub struct Roster(Vec<Agent>);

/// Why somebody is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Stranger {
    /// No agent is known by this address, and no token was shown.
    #[error("no agent is known at this address; agents that have a token show it as Proxy-Authorization")]
    Nobody,
    /// A token that no agent has.
    #[error("the proxy credentials are not those of any agent")]
    WrongToken,
    /// The header is not one that RFC 9110, section 11.7.2 describes.
    #[error("the Proxy-Authorization header is neither Basic with AGENT:TOKEN nor Bearer with TOKEN")]
    Unreadable,
    /// The right token from the wrong place.
    #[error("this agent may not come from this address")]
    Elsewhere,
}

/// How the clients of a roster can say who they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Showing {
    /// By a token, or by where they come from.
    Token,
    /// Only by where they come from.
    Address,
}

impl Token {
    /// Takes a token.
    #[must_use]
    pub fn new(text: &str) -> Self {
        Self(sha256(text.as_bytes()))
    }

    /// Compares without telling by its time how much fits.
    fn fits(&self, other: &Self) -> bool {
        verify_slices_are_equal(&self.0, &other.0).is_ok()
    }
}

/// Not even its digest is shown.
impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token")
    }
}

impl Roster {
    /// A roster of these agents.
    #[must_use]
    pub fn new(agents: Vec<Agent>) -> Self {
        Self(agents)
    }

    /// The agents.
    #[must_use]
    pub fn agents(&self) -> &[Agent] {
        &self.0
    }

    /// Whose a request from `source` is. Credentials that are shown must be right, whatever the address says.
    pub(super) fn by_request(&self, source: IpAddr, headers: &HeaderMap) -> Result<&Agent, Stranger> {
        let mut shown = headers.get_all(PROXY_AUTHORIZATION).iter();
        let Some(first) = shown.next() else { return self.by_source(source) };
        if shown.next().is_some() {
            return Err(Stranger::Unreadable);
        }
        let credentials = Credentials::read(first.as_bytes()).ok_or(Stranger::Unreadable)?;
        let agent = self.by_credentials(&credentials).ok_or(Stranger::WrongToken)?;
        match agent.sources.is_empty() || agent.comes_from(source) {
            true => Ok(agent),
            false => Err(Stranger::Elsewhere),
        }
    }

    /// Whose a connection from `source` is, which shows no token.
    pub(super) fn by_source(&self, source: IpAddr) -> Result<&Agent, Stranger> {
        let known = self.0.iter().find(|agent| agent.token.is_none() && agent.comes_from(source));
        known.ok_or(Stranger::Nobody)
    }

    pub(super) fn showing(&self) -> Showing {
        match self.0.iter().any(|agent| agent.token.is_some()) {
            true => Showing::Token,
            false => Showing::Address,
        }
    }

    /// Looks at every agent, so that the time says nothing about which one fits.
    fn by_credentials(&self, shown: &Credentials) -> Option<&Agent> {
        let mut found = None;
        for agent in &self.0 {
            let fits = agent.token.as_ref().is_some_and(|token| token.fits(&shown.token));
            if fits && shown.name.as_ref().is_none_or(|name| **name == *agent.name) {
                found = Some(agent);
            }
        }
        found
    }
}

impl Agent {
    fn comes_from(&self, source: IpAddr) -> bool {
        self.sources.iter().any(|range| range.contains(source))
    }
}

/// What a `Proxy-Authorization` header says.
struct Credentials {
    /// With Basic only.
    name: Option<String>,
    token: Token,
}

impl Credentials {
    /// RFC 7617 for Basic, RFC 6750 for Bearer. Schemes have no case.
    fn read(value: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(value).ok()?;
        let (scheme, shown) = text.split_once(' ')?;
        let shown = shown.trim_matches(' ');
        if scheme.eq_ignore_ascii_case("bearer") && !shown.is_empty() {
            return Some(Self { name: None, token: Token::new(shown) });
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let pair = String::from_utf8(STANDARD.decode(shown).ok()?).ok()?;
        let (name, token) = pair.split_once(':')?;
        Some(Self { name: Some(name.to_owned()), token: Token::new(token) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, expected: Option<(Option<&str>, &str)>) {
        let read = Credentials::read(header.as_bytes()).map(|c| (c.name, c.token));
        let expected = expected.map(|(name, token)| (name.map(str::to_owned), Token::new(token)));
        assert!(read == expected, "{header:?}");
    }

    #[test]
    fn credentials() {
        let basic = |pair: &str| format!("Basic {}", STANDARD.encode(pair));
        check("Bearer abc", Some((None, "abc")));
        check("bearer  abc ", Some((None, "abc")));
        check(&basic("alice:abc"), Some((Some("alice"), "abc")));
        check(&basic("alice:a:b"), Some((Some("alice"), "a:b")));
        check(&basic(":abc"), Some((Some(""), "abc")));
        check(&basic("alice"), None);
        check("Basic !!!", None);
        check("Basic", None);
        check("Bearer ", None);
        check("", None);
        check("Digest username=alice", None);
        check(&format!("BASIC {}", STANDARD.encode([0xff, b':', b'x'])), None);
    }

    #[test]
    fn k10_a_token_does_not_print_itself() {
        assert_eq!(format!("{:?}", Token::new("secret")), "Token");
    }
}
