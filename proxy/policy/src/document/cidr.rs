//! Address ranges as `allowed_ips` names them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use tollgate_model::AddressClass;

/// An address or a range in prefix notation, for example `10.0.5.0/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no range.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Neither an address nor a range.
    #[error("not an address or a range like 10.0.5.0/24")]
    Unreadable,
    /// `10.0.5.1/24`: readers disagree on what is meant.
    #[error("the address has bits beyond its prefix")]
    HostBits,
    /// A range that meets loopback, link-local or other places that no policy can open.
    #[error("the range holds loopback, link-local or unspecified addresses, which no policy can open")]
    NeverAllowed,
}

impl Cidr {
    /// True where the address lies inside; IPv4 inside IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => same_prefix(bits4(own), bits4(other), self.prefix),
            (IpAddr::V6(own), IpAddr::V6(other)) => same_prefix(own.to_bits(), other.to_bits(), self.prefix),
            _ => false,
        }
    }

    /// The length of the prefix.
    #[must_use]
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// The first address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    fn width(&self) -> u8 {
        match self.address {
            IpAddr::V4(_) => 32,
            IpAddr::V6(_) => 128,
        }
    }

    /// True where some address lies in both.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }
}

impl FromStr for Cidr {
    type Err = CidrError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let range = Self::of_clients(text)?;
        let closed = AddressClass::of(range.address).is_never_allowed();
        match closed || NEVER_ALLOWED.iter().any(|never| range.overlaps(never)) {
            true => Err(CidrError::NeverAllowed),
            false => Ok(range),
        }
    }
}

impl Cidr {
    /// Reads a range that clients come from: loopback and link-local may be among them, which no request goes to.
    ///
    /// # Errors
    /// [`CidrError`], but never [`CidrError::NeverAllowed`].
    pub fn of_clients(text: &str) -> Result<Self, CidrError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| CidrError::Unreadable)?;
        let mut range = Self { address, prefix: 0 };
        range.prefix = match prefix {
            None => range.width(),
            Some(digits) if digits.len() <= 3 && digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| CidrError::Unreadable)?
            }
            Some(_) => return Err(CidrError::Unreadable),
        };
        if range.prefix > range.width() {
            return Err(CidrError::Unreadable);
        }
        if range.has_host_bits() {
            return Err(CidrError::HostBits);
        }
        Ok(range)
    }

    fn has_host_bits(&self) -> bool {
        match self.address {
            IpAddr::V4(address) => address.to_bits().checked_shl(u32::from(self.prefix)).unwrap_or(0) != 0,
            IpAddr::V6(address) => address.to_bits().checked_shl(u32::from(self.prefix)).unwrap_or(0) != 0,
        }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.prefix == self.width() {
            true => write!(f, "{}", self.address),
            false => write!(f, "{}/{}", self.address, self.prefix),
        }
    }
}

fn bits4(address: Ipv4Addr) -> u128 {
    u128::from(address.to_bits()) << 96
}

fn same_prefix(a: u128, b: u128, prefix: u8) -> bool {
    (a ^ b).checked_shr(128 - u32::from(prefix)).unwrap_or(0) == 0
}

/// What no policy can open, whatever the resolver answers.
const NEVER_ALLOWED: [Cidr; 6] = [
    Cidr { address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, 0)), prefix: 8 },
    Cidr { address: IpAddr::V4(Ipv4Addr::new(169, 254, 0, 0)), prefix: 16 },
    Cidr { address: IpAddr::V4(Ipv4Addr::UNSPECIFIED), prefix: 32 },
    Cidr { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 },
    Cidr { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), prefix: 128 },
    Cidr { address: IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0)), prefix: 10 },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading() {
        for (text, expected) in [
            ("10.0.5.0/24", Ok("10.0.5.0/24")),
            ("10.0.5.7", Ok("10.0.5.7")),
            ("fd00::/8", Ok("fd00::/8")),
            ("10.0.5.1/24", Err(CidrError::HostBits)),
            ("10.0.5.0/33", Err(CidrError::Unreadable)),
            ("10.0.5.0/+8", Err(CidrError::Unreadable)),
            ("10.0.5", Err(CidrError::Unreadable)),
            ("db.internal", Err(CidrError::Unreadable)),
            ("127.0.0.0/8", Err(CidrError::NeverAllowed)),
            ("127.0.0.1", Err(CidrError::NeverAllowed)),
            ("169.254.169.254", Err(CidrError::NeverAllowed)),
            ("0.0.0.0/0", Err(CidrError::NeverAllowed)),
            ("::/0", Err(CidrError::NeverAllowed)),
            ("::ffff:127.0.0.1", Err(CidrError::NeverAllowed)),
        ] {
            let range: Result<Cidr, CidrError> = text.parse();
            assert_eq!(range.map(|r| r.to_string()), expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn clients_may_be_on_loopback() {
        for (text, expected) in [
            ("127.0.0.0/8", Ok("127.0.0.0/8")),
            ("0.0.0.0/0", Ok("0.0.0.0/0")),
            ("127.0.0.1/8", Err(CidrError::HostBits)),
            ("anywhere", Err(CidrError::Unreadable)),
        ] {
            assert_eq!(Cidr::of_clients(text).map(|r| r.to_string()), expected.map(str::to_owned), "{text}");
        }
    }

    #[test]
    fn membership() {
        for (range, address, expected) in [
            ("10.0.5.0/24", "10.0.5.200", true),
            ("10.0.5.0/24", "10.0.6.1", false),
            ("10.0.5.0/24", "::ffff:10.0.5.1", true),
            ("10.0.5.7", "10.0.5.7", true),
            ("fd00::/8", "fd12::1", true),
            ("fd00::/8", "10.0.0.1", false),
        ] {
            let range: Cidr = range.parse().expect("a range");
            assert_eq!(range.contains(address.parse().expect("an address")), expected, "{range} {address}");
        }
    }
}
