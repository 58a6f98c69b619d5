//! What a policy says, as plain data.

use serde::Serialize;

use crate::decide::{ConnectPermit, Decision, Denial, Inspection, Layer, Mode, Permit};

/// Whether a request passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// A rule allows it.
    Allow,
    /// It is refused, but passes because its endpoint is in audit mode.
    Audit,
    /// It is refused.
    Deny,
}

/// A verdict and what it rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The verdict.
    pub verdict: Verdict,
    /// `l4` or `l7` where an entry was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<&'static str>,
    /// The smallest key among the entries that match destination and program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The key of the entry that holds the rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entry: Option<String>,
    /// The rule in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// How the traffic is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<&'static str>,
    /// A stable word for the refusal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<&'static str>,
    /// The refusal in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Answer {
    /// True where the request passes, by rule or because of audit mode.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.verdict != Verdict::Deny
    }

    pub(super) fn connected(permit: &ConnectPermit) -> Self {
        Self {
            layer: Some(word(Layer::L4)),
            policy: Some(permit.policy_key().to_owned()),
            rule: Some("connection".to_owned()),
            protocol: (permit.inspection() == Inspection::Opaque).then_some("opaque"),
            ..Self::bare(Verdict::Allow)
        }
    }

    /// A question that no client could ask, so no rule can allow it.
    pub(super) fn malformed(code: &'static str, reason: String) -> Self {
        Self { code: Some(code), reason: Some(reason), ..Self::bare(Verdict::Deny) }
    }

    pub(super) fn denied(denial: &Denial) -> Self {
        Self {
            layer: Some(word(denial.layer())),
            policy: denial.policy_key().map(str::to_owned),
            rule: denial.reason().rule().map(str::to_owned),
            code: Some(denial.reason().code()),
            reason: Some(denial.to_string()),
            ..Self::bare(Verdict::Deny)
        }
    }

    pub(super) fn decided(decision: Decision) -> Self {
        match decision {
            Decision::Allow(permit) => Self::permitted(&permit),
            Decision::Deny(denial) => Self::denied(&denial),
            Decision::NeedsBody(need) => Self {
                protocol: Some(need.protocol().as_str()),
                ..Self::malformed("needs_body", "the body is needed".into())
            },
        }
    }

    fn permitted(permit: &Permit) -> Self {
        let allowed = Self {
            layer: Some(word(Layer::L7)),
            policy: Some(permit.policy_key().to_owned()),
            entry: Some(permit.entry_key().to_owned()),
            rule: Some(permit.rule().to_owned()),
            protocol: permit.protocol().map(|protocol| protocol.as_str()),
            ..Self::bare(Verdict::Allow)
        };
        match permit.mode() {
            Mode::Enforce => allowed,
            Mode::Audit { would } => Self {
                verdict: Verdict::Audit,
                rule: would.reason().rule().map(str::to_owned),
                code: Some(would.reason().code()),
                reason: Some(would.to_string()),
                ..allowed
            },
        }
    }

    fn bare(verdict: Verdict) -> Self {
        Self { verdict, layer: None, policy: None, entry: None, rule: None, protocol: None, code: None, reason: None }
    }
}

fn word(layer: Layer) -> &'static str {
    match layer {
        Layer::L4 => "l4",
        Layer::L7 => "l7",
    }
}
