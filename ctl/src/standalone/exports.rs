//! What an agent needs in its environment to come through a stand-alone proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Instant;

use super::agents::read_token;
use super::config::{AgentConfig, Config, Place, Speaks};
use super::placeholders::Placeholders;
use super::{ConfigFile, authority};
use crate::credentials::{Network, attach};
use crate::failure::{Failure, Kind};
use crate::home::Home;
use crate::session::environment::through_gate;

/// Names and values.
pub type Exports = Vec<(String, String)>;

/// The environment of one agent: the proxy with the agent's token, what to trust, and a placeholder for every secret.
///
/// `address` is where the agent finds the proxy, as `HOST:PORT`, and `trusted` the folder in which it finds `ca.pem` and
/// `ca-bundle.pem`; without them it is on this machine.
pub fn exports(
    file: &ConfigFile,
    agent: &str,
    address: Option<&str>,
    trusted: Option<&Path>,
) -> Result<Exports, Failure> {
    let (config, _) = file.load()?;
    let Some(agent) = config.agents.iter().find(|known| known.name == agent) else {
        let names: Vec<_> = config.agents.iter().map(|agent| agent.name.as_str()).collect();
        let message = format!("{} has no agent {agent}; it has: {}", file.shown.display(), names.join(", "));
        return Err(Failure::new(Kind::Usage, message));
    };
    let home = Home::open()?;
    let folder = home.proxy(&config.name)?;
    authority::open(&config.authority, &folder)?;
    let mut placeholders = Placeholders::open(&home, &folder, Network::new(&config.pins, &config.upstream_cas)?)?;
    let mut agent = agent.clone();
    attach(&home, &agent.providers, &mut agent.secrets)?;
    let vault = placeholders.keeper(&agent)?.vault(Instant::now());
    placeholders.save()?;
    let proxy = proxy(&config, &agent, address)?;
    let own = folder.path.join("ca");
    let trusted = trusted.unwrap_or(&own);
    Ok(through_gate(&vault, proxy.as_deref(), &trusted.join("ca.pem"), &trusted.join("ca-bundle.pem")))
}

/// The proxy as a URL; nothing where every listener takes redirected connections only.
fn proxy(config: &Config, agent: &AgentConfig, address: Option<&str>) -> Result<Option<String>, Failure> {
    let Some(listener) = config.listeners.iter().find(|listener| listener.speaks != Speaks::Transparent) else {
        return Ok(None);
    };
    let address = match (address, &listener.place) {
        (Some(address), _) => address.to_owned(),
        (None, Place::Address(address)) if address.port() != 0 => reachable(*address).to_string(),
        (None, _) => {
            let message = "the configuration does not say where the proxy listens; add --address HOST:PORT";
            return Err(Failure::new(Kind::Usage, message));
        }
    };
    let scheme = match listener.speaks {
        Speaks::ExplicitTls(_) => "https",
        Speaks::Explicit | Speaks::Transparent => "http",
    };
    let shown = match &agent.token_file {
        Some(_) => format!("{}:{}@", agent.name, *read_token(agent)?),
        None => String::new(),
    };
    Ok(Some(format!("{scheme}://{shown}{address}")))
}

/// A listener for every address is reached on this machine's own.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
