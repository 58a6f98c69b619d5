//! One row: a policy in short, requests, and what each gets.

use tollgate_policy::Policy;

use crate::ask::{CURL, Request, judge};

/// A policy whose only entry `p` has these endpoints and `curl` as its program.
pub(crate) fn with_endpoints(endpoints: &str) -> String {
    format!("version: 1\nnetwork_policies: {{p: {{endpoints: [{endpoints}], binaries: [{{path: /usr/bin/curl}}]}}}}\n")
}

/// A policy with one enforcing `rest` endpoint on the host of the tables.
pub(crate) fn rest(fields: &str) -> String {
    with_endpoints(&format!("{{host: x.example.com, port: 443, protocol: rest, enforcement: enforce, {fields}}}"))
}

pub(crate) fn load(text: &str) -> Policy {
    tollgate_policy::load(text).unwrap_or_else(|found| panic!("{found}\n{text}"))
}

/// Checks rows of `METHOD target`, or of a JSON body behind them, and a verdict: `allow`, `audit`, or a part of the reason.
#[track_caller]
pub(crate) fn check(policy: &str, rows: &[(&str, &str)]) {
    let loaded = load(policy);
    for (line, expected) in rows {
        let mut parts = line.splitn(3, ' ');
        let method = parts.next().expect("a method");
        let target = parts.next().unwrap_or("/");
        let request = Request { method, target, body: parts.next(), ..CURL };
        check_one(&loaded, request, expected);
    }
}

#[track_caller]
pub(crate) fn check_one(policy: &Policy, request: Request<'_>, expected: &str) {
    if let Err(why) = judge(policy, request, expected) {
        panic!("{why}");
    }
}

/// Checks that a policy is refused, with a finding that holds this text.
#[track_caller]
pub(crate) fn refused(policy: &str, expected: &str) {
    let found = match tollgate_policy::load(policy) {
        Ok(_) => panic!("it loads:\n{policy}"),
        Err(found) => found.to_string(),
    };
    assert!(found.contains(expected), "expected {expected:?} in:\n{found}\n{policy}");
}
