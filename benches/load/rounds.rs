//! Which loads are run against which proxies, in rounds that take turns.

use std::collections::BTreeMap;
use std::time::Duration;

use tollgate_benches::figures::Figures;
use tollgate_benches::job::SERVICE;
use tollgate_benches::targets::{BARE, DIRECT, FEW_RULES, GATE, MANY_RULES, OFF};

use crate::Result;
use crate::client::{Ask, Protocol};
use crate::events::events;
use crate::loads::{Closed, Names, Round, Span, at_rate, closed, fresh_names, idle, new_connections};
use crate::proxies::{PEERS, Places, Proxy};
use crate::stage::Stage;

/// How much is run.
#[derive(Debug, Clone)]
pub struct Plan {
    pub rounds: usize,
    pub span: Span,
    pub proxies: Vec<&'static str>,
    pub loads: Vec<&'static str>,
    pub tunnels: usize,
}

/// Every load.
pub const ALL: &[&str] = &[
    "h1-32",
    "h2-4x8",
    "rate-1000",
    "new-one",
    "new-many",
    "events",
    "down",
    "up",
    "h1-1",
    "h1-8",
    "h1-64",
    "h1-512",
    "idle",
];

/// Bytes of one download or upload.
const BULK: u64 = 16 * 1024 * 1024;

/// Clients that share upstream connections.
const CLIENTS: usize = 2000;

/// How much longer than its time a round may take: what was asked is still answered, and connections close.
const PATIENCE: Duration = Duration::from_secs(8);

/// Ten thousand handshakes take their time.
const IDLE_PATIENCE: Duration = Duration::from_secs(90);

/// Connections that are opened at a time where each request takes a new one.
const WORKERS: usize = 8;

/// What came of it.
#[derive(Default)]
pub struct Outcome {
    pub figures: Figures,
    /// What could not be run, and why.
    pub missing: Vec<String>,
    /// Proxies that did not start.
    pub absent: Vec<&'static str>,
}

/// Runs everything. What cannot be run is left out of the figures and told.
pub async fn run(plan: &Plan, stage: &Stage, places: &Places) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut proxies = Vec::new();
    for name in &plan.proxies {
        match Proxy::start(name, stage, places) {
            Ok(proxy) => proxies.push((proxy, fresh_names())),
            Err(error) => {
                outcome.missing.push(format!("{name} could not be started: {error}"));
                outcome.absent.push(name);
            }
        }
    }
    run_in_turns(plan, &mut proxies, (stage, places), &mut outcome).await;
    let names: Vec<_> = proxies.iter().map(|(proxy, _)| proxy.name).collect();
    drop(proxies);
    if plan.loads.contains(&"idle") {
        let direct = Proxy::start(DIRECT, stage, places)?;
        for name in names.into_iter().filter(|name| takes_part("idle", name)) {
            // Memory that earlier loads have left behind would be taken for the tunnels'.
            match idle_round(name, stage, places, &direct, plan).await {
                Ok(round) => note(&mut outcome.figures, "idle", name, 1, &round),
                Err(error) => outcome.missing.push(format!("idle, {name}: {error}")),
            }
        }
    }
    Ok(outcome)
}

async fn run_in_turns(
    plan: &Plan,
    proxies: &mut [(Proxy, Names)],
    (stage, places): (&Stage, &Places),
    outcome: &mut Outcome,
) {
    for load in plan.loads.iter().filter(|load| **load != "idle") {
        let mut failed = BTreeMap::new();
        for number in 1..=plan.rounds {
            for (proxy, names) in proxies.iter_mut().filter(|(proxy, _)| takes_part(load, proxy.name)) {
                // What has failed once is not waited for again.
                if failed.contains_key(proxy.name) {
                    continue;
                }
                let patience = plan.span.warm + plan.span.counted * 2 + PATIENCE;
                let error = match tokio::time::timeout(patience, one_round(load, proxy, names, plan)).await {
                    Ok(Ok(round)) => {
                        note(&mut outcome.figures, load, proxy.name, number, &round);
                        continue;
                    }
                    Ok(Err(error)) => error.to_string(),
                    Err(_) => format!("it did not keep up within {patience:?}"),
                };
                failed.insert(proxy.name, error);
                // What it has not finished would take the processors from those whose turn is next.
                match Proxy::start(proxy.name, stage, places) {
                    Ok(fresh) => *proxy = fresh,
                    Err(error) => outcome.missing.push(format!("{} could not be started again: {error}", proxy.name)),
                }
            }
        }
        outcome.missing.extend(failed.into_iter().map(|(proxy, error)| format!("{load}, {proxy}: {error}")));
    }
}

/// The variants of the gate are there for one load, the rest is for those that can do it.
fn takes_part(load: &str, proxy: &str) -> bool {
    match (load, proxy) {
        ("h1-32", _) => true,
        (_, OFF | FEW_RULES | MANY_RULES) => false,
        // It serves one name.
        ("new-many", "nginx") | ("idle", DIRECT) => false,
        ("h1-1" | "h1-8" | "h1-64" | "h1-512", _) => true,
        _ => [DIRECT, BARE, GATE].contains(&proxy) || PEERS.contains(&proxy),
    }
}

async fn idle_round(name: &'static str, stage: &Stage, places: &Places, direct: &Proxy, plan: &Plan) -> Result<Round> {
    let proxy = Proxy::start(name, stage, places)?;
    let round = idle(&proxy, &direct.client, plan.tunnels, CLIENTS.min(plan.tunnels), plan.span);
    tokio::time::timeout(IDLE_PATIENCE, round).await.map_err(|_| format!("not within {IDLE_PATIENCE:?}"))?
}

async fn one_round(load: &str, proxy: &Proxy, names: &Names, plan: &Plan) -> Result<Round> {
    let span = plan.span;
    let h1 = |connections| Closed { protocol: Protocol::Http1, connections, streams: 1, ask: Ask::Small };
    match load {
        "h2-4x8" => {
            closed(proxy, Closed { protocol: Protocol::Http2, connections: 4, streams: 8, ask: Ask::Small }, span).await
        }
        "rate-1000" => at_rate(proxy, 1000, 32, span).await,
        "new-one" => new_connections(proxy, WORKERS, &Names::one(SERVICE), span).await,
        "new-many" => new_connections(proxy, WORKERS, names, Span { warm: Duration::ZERO, ..span }).await,
        "events" => events(proxy, 32, 10, span).await,
        "down" => closed(proxy, Closed { ask: Ask::Down(BULK), ..h1(2) }, span).await,
        "up" => closed(proxy, Closed { ask: Ask::Up(BULK), ..h1(2) }, span).await,
        closed_loop => {
            let connections = closed_loop.trim_start_matches("h1-").parse()?;
            closed(proxy, h1(connections), span).await
        }
    }
}

fn note(figures: &mut Figures, load: &str, proxy: &str, number: usize, round: &Round) {
    let shown: Vec<_> = round.iter().map(|(figure, value)| format!("{figure} {value:.1}")).collect();
    eprintln!("{load:<10} round {number}  {proxy:<15} {}", shown.join("  "));
    for (figure, value) in round {
        figures.add((load, figure), proxy, *value);
    }
}
