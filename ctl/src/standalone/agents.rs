//! The agents of a stand-alone proxy: what their files say, and what of that is in force.

use std::sync::Arc;
use std::time::Instant;

use rustls::ClientConfig;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tollgate_audit::digest::sha256;
use tollgate_policy::Policy;
use tollgate_proxy::{
    Agent, Capacity, CertificateAuthority, Dialer, Gate, Journal, Limits, Outgoing, Pin, Pool, Resolver, Roster, Rules,
    Setup, Token, upstream_config,
};
use tollgate_secrets::Vault;

use super::config::{self, AgentConfig, Config};
use super::placeholders::Placeholders;
use super::private;
use crate::credentials::{Keeper, Keeping, Network, Shared, attach};
use crate::failure::{Failure, Kind};
use crate::home::Home;
use crate::policies::PolicyFile;

/// What an agent's files say, read and found valid.
pub struct Material {
    /// The agent's part of the configuration.
    pub config: AgentConfig,
    token: Option<Token>,
    policy: Policy,
    /// Credentials of providers that the policy lets go nowhere.
    idle: Vec<String>,
    /// Nothing where the agent keeps the sources that it has.
    keeper: Option<Keeper>,
}

/// Which upstreams are believed and where pinned names live; compared to find out whether that has changed.
pub struct Trust {
    tls: ClientConfig,
    pins: Vec<Pin>,
    authorities: Vec<[u8; 32]>,
}

/// One agent that is let in.
pub struct Member {
    /// The agent's part of the configuration.
    pub config: AgentConfig,
    /// Its rules and secrets.
    pub rules: Arc<Rules>,
    /// The connections that it may still open.
    pub share: Arc<Semaphore>,
    token: Option<Token>,
    keeping: Keeping,
    gate: Arc<Gate>,
}

/// What all agents of one proxy share.
pub struct Common {
    pub journal: Arc<Journal>,
    pub authority: Arc<CertificateAuthority>,
    pub capacity: Arc<Capacity>,
    pub limits: config::Limits,
}

/// Shorter tokens can be guessed, longer ones are a mistake.
const TOKEN_BYTES: std::ops::RangeInclusive<usize> = 16..=512;

impl Material {
    /// Reads what every agent needs, or says what is wrong with the first one that lacks something.
    pub fn read(
        config: &Config,
        home: &Home,
        placeholders: &mut Placeholders,
        members: &[Member],
    ) -> Result<Vec<Self>, Failure> {
        let mut found: Vec<Self> = Vec::new();
        for agent in &config.agents {
            let mut agent = agent.clone();
            let attachments = attach(home, &agent.providers, &mut agent.secrets)?;
            let token = agent.token_file.as_ref().map(|_| read_token(&agent)).transpose()?;
            let token = token.map(|token| Token::new(&token));
            if let Some(other) = found.iter().find(|other| token.is_some() && other.token == token) {
                let message = format!("the agents {} and {} have one token", other.config.name, agent.name);
                return Err(Failure::new(Kind::Credential, message));
            }
            let file = PolicyFile::new(&agent.policy)?.attaching(attachments);
            let policy = file.load()?;
            let idle = file.idle_credentials(&policy);
            let goes_on = members.iter().any(|member| member.is(&agent, token.as_ref()));
            let keeper = (!goes_on).then(|| placeholders.keeper(&agent)).transpose()?;
            found.push(Self { config: agent, token, policy, idle, keeper });
        }
        Ok(found)
    }

    /// What loads and is probably not meant.
    pub fn warnings(&self) -> Vec<String> {
        let document = self.policy.document();
        let entries = document.network_policies.iter();
        let named = entries.filter(|(_, entry)| entry.binaries.as_ref().is_some_and(|list| !list.is_empty()));
        let mut found: Vec<_> = named
            .map(|(key, _)| {
                format!("entry `{key}` names binaries, and no program is known outside a sandbox: it never matches")
            })
            .collect();
        if document.filesystem_policy.is_some() || document.process.is_some() {
            found.push("`filesystem_policy` and `process` say nothing here: there is no sandbox".to_owned());
        }
        let place = |text: String| format!("agent {}: {}: {text}", self.config.name, self.config.policy.display());
        let idle = self.idle.iter().map(|text| format!("agent {}: {text}", self.config.name));
        found.into_iter().map(place).chain(idle).collect()
    }
}

impl Trust {
    /// Reads the files of further authorities.
    pub fn read(config: &Config) -> Result<Self, Failure> {
        let tls = upstream_config(&config.upstream_cas).map_err(|e| Failure::new(Kind::Policy, e.to_string()))?;
        let content = |path| std::fs::read(path).map(|bytes| sha256(&bytes)).unwrap_or_default();
        let authorities = config.upstream_cas.iter().map(content).collect();
        Ok(Self { tls, pins: config.pins.clone(), authorities })
    }

    /// True when both mean the same.
    pub fn is_as(&self, other: &Self) -> bool {
        self.pins == other.pins && self.authorities == other.authorities
    }

    /// The way to token endpoints.
    pub fn network(&self) -> Network {
        Network::of(&self.pins, self.tls.clone())
    }

    fn pool(&self, outgoing: &Outgoing, limits: &Limits) -> Pool {
        let dialer = Dialer::new(Resolver::new(&self.pins, limits), self.tls.clone(), limits).noting(outgoing);
        Pool::new(dialer, limits)
    }
}

impl Member {
    /// An agent that nobody was before, or that takes the place of one whose token was another.
    fn new(material: Material, before: Option<&Self>, trust: &Trust, common: &Common) -> Self {
        let Material { config, token, policy, keeper, .. } = material;
        let keeper = keeper.expect("only an agent that goes on was read without its secrets");
        let vault = Arc::new(keeper.vault(Instant::now()));
        let rules = Arc::new(match before {
            Some(before) => Rules::after(&before.rules, policy, vault),
            None => Rules::new(policy, vault),
        });
        let gate = common.gate(&rules, trust);
        let share = usize::try_from(common.limits.connections_per_agent).unwrap_or(usize::MAX);
        let keeping = Keeping::new(keeper, &rules, &common.journal, &config.name);
        Self { config, rules, share: Arc::new(Semaphore::new(share)), token, keeping, gate }
    }

    /// The same agent with what its files say now. Open connections go on under the new rules.
    fn renew(self, material: Material, trust: Option<&Trust>, common: &Common) -> Self {
        let Material { config, token, policy, keeper, .. } = material;
        let put_in_force = |vault: Option<Vault>| match vault {
            None => drop(self.rules.replace_policy(policy)),
            Some(vault) => drop(self.rules.replace(policy, Arc::new(vault))),
        };
        let keeping = match keeper {
            Some(keeper) => {
                put_in_force(Some(keeper.vault(Instant::now())));
                Keeping::new(keeper, &self.rules, &common.journal, &config.name)
            }
            None => {
                Handle::current().block_on(self.keeping.renew(put_in_force));
                self.keeping
            }
        };
        let gate = trust.map_or(self.gate, |trust| common.gate(&self.rules, trust));
        Self { config, rules: self.rules, share: self.share, token, keeping, gate }
    }

    /// Looks after its secrets from now on. Needs a runtime.
    pub fn keep(&mut self) {
        self.keeping.start();
    }

    /// Its credentials, for the operator API.
    pub fn credentials(&self) -> Arc<Shared> {
        self.keeping.shared()
    }

    /// True for the agent of this name and token, with secrets from where it has them.
    fn is(&self, agent: &AgentConfig, token: Option<&Token>) -> bool {
        self.config.name == agent.name && self.token.as_ref() == token && self.config.secrets == agent.secrets
    }

    /// Ends what the agent may do: connections that are open get nothing through any more.
    fn retire(self) {
        let nothing = tollgate_policy::load("version: 1\n").expect("an empty policy loads");
        self.rules.replace(nothing, Arc::new(Vault::new(Vec::new())));
    }

    /// The generation of its rules.
    pub fn generation(&self) -> u64 {
        self.rules.current().number
    }

    /// How it is told from others, for people.
    pub fn known_by(&self) -> String {
        let sources: Vec<_> = self.config.sources.iter().map(ToString::to_string).collect();
        match (self.token.is_some(), sources.is_empty()) {
            (true, true) => "token".to_owned(),
            (true, false) => format!("token, from {}", sources.join(", ")),
            (false, _) => format!("from {}", sources.join(", ")),
        }
    }
}

impl Common {
    fn gate(&self, rules: &Arc<Rules>, trust: &Trust) -> Arc<Gate> {
        Gate::new(Setup {
            rules: Arc::clone(rules),
            journal: Arc::clone(&self.journal),
            authority: Arc::clone(&self.authority),
            pool: trust.pool(self.capacity.outgoing(), &self.limits.gate),
            identifier: None,
            capacity: Arc::clone(&self.capacity),
            limits: self.limits.gate.clone(),
        })
    }

    /// Puts what was read in force in place of `members`. An agent whose token has changed is a new one; one that is no
    /// longer there is retired. `trust` is given where it has changed.
    pub fn replace(
        &self,
        members: Vec<Member>,
        material: Vec<Material>,
        trust: &Trust,
        trust_changed: bool,
    ) -> Vec<Member> {
        let mut members = members;
        let mut renewed = Vec::new();
        for material in material {
            let before = members.iter().position(|member| member.config.name == material.config.name);
            renewed.push(match before {
                Some(at) if members[at].token == material.token => {
                    members.swap_remove(at).renew(material, trust_changed.then_some(trust), self)
                }
                at => Member::new(material, at.map(|at| &members[at]), trust, self),
            });
        }
        members.into_iter().for_each(Member::retire);
        renewed
    }
}

/// Who is let in now.
pub fn roster(members: &[Member]) -> Roster {
    let agent = |member: &Member| Agent {
        name: member.config.name.as_str().into(),
        token: member.token.clone(),
        sources: member.config.sources.clone(),
        gate: Arc::clone(&member.gate),
        share: Arc::clone(&member.share),
    };
    Roster::new(members.iter().map(agent).collect())
}

/// Reads an agent's token: one line.
pub fn read_token(agent: &AgentConfig) -> Result<zeroize::Zeroizing<String>, Failure> {
    let path = agent.token_file.as_deref().unwrap_or_else(|| std::path::Path::new(""));
    let refused = |why: &str| Failure::new(Kind::Credential, format!("agent {}: the token: {why}", agent.name));
    let text = private::read(path).map_err(|why| refused(&why))?;
    let token = text.strip_suffix('\n').unwrap_or(&text);
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-');
    if !TOKEN_BYTES.contains(&token.len()) || !token.bytes().all(plain) {
        let why = format!(
            "{} must hold one line of 16 to 512 letters, digits and . _ ~ -; make one with: openssl rand -hex 32",
            path.display()
        );
        return Err(refused(&why));
    }
    Ok(zeroize::Zeroizing::new(token.to_owned()))
}
