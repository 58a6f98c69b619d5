//! `policy explain`: why, what nearly matched, and the smallest change that would allow it.
//!
//! A change is only proposed after it was tried: the document with the change in it is validated, compiled and asked again.
//!
//! ```
//! use tollgate_policy::question::Question;
//!
//! let policy = tollgate_policy::load("version: 1").unwrap();
//! let explained = tollgate_policy::explain::explain(&policy, &Question::connection("api.example.com", 443));
//! assert!(explained.change.unwrap().fragment.contains("host: api.example.com"));
//! ```

mod change;
mod near;
mod operation;

use serde::Serialize;

pub use change::Change;
pub use near::NearMiss;

use crate::compile::Policy;
use crate::question::{Answer, Question, Verdict};

/// A verdict with its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// What was asked.
    pub question: Question,
    /// The verdict, the rule, the reason.
    pub answer: Answer,
    /// Endpoints that nearly speak for the request, nearest first.
    pub near_misses: Vec<NearMiss>,
    /// What would allow it, where anything would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change: Option<Change>,
}

/// Explains the answer of a policy.
#[must_use]
pub fn explain(policy: &Policy, question: &Question) -> Explanation {
    let answer = question.ask(policy);
    let change = match answer.verdict {
        Verdict::Allow => None,
        Verdict::Audit | Verdict::Deny => change::smallest(policy, question, &answer),
    };
    Explanation { near_misses: near::misses(policy.document(), question), question: question.clone(), answer, change }
}

#[cfg(test)]
mod tests;
