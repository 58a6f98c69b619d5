//! The whole gate as a black box, beside a bare proxy on the same libraries and what somebody would pick instead.
//!
//! `cargo bench -p tollgate-benches --bench load -- --help`; `benches/README.md` says what the figures mean.

mod arguments;
mod client;
mod events;
mod loads;
mod measure;
mod proxies;
mod rounds;
mod stage;

use std::time::Instant;

use clap::Parser;
use tollgate_benches::report::{self, Run};
use tollgate_benches::targets::judge;

use arguments::Arguments;
use proxies::PEERS;
use stage::Stage;

/// What can go wrong: told to the person who started the run.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let plan = arguments.plan()?;
    let places = arguments.places(&plan)?;
    let stage = Stage::new()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let begun = Instant::now();
    let rounds::Outcome { figures, missing, absent } = runtime.block_on(rounds::run(&plan, &stage, &places))?;
    let run = Run {
        machine: machine(),
        plan: format!("{} rounds of {:?}, {} idle tunnels", plan.rounds, plan.span.counted, plan.tunnels),
        seconds: begun.elapsed().as_secs(),
        missing,
        judged: judge(&figures),
        figures,
    };
    println!("{}", report::table(&run));
    std::fs::create_dir_all(&places.reports)?;
    std::fs::write(places.reports.join("load.json"), serde_json::to_string_pretty(&run)?)?;
    for (name, picture) in report::plots(&run.figures) {
        std::fs::write(places.reports.join(name), picture)?;
    }
    println!("figures and plots: {}", places.reports.display());
    if arguments.require_peers && absent.iter().any(|name| PEERS.contains(name)) {
        return Err(format!("could not be had: {}", absent.join(", ")).into());
    }
    Ok(())
}

/// The processor and the system, as they name themselves.
fn machine() -> String {
    let cpus = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let count = cpus.lines().filter(|line| line.starts_with("processor")).count();
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{count} x {}, Linux {}", model.trim_start_matches([' ', '\t', ':']), release.trim())
}
