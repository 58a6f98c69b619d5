//! Every hot part of the gate by itself, by the clock and by instructions.
//!
//! `cargo bench -p tollgate-benches --bench parts` takes the time of each with Criterion; with `--instructions` callgrind counts, and
//! the run fails where a part takes more than it did. Both repeat the same work: [`part::Part`].

mod broker;
mod callgrind;
mod gate;
mod identity;
mod part;
mod policy;
mod traffic;
mod turns;

use std::ffi::OsStr;
use std::process::Command;

use clap::Parser;
use criterion::{Criterion, Throughput};

use part::Part;

/// What can go wrong: told to the person who started the run.
type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Set for the run that sees no other processes.
const ALONE: &str = "TOLLGATE_BENCH_ALONE";

fn main() -> Result<()> {
    let parts = [policy::parts(), broker::parts(), gate::parts(), traffic::parts(), identity::parts()];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [callgrind::COUNT, name] => repeat(&parts, name),
        arguments if arguments.contains(&"--instructions") => callgrind::run(&callgrind::Arguments::parse(), &parts),
        _ => time(&parts),
    }
}

/// What callgrind looks at.
fn repeat(parts: &[Part], name: &str) -> Result<()> {
    let part = parts.iter().find(|part| part.name == name).ok_or_else(|| format!("no part is called {name}"))?;
    part.prepare()(part.counted.ok_or("its instructions are not counted")?);
    Ok(())
}

fn time(parts: &[Part]) -> Result<()> {
    let is_alone = std::env::var_os(ALONE).is_some();
    let mut criterion = Criterion::default().configure_from_args();
    for part in parts.iter().filter(|part| part.alone == is_alone) {
        let (kind, case) = part.name.split_once('/').ok_or("a name is KIND/CASE")?;
        let mut group = criterion.benchmark_group(kind);
        if let Some(bytes) = part.bytes {
            group.throughput(Throughput::Bytes(bytes));
        }
        // Prepared once, and only where it is chosen.
        let mut run = None;
        group.bench_function(case, |b| b.iter_custom(run.get_or_insert_with(|| part.prepare())));
        group.finish();
    }
    criterion.final_summary();
    if is_alone {
        return Ok(());
    }
    let mut rest = alone(std::env::current_exe()?);
    let ended = rest.args(std::env::args_os().skip(1)).env(ALONE, "1").status()?;
    if ended.success() {
        Ok(())
    } else {
        Err(format!("those that run alone: {ended}; that takes unshare(1) and user namespaces").into())
    }
}

/// A program in user and process namespaces of its own.
fn alone(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--"]).arg(program);
    command
}
