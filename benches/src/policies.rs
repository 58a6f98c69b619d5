//! Policies with a given number of rules, in the shapes that real ones have.

use std::fmt::Write as _;

use tollgate_model::Port;
use tollgate_policy::Policy;
use tollgate_policy::document::{Binary, Document, Endpoint, Entry, Protocol, Rule};
use tollgate_policy::glob::PathGlob;
use tollgate_policy::hosts::HostPattern;

/// The program of every entry.
pub const PROGRAM: &str = "/usr/bin/agent";

/// Rules in one entry of a [`mixed`] policy.
const RULES_OF_AN_ENTRY: usize = 10;

/// One host with all rules.
#[must_use]
pub fn deep(rules: usize) -> Policy {
    compile([entry(0, 0..rules)])
}

/// One rule for each of many hosts.
#[must_use]
pub fn wide(rules: usize) -> Policy {
    compile((0..rules).map(|host| entry(host, host..host + 1)))
}

/// Ten rules for each host: what people write.
#[must_use]
pub fn mixed(rules: usize) -> Policy {
    compile((0..rules / RULES_OF_AN_ENTRY).map(|host| {
        let first = host * RULES_OF_AN_ENTRY;
        entry(host, first..first + RULES_OF_AN_ENTRY)
    }))
}

/// The text of a [`mixed`] policy.
#[must_use]
pub fn mixed_text(rules: usize) -> String {
    let mut text = String::from("version: 1\nnetwork_policies:\n");
    for host in 0..rules / RULES_OF_AN_ENTRY {
        let _ = write!(
            text,
            "  e{host}:\n    binaries: [{{path: {PROGRAM}}}]\n    endpoints:\n    - host: host-{host}.example.com\n      port: 443\n      protocol: rest\n      rules:\n"
        );
        for rule in 0..RULES_OF_AN_ENTRY {
            let number = host * RULES_OF_AN_ENTRY + rule;
            let _ = writeln!(text, "      - allow: {{method: GET, path: {}}}", path(number));
        }
    }
    text
}

/// The path of a rule, in one of three shapes in turn: a subtree, a wildcard segment, an exact path.
#[must_use]
pub fn path(number: usize) -> String {
    match number % 3 {
        0 => format!("/v1/accounts/{number}/**"),
        1 => format!("/v1/orders/{number}/*/state"),
        _ => format!("/v1/status/{number}"),
    }
}

fn compile(entries: impl IntoIterator<Item = Entry>) -> Policy {
    let network_policies = entries.into_iter().map(|entry| (entry.name.clone(), entry)).collect();
    Policy::compile(Document { network_policies, ..Document::default() }).expect("within the bounds of a policy")
}

fn entry(host: usize, rules: std::ops::Range<usize>) -> Entry {
    let rule = |number: usize| Rule {
        method: Some("GET".into()),
        path: Some(PathGlob::parse(&path(number)).expect("a glob")),
        ..Rule::default()
    };
    let endpoint = Endpoint {
        host: Some(HostPattern::parse(&format!("host-{host}.example.com")).expect("a host")),
        ports: vec![Port::HTTPS],
        protocol: Some(Protocol::Rest),
        rules: rules.map(rule).collect(),
        ..Endpoint::default()
    };
    let program = Binary { at: tollgate_policy::Position::default(), path: PathGlob::parse(PROGRAM).expect("a path") };
    Entry {
        at: tollgate_policy::Position::default(),
        name: format!("e{host}").into(),
        endpoints: vec![endpoint],
        binaries: Some(vec![program]),
        when: None,
        upgrades: false,
    }
}
