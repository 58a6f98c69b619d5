//! Host names and addresses as a policy sees them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// A destination host: a DNS name of lower-case A-labels without a trailing dot, or an IP address.
///
/// Names go through UTS-46, so upper case, full-width letters and dots, soft hyphens and Unicode labels all end in the
/// one spelling that is resolved and matched. A text whose last label looks like a number is an IPv4 address in canonical
/// dotted form or it is refused (WHATWG URL, section 3.5, "ends in a number"): no resolver ever sees `127.1` or `0x7f000001`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A DNS name, for example `api.example.com`.
    Name(Box<str>),
    /// An IPv4 or IPv6 address; IPv6 carries no zone.
    Address(IpAddr),
}

/// Why a text is not a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// There is nothing.
    #[error("the host is empty")]
    Empty,
    /// More than 253 octets, or a label of more than 63 (RFC 1035, section 2.3.4).
    #[error("the host name or one of its labels is too long")]
    TooLong,
    /// Two dots in a row, or one at the start.
    #[error("the host name has an empty label")]
    EmptyLabel,
    /// Something that looks like an IPv4 address but is not four plain decimal numbers.
    #[error("the host looks like a number but is not a canonical IPv4 address")]
    OddNumber,
    /// Brackets around something that is no IPv6 address, or an address with a zone.
    #[error("the host is not a valid IPv6 address")]
    BadIpv6,
    /// A character that no host may hold, or a label that UTS-46 refuses.
    #[error("the host name holds a character or label that is not allowed")]
    BadName,
}

/// RFC 1035, section 2.3.4, without the trailing dot.
const MAX_NAME_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

impl Host {
    /// Reads a host as it stands in a URL, a `Host` header, an SNI or a policy.
    ///
    /// IPv6 may stand with or without brackets.
    ///
    /// # Errors
    /// [`HostError`] says which rule the text breaks; nothing is guessed or repaired beyond UTS-46 mapping and one trailing dot.
    pub fn parse(text: &str) -> Result<Self, HostError> {
        if text.is_empty() {
            return Err(HostError::Empty);
        }
        if let Some(inner) = text.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or(HostError::BadIpv6)?;
            return parse_ipv6(inner);
        }
        if text.contains(':') {
            return parse_ipv6(text);
        }
        // Longer than any name can be even before mapping shortens it: UTS-46 must not chew on megabytes.
        if text.len() > 4 * MAX_NAME_BYTES {
            return Err(HostError::TooLong);
        }
        let name = to_a_labels(text)?;
        if ends_in_a_number(&name) {
            let address: Ipv4Addr = name.parse().map_err(|_| HostError::OddNumber)?;
            return Ok(Self::Address(IpAddr::V4(address)));
        }
        Ok(Self::Name(name))
    }

    /// The name, or nothing for an address.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Name(name) => Some(name),
            Self::Address(_) => None,
        }
    }

    /// The address, or nothing for a name.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::Address(address) => Some(*address),
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

/// A name as it is; IPv6 without brackets (an [`Authority`](crate::Authority) adds them).
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Host({self})")
    }
}

fn parse_ipv6(text: &str) -> Result<Host, HostError> {
    let address: Ipv6Addr = text.parse().map_err(|_| HostError::BadIpv6)?;
    Ok(Host::Address(IpAddr::V6(address)))
}

fn to_a_labels(text: &str) -> Result<Box<str>, HostError> {
    let mapped;
    let name = if is_plain(text) {
        text
    } else {
        mapped = Uts46::new()
            .to_ascii(text.as_bytes(), AsciiDenyList::URL, Hyphens::Allow, DnsLength::Ignore)
            .map_err(|_| HostError::BadName)?;
        &mapped
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.is_empty() {
        return Err(HostError::Empty);
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(HostError::TooLong);
    }
    for label in name.split('.') {
        match label.len() {
            0 => return Err(HostError::EmptyLabel),
            1..=MAX_LABEL_BYTES => {}
            _ => return Err(HostError::TooLong),
        }
    }
    // `*` and its like pass the URL deny list; in a host they are only ever a pattern.
    if !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(HostError::BadName);
    }
    Ok(name.into())
}

/// True for names that UTS-46 would return unchanged: the common case, kept off the Unicode tables.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_' | b'.'))
        && !text.contains("xn--")
}

fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    if last.bytes().all(|b| b.is_ascii_digit()) {
        return true;
    }
    last.strip_prefix("0x").is_some_and(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(input: &str, expected: Result<&str, HostError>) {
        assert_eq!(Host::parse(input).map(|h| h.to_string()), expected.map(str::to_owned), "{input:?}");
    }

    #[test]
    fn names_end_in_one_spelling() {
        check("example.com", Ok("example.com"));
        check("EXAMPLE.Com", Ok("example.com"));
        check("example.com.", Ok("example.com"));
        check("bücher.example", Ok("xn--bcher-kva.example"));
        check("ｅｘａｍｐｌｅ。com", Ok("example.com"));
        check("exam\u{ad}ple.com", Ok("example.com"));
        check("my_bucket.example.com", Ok("my_bucket.example.com"));
        check("localhost", Ok("localhost"));
    }

    #[test]
    fn a5_a6_a10_a11_odd_names_are_refused() {
        check("", Err(HostError::Empty));
        check(".", Err(HostError::Empty));
        check("a..b", Err(HostError::EmptyLabel));
        check(".example.com", Err(HostError::EmptyLabel));
        check("example.com..", Err(HostError::EmptyLabel));
        check("a b.com", Err(HostError::BadName));
        check("a\\b.com", Err(HostError::BadName));
        check("user@example.com", Err(HostError::BadName));
        check("a#b.com", Err(HostError::BadName));
        check("*.example.com", Err(HostError::BadName));
        check("a\u{0}b.com", Err(HostError::BadName));
        check("example.com/", Err(HostError::BadName));
        check("xn--a.example", Err(HostError::BadName));
        check(&"a".repeat(64), Err(HostError::TooLong));
        check(&"a.".repeat(200), Err(HostError::TooLong));
        check(&"a".repeat(1 << 20), Err(HostError::TooLong));
    }

    #[test]
    fn a1_only_canonical_ipv4_is_an_address() {
        check("127.0.0.1", Ok("127.0.0.1"));
        check("2130706433", Err(HostError::OddNumber));
        check("0x7f000001", Err(HostError::OddNumber));
        check("0177.0.0.1", Err(HostError::OddNumber));
        check("127.1", Err(HostError::OddNumber));
        check("0x7f.1", Err(HostError::OddNumber));
        check("1.2.3.4.5", Err(HostError::OddNumber));
        check("１２７.0.0.1", Ok("127.0.0.1"));
        check("1.2.3.4.example", Ok("1.2.3.4.example"));
    }

    #[test]
    fn a3_ipv6_has_no_zone() {
        check("[::1]", Ok("::1"));
        check("::1", Ok("::1"));
        check("fe80::1%eth0", Err(HostError::BadIpv6));
        check("[fe80::1%25eth0]", Err(HostError::BadIpv6));
        check("[::1", Err(HostError::BadIpv6));
        check("a:b", Err(HostError::BadIpv6));
    }
}
