//! Decisions, connections, paths and explanations at growing policy sizes; loading and compiling.
//!
//! Targets: a decision under 300 ns at 10 rules and under 1 µs at 10,000, growing no faster than logarithmically to 100,000; a
//! path of 60 bytes under 150 ns; 10,000 rules loaded under 150 ms.

use std::hint::black_box;

use tollgate_benches::asks::Asker;
use tollgate_benches::policies;
use tollgate_model::{CanonicalPath, EncodedSlash};
use tollgate_policy::Policy;
use tollgate_policy::explain::explain;
use tollgate_policy::question::{Question, RequestWords};

use crate::part::{ALIKE, Part, Run, in_turn, repeat};

const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];

/// The size whose instructions are counted: building larger ones below callgrind takes longer than it tells.
const COUNTED_SIZE: usize = 1_000;

#[derive(Clone, Copy)]
struct Shape {
    name: &'static str,
    make: fn(usize) -> Policy,
    /// The host in the middle, and the first rule of that host.
    middle: fn(usize) -> (usize, usize),
}

const SHAPES: [Shape; 3] = [
    Shape { name: "deep", make: policies::deep, middle: |rules| (0, rules / 2) },
    Shape { name: "wide", make: policies::wide, middle: |rules| (rules / 2, rules / 2) },
    Shape { name: "mixed", make: policies::mixed, middle: |rules| (rules / 20, rules / 20 * 10) },
];

pub fn parts() -> Vec<Part> {
    let sizes = |shape: Shape| SIZES.map(|rules| (shape, rules));
    let mut parts: Vec<_> = SHAPES.into_iter().flat_map(sizes).map(|(shape, rules)| decision(shape, rules)).collect();
    parts.extend([
        Part::new("refuse/mixed/1000", || refuse(1_000)).counted(1_000),
        Part::new("connect/mixed/1000", || connect(1_000)).counted(1_000),
        Part::new("explain/mixed/1000", || explanation(1_000)).counted(2),
        Part::new("canonicalise/plain", || canonicalise(PLAIN)).counted(1_000),
        Part::new("canonicalise/tricky", || canonicalise(TRICKY)).counted(1_000),
        Part::new("load/10000", || load(10_000)),
        Part::new("load/100", || load(100)).counted(4),
    ]);
    parts
}

fn decision(shape: Shape, rules: usize) -> Part {
    let part = Part::new(format!("decide/{}/{rules}", shape.name), move || decide(shape, rules));
    if rules == COUNTED_SIZE { part.counted(1_000) } else { part }
}

/// The dearest kind of rule, with a wildcard segment, in or next to the middle.
fn decide(shape: Shape, rules: usize) -> Run {
    let policy = (shape.make)(rules);
    let (host, rule) = (shape.middle)(rules);
    let dearest = (host..).zip(rule..).find(|(_, rule)| rule % 3 == 1).unwrap_or((host, rule));
    let host = if shape.name == "wide" { dearest.0 } else { host };
    let asker = Asker::new(&format!("host-{host}.example.com"), &allowed_path(dearest.1));
    assert!(asker.is_allowed(&policy), "{} {rules}", shape.name);
    repeat(move || drop(black_box(policy.decide(black_box(&asker.ask())))))
}

/// A path that the rule of this number allows.
fn allowed_path(rule: usize) -> String {
    match rule % 3 {
        0 => format!("/v1/accounts/{rule}/items"),
        1 => format!("/v1/orders/{rule}/open/state"),
        _ => format!("/v1/status/{rule}"),
    }
}

fn refuse(rules: usize) -> Run {
    let asker = Asker::new(&format!("host-{}.example.com", rules / 20), "/v2/elsewhere");
    in_turn([(); ALIKE].map(|()| policies::mixed(rules)), move |policy| assert!(!asker.is_allowed(black_box(policy))))
}

fn connect(rules: usize) -> Run {
    let asker = Asker::new(&format!("host-{}.example.com", rules / 20), "/");
    in_turn([(); ALIKE].map(|()| policies::mixed(rules)), move |policy| {
        assert!(black_box(policy).connect(&asker.connect()).is_ok())
    })
}

/// A refusal, with what nearly matched and the smallest change, which is tried.
fn explanation(rules: usize) -> Run {
    let policy = policies::mixed(rules);
    let request = RequestWords { method: "GET".to_owned(), path: "/v2/elsewhere".to_owned(), body: None };
    let question = Question {
        binary: Some(policies::PROGRAM.to_owned()),
        request: Some(request),
        ..Question::connection(&format!("host-{}.example.com", rules / 20), 443)
    };
    assert!(explain(&policy, &question).change.is_some());
    repeat(move || explain(black_box(&policy), &question))
}

const PLAIN: &str = "/repos/tollgate/tollgate/issues/1234/comments/5678/reactions";
const TRICKY: &str = "/repos/%74ollgate/./x/../tollgate//issues;v=1/1234/comments";

fn canonicalise(path: &'static str) -> Run {
    assert!((59..=61).contains(&path.len()), "{}", path.len());
    repeat(move || CanonicalPath::parse(black_box(path), EncodedSlash::Refuse))
}

fn load(rules: usize) -> Run {
    let text = policies::mixed_text(rules);
    repeat(move || tollgate_policy::load(black_box(&text)).expect("it loads"))
}
