//! `host:port`, as in CONNECT, `Host`, `:authority` and URLs.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use crate::{Host, HostError};

/// A TCP port, 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(NonZeroU16);

/// Where a request goes: a host and a port (RFC 3986, section 3.2, without userinfo, which is refused).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Authority {
    /// The canonical host.
    pub host: Host,
    /// The port; filled from the scheme where the text has none.
    pub port: Port,
}

/// Why a text is not an authority.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// The host part is wrong.
    #[error(transparent)]
    Host(#[from] HostError),
    /// `user@host`: no request of an agent needs it and proxies disagree about it.
    #[error("userinfo before the host is not allowed")]
    UserInfo,
    /// No port where one must stand (CONNECT).
    #[error("the port is missing")]
    NoPort,
    /// Not a plain decimal number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    BadPort,
}

impl Port {
    /// 443.
    pub const HTTPS: Self = Self::of(443);
    /// 80.
    pub const HTTP: Self = Self::of(80);

    /// A port known when the program is compiled.
    ///
    /// # Panics
    /// On 0, at compile time where the call is a constant.
    #[must_use]
    pub const fn of(number: u16) -> Self {
        match NonZeroU16::new(number) {
            Some(port) => Self(port),
            None => panic!("port 0 is not a port"),
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl TryFrom<u16> for Port {
    type Error = AuthorityError;

    fn try_from(number: u16) -> Result<Self, Self::Error> {
        NonZeroU16::new(number).map(Self).ok_or(AuthorityError::BadPort)
    }
}

/// Decimal digits only: no sign, no leading zero, no space.
impl FromStr for Port {
    type Err = AuthorityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
        if !plain {
            return Err(AuthorityError::BadPort);
        }
        text.parse().map(Self).map_err(|_| AuthorityError::BadPort)
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Authority {
    /// Joins two parts that are already valid.
    #[must_use]
    pub fn new(host: Host, port: Port) -> Self {
        Self { host, port }
    }

    /// Reads `host:port`; the port must be there (RFC 9110, section 9.3.6).
    ///
    /// # Errors
    /// [`AuthorityError`] says which part is wrong.
    pub fn parse(text: &str) -> Result<Self, AuthorityError> {
        let (host, port) = split(text)?;
        Ok(Self { host: Host::parse(host)?, port: port.ok_or(AuthorityError::NoPort)?.parse()? })
    }

    /// Reads `host` or `host:port`, taking `default` where no port stands (RFC 9110, section 7.2).
    ///
    /// # Errors
    /// [`AuthorityError`] says which part is wrong.
    pub fn parse_with_default(text: &str, default: Port) -> Result<Self, AuthorityError> {
        let (host, port) = split(text)?;
        let port = port.map_or(Ok(default), str::parse)?;
        Ok(Self { host: Host::parse(host)?, port })
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.address() {
            Some(std::net::IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            _ => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// Splits off the port; a colon inside brackets belongs to the host.
fn split(text: &str) -> Result<(&str, Option<&str>), AuthorityError> {
    if text.contains('@') {
        return Err(AuthorityError::UserInfo);
    }
    let after_brackets = text.rfind(']').map_or(0, |at| at + 1);
    match text[after_brackets..].find(':') {
        Some(at) => {
            let at = after_brackets + at;
            Ok((&text[..at], Some(&text[at + 1..])))
        }
        None => Ok((text, None)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expected: Result<&str, AuthorityError>) {
        let parsed = Authority::parse(input);
        assert_eq!(parsed.map(|a| a.to_string()), expected.map(str::to_owned), "{input:?}");
    }

    #[test]
    fn plain_forms() {
        check("Example.COM:443", Ok("example.com:443"));
        check("[::1]:80", Ok("[::1]:80"));
        check("10.0.0.1:8080", Ok("10.0.0.1:8080"));
        assert_eq!(
            Authority::parse_with_default("example.com", Port::HTTPS).map(|a| a.to_string()),
            Ok("example.com:443".to_owned())
        );
    }

    #[test]
    fn a4_a7_tricks_are_refused() {
        check("example.com", Err(AuthorityError::NoPort));
        check("allowed@evil:443", Err(AuthorityError::UserInfo));
        check("a:b@evil:443", Err(AuthorityError::UserInfo));
        for port in
            ["", "0", "65536", "65537", "0443", "+443", "-1", " 443", "443 ", "443/", "4 43", "443:443", "４４３"]
        {
            check(&format!("example.com:{port}"), Err(AuthorityError::BadPort));
        }
        check("[::1]443", Err(AuthorityError::Host(HostError::BadIpv6)));
        check("[::1]x:443", Err(AuthorityError::Host(HostError::BadIpv6)));
        check(":443", Err(AuthorityError::Host(HostError::Empty)));
    }
}
