//! `policy diff`: what two policies mean differently.
//!
//! Both are asked the same questions: those that their own text suggests (each host, port, program, method and path that
//! either names, and neighbours that it does not) and those of a journal. What is answered differently is the
//! difference; how the texts differ does not matter.
//!
//! ```
//! let a = tollgate_policy::load("version: 1").unwrap();
//! let b = tollgate_policy::load(
//!     "{version: 1, network_policies: {a: {endpoints: [{host: x.example.com, port: 443}]}}}").unwrap();
//! let diff = tollgate_policy::diff::diff(&a, &b);
//! assert_eq!(diff.reach_gained[0].destination, "x.example.com:443");
//! assert!(diff.reach_lost.is_empty());
//! ```

mod probes;
mod sections;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::compile::Policy;
use crate::question::{Answer, Question, Verdict};

/// What changed in meaning from one policy to another.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Diff {
    /// Destinations that a program could not connect to before.
    pub reach_gained: Vec<Reach>,
    /// Destinations that a program can no longer connect to.
    pub reach_lost: Vec<Reach>,
    /// Requests that are answered differently.
    pub flips: Vec<Flip>,
    /// What else differs: files, process, credentials, middlewares.
    pub sections: Vec<String>,
    /// True where the policies suggest more questions than were asked.
    pub truncated: bool,
}

/// A destination and who reaches it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Reach {
    /// `host:port`, where a sample stands for a wildcard.
    pub destination: String,
    /// The programs; `/any/other/program` stands for those that neither policy names.
    pub programs: Vec<String>,
}

/// A request with two answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Flip {
    /// The request.
    pub question: Question,
    /// The answer before.
    pub before: Answer,
    /// The answer after.
    pub after: Answer,
}

/// Compares two policies by the questions that they suggest themselves.
#[must_use]
pub fn diff(before: &Policy, after: &Policy) -> Diff {
    let probes = probes::probes(before.document(), after.document());
    let mut gained = BTreeMap::new();
    let mut lost = BTreeMap::new();
    for question in &probes.connections {
        let side = match (question.ask(before).passes(), question.ask(after).passes()) {
            (false, true) => &mut gained,
            (true, false) => &mut lost,
            _ => continue,
        };
        let program = question.binary.clone().unwrap_or_else(|| "an unknown program".to_owned());
        side.entry(format!("{}:{}", question.host, question.port)).or_insert_with(Vec::new).push(program);
    }
    Diff {
        reach_gained: gained.into_iter().map(reach).collect(),
        reach_lost: lost.into_iter().map(reach).collect(),
        flips: flips(before, after, &probes.requests),
        sections: sections::sections(before.document(), after.document()),
        truncated: probes.truncated,
    }
}

/// The questions that two policies answer differently, for example those of a journal.
#[must_use]
pub fn flips(before: &Policy, after: &Policy, questions: &[Question]) -> Vec<Flip> {
    let both = questions.iter().map(|question| (question, question.ask(before), question.ask(after)));
    let differ = both.filter(|(_, before, after)| before.verdict != after.verdict);
    differ.map(|(question, before, after)| Flip { question: question.clone(), before, after }).collect()
}

impl Diff {
    /// True where both policies mean the same, as far as was asked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reach_gained.is_empty() && self.reach_lost.is_empty() && self.flips.is_empty() && self.sections.is_empty()
    }
}

fn reach((destination, mut programs): (String, Vec<String>)) -> Reach {
    programs.sort();
    programs.dedup();
    Reach { destination, programs }
}

/// `deny → allow  /usr/bin/curl → api.example.com:443 POST /v1`.
impl std::fmt::Display for Flip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word = |verdict| match verdict {
            Verdict::Allow => "allow",
            Verdict::Audit => "audit",
            Verdict::Deny => "deny",
        };
        write!(f, "{} → {}  {}", word(self.before.verdict), word(self.after.verdict), self.question)
    }
}

#[cfg(test)]
mod tests;
