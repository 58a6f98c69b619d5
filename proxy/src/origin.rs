//! One connection: how it came in, whose it is, and how it was judged.

use std::time::{SystemTime, UNIX_EPOCH};

use tollgate_audit::digest::hex;
use tollgate_audit::{Event, Verdict};
use tollgate_model::{Authority, Caller, ConnectAsk};
use tollgate_policy::{Circumstances, ConnectPermit, Denial};

use crate::refusal::{Asked, Code, Refusal};
use crate::{Gate, Generation};

/// How a connection came in, and whose it is.
#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) connection: u64,
    pub(crate) via: &'static str,
    pub(crate) caller: Caller,
    sha256: String,
}

impl Origin {
    pub(crate) fn new(connection: u64, via: &'static str, caller: Caller) -> Self {
        let sha256 = match &caller {
            Caller::Known { program, .. } => hex(&program.sha256),
            Caller::Unknown(_) => String::new(),
        };
        Self { connection, via, caller, sha256 }
    }

    /// The caller as the journal shows it.
    pub(crate) fn program(&self) -> tollgate_audit::Program<'_> {
        match &self.caller {
            Caller::Known { pid, program, .. } => {
                tollgate_audit::Program { binary: &program.path, pid: *pid, binary_sha256: &self.sha256 }
            }
            Caller::Unknown(why) => tollgate_audit::Program { binary: unknown(*why), pid: 0, binary_sha256: "" },
        }
    }

    /// What entries with `when:` ask for; agent, user and sensitivity are not known yet and so never hold.
    pub(crate) fn circumstances(&self) -> Circumstances<'static> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
        Circumstances { now: since.and_then(|since| i64::try_from(since.as_secs()).ok()), ..Circumstances::default() }
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

fn unknown(why: tollgate_model::Unidentified) -> &'static str {
    use tollgate_model::Unidentified;
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
    rules.policy.connect_when(&ConnectAsk { caller: &origin.caller, authority }, &origin.circumstances())
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
