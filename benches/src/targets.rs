//! What the gate must reach, in figures of one run, and whether it does.

use serde::Serialize;

use crate::figures::{Figures, Which};

/// One bound on one value.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judgement {
    /// What is bounded, for people.
    pub what: &'static str,
    /// In which unit; `x` is a ratio.
    pub unit: &'static str,
    /// What was measured; nothing where the run left it out.
    pub value: Option<f64>,
    /// The most that it may be.
    pub target: f64,
    /// What would be better still.
    pub beyond: Option<f64>,
}

/// How a value stands to its bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Better than asked for.
    Beyond,
    /// As asked for.
    Met,
    /// Not reached.
    Missed,
    /// Not measured in this run.
    Unmeasured,
}

impl Judgement {
    /// Whether the bound holds.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self.value {
            None => Verdict::Unmeasured,
            Some(value) if self.beyond.is_some_and(|beyond| value <= beyond) => Verdict::Beyond,
            Some(value) if value <= self.target => Verdict::Met,
            Some(_) => Verdict::Missed,
        }
    }
}

/// The gate with the real job on.
pub const GATE: &str = "tollgate";
/// The same binary with one rule and no credentials.
pub const OFF: &str = "tollgate-off";
/// With ten rules, and with ten thousand.
pub const FEW_RULES: &str = "tollgate-10";
/// See [`FEW_RULES`].
pub const MANY_RULES: &str = "tollgate-10000";
/// The floor: the same libraries and nothing else.
pub const BARE: &str = "bare";
/// The practical floor.
pub const NGINX: &str = "nginx";
/// No proxy.
pub const DIRECT: &str = "direct";

/// Every bound, judged by what a run has measured.
#[must_use]
pub fn judge(figures: &Figures) -> Vec<Judgement> {
    let mut judged = ratios(figures);
    judged.extend(amounts(figures));
    judged
}

fn ratios(figures: &Figures) -> Vec<Judgement> {
    let to = |what, which: Which<'_>, floor, target, beyond| Judgement {
        what,
        unit: "x",
        value: figures.ratio(which, GATE, floor),
        target,
        beyond,
    };
    let added = |what, figure| Judgement {
        what,
        unit: "x",
        value: added_ratio(figures, ("rate-1000", figure)),
        target: 1.1,
        beyond: Some(0.8),
    };
    vec![
        to("CPU per request, h1, 32 connections, to bare", ("h1-32", "cpu"), BARE, 1.0, Some(0.8)),
        to("CPU per request, h1, 32 connections, to nginx", ("h1-32", "cpu"), NGINX, 1.0, None),
        to("CPU per request, h2, 4 x 8 streams, to bare", ("h2-4x8", "cpu"), BARE, 0.9, Some(0.7)),
        to("CPU per request, h2, 4 x 8 streams, to nginx", ("h2-4x8", "cpu"), NGINX, 0.75, None),
        to("CPU per request at 1,000/s, to bare", ("rate-1000", "cpu"), BARE, 1.0, Some(0.8)),
        added("p50 added over direct at 1,000/s, to bare", "p50"),
        added("p99 added over direct at 1,000/s, to bare", "p99"),
        to("CPU per new connection, one host, to bare", ("new-one", "cpu"), BARE, 0.9, Some(0.75)),
        to("CPU per new connection, one host, to nginx", ("new-one", "cpu"), NGINX, 0.5, None),
        to("CPU per new connection, names never seen, to bare", ("new-many", "cpu"), BARE, 0.9, Some(0.72)),
        to("SSE event, p50 delay, to bare", ("events", "p50"), BARE, 1.0, Some(0.8)),
        to("SSE event, CPU, to bare", ("events", "cpu"), BARE, 1.0, Some(0.8)),
        to("CPU per GiB down, to bare", ("down", "cpu"), BARE, 1.0, Some(0.85)),
        to("CPU per GiB up, to bare", ("up", "cpu"), BARE, 1.0, Some(0.85)),
    ]
}

fn amounts(figures: &Figures) -> Vec<Judgement> {
    let amount = |what, unit, value, target, beyond| Judgement { what, unit, value, target, beyond: Some(beyond) };
    let of = |load, figure| figures.median((load, figure), GATE);
    let h1 = ("h1-32", "cpu");
    let rules = figures.ratio(h1, MANY_RULES, FEW_RULES).map(|ratio| (ratio - 1.0) * 100.0);
    vec![
        amount("policy, broker and journal, off against on", "µs", figures.difference(h1, GATE, OFF), 2.0, 1.0),
        amount("policy of 10 → 10,000 rules, CPU per request", "%", rules, 2.0, 0.0),
        amount("upstream connections for 2,000 clients of one host", "", of("idle", "upstream"), 8.0, 1.0),
        amount("samples of 35 ms or more at 1,000/s", "", figures.median(("rate-1000", "slow"), GATE), 0.0, 0.0),
        amount("memory per idle tunnel", "KiB", of("idle", "tunnel"), 16.0, 10.0),
        amount("memory of the process at rest", "MiB", of("idle", "rest"), 10.0, 6.0),
        // Less than a hundredth of a core is 0.00.
        amount("CPU with idle tunnels", "cores", of("idle", "cores"), 0.005, 0.005),
    ]
}

/// How many times as much the gate adds to what a request takes without any proxy as the floor does.
fn added_ratio(figures: &Figures, which: Which<'_>) -> Option<f64> {
    let (gate, bare) = (figures.difference(which, GATE, DIRECT)?, figures.difference(which, BARE, DIRECT)?);
    // Where the floor adds nothing that can be measured there is nothing to compare with.
    (bare > 0.0).then(|| gate / bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(measured: &[(&str, &str, &str, f64)], what: &str, expected: (Option<f64>, Verdict)) {
        let mut figures = Figures::default();
        for (load, figure, proxy, value) in measured {
            figures.add((load, figure), proxy, *value);
        }
        let judged = judge(&figures);
        let row = judged.iter().find(|row| row.what.starts_with(what)).expect("a row");
        assert_eq!((row.value, row.verdict()), expected, "{row:?}");
    }

    #[test]
    fn ratios_are_judged() {
        let h1 = |gate| [("h1-32", "cpu", GATE, gate), ("h1-32", "cpu", BARE, 40.0), ("h1-32", "cpu", OFF, 28.5)];
        check(&h1(30.0), "CPU per request, h1, 32 connections, to bare", (Some(0.75), Verdict::Beyond));
        check(&h1(40.0), "CPU per request, h1, 32 connections, to bare", (Some(1.0), Verdict::Met));
        check(&h1(60.0), "CPU per request, h1, 32 connections, to bare", (Some(1.5), Verdict::Missed));
        check(&h1(60.0), "CPU per request, h1, 32 connections, to nginx", (None, Verdict::Unmeasured));
        check(&h1(30.0), "policy, broker and journal", (Some(1.5), Verdict::Met));
    }

    #[test]
    fn what_is_added_is_over_direct() {
        let p99 = |bare| {
            [("rate-1000", "p99", GATE, 300.0), ("rate-1000", "p99", BARE, bare), ("rate-1000", "p99", DIRECT, 100.0)]
        };
        check(&p99(200.0), "p99 added", (Some(2.0), Verdict::Missed));
        check(&p99(300.0), "p99 added", (Some(1.0), Verdict::Met));
        check(&p99(90.0), "p99 added", (None, Verdict::Unmeasured));
    }

    #[test]
    fn amounts_are_judged() {
        check(&[("rate-1000", "slow", GATE, 0.0)], "samples of 35 ms", (Some(0.0), Verdict::Beyond));
        check(&[("rate-1000", "slow", GATE, 1.0)], "samples of 35 ms", (Some(1.0), Verdict::Missed));
        let rules = [("h1-32", "cpu", FEW_RULES, 50.0), ("h1-32", "cpu", MANY_RULES, 50.5)];
        check(&rules, "policy of 10", (Some(1.0), Verdict::Met));
    }
}
