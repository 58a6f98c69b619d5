//! Names that were asked for, and the addresses that stand for them inside the sandbox.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use tollgate_model::{Authority, Host};

/// The sandbox's own address book: a name gets one number, and with it one address of each family, for as long as the
/// sandbox lives. A connection to such an address is a connection to that name.
///
/// IPv4 comes from `198.18.0.0/15` (RFC 2544, never on the Internet), IPv6 from a unique local prefix.
#[derive(Debug, Default)]
pub(crate) struct Names(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    numbers: HashMap<Box<str>, u32>,
    names: Vec<Box<str>>,
}

/// Names per sandbox. Wildcards of a policy let an agent make up names; it may not fill memory with them.
const MAX_NAMES: usize = 65_536;

const V4_BASE: u32 = u32::from_be_bytes([198, 18, 0, 0]);
const V6_BASE: u128 = 0xfd74_6f6c_6c67_6174_0000_0000_0000_0000;

impl Names {
    /// The number of a name, given now if it has none; nothing when the book is full.
    pub(super) fn number(&self, name: &str) -> Option<u32> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(number) = table.numbers.get(name) {
            return Some(*number);
        }
        if table.names.len() == MAX_NAMES {
            return None;
        }
        table.names.push(name.into());
        let number = u32::try_from(table.names.len()).ok()?;
        table.numbers.insert(name.into(), number);
        Some(number)
    }

    /// The authority with a name in place of an address of the book; any other as it is.
    pub(crate) fn recall(&self, authority: Authority) -> Authority {
        let Some(number) = authority.host.address().and_then(number_of) else { return authority };
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let name = usize::try_from(number).ok().and_then(|n| table.names.get(n.checked_sub(1)?));
        match name {
            Some(name) => Authority::new(Host::Name(name.clone()), authority.port),
            None => authority,
        }
    }
}

pub(super) fn v4(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(V4_BASE + number)
}

pub(super) fn v6(number: u32) -> Ipv6Addr {
    Ipv6Addr::from(V6_BASE + u128::from(number))
}

fn number_of(address: IpAddr) -> Option<u32> {
    let limit = u32::try_from(MAX_NAMES).unwrap_or(u32::MAX);
    let number = match address {
        IpAddr::V4(address) => u32::from(address).checked_sub(V4_BASE)?,
        IpAddr::V6(address) => u32::try_from(u128::from(address).checked_sub(V6_BASE)?).ok()?,
    };
    (1..=limit).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_model::Port;

    #[test]
    fn i6_an_address_leads_back_to_its_own_name() {
        let names = Names::default();
        let (a, b) = (names.number("a.test").expect("room"), names.number("b.test").expect("room"));
        assert_eq!(names.number("a.test"), Some(a));
        for (number, name) in [(a, "a.test:443"), (b, "b.test:443")] {
            for address in [IpAddr::V4(v4(number)), IpAddr::V6(v6(number))] {
                let recalled = names.recall(Authority::new(Host::from(address), Port::HTTPS));
                assert_eq!(recalled.to_string(), name);
            }
        }
    }

    #[test]
    fn other_addresses_stay_addresses() {
        let names = Names::default();
        names.number("a.test").expect("room");
        for address in ["198.18.0.0", "198.18.0.2", "198.17.255.255", "10.0.0.1", "::1", "fd74:6f6c:6c67:6174::2"] {
            let authority = Authority::new(Host::parse(address).expect("an address"), Port::HTTPS);
            assert_eq!(names.recall(authority.clone()), authority);
        }
    }

    #[test]
    fn o7_the_book_is_bounded() {
        let names = Names::default();
        for number in 0..MAX_NAMES {
            assert!(names.number(&format!("n{number}.test")).is_some());
        }
        assert_eq!(names.number("one-more.test"), None);
        assert!(names.number("n0.test").is_some());
    }
}
