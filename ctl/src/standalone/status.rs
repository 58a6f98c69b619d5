//! What `tollgate status` shows of a stand-alone proxy.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::{Json, Router};
use tokio::sync::Semaphore;
use tollgate_proxy::{Capacity, Count, Journal, Rules};
use tollgate_wire::credentials::CredentialState;
use tollgate_wire::proxy_status::{AgentStatus, ProxyStatus};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::agents::Member;
use super::config::{Config, Limits};
use super::listeners::Open;
use crate::credentials::Shared as Credentials;
use crate::operator::{Observed, audit_endpoints, documented};

/// What is in force, as the operator API tells it.
pub struct Facts {
    shown: Shown,
    capacity: Arc<Capacity>,
    changing: Mutex<Changing>,
}

/// What stays as it was at the start.
pub struct Shown {
    name: String,
    config: String,
    listeners: Vec<String>,
    limits: Limits,
    journal: String,
}

/// What a reload changes.
struct Changing {
    agents: Vec<Shared>,
    pins: Vec<String>,
    refused: String,
}

/// What is asked anew each time.
struct Shared {
    name: String,
    known_by: String,
    policy_file: String,
    rules: Arc<Rules>,
    share: Arc<Semaphore>,
    credentials: Arc<Credentials>,
}

impl Shown {
    /// Of a proxy with these listeners.
    pub fn new(file: &Path, config: &Config, sockets: &[Open], journal: &Path) -> Self {
        Self {
            name: config.name.clone(),
            config: file.display().to_string(),
            listeners: sockets.iter().map(Open::describe).collect(),
            limits: config.limits.clone(),
            journal: journal.display().to_string(),
        }
    }
}

impl Facts {
    /// Of a proxy with these agents.
    pub fn new(shown: Shown, capacity: Arc<Capacity>, config: &Config, members: &[Member]) -> Self {
        Self { shown, capacity, changing: Mutex::new(Changing::of(config, members)) }
    }

    /// After a reload.
    pub fn replace(&self, config: &Config, members: &[Member]) {
        *self.changing.lock().unwrap_or_else(PoisonError::into_inner) = Changing::of(config, members);
    }

    /// After a reload that was refused; false when it was refused for the same reason before.
    pub fn refuse(&self, why: &str) -> bool {
        let mut changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let news = changing.refused != why;
        why.clone_into(&mut changing.refused);
        news
    }

    /// The operator API.
    pub fn router(self: &Arc<Self>, journal: &Arc<Journal>) -> Router {
        let own = OpenApiRouter::new().routes(routes!(show)).routes(routes!(refresh)).with_state(Arc::clone(self));
        let capacity = Arc::clone(&self.capacity);
        let gauge = |name, help, value| Count { name, help, label: None, value };
        let observed = Observed::new(journal, &self.shown.name, move || {
            vec![
                gauge("tollgate_open", "Connections that are open", capacity.used().into()),
                gauge("tollgate_limit", "Connections that may be open", capacity.limit().into()),
                gauge("tollgate_failed_accepts", "Connections that could not be accepted", capacity.failed_accepts()),
            ]
        });
        documented(own.merge(observed.router()), "Operator API of a stand-alone proxy")
    }

    async fn refresh_credentials(&self) -> Vec<CredentialState> {
        let credentials: Vec<_> = {
            let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
            changing.agents.iter().map(|agent| Arc::clone(&agent.credentials)).collect()
        };
        let mut states = Vec::new();
        for one in credentials {
            states.extend(one.refresh().await);
        }
        states
    }

    fn status(&self) -> ProxyStatus {
        let changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let Shown { name, config, listeners, limits, journal } = &self.shown;
        ProxyStatus {
            name: name.clone(),
            pid: std::process::id(),
            config: config.clone(),
            listeners: listeners.clone(),
            agents: changing.agents.iter().map(|agent| agent.status(limits)).collect(),
            pins: changing.pins.clone(),
            connections: self.capacity.used(),
            connection_limit: self.capacity.limit(),
            failed_accepts: self.capacity.failed_accepts(),
            limits: limits.gate.all(),
            drain_seconds: limits.drain.as_secs(),
            refused: changing.refused.clone(),
            journal: journal.clone(),
        }
    }
}

/// How the proxy stands.
#[utoipa::path(get, path = "/v1/status", responses((status = 200, description = "All of it", body = ProxyStatus)))]
async fn show(State(facts): State<Arc<Facts>>) -> Json<ProxyStatus> {
    Json(facts.status())
}

/// Takes over what has changed of credentials in the store.
#[utoipa::path(post, path = "/v1/credentials/refresh", responses((status = 200, description = "How each stands now", body = Vec<CredentialState>)))]
async fn refresh(State(facts): State<Arc<Facts>>) -> Json<Vec<CredentialState>> {
    Json(facts.refresh_credentials().await)
}

impl Changing {
    fn of(config: &Config, members: &[Member]) -> Self {
        Self {
            agents: members.iter().map(Shared::of).collect(),
            pins: config.pins.iter().map(ToString::to_string).collect(),
            refused: String::new(),
        }
    }
}

impl Shared {
    fn of(member: &Member) -> Self {
        Self {
            name: member.config.name.clone(),
            known_by: member.known_by(),
            policy_file: member.config.policy.display().to_string(),
            rules: Arc::clone(&member.rules),
            share: Arc::clone(&member.share),
            credentials: member.credentials(),
        }
    }

    fn status(&self, limits: &Limits) -> AgentStatus {
        let generation = self.rules.current();
        let free = u32::try_from(self.share.available_permits()).unwrap_or(u32::MAX);
        AgentStatus {
            name: self.name.clone(),
            known_by: self.known_by.clone(),
            policy_file: self.policy_file.clone(),
            generation: generation.number,
            policy_sha256: generation.policy_sha256.clone(),
            audit_endpoints: audit_endpoints(&generation),
            credentials: generation.broker.vault().secrets().iter().map(|s| s.name().to_string()).collect(),
            connections: limits.connections_per_agent.saturating_sub(free),
            connection_limit: limits.connections_per_agent,
        }
    }
}
