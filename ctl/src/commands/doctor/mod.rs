//! `tollgate doctor`: a sandbox is built and proved on this machine, and every control is reported as it stood.

mod inside;
mod runtimes;

use std::os::unix::fs::PermissionsExt;
use std::process::ExitCode;

use clap::Args;
use serde::Serialize;
use tempfile::TempDir;
use tollgate_supervisor::obstacle::{Facts, Missing, OLDEST, recognise};
use tollgate_wire::cell::{Control, Feature};

use crate::commands::runtime;
use crate::failure::{Failure, Kind};
use crate::home::Home;
use crate::output::{Output, print_json};
use crate::session::{Order, Session};

#[derive(Debug, Args)]
pub struct DoctorArguments {
    /// Find the runtimes that are present, and have each open a TLS connection through the gate from inside a sandbox
    #[arg(long)]
    inside: bool,
    /// The name to connect to, when this is run in a sandbox whose policy allows it
    #[arg(long, value_name = "NAME", requires = "inside")]
    host: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    /// True when nothing that is needed is missing.
    ready: bool,
    controls: Vec<Finding>,
}

/// One thing and how it stands.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Finding {
    name: String,
    state: State,
    detail: String,
    /// What to do; empty where there is nothing to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    remedy: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum State {
    /// It is in force.
    InForce,
    /// It is needed, and not there.
    Missing,
    /// It is not there, and only some options need it.
    Optional,
}

/// Builds, proves, reports. Ends with 4 where something that is needed is missing.
pub fn doctor(arguments: &DoctorArguments) -> Result<ExitCode, Failure> {
    if arguments.inside {
        return inside::inside(arguments);
    }
    let facts = Facts::gather();
    let mut controls = vec![kernel(&facts), state_folder()];
    controls.extend(sandbox(&facts));
    controls.push(group(&facts));
    let ready = controls.iter().all(|finding| finding.state != State::Missing);
    Report { ready, controls }.print(arguments.output);
    // As `run` would end.
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::from(4) })
}

impl Report {
    fn print(&self, output: Output) {
        match output {
            Output::Json => print_json(self),
            Output::Text => self.print_text(),
        }
    }

    fn print_text(&self) {
        for Finding { name, state, detail, remedy } in &self.controls {
            let state = match state {
                State::InForce => "ok",
                State::Missing => "MISSING",
                State::Optional => "not here",
            };
            println!("{state:<9}{name:<18}{detail}");
            if !remedy.is_empty() {
                println!("{:<27}-> {remedy}", "");
            }
        }
        println!("{}", if self.ready { "\nReady." } else { "\nNot ready: see what is MISSING." });
    }
}

fn in_force(name: &str, detail: impl Into<String>) -> Finding {
    Finding { name: name.to_owned(), state: State::InForce, detail: detail.into(), remedy: String::new() }
}

fn missing(name: &str, detail: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { name: name.to_owned(), state: State::Missing, detail: detail.into(), remedy: remedy.into() }
}

fn kernel(facts: &Facts) -> Finding {
    let detail = format!("Linux {}", facts.release);
    match facts.version() {
        Some(version) if version >= OLDEST => in_force("kernel", detail),
        _ => missing("kernel", detail, format!("use Linux {}.{} or newer", OLDEST.0, OLDEST.1)),
    }
}

fn state_folder() -> Finding {
    match Home::open() {
        Ok(home) => in_force("state-folder", home.path().display().to_string()),
        Err(failure) => missing("state-folder", failure.message(), ""),
    }
}

/// A sandbox of its own, with nothing allowed: its controls, and what its canary found.
fn sandbox(facts: &Facts) -> Vec<Finding> {
    match build() {
        Ok(controls) => controls.iter().map(|control| finding(facts, control)).collect(),
        // The message says what to do.
        Err(failure) => vec![missing("sandbox", failure.message(), "")],
    }
}

fn build() -> Result<Vec<Control>, Failure> {
    let broken = |e: std::io::Error| Failure::new(Kind::State, format!("a folder for the trial cannot be made: {e}"));
    let folder = tempfile::Builder::new().prefix("tollgate-doctor-").tempdir().map_err(broken)?;
    let session = Session::prepare(trial(&folder, POLICY).map_err(broken)?)?;
    runtime()?.block_on(async {
        let mut running = session.start().await?;
        let controls = running.controls().to_vec();
        let outcome = running.ended().await;
        running.close(&outcome).await?;
        Ok(controls)
    })
}

/// Everything that is missing may be, so that all of it is found.
fn trial(folder: &TempDir, policy: &str) -> std::io::Result<Order> {
    let path = |name: &str| folder.path().join(name);
    // The agent may run as another user, who must be able to enter.
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
    for (name, mode) in [("work", 0o755), ("home", 0o700)] {
        std::fs::create_dir(path(name))?;
        std::fs::set_permissions(path(name), PermissionsExt::from_mode(mode))?;
    }
    std::fs::write(path("policy.yaml"), policy)?;
    Ok(Order {
        home: Some(path("home")),
        workdir: Some(path("work")),
        name: Some("doctor".to_owned()),
        policy: path("policy.yaml"),
        allow_degraded: Feature::ALL.to_vec(),
        command: vec!["/bin/true".to_owned()],
        ..Order::default()
    })
}

const POLICY: &str = "version: 1\nnetwork_policies: {}\n";

fn finding(facts: &Facts, control: &Control) -> Finding {
    let Control { name, enforced, detail } = control;
    if *enforced {
        return in_force(name, detail);
    }
    let kinds = [
        (Feature::Landlock, Missing::Landlock),
        (Feature::Seccomp, Missing::Seccomp),
        (Feature::Nftables, Missing::Nftables),
        (Feature::Cgroup, Missing::Cgroup),
    ];
    let kind = kinds.iter().find(|(feature, _)| feature.name() == name);
    missing(name, detail, kind.map_or_else(String::new, |(_, kind)| recognise(facts, *kind)))
}

fn group(facts: &Facts) -> Finding {
    let name = Feature::Cgroup.name();
    match tollgate_supervisor::group_available() {
        Ok(folder) => in_force(name, format!("--memory, --cpus and --pids make groups in {}", folder.display())),
        Err(reason) => Finding {
            name: name.to_owned(),
            state: State::Optional,
            detail: format!("{reason}; --memory, --cpus and --pids need it"),
            remedy: recognise(facts, Missing::Cgroup),
        },
    }
}
