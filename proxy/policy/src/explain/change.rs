//! The smallest change that allows a request, tried before it is proposed.

use std::collections::BTreeMap;

use serde::Serialize;

use super::near::{endpoint_covers, holds, names_caller};
use super::operation;
use crate::compile::Policy;
use crate::diagnostic::Position;
use crate::document::{self, Binary, Document, Endpoint, Entry, Protocol};
use crate::glob::PathGlob;
use crate::hosts::HostPattern;
use crate::question::{Answer, Question, Verdict};

/// What to add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// In one sentence.
    pub summary: String,
    /// To be merged into the policy: lists of an entry that is there already grow by what stands here. Empty where
    /// nothing that is added would help.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fragment: String,
}

/// Finds the smallest change: a rule, else a program, else an entry.
pub(super) fn smallest(policy: &Policy, question: &Question, answer: &Answer) -> Option<Change> {
    if let (Some("deny_rule" | "graphql_deny_rule"), Some(rule)) = (answer.code, &answer.rule) {
        let summary = format!("remove or narrow the deny rule `{rule}`; nothing that is added can overrule it");
        return Some(Change { summary, fragment: String::new() });
    }
    let candidates = rules(policy.document(), question)
        .into_iter()
        .chain(programs(policy.document(), question))
        .chain(entry(policy.document(), question));
    candidates
        .filter(|candidate| candidate.works(policy.document(), question))
        .map(|candidate| Change {
            fragment: document::fragment(&candidate.key, &candidate.entry),
            summary: candidate.summary,
        })
        .next()
}

/// What an entry, new or known, would gain.
struct Candidate {
    key: String,
    entry: Entry,
    summary: String,
}

impl Candidate {
    fn works(&self, document: &Document, question: &Question) -> bool {
        let mut changed = document.clone();
        match changed.network_policies.get_mut(&*self.key) {
            Some(known) => {
                known.endpoints.extend(self.entry.endpoints.iter().cloned());
                if let (Some(binaries), Some(more)) = (&mut known.binaries, &self.entry.binaries) {
                    binaries.extend(more.iter().cloned());
                }
            }
            None => drop(changed.network_policies.insert(self.key.as_str().into(), self.entry.clone())),
        }
        let checked = document::check(&changed).ok().and_then(|()| Policy::compile(changed).ok());
        checked.is_some_and(|policy| question.ask(&policy).verdict == Verdict::Allow)
    }
}

/// A rule more, next to each endpoint that speaks for the destination and the program.
fn rules(document: &Document, question: &Question) -> Vec<Candidate> {
    let (Ok(authority), Some(request)) = (question.authority(), &question.request) else { return Vec::new() };
    let mut candidates = Vec::new();
    for (key, entry) in &document.network_policies {
        if !names_caller(entry, question) || !holds(entry, question) {
            continue;
        }
        for endpoint in &entry.endpoints {
            let speaks = endpoint_covers(endpoint, &authority) && endpoint.ports.contains(&authority.port);
            let rules =
                endpoint.inspected().filter(|_| speaks).and_then(|protocol| operation::rules(protocol, request));
            let Some(rules) = rules else { continue };
            let sibling =
                Endpoint { access: None, rules, deny_rules: Vec::new(), places: BTreeMap::new(), ..endpoint.clone() };
            candidates.push(Candidate {
                key: key.to_string(),
                entry: Entry { endpoints: vec![sibling], binaries: None, when: None, ..entry.clone() },
                summary: format!("add a rule to `{key}` for {}", endpoint.describe()),
            });
        }
    }
    candidates
}

/// The program more, in each entry that speaks for the destination.
fn programs(document: &Document, question: &Question) -> Vec<Candidate> {
    let (Ok(authority), Some(binary)) = (question.authority(), question.binary.as_deref().and_then(literal)) else {
        return Vec::new();
    };
    let speaks =
        |endpoint: &Endpoint| endpoint_covers(endpoint, &authority) && endpoint.ports.contains(&authority.port);
    let entries = document.network_policies.iter();
    entries
        .filter(|(_, entry)| !names_caller(entry, question) && entry.endpoints.iter().any(speaks))
        .map(|(key, entry)| Candidate {
            key: key.to_string(),
            entry: Entry { endpoints: Vec::new(), binaries: Some(vec![binary.clone()]), when: None, ..entry.clone() },
            summary: format!("let `{}` use the entry `{key}`", binary.path),
        })
        .collect()
}

/// An entry of its own.
fn entry(document: &Document, question: &Question) -> Option<Candidate> {
    let authority = question.authority().ok()?;
    let host = HostPattern::parse(&authority.host.to_string()).ok()?;
    let mut endpoint = Endpoint { host: Some(host), ports: vec![authority.port], ..Endpoint::default() };
    if let Some(request) = &question.request {
        let protocol = if request.method == "WEBSOCKET_TEXT" { Protocol::Websocket } else { Protocol::Rest };
        endpoint.protocol = Some(protocol);
        endpoint.rules = operation::rules(protocol, request)?;
        if protocol == Protocol::Websocket {
            let upgrade = crate::question::RequestWords { method: "GET".to_owned(), ..request.clone() };
            endpoint.rules.extend(operation::rules(protocol, &upgrade)?);
        }
    }
    let name = format!("allow_{}_{}", authority.host.to_string().replace(['.', '-', ':'], "_"), authority.port);
    let key = std::iter::once(name.clone())
        .chain((2..).map(|number| format!("{name}_{number}")))
        .find(|key| !document.network_policies.contains_key(key.as_str()))?;
    let entry = Entry {
        at: Position::default(),
        name: key.as_str().into(),
        endpoints: vec![endpoint],
        binaries: question.binary.as_deref().map(|path| literal(path).into_iter().collect()),
        when: None,
        upgrades: false,
    };
    Some(Candidate { summary: format!("add the entry `{key}`"), key, entry })
}

/// A program as itself, not as a pattern.
fn literal(path: &str) -> Option<Binary> {
    let special = |c: char| "*?[]{}\\".contains(c);
    match path.contains(special) {
        true => None,
        false => Some(Binary { at: Position::default(), path: PathGlob::parse(path).ok()? }),
    }
}
