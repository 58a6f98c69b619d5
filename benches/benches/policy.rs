//! Decisions, connections and paths at growing policy sizes; loading and compiling.
//!
//! `cargo bench -p tollgate-benches --bench policy`. Targets: a decision under 300 ns at 10 rules and under 1 µs at
//! 10,000, growing no faster than logarithmically to 100,000; a path of 60 bytes under 150 ns; 10,000 rules loaded under
//! 150 ms.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use tollgate_benches::asks::Asker;
use tollgate_benches::policies;
use tollgate_model::{CanonicalPath, EncodedSlash};
use tollgate_policy::Policy;

const SIZES: [usize; 5] = [10, 100, 1_000, 10_000, 100_000];

type Shape = (&'static str, fn(usize) -> Policy, fn(usize) -> (usize, usize));

/// Each shape with the host in its middle, and the first rule of that host.
const SHAPES: [Shape; 3] = [
    ("deep", policies::deep, |rules| (0, rules / 2)),
    ("wide", policies::wide, |rules| (rules / 2, rules / 2)),
    ("mixed", policies::mixed, |rules| (rules / 20, rules / 20 * 10)),
];

/// A path that the rule of this number allows.
fn allowed_path(rule: usize) -> String {
    match rule % 3 {
        0 => format!("/v1/accounts/{rule}/items"),
        1 => format!("/v1/orders/{rule}/open/state"),
        _ => format!("/v1/status/{rule}"),
    }
}

fn decide(c: &mut Criterion) {
    for (name, make, target) in SHAPES {
        let mut group = c.benchmark_group(format!("decide/{name}"));
        for rules in SIZES {
            let policy = make(rules);
            // The dearest kind of rule, with a wildcard segment, in or next to the middle.
            let (host, rule) = target(rules);
            let (host, rule) = (host..).zip(rule..).find(|(_, rule)| rule % 3 == 1).unwrap_or((host, rule));
            let host = if name == "wide" { host } else { target(rules).0 };
            let asker = Asker::new(&format!("host-{host}.example.com"), &allowed_path(rule));
            assert!(asker.is_allowed(&policy), "{name} {rules}");
            group.bench_with_input(BenchmarkId::from_parameter(rules), &asker, |b, asker| {
                b.iter(|| policy.decide(black_box(&asker.ask())));
            });
        }
        group.finish();
    }
}

fn refuse(c: &mut Criterion) {
    let policy = policies::mixed(10_000);
    let asker = Asker::new("host-500.example.com", "/v2/elsewhere");
    c.bench_function("refuse/mixed/10000", |b| b.iter(|| policy.decide(black_box(&asker.ask()))));
}

fn connect(c: &mut Criterion) {
    let policy = policies::mixed(10_000);
    let asker = Asker::new("host-500.example.com", "/");
    c.bench_function("connect/mixed/10000", |b| b.iter(|| policy.connect(black_box(&asker.connect()))));
}

fn canonicalise(c: &mut Criterion) {
    let plain = "/repos/tollgate/tollgate/issues/1234/comments/5678/reactions";
    let tricky = "/repos/%74ollgate/./x/../tollgate//issues;v=1/1234/comments";
    let mut group = c.benchmark_group("canonicalise");
    for (name, path) in [("plain", plain), ("tricky", tricky)] {
        assert!((59..=61).contains(&path.len()), "{}", path.len());
        group.bench_function(name, |b| b.iter(|| CanonicalPath::parse(black_box(path), EncodedSlash::Refuse)));
    }
    group.finish();
}

fn load(c: &mut Criterion) {
    let mut group = c.benchmark_group("load");
    group.sample_size(10);
    for rules in [100, 10_000] {
        let text = policies::mixed_text(rules);
        group.bench_function(rules.to_string(), |b| {
            b.iter(|| tollgate_policy::load(black_box(&text)).expect("it loads"))
        });
    }
    group.finish();
}

criterion_group!(benches, decide, refuse, connect, canonicalise, load);
criterion_main!(benches);
