//! Tree to configuration: every field by name, every mistake reported, nothing guessed.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tollgate_policy::document::Cidr;
use tollgate_policy::yaml::reader::{Fields, Reader};
use tollgate_policy::yaml::{self, Key, Node, Value};
use tollgate_policy::{Diagnostics, Position};
use tollgate_proxy::Pin;

use super::{AgentConfig, Authority, Config, KeyFiles, Limits, Listener, Place, Speaks};
use crate::credentials::{SecretArgument, Source};
use crate::home::check_name;

const TOP: &[&str] = &["version", "name", "listeners", "authority", "upstream", "resolve", "agents", "limits"];

const LISTENER: &[&str] = &["address", "systemd", "tls", "transparent"];

/// The name of a proxy that was given none.
const DEFAULT_NAME: &str = "proxy";

/// Reads a whole configuration.
pub(super) fn config(text: &str, folder: &Path) -> Result<(Config, Diagnostics), Diagnostics> {
    let (tree, found) = yaml::read_on(text)?;
    let mut decoder = Decoder { reader: Reader::default(), folder };
    decoder.reader.found = found;
    let config = decoder.top(&tree);
    let found = decoder.reader.found.sorted();
    match config {
        Some(config) if !found.has_errors() => Ok((config, found)),
        _ => Err(found),
    }
}

struct Decoder<'f> {
    reader: Reader,
    folder: &'f Path,
}

/// Something that was read, and where it stands.
type Placed<T> = (Position, T);

impl Decoder<'_> {
    fn top(&mut self, tree: &Node) -> Option<Config> {
        let fields = self.reader.fields(tree, "the configuration", TOP)?;
        if let Some(node) = fields.required(&mut self.reader, "version", "1")
            && node.value != Value::Integer(1)
        {
            self.reader.error(node.at, "`version` must be 1").hint("write `version: 1`");
        }
        let listeners = fields.required(&mut self.reader, "listeners", "[{ address: \"127.0.0.1:3128\" }]");
        let agents = fields.required(&mut self.reader, "agents", "[...]");
        let listeners = listeners.map(|node| self.listeners(node));
        let agents = agents.map(|node| self.agents(node));
        let config = Config {
            name: fields.get("name").map_or(Some(DEFAULT_NAME.to_owned()), |node| self.name(node, "`name`"))?,
            authority: fields.get("authority").map_or(Some(Authority::Made(None)), |node| self.authority(node))?,
            upstream_cas: fields.get("upstream").map(|node| self.upstream(node)).unwrap_or_default(),
            pins: fields.get("resolve").map(|node| self.pins(node)).unwrap_or_default(),
            limits: fields.get("limits").map_or(Some(Limits::default()), |node| self.limits(node))?,
            listeners: strip(listeners.as_deref()?),
            agents: strip(agents.as_deref()?),
        };
        // What could not be read would be missed here, and its mistake told twice.
        if !self.reader.found.has_errors() {
            self.check_listeners(listeners.as_deref()?, agents.as_deref()?);
            self.check_agents(agents.as_deref()?);
        }
        Some(config)
    }

    fn listeners(&mut self, node: &Node) -> Vec<Placed<Listener>> {
        let mut found = Vec::new();
        for item in self.filled(node, "`listeners`") {
            found.extend(self.listener(item).map(|listener| (item.at, listener)));
        }
        found
    }

    fn listener(&mut self, node: &Node) -> Option<Listener> {
        let fields = self.reader.fields(node, "a listener", LISTENER)?;
        let transparent = fields.get("transparent").is_some_and(|node| self.reader.flag(node, "`transparent`"));
        let tls = fields.get("tls").map(|node| self.key_files(node, "`tls`"));
        let speaks = match (transparent, tls) {
            (false, None) => Speaks::Explicit,
            (false, Some(files)) => Speaks::ExplicitTls(files?),
            (true, None) => Speaks::Transparent,
            (true, Some(_)) => {
                self.reader
                    .error(
                        node.at,
                        "a transparent listener takes what clients send to others, so it has no TLS of its own",
                    )
                    .hint("remove `tls`");
                return None;
            }
        };
        let place = match (fields.get("address"), fields.get("systemd")) {
            (Some(node), None) => Place::Address(self.address(node)?),
            (None, Some(node)) => Place::Systemd(self.reader.word(node, "`systemd`")?.to_owned()),
            // A misspelt field was told already, and is most likely the place.
            (None, None) if fields.pairs().iter().any(|(key, _)| !LISTENER.contains(&&*key.text)) => return None,
            _ => {
                self.reader
                    .error(node.at, "a listener has either `address` or `systemd`")
                    .hint("write `address: \"127.0.0.1:3128\"`");
                return None;
            }
        };
        Some(Listener { place, speaks })
    }

    fn address(&mut self, node: &Node) -> Option<SocketAddr> {
        let text = self.reader.word(node, "`address`")?;
        let address = text.parse().ok();
        if address.is_none() {
            let hint = "write an address and a port, as \"127.0.0.1:3128\" or \"[::1]:3128\"";
            self.reader.error(node.at, format!("`{text}` is no address to listen at")).hint(hint);
        }
        address
    }

    fn authority(&mut self, node: &Node) -> Option<Authority> {
        let fields = self.reader.fields(node, "`authority`", &["folder", "certificate", "key"])?;
        let Some(folder) = fields.get("folder") else {
            return self.key_files(node, "`authority`").map(Authority::Given);
        };
        if fields.pairs().len() > 1 {
            let message = "`authority` has either `folder`, where one is made, or `certificate` and `key` of your own";
            self.reader.error(node.at, message);
            return None;
        }
        self.path(folder, "`folder`").map(|folder| Authority::Made(Some(folder)))
    }

    fn key_files(&mut self, node: &Node, what: &str) -> Option<KeyFiles> {
        let fields = self.reader.fields(node, what, &["certificate", "key"])?;
        let certificate = fields.required(&mut self.reader, "certificate", "cert.pem");
        let key = fields.required(&mut self.reader, "key", "key.pem");
        let certificate = self.path(certificate?, "`certificate`");
        Some(KeyFiles { key: self.path(key?, "`key`")?, certificate: certificate? })
    }

    fn upstream(&mut self, node: &Node) -> Vec<PathBuf> {
        let Some(fields) = self.reader.fields(node, "`upstream`", &["ca"]) else { return Vec::new() };
        let Some(node) = fields.get("ca") else { return Vec::new() };
        self.reader.list(node, "`ca`").iter().filter_map(|item| self.path(item, "a file of `ca`")).collect()
    }

    fn pins(&mut self, node: &Node) -> Vec<Pin> {
        let mut pins: Vec<Pin> = Vec::new();
        for item in self.reader.list(node, "`resolve`") {
            let Some(text) = self.reader.word(item, "a pin") else { continue };
            match text.parse::<Pin>() {
                Ok(pin) if pins.iter().any(|known| known.authority == pin.authority) => {
                    self.reader.error(item.at, format!("{} is pinned twice", pin.authority)).hint("keep one of them");
                }
                Ok(pin) => pins.push(pin),
                Err(error) => drop(self.reader.error(item.at, error.to_string())),
            }
        }
        pins
    }

    fn agents(&mut self, node: &Node) -> Vec<Placed<AgentConfig>> {
        let mut found = Vec::new();
        for item in self.filled(node, "`agents`") {
            found.extend(self.agent(item).map(|agent| (item.at, agent)));
        }
        found
    }

    fn agent(&mut self, node: &Node) -> Option<AgentConfig> {
        let known = ["name", "token_file", "sources", "policy", "secrets", "providers"];
        let fields = self.reader.fields(node, "an agent", &known)?;
        let name = fields.required(&mut self.reader, "name", "alice");
        let policy = fields.required(&mut self.reader, "policy", "policy.yaml");
        let name = name.and_then(|node| self.name(node, "an agent's `name`"));
        let policy = policy.and_then(|node| self.path(node, "`policy`"));
        let token_file = fields.get("token_file").map(|node| self.path(node, "`token_file`"));
        let sources = fields.get("sources").map(|node| self.sources(node));
        let secrets = self.secrets(&fields);
        let providers = fields.get("providers").map(|node| self.providers(node)).unwrap_or_default();
        if token_file.is_none() && sources.is_none() {
            let hint = "add `token_file: FILE`, or `sources: [\"10.1.0.0/16\"]`";
            self.reader.error(node.at, "this agent could be anybody: it has no token and no address").hint(hint);
        }
        let token_file = token_file.map_or(Some(None), |file| file.map(Some));
        Some(AgentConfig {
            name: name?,
            token_file: token_file?,
            sources: sources.unwrap_or_default(),
            policy: policy?,
            secrets,
            providers,
        })
    }

    fn providers(&mut self, node: &Node) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for item in self.reader.list(node, "`providers`") {
            let Some(name) = self.name(item, "a provider") else { continue };
            match names.contains(&name) {
                true => drop(self.reader.error(item.at, format!("the provider `{name}` stands twice"))),
                false => names.push(name),
            }
        }
        names
    }

    fn sources(&mut self, node: &Node) -> Vec<Cidr> {
        let mut ranges = Vec::new();
        for item in self.filled(node, "`sources`") {
            let Some(text) = self.reader.word(item, "a source") else { continue };
            match Cidr::of_clients(text) {
                Ok(range) => ranges.push(range),
                Err(error) => drop(self.reader.error(item.at, format!("`{text}`: {error}"))),
            }
        }
        ranges
    }

    fn secrets(&mut self, fields: &Fields<'_>) -> Vec<SecretArgument> {
        let Some(node) = fields.get("secrets") else { return Vec::new() };
        let pairs = self.reader.map(node, "`secrets`");
        pairs.iter().filter_map(|(key, node)| self.secret(key, node)).collect()
    }

    /// The value is never repeated: it may be the secret itself.
    fn secret(&mut self, key: &Key, node: &Node) -> Option<SecretArgument> {
        let source = self.reader.word(node, "the source of a secret")?;
        match format!("{}={source}", key.text).parse::<SecretArgument>() {
            Ok(SecretArgument { name, source }) => {
                let source = match source {
                    Source::File(path) => Source::File(self.folder.join(path)),
                    Source::OAuth(path) => Source::OAuth(self.folder.join(path)),
                    other => other,
                };
                Some(SecretArgument { name, source })
            }
            Err(error) => {
                self.reader.error(node.at, format!("the secret `{}`: {error}", key.text));
                None
            }
        }
    }

    fn limits(&mut self, node: &Node) -> Option<Limits> {
        let default = Limits::default();
        let gate = default.gate.all();
        let known: Vec<_> = gate.keys().map(String::as_str).chain([PER_AGENT, DRAIN]).collect();
        let fields = self.reader.fields(node, "`limits`", &known)?;
        let mut number = |name: &str, least: i64| {
            let Some(node) = fields.get(name) else { return Some(None) };
            let most = if name.ends_with("_seconds") { MAX_SECONDS } else { MAX_COUNT };
            let number = self.reader.number(node, &format!("`{name}`"), least..=most)?;
            Some(u32::try_from(number).ok())
        };
        // Each is read, so that every mistake is told.
        let set: Vec<_> = gate.keys().map(|name| Some((name.as_str(), number(name, 1)?))).collect();
        let (per_agent, drain) = (number(PER_AGENT, 1), number(DRAIN, 0));
        let set = set.into_iter().collect::<Option<Vec<_>>>()?;
        let drain = drain?.map_or(default.drain, |seconds| Duration::from_secs(seconds.into()));
        Some(Limits {
            gate: default.gate.setting(set.into_iter().filter_map(|(name, number)| Some((name, number?)))),
            connections_per_agent: per_agent?.unwrap_or(default.connections_per_agent),
            drain,
        })
    }

    fn check_listeners(&mut self, listeners: &[Placed<Listener>], agents: &[Placed<AgentConfig>]) {
        let by_address = agents.iter().any(|(_, agent)| agent.token_file.is_none());
        let by_token = agents.iter().any(|(_, agent)| agent.token_file.is_some());
        for (number, (at, listener)) in listeners.iter().enumerate() {
            let chosen_by_system = matches!(listener.place, Place::Address(address) if address.port() == 0);
            if !chosen_by_system && listeners[..number].iter().any(|(_, other)| other.place == listener.place) {
                self.reader.error(*at, "another listener has this place already").hint("remove one of them");
            }
            if listener.speaks == Speaks::Transparent && !by_address {
                let message = "nobody can come in here: redirected connections show no token, and every agent has one";
                self.reader.error(*at, message).hint("give an agent `sources` and no `token_file`");
            }
            let open = matches!(listener.place, Place::Address(address) if !address.ip().is_loopback());
            if open && by_token && listener.speaks == Speaks::Explicit {
                let message = "tokens cross the network in clear on this listener";
                self.reader.warning(*at, message).hint("give it `tls`, or listen on loopback");
            }
        }
    }

    fn check_agents(&mut self, agents: &[Placed<AgentConfig>]) {
        for (number, (at, agent)) in agents.iter().enumerate() {
            for (_, earlier) in &agents[..number] {
                if earlier.name == agent.name {
                    self.reader.error(*at, format!("another agent is called `{}`", agent.name));
                }
                if agent.token_file.is_some() && earlier.token_file == agent.token_file {
                    self.reader.error(*at, format!("`{}` and `{}` have one token file", earlier.name, agent.name));
                }
                let overlap = |one: &Cidr| earlier.sources.iter().any(|other| one.overlaps(other));
                let by_address = agent.token_file.is_none() && earlier.token_file.is_none();
                if let Some(range) = agent.sources.iter().find(|range| by_address && overlap(range)) {
                    let message = format!("addresses of {range} would be both `{}` and `{}`", earlier.name, agent.name);
                    self.reader.error(*at, message).hint("give one of them a token, or keep their ranges apart");
                }
            }
        }
    }

    fn name(&mut self, node: &Node, what: &str) -> Option<String> {
        let name = self.reader.word(node, what)?;
        if check_name(name).is_err() {
            let hint = "use lower-case letters, digits and inner hyphens, at most 63";
            self.reader.error(node.at, format!("{what} is `{name}`, which is no label")).hint(hint);
            return None;
        }
        Some(name.to_owned())
    }

    fn path(&mut self, node: &Node, what: &str) -> Option<PathBuf> {
        self.reader.word(node, what).map(|path| self.folder.join(path))
    }

    /// A list that is not empty.
    fn filled<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        let items = self.reader.list(node, what);
        if matches!(&node.value, Value::List(items) if items.is_empty()) {
            self.reader.error(node.at, format!("{what} is empty")).hint("name at least one");
        }
        items
    }
}

const PER_AGENT: &str = "connections_per_agent";
const DRAIN: &str = "drain_seconds";

/// More than any machine has room for, whatever is counted.
const MAX_COUNT: i64 = 1 << 30;

/// A day.
const MAX_SECONDS: i64 = 86_400;

fn strip<T: Clone>(placed: &[Placed<T>]) -> Vec<T> {
    placed.iter().map(|(_, item)| item.clone()).collect()
}
