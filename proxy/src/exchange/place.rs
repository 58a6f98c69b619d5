//! Where the requests of a connection go, written once in every form that they need.

use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use http::{HeaderValue, uri};
use tollgate_model::{Authority, Scheme};

/// A scheme and an authority.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    /// `host:port`.
    pub(crate) text: Box<str>,
    /// `host`, or `host:port` where the port is not the scheme's own (RFC 9110, section 7.2).
    pub(crate) named: uri::Authority,
    /// The same as a header's value.
    pub(crate) host: HeaderValue,
}

impl Place {
    pub(crate) fn new(scheme: Scheme, authority: Authority) -> Arc<Self> {
        let text = authority.to_string();
        let named = match (authority.port == scheme.default_port(), authority.host.address()) {
            (true, Some(IpAddr::V6(address))) => format!("[{address}]"),
            (true, _) => authority.host.to_string(),
            (false, _) => text.clone(),
        };
        let host = HeaderValue::try_from(&named).expect("a canonical authority is visible ASCII");
        let named = uri::Authority::try_from(named).expect("a canonical authority is one of a URI");
        Arc::new(Self { scheme, authority, text: text.into(), named, host })
    }

    /// True where `text` is the authority, in one of the two ways that clients write it, canonical already.
    pub(crate) fn is_written(&self, text: &str) -> bool {
        text == self.named.as_str() || text == &*self.text
    }
}

impl PartialEq for Place {
    fn eq(&self, other: &Self) -> bool {
        (self.scheme, &self.authority) == (other.scheme, &other.authority)
    }
}

impl Eq for Place {}

impl Hash for Place {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.scheme, &self.authority).hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(scheme: Scheme, authority: &str, named: &str) {
        let place = Place::new(scheme, Authority::parse(authority).expect("an authority"));
        assert_eq!((&*place.text, place.named.as_str()), (authority, named));
        assert_eq!(place.host.as_bytes(), named.as_bytes());
        assert!(place.is_written(authority) && place.is_written(named));
        assert!(!place.is_written("other.example") && !place.is_written(""));
    }

    #[test]
    fn the_port_of_the_scheme_is_left_out() {
        check(Scheme::Https, "api.example.com:443", "api.example.com");
        check(Scheme::Https, "api.example.com:80", "api.example.com:80");
        check(Scheme::Http, "api.example.com:80", "api.example.com");
        check(Scheme::Https, "[2001:db8::1]:443", "[2001:db8::1]");
        check(Scheme::Https, "[2001:db8::1]:8443", "[2001:db8::1]:8443");
        check(Scheme::Http, "192.0.2.1:80", "192.0.2.1");
    }
}
