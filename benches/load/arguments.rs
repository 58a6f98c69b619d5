//! The command line, and what it amounts to.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tollgate_benches::program;

use crate::Result;
use crate::loads::Span;
use crate::proxies::{self, PEERS, Places};
use crate::rounds::{self, Plan};

/// Runs loads against Tollgate and what it is compared with, and says which targets are met.
#[derive(Debug, Parser)]
pub struct Arguments {
    /// A short run: some minutes, once the other proxies are there
    #[arg(long)]
    quick: bool,
    /// Rounds in which the proxies take turns
    #[arg(long)]
    rounds: Option<usize>,
    /// Seconds that each load is counted in each round
    #[arg(long)]
    seconds: Option<f64>,
    /// Loads, with commas between
    #[arg(long, value_delimiter = ',', value_parser = known(rounds::ALL))]
    loads: Vec<String>,
    /// Proxies, with commas between
    #[arg(long, value_delimiter = ',', value_parser = known(proxies::ALL))]
    proxies: Vec<String>,
    /// Idle tunnels, or as many as there are descriptors for
    #[arg(long)]
    tunnels: Option<usize>,
    /// Fail where one of the other proxies cannot be had
    #[arg(long)]
    pub require_peers: bool,
    /// The program to measure, where it is not to be built
    #[arg(long)]
    tollgate: Option<PathBuf>,
    /// As `cargo bench` says
    #[arg(long, hide = true)]
    bench: bool,
}

/// The gate gives every connection three descriptors and keeps some back; the other proxies need two for each.
const DESCRIPTORS_OF_TUNNEL: u64 = 3;
const DESCRIPTORS_KEPT: u64 = 512;

fn known(names: &'static [&'static str]) -> clap::builder::PossibleValuesParser {
    names.into()
}

impl Arguments {
    pub fn plan(&self) -> Result<Plan> {
        let (rounds, seconds, tunnels) = if self.quick { (1, 1.0, 2000) } else { (5, 2.0, 10_000) };
        let counted = Duration::from_secs_f64(self.seconds.unwrap_or(seconds));
        let room = (raise_file_limit()?.saturating_sub(DESCRIPTORS_KEPT)) / DESCRIPTORS_OF_TUNNEL;
        Ok(Plan {
            rounds: self.rounds.unwrap_or(rounds),
            span: Span { warm: counted / 4, counted },
            proxies: chosen(proxies::ALL, &self.proxies).collect(),
            loads: chosen(rounds::ALL, &self.loads).collect(),
            tunnels: self.tunnels.unwrap_or(tunnels).min(usize::try_from(room)?),
        })
    }

    /// Builds the program to measure, and what it is compared with.
    pub fn places(&self, plan: &Plan) -> Result<Places> {
        let target = program::target()?;
        let places = Places {
            tollgate: self.tollgate.clone().map_or_else(program::built, Ok)?,
            peers: target.join("peers"),
            reports: target.join("load"),
        };
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("this package is in a workspace")?;
        let peers: Vec<_> = plan.proxies.iter().filter(|name| PEERS.contains(name)).collect();
        if !peers.is_empty() {
            let mut install = Command::new("bash");
            install.arg(workspace.join("benches/peers/install.sh")).arg(&places.peers).args(peers);
            // What it cannot get does not start, and is told then.
            install.status()?;
        }
        Ok(places)
    }
}

fn chosen<'a>(all: &'static [&'static str], wanted: &'a [String]) -> impl Iterator<Item = &'static str> + 'a {
    all.iter().copied().filter(|name| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name))
}

/// As many descriptors as this process may have; its children have as many.
fn raise_file_limit() -> Result<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    Ok(hard)
}
