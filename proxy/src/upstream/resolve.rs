//! From an authority to addresses that may be dialled.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tollgate_model::{AddressClass, Authority, Host, Port};
use tollgate_policy::Reach;

use crate::Limits;

/// An operator's word that a name lives at an address, loopback included: `NAME:PORT:ADDRESS`, as curl's `--resolve`,
/// where `ADDRESS` may itself name a port: `api.example.com:443:127.0.0.1:8443`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// What the agent asks for.
    pub authority: Authority,
    /// What is dialled.
    pub address: SocketAddr,
}

/// Why a text is not a pin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not NAME:PORT:ADDRESS, for example api.example.com:443:127.0.0.1 or api.example.com:443:[::1]:8443")]
pub struct PinError(String);

impl FromStr for Pin {
    type Err = PinError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || PinError(text.to_owned());
        let mut parts = text.splitn(3, ':');
        let (Some(name), Some(port), Some(target)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(wrong());
        };
        let host = Host::parse(name).map_err(|_| wrong())?;
        let port: Port = port.parse().map_err(|_| wrong())?;
        let address = target.parse().or_else(|_| {
            let bare: IpAddr = target.trim_start_matches('[').trim_end_matches(']').parse().map_err(|_| wrong())?;
            Ok(SocketAddr::new(bare, port.get()))
        })?;
        Ok(Self { authority: Authority::new(host, port), address })
    }
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} -> {}", self.authority, self.address)
    }
}

/// Why there is no address to dial.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// The name does not exist or its servers do not answer.
    #[error("{0} cannot be resolved: {1}")]
    NoAddress(Host, String),
    /// One of the addresses is where this request may not go. One is enough: an attacker who controls the answer chooses
    /// which of several is dialled.
    #[error("{host} is at {address}, a {class} address that this policy entry does not open")]
    Forbidden {
        /// The name.
        host: Host,
        /// The first address that is refused.
        address: IpAddr,
        /// Its class.
        class: &'static str,
    },
}

/// Resolves names, pins first. The addresses it returns are the ones to dial; nothing resolves again afterwards.
#[derive(Debug)]
pub struct Resolver {
    pins: HashMap<Authority, SocketAddr>,
    known: Cache<Host, Known>,
    /// Each holds a thread as long as the name servers take.
    lookups: Arc<Semaphore>,
}

/// The addresses of a name, and until when they are believed. They are classified anew with each use.
#[derive(Debug, Clone)]
struct Known {
    found: Result<Arc<[IpAddr]>, ResolveError>,
    until: Instant,
}

/// The system's resolver tells no time to live; this is short enough for services that move.
const BELIEVED: Duration = Duration::from_secs(10);

/// A name that cannot be resolved is not asked for with every request.
const FAILURE_BELIEVED: Duration = Duration::from_secs(2);

/// Names that are looked up at a time.
const MAX_LOOKUPS: usize = 64;

/// A name server that says nothing must not hold a request for ever.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

impl Resolver {
    /// A resolver with the operator's pins.
    #[must_use]
    pub fn new(pins: &[Pin], limits: &Limits) -> Self {
        Self {
            pins: pins.iter().map(|pin| (pin.authority.clone(), pin.address)).collect(),
            known: Cache::new(usize::try_from(limits.names).unwrap_or(usize::MAX)),
            lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        }
    }

    /// The addresses of an authority, all of them within `reach`.
    ///
    /// # Errors
    /// When there is no address, or one that is not within reach.
    pub async fn resolve(&self, authority: &Authority, reach: &Reach) -> Result<Vec<SocketAddr>, ResolveError> {
        if let Some(pinned) = self.pins.get(authority) {
            return Ok(vec![*pinned]);
        }
        let addresses = match &authority.host {
            Host::Address(address) => Arc::from([*address]),
            Host::Name(name) => tokio::time::timeout(RESOLVE_TIMEOUT, self.look_up(&authority.host, name))
                .await
                .map_err(|_| ResolveError::NoAddress(authority.host.clone(), "no answer in time".to_owned()))??,
        };
        if let Some(address) = addresses.iter().find(|address| !permits(reach, **address)) {
            return Err(ResolveError::Forbidden {
                host: authority.host.clone(),
                address: *address,
                class: AddressClass::of(*address).name(),
            });
        }
        Ok(addresses.iter().map(|address| SocketAddr::new(*address, authority.port.get())).collect())
    }

    async fn look_up(&self, host: &Host, name: &str) -> Result<Arc<[IpAddr]>, ResolveError> {
        match self.known.get(host) {
            Some(known) if known.until > Instant::now() => return known.found,
            Some(stale) => drop(self.known.remove_if(host, |known| known.until == stale.until)),
            None => {}
        }
        // Whoever asks for a name while it is looked up waits for that answer.
        let known = self.known.get_or_insert_async(host, async {
            let turn = Arc::clone(&self.lookups).acquire_owned().await;
            let turn = turn.expect("nothing closes this semaphore");
            let found = lookup(host, name, turn).await.map(Arc::from);
            let believed = if found.is_ok() { BELIEVED } else { FAILURE_BELIEVED };
            Ok::<_, ResolveError>(Known { found, until: Instant::now() + believed })
        });
        known.await?.found
    }
}

/// What an entry opens. The classes that nothing opens stay shut even where a policy names an address among them.
fn permits(reach: &Reach, address: IpAddr) -> bool {
    let class = AddressClass::of(address);
    if class.is_never_allowed() {
        return false;
    }
    match reach {
        Reach::AllowedIps(networks) => networks.iter().any(|network| network.contains(address)),
        Reach::Literal(literal) => *literal == address,
        Reach::Declared => true,
        Reach::PublicOnly => class == AddressClass::Public,
    }
}

/// Asks the system's resolver. `turn` is held as long as that takes, even where nobody waits for it any longer.
async fn lookup(host: &Host, name: &str, turn: OwnedSemaphorePermit) -> Result<Vec<IpAddr>, ResolveError> {
    let failed = |reason: &str| ResolveError::NoAddress(host.clone(), reason.to_owned());
    // The trailing dot keeps search domains out of it: absolute names only.
    let absolute = format!("{name}.");
    let asked = tokio::task::spawn_blocking(move || {
        let found = (absolute, 0).to_socket_addrs();
        drop(turn);
        found
    });
    let found = asked.await.map_err(|e| failed(&e.to_string()))?.map_err(|e| failed(&e.to_string()))?;
    let addresses: Vec<_> = found.map(|address| address.ip()).collect();
    if addresses.is_empty() {
        return Err(failed("the answer holds no address"));
    }
    Ok(addresses)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        assert_eq!(text.parse::<Pin>().ok().map(|pin| pin.to_string()).as_deref(), expected, "{text}");
    }

    #[test]
    fn pins() {
        check("a.test:443:127.0.0.1", Some("a.test:443 -> 127.0.0.1:443"));
        check("a.test:443:127.0.0.1:8443", Some("a.test:443 -> 127.0.0.1:8443"));
        check("a.test:443:::1", Some("a.test:443 -> [::1]:443"));
        check("a.test:443:[::1]", Some("a.test:443 -> [::1]:443"));
        check("a.test:443:[::1]:8443", Some("a.test:443 -> [::1]:8443"));
        check("a.test:443", None);
        check("a.test:0:127.0.0.1", None);
        check("a.test:443:localhost", None);
        check(":443:127.0.0.1", None);
    }

    /// What an entry opens where a name is at these addresses: all of them, or none and the one that is wrong.
    async fn check_reach(addresses: &[&str], reach: &Reach, expected: Result<(), &str>) {
        let resolver = Resolver::new(&[], &Limits::default());
        let name = Host::parse("name.test").expect("a name");
        let found: Vec<IpAddr> = addresses.iter().map(|address| address.parse().expect("an address")).collect();
        let until = Instant::now() + BELIEVED;
        resolver.known.insert(name.clone(), Known { found: Ok(found.clone().into()), until });
        let resolved = resolver.resolve(&Authority::new(name, Port::HTTPS), reach).await;
        let all: Vec<_> = found.iter().map(|address| SocketAddr::new(*address, 443)).collect();
        match (resolved, expected) {
            (Ok(resolved), Ok(())) => assert_eq!(resolved, all),
            (Err(ResolveError::Forbidden { address, .. }), Err(wrong)) => {
                assert_eq!(address.to_string(), wrong, "{addresses:?} by {reach:?}");
            }
            (other, _) => panic!("{addresses:?} by {reach:?}: {other:?}"),
        }
    }

    /// One private address among public ones is enough: whoever answers chooses which of them is dialled.
    #[tokio::test]
    async fn i5_i9_j2_every_address_must_be_within_reach() {
        let (public, private) = ("93.184.215.14", "10.0.0.5");
        let networks = Reach::AllowedIps(Arc::new(["10.0.0.0/8".parse().expect("a network")]));
        check_reach(&[public, "2606:4700::1"], &Reach::PublicOnly, Ok(())).await;
        check_reach(&[public, private], &Reach::PublicOnly, Err(private)).await;
        check_reach(&[public, "fd00::1"], &Reach::PublicOnly, Err("fd00::1")).await;
        check_reach(&[public, "::ffff:10.0.0.5"], &Reach::PublicOnly, Err("::ffff:10.0.0.5")).await;
        check_reach(&[public, "64:ff9b::a00:5"], &Reach::PublicOnly, Err("64:ff9b::a00:5")).await;
        check_reach(&[private], &networks, Ok(())).await;
        check_reach(&[private, public], &networks, Err(public)).await;
        check_reach(&[public, private], &Reach::Declared, Ok(())).await;
        for never in ["127.0.0.1", "::1", "169.254.169.254", "fd00:ec2::254", "168.63.129.16", "0.0.0.0", "fe80::1"] {
            for reach in [&Reach::PublicOnly, &networks, &Reach::Declared] {
                check_reach(&[never], reach, Err(never)).await;
            }
        }
    }

    /// What one name is at says nothing about another, and is believed for so long.
    #[tokio::test]
    async fn i5_i6_answers_belong_to_one_name_for_a_while() {
        let resolver = Resolver::new(&[], &Limits::default());
        let authority = |name: &str| Authority::new(Host::parse(name).expect("a name"), Port::HTTPS);
        let (known, stale, other) = (authority("known.test"), authority("stale.test"), authority("other.test"));
        let found: Result<Arc<[IpAddr]>, _> = Ok(Arc::from(["93.184.215.14".parse().expect("an address")]));
        for (name, until) in [(&known, Instant::now() + BELIEVED), (&stale, Instant::now())] {
            resolver.known.insert(name.host.clone(), Known { found: found.clone(), until });
        }
        let resolved = resolver.resolve(&known, &Reach::PublicOnly).await.expect("known");
        assert_eq!(resolved, ["93.184.215.14:443".parse().expect("an address")]);
        // No lookup is let through: what is not known waits for one.
        let all = u32::try_from(MAX_LOOKUPS).expect("few");
        let _turns = resolver.lookups.acquire_many(all).await.expect("open");
        for name in [&stale, &other] {
            let resolved = tokio::time::timeout(Duration::ZERO, resolver.resolve(name, &Reach::PublicOnly)).await;
            assert!(resolved.is_err(), "{name}: {resolved:?}");
        }
    }

    /// Names that an agent makes up push others out and take no more room than there is.
    #[test]
    fn o7_what_is_known_is_bounded() {
        let setting = "names=32".parse().expect("a limit");
        let resolver = Resolver::new(&[], &Limits::with(&[setting]));
        for number in 0..1000 {
            let found = Err(ResolveError::NoAddress(Host::Name("n.test".into()), String::new()));
            let known = Known { found, until: Instant::now() + BELIEVED };
            resolver.known.insert(Host::Name(format!("n{number}.test").into()), known);
        }
        assert!((1..=32).contains(&resolver.known.len()), "{}", resolver.known.len());
    }
}
