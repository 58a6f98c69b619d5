//! `policy test`: cases with expected verdicts.
//!
//! A file is a YAML or JSON list of cases:
//!
//! ```yaml
//! - name: read issues            # optional, for the report
//!   host: api.example.com
//!   port: 443                    # default 443
//!   binary: /usr/bin/curl        # an unknown program where it is left out
//!   ancestors: [/bin/bash]       # parent first
//!   method: GET                  # with neither method nor path only the connection is asked for;
//!   path: /v1/items?state=open   # with one of them the other is GET or /
//!   body: '{"query": "{viewer}"}'  # text, or any YAML value, which is sent as JSON
//!   agent: claude                # these four are for entries with `when:`
//!   user: alice
//!   sensitivity: internal
//!   time: 2026-05-04T09:00:00Z
//!   expect: allow                # allow, deny, or audit: allowed only by audit mode
//!   rule: GET /v1/items          # optional: the rule in words, or the key of the entry that holds it
//! ```
//!
//! The method `WEBSOCKET_TEXT` asks for a text message, whose text is the body, on a socket opened at the path.

mod read;

use serde::Serialize;

pub use read::read;

use crate::compile::Policy;
use crate::diagnostic::Position;
use crate::question::{Answer, Question, Verdict};

/// A question with the answer that is expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Where it stands.
    pub at: Position,
    /// Its name.
    pub name: Option<String>,
    /// What is asked.
    pub question: Question,
    /// What is expected.
    pub expect: Expected,
    /// The rule or the entry that must be the reason.
    pub rule: Option<String>,
}

/// What a case expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// It passes, by rule or because of audit mode.
    Allow,
    /// It passes only because of audit mode.
    Audit,
    /// It is refused.
    Deny,
}

/// What became of a case.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Its place in the list, from 1.
    pub number: usize,
    /// The line where it stands.
    pub line: u32,
    /// Its name, or the question in words.
    pub name: String,
    /// What was expected.
    pub expected: Expected,
    /// The rule that was expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected_rule: Option<String>,
    /// What the policy says.
    pub answer: Answer,
    /// Whether both agree.
    pub passed: bool,
}

/// Asks a policy every case.
#[must_use]
pub fn run(policy: &Policy, cases: &[Case]) -> Vec<Outcome> {
    cases.iter().enumerate().map(|(index, case)| case.run(policy, index + 1)).collect()
}

impl Case {
    fn run(&self, policy: &Policy, number: usize) -> Outcome {
        let answer = self.question.ask(policy);
        let verdict = match self.expect {
            Expected::Allow => answer.passes(),
            Expected::Audit => answer.verdict == Verdict::Audit,
            Expected::Deny => answer.verdict == Verdict::Deny,
        };
        let named = |rule: &String| [&answer.rule, &answer.entry, &answer.policy].contains(&&Some(rule.clone()));
        Outcome {
            number,
            line: self.at.line,
            name: self.name.clone().unwrap_or_else(|| self.question.to_string()),
            expected: self.expect,
            expected_rule: self.rule.clone(),
            passed: verdict && self.rule.as_ref().is_none_or(named),
            answer,
        }
    }
}

/// `not ok 3 read issues: expected allow, got deny: …`.
impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.passed {
            return write!(f, "ok {} {}", self.number, self.name);
        }
        write!(f, "not ok {} {}: expected {:?}", self.number, self.name, self.expected)?;
        if let Some(rule) = &self.expected_rule {
            write!(f, " by `{rule}`")?;
        }
        write!(f, ", got {:?}", self.answer.verdict)?;
        match (&self.answer.reason, &self.answer.rule) {
            (Some(reason), _) => write!(f, ": {reason}"),
            (None, Some(rule)) => write!(f, " by `{rule}`"),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
