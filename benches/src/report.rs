//! What a run says: a table for people, and pictures.

use std::fmt::Write as _;

use serde::Serialize;

use crate::figures::Figures;
use crate::plot::{self, Bar};
use crate::targets::{BARE, GATE, Judgement, NGINX, Verdict};

/// One run, as it goes to a file.
#[derive(Debug, Clone, Serialize)]
pub struct Run {
    /// Where it ran.
    pub machine: String,
    /// How much was run.
    pub plan: String,
    /// How long it took.
    pub seconds: u64,
    /// What could not be run, and why.
    pub missing: Vec<String>,
    /// The targets.
    pub judged: Vec<Judgement>,
    /// Everything that was measured.
    pub figures: Figures,
}

/// One figure of every proxy, for the table and for a picture.
struct Section {
    title: &'static str,
    /// Name of the picture.
    file: &'static str,
    unit: &'static str,
    load: &'static str,
    figure: &'static str,
}

const fn section(
    title: &'static str,
    file: &'static str,
    unit: &'static str,
    load: &'static str,
    figure: &'static str,
) -> Section {
    Section { title, file, unit, load, figure }
}

const SECTIONS: &[Section] = &[
    section("CPU per request, h1, 32 connections", "cpu-h1", "µs", "h1-32", "cpu"),
    section("CPU per request, h2, 4 x 8 streams", "cpu-h2", "µs", "h2-4x8", "cpu"),
    section("CPU per request at 1,000/s", "cpu-rate", "µs", "rate-1000", "cpu"),
    section("Latency at 1,000/s, p50", "latency-p50", "µs", "rate-1000", "p50"),
    section("Latency at 1,000/s, p99", "latency-p99", "µs", "rate-1000", "p99"),
    section("Requests per second, h1, 1 connection", "rate-h1-1", "/s", "h1-1", "rate"),
    section("Requests per second, h1, 8 connections", "rate-h1-8", "/s", "h1-8", "rate"),
    section("Requests per second, h1, 64 connections", "rate-h1-64", "/s", "h1-64", "rate"),
    section("Requests per second, h1, 512 connections", "rate-h1-512", "/s", "h1-512", "rate"),
    section("Requests per second, h2, 4 x 8 streams", "rate-h2", "/s", "h2-4x8", "rate"),
    section("CPU per new connection, one host", "cpu-new-one", "µs", "new-one", "cpu"),
    section("New connections per second, one host", "rate-new-one", "/s", "new-one", "rate"),
    section("CPU per new connection, names never seen", "cpu-new-many", "µs", "new-many", "cpu"),
    section("New connections per second, names never seen", "rate-new-many", "/s", "new-many", "rate"),
    section("SSE event, delay, p50", "events-p50", "µs", "events", "p50"),
    section("SSE event, CPU", "events-cpu", "µs", "events", "cpu"),
    section("CPU per GiB down", "cpu-down", "s", "down", "cpu"),
    section("GiB per second down", "rate-down", "GiB/s", "down", "rate"),
    section("CPU per GiB up", "cpu-up", "s", "up", "cpu"),
    section("GiB per second up", "rate-up", "GiB/s", "up", "rate"),
    section("Memory per idle tunnel", "memory-tunnel", "KiB", "idle", "tunnel"),
    section("Memory at rest", "memory-rest", "MiB", "idle", "rest"),
];

/// The targets first, then every proxy.
#[must_use]
pub fn table(run: &Run) -> String {
    let mut text = format!("\n{}; {} seconds; medians of the rounds\n\n", run.machine, run.seconds);
    text += "| figure | measured | target | beyond | |\n| --- | --- | --- | --- | --- |\n";
    for row in &run.judged {
        let bound = |value: f64| format!("≤ {}", amount(value, row.unit));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} |",
            row.what,
            row.value.map_or_else(|| "-".to_owned(), |value| amount(value, row.unit)),
            bound(row.target),
            row.beyond.map(bound).unwrap_or_default(),
            word(row.verdict()),
        );
    }
    for part in SECTIONS {
        text += &rows(part, &run.figures);
    }
    if !run.missing.is_empty() {
        text += "\nNot measured:\n\n";
    }
    for line in &run.missing {
        let _ = writeln!(text, "- {}", line.trim().replace('\n', " "));
    }
    text
}

/// One bar chart for each figure: its file name, and the picture.
#[must_use]
pub fn plots(figures: &Figures) -> Vec<(String, String)> {
    let charts = SECTIONS.iter().map(|part| {
        let bars: Vec<_> = figures
            .proxies(part.load)
            .filter_map(|proxy| Some(Bar { name: proxy, value: figures.median((part.load, part.figure), proxy)? }))
            .collect();
        (format!("{}.svg", part.file), bars, part)
    });
    charts
        .filter(|(_, bars, _)| !bars.is_empty())
        .map(|(name, bars, part)| (name, plot::bars(&format!("{}, {}", part.title, part.unit), &bars)))
        .collect()
}

fn rows(part: &Section, figures: &Figures) -> String {
    let which = (part.load, part.figure);
    let mut text = String::new();
    for proxy in figures.proxies(part.load) {
        let Some(value) = figures.median(which, proxy) else { continue };
        let to = |floor| figures.ratio(which, proxy, floor).map_or_else(|| "-".to_owned(), |x| amount(x, "x"));
        let name = if proxy == GATE { "**tollgate**" } else { proxy };
        let _ = writeln!(text, "| {name} | {} | {} | {} |", to(BARE), to(NGINX), amount(value, part.unit));
    }
    if text.is_empty() {
        return text;
    }
    format!("\n{}\n\n| proxy | to bare | to nginx | {} |\n| --- | --- | --- | --- |\n{text}", part.title, part.unit)
}

fn amount(value: f64, unit: &str) -> String {
    match unit {
        "x" => format!("{value:.2}x"),
        "cores" => format!("{value:.3} {unit}"),
        "" => format!("{value:.0}"),
        _ if value.abs() < 10.0 => format!("{value:.2} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Beyond => "beyond",
        Verdict::Met => "met",
        Verdict::Missed => "MISSED",
        Verdict::Unmeasured => "not measured",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::targets::judge;

    fn run() -> Run {
        let mut figures = Figures::default();
        for (proxy, value) in [(GATE, 30.0), (BARE, 40.0), (NGINX, 60.0)] {
            figures.add(("h1-32", "cpu"), proxy, value);
        }
        Run {
            machine: "two cores".to_owned(),
            plan: "one round".to_owned(),
            seconds: 3,
            missing: vec!["squid could not be started:\nnot here".to_owned()],
            judged: judge(&figures),
            figures,
        }
    }

    #[test]
    fn tables_say_what_was_measured_and_what_was_not() {
        let text = table(&run());
        for line in [
            "two cores; 3 seconds; medians of the rounds",
            "| CPU per request, h1, 32 connections, to bare | 0.75x | ≤ 1.00x | ≤ 0.80x | beyond |",
            "| CPU per request, h2, 4 x 8 streams, to bare | - | ≤ 0.90x | ≤ 0.70x | not measured |",
            "| **tollgate** | 0.75x | 0.50x | 30 µs |",
            "| bare | 1.00x | 0.67x | 40 µs |",
            "- squid could not be started: not here",
        ] {
            assert!(text.lines().any(|written| written == line), "{line}\n{text}");
        }
    }

    #[test]
    fn there_is_a_picture_of_what_was_measured() {
        let names: Vec<_> = plots(&run().figures).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["cpu-h1.svg"]);
    }
}
