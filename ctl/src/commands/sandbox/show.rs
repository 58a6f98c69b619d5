//! `sandbox list` and `sandbox get`.

use clap::Args;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::commands::asking_runtime;
use crate::commands::policy::only_one;
use crate::detached::{Phase, Sandbox};
use crate::failure::Failure;
use crate::home::Home;
use crate::output::{Output, print_json};

/// Arguments of `list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    /// Names alone
    #[arg(long)]
    pub names: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Arguments of `get`.
#[derive(Debug, Args)]
pub struct GetArguments {
    /// The sandbox; the one that runs if absent
    pub name: Option<String>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// Shows all that run and all that stay.
pub fn list(arguments: &ListArguments) -> Result<(), Failure> {
    let all = all()?;
    match arguments.output {
        _ if arguments.names => all.iter().for_each(|sandbox| println!("{}", sandbox.folder.name)),
        Output::Json => print_json(&all.iter().map(described).collect::<Vec<_>>()),
        Output::Text if all.is_empty() => println!("no sandbox is there"),
        Output::Text => table(&all),
    }
    Ok(())
}

/// All that run and all that stay, by name.
pub fn all() -> Result<Vec<Sandbox>, Failure> {
    let runtime = asking_runtime()?;
    let mut all = Vec::new();
    for folder in Home::open()?.sandboxes() {
        // One that cannot be read must not hide the others.
        match runtime.block_on(Sandbox::look(folder)) {
            Ok(sandbox) if sandbox.is_there() => all.push(sandbox),
            Ok(_) => {}
            Err(failure) => eprintln!("tollgate: warning: {}", failure.message()),
        }
    }
    Ok(all)
}

/// Shows one.
pub fn get(arguments: &GetArguments) -> Result<(), Failure> {
    let home = Home::open()?;
    let name = arguments.name.clone().map_or_else(|| only_one(&home), Ok)?;
    let sandbox = asking_runtime()?.block_on(Sandbox::look(home.sandbox(&name)?))?;
    match arguments.output {
        Output::Json => print_json(&described(&sandbox)),
        Output::Text => print(&sandbox),
    }
    Ok(())
}

fn table(all: &[Sandbox]) {
    let rows = all.iter().map(|sandbox| {
        let policy = sandbox.policy.as_ref().map_or_else(|| "-".to_owned(), |policy| format!("rev {}", policy.active));
        let pid = sandbox.status.as_ref().map_or_else(|| "-".to_owned(), |status| status.pid.to_string());
        [sandbox.folder.name.clone(), phase(sandbox), pid, policy, created(sandbox), command(sandbox)]
    });
    let head = ["NAME", "PHASE", "PID", "POLICY", "CREATED", "COMMAND"].map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head).chain(rows).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3, 4].map(width);
    for [name, phase, pid, policy, created, command] in &rows {
        let [a, b, c, d, e] = widths;
        println!("{name:<a$}  {phase:<b$}  {pid:<c$}  {policy:<d$}  {created:<e$}  {command}");
    }
}

fn print(sandbox: &Sandbox) {
    let line = |label: &str, value: &str| println!("  {label:<12}{value}");
    println!("{}", sandbox.folder.name);
    line("phase", &phase(sandbox));
    if let Some(end) = &sandbox.end {
        line("ended", &time(end.at_ms));
    }
    line("created", &created(sandbox));
    line("command", &command(sandbox));
    if let Some(definition) = &sandbox.definition {
        line("workdir", &definition.workdir.display().to_string());
    }
    line("policy file", &policy_file(sandbox));
    if let Some(status) = &sandbox.status {
        line("pid", &status.pid.to_string());
        let revision =
            sandbox.policy.as_ref().map_or_else(String::new, |policy| format!("revision {}, ", policy.active));
        let hash = status.policy_sha256.get(..12).unwrap_or_default();
        line("policy", &format!("{revision}generation {}, {hash}", status.generation));
        status.audit_endpoints.iter().for_each(|endpoint| line("AUDIT ONLY", endpoint));
        status.degraded.iter().for_each(|feature| line("WITHOUT", feature));
        status.credentials.iter().for_each(|name| line("credential", name));
        line("open", &format!("{} connections and requests", status.open));
        line("journal", &status.journal);
    }
    forwards(sandbox)
        .iter()
        .for_each(|forward| line("forward", &format!("127.0.0.1:{}", forward.replace(':', " to port "))));
}

/// For programs: the same names whatever the phase, null where a thing is not known.
pub fn described(sandbox: &Sandbox) -> Value {
    let (status, end) = (sandbox.status.as_ref(), sandbox.end.as_ref());
    json!({
        "name": sandbox.folder.name,
        "phase": sandbox.phase,
        "stays": sandbox.definition.is_some(),
        "pid": status.map(|status| status.pid),
        "command": sandbox.definition.as_ref().map(|kept| &kept.command).or(status.map(|status| &status.command)),
        "workdir": sandbox.definition.as_ref().map(|kept| &kept.workdir),
        "created_at_ms": sandbox.definition.as_ref().map(|kept| kept.created_at_ms),
        "started_at_ms": status.map(|status| status.started_at_ms),
        "ended_at_ms": end.map(|end| end.at_ms),
        "exit_code": end.map(|end| end.exit_code),
        "policy_file": policy_file(sandbox),
        "policy_revision": sandbox.policy.as_ref().map(|policy| policy.active),
        "policy_generation": status.map(|status| status.generation),
        "policy_sha256": status.map(|status| &status.policy_sha256),
        "forwards": forwards(sandbox),
        "degraded": status.map(|status| &status.degraded),
        "journal": status.map(|status| &status.journal),
    })
}

/// In words, with what there is to know of an end.
fn phase(sandbox: &Sandbox) -> String {
    match (sandbox.phase, &sandbox.end) {
        (Phase::Ended, Some(end)) => format!("ended with {}", end.exit_code),
        (phase, _) => phase.name().to_owned(),
    }
}

/// When it was made, as text.
pub fn created(sandbox: &Sandbox) -> String {
    let kept = sandbox.definition.as_ref().map(|definition| definition.created_at_ms);
    let at = kept.or(sandbox.status.as_ref().map(|status| status.started_at_ms));
    at.map_or_else(|| "-".to_owned(), time)
}

fn command(sandbox: &Sandbox) -> String {
    let kept = sandbox.definition.as_ref().map(|definition| &definition.command);
    match kept.or(sandbox.status.as_ref().map(|status| &status.command)) {
        Some(command) if !command.is_empty() => command.join(" "),
        _ => "-".to_owned(),
    }
}

fn policy_file(sandbox: &Sandbox) -> String {
    let path = sandbox.definition.as_ref().map(|kept| kept.workdir.join(&kept.options.policy));
    let path = path.map(|path| path.canonicalize().unwrap_or(path).display().to_string());
    path.or(sandbox.status.as_ref().map(|status| status.policy_file.clone())).unwrap_or_else(|| "-".to_owned())
}

fn forwards(sandbox: &Sandbox) -> Vec<String> {
    let kept = sandbox.definition.as_ref().map(|definition| definition.options.forwards.clone());
    sandbox.status.as_ref().map(|status| status.forwards.clone()).or(kept).unwrap_or_default()
}

fn time(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    seconds.map_or_else(|| "-".to_owned(), |time| time.to_string())
}
