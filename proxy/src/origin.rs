//! One connection: how it came in, whose it is, and how it was judged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use tollgate_audit::digest::hex;
use tollgate_audit::{Event, Verdict};
use tollgate_model::{Authority, Caller, ConnectAsk, Unidentified};
use tollgate_policy::document::When;
use tollgate_policy::{Circumstances, Conditions, ConnectPermit, Denial};

use crate::refusal::{Asked, Code, Refusal};
use crate::ways::Slot;
use crate::{Gate, Generation};

/// How a connection came in, and whose it is.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) connection: u64,
    pub(crate) via: &'static str,
    pub(crate) caller: Caller,
    sha256: String,
    pub(crate) agent: Arc<str>,
    client: String,
    /// Taken for as long as anything of the connection is open, whatever protocol it has switched to.
    _slot: Option<Arc<Slot>>,
}

impl Origin {
    pub(crate) fn new(connection: u64, via: &'static str, caller: Caller) -> Self {
        let sha256 = match &caller {
            Caller::Known { program, .. } => hex(&program.sha256),
            Caller::Unknown(_) => String::new(),
        };
        Self { connection, via, caller, sha256, agent: "".into(), client: String::new(), _slot: None }
    }

    /// A connection from outside any sandbox, of an agent that said who it is.
    pub(crate) fn of_agent(connection: u64, via: &'static str, agent: &Arc<str>, client: SocketAddr) -> Self {
        let caller = Caller::Unknown(Unidentified::Outside);
        Self { agent: Arc::clone(agent), client: client.to_string(), ..Self::new(connection, via, caller) }
    }

    /// The same, holding its place among the connections.
    pub(crate) fn holding(self, slot: &Arc<Slot>) -> Self {
        Self { _slot: Some(Arc::clone(slot)), ..self }
    }

    /// The caller as the journal shows it.
    pub(crate) fn program(&self) -> tollgate_audit::Program<'_> {
        let (agent, client) = (&*self.agent, &*self.client);
        match &self.caller {
            Caller::Known { pid, program, .. } => {
                let (binary, binary_sha256) = (&*program.path, &*self.sha256);
                tollgate_audit::Program { binary, pid: *pid, binary_sha256, agent, client }
            }
            Caller::Unknown(why) => {
                tollgate_audit::Program { binary: unknown(*why), pid: 0, binary_sha256: "", agent, client }
            }
        }
    }

    /// What a refusal says about a connection to `authority`.
    pub(crate) fn asked(&self, authority: &Authority) -> Asked {
        Asked {
            host: authority.host.to_string(),
            port: Some(authority.port.get()),
            binary: self.caller.path().unwrap_or_default().to_owned(),
            ..Asked::default()
        }
    }
}

/// User and sensitivity are not known and so never hold. The clock is read only for entries that ask for circumstances.
impl Conditions for Origin {
    fn hold(&self, when: &When) -> bool {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        let now = since.and_then(|since| i64::try_from(since.as_secs()).ok());
        let agent = Some(&*self.agent).filter(|agent| !agent.is_empty());
        Circumstances { now, agent, ..Circumstances::default() }.hold(when)
    }
}

fn unknown(why: Unidentified) -> &'static str {
    match why {
        Unidentified::Outside => "unknown: outside any sandbox",
        Unidentified::Gone => "unknown: no process holds the socket",
        Unidentified::Shared => "unknown: different programs share the socket",
        Unidentified::Deleted => "unknown: executable deleted or in memory",
        Unidentified::Unreadable => "unknown: process unreadable",
    }
}

/// Judges a connection and records the judgement.
pub(crate) fn judge_connection(
    gate: &Gate,
    rules: &Generation,
    origin: &Origin,
    authority: &Authority,
) -> Result<ConnectPermit, Refusal> {
    let judged = connect(rules, origin, authority).map_err(|denial| {
        let detail = format!("CONNECT {authority} not permitted by policy");
        Refusal::connection(Code::PolicyDenied, detail, origin.asked(authority)).because(
            denial.reason().to_string(),
            denial.policy_key().unwrap_or_default(),
            String::new(),
        )
    });
    let verdict = match &judged {
        Ok(permit) => Verdict { decision: "allowed", policy: permit.policy_key(), rule: "", error: "", reason: "" },
        Err(refusal) => refusal.verdict(),
    };
    record_connection(gate, rules, origin, &authority.to_string(), verdict)?;
    judged
}

/// Judges a connection.
pub(crate) fn connect(rules: &Generation, origin: &Origin, authority: &Authority) -> Result<ConnectPermit, Denial> {
    rules.policy.connect_when(&ConnectAsk { caller: &origin.caller, authority }, origin)
}

/// Records how a connection was judged; one that cannot be recorded is refused.
pub(crate) fn record_connection(
    gate: &Gate,
    rules: &Generation,
    origin: &Origin,
    authority: &str,
    verdict: Verdict<'_>,
) -> Result<(), Refusal> {
    let event = Event::Connection {
        connection: origin.connection,
        via: origin.via,
        authority,
        caller: origin.program(),
        generation: rules.number,
        verdict,
    };
    gate.journal
        .record(&event)
        .map_err(|error| Refusal::connection(Code::JournalUnavailable, error.to_string(), Asked::default()))
}
