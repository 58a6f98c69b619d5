//! `tollgate status`.

use std::process::ExitCode;

use serde::Serialize;
use tollgate_wire::proxy_status::{AgentStatus, ProxyStatus};
use tollgate_wire::status::Status;

use crate::failure::{Failure, Kind};
use crate::home::{Home, SandboxFolder, check_name};
use crate::operator::{ClientError, STATUS, fetch};
use crate::output::{Output, print_json};
use crate::suggestion::suggest;

/// One thing that runs.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Report {
    Sandbox(Status),
    Proxy(ProxyStatus),
}

/// Shows one sandbox or proxy, or all that run.
pub fn status(name: Option<&str>, output: Output) -> Result<ExitCode, Failure> {
    let home = Home::open()?;
    let (sandboxes, proxies) = (wanted(home.sandboxes(), name), wanted(home.proxies(), name));
    if let Some(name) = name {
        check_name(name)?;
        if sandboxes.is_empty() && proxies.is_empty() {
            let (all, place) = ([home.sandboxes(), home.proxies()].concat(), home.path().display());
            let known = all.iter().map(|folder| folder.name.as_str());
            let meant = suggest(name, known, "`tollgate status` shows those that run");
            let message = format!("there is no sandbox or proxy {name} in {place}; {meant}");
            return Err(Failure::new(Kind::Other, message));
        }
    }
    let runtime = super::asking_runtime()?;
    let mut found = Vec::new();
    for folder in &sandboxes {
        let answer = runtime.block_on(fetch(&folder.socket(), STATUS)).map(Report::Sandbox);
        found.extend(running(answer, "sandbox", folder, name)?);
    }
    for folder in &proxies {
        let answer = runtime.block_on(fetch(&folder.socket(), STATUS)).map(Report::Proxy);
        found.extend(running(answer, "proxy", folder, name)?);
    }
    match output {
        Output::Json => print_json(&found),
        Output::Text if found.is_empty() => println!("no sandbox is running, and no proxy"),
        Output::Text => found.iter().for_each(print),
    }
    Ok(ExitCode::SUCCESS)
}

fn wanted(folders: Vec<SandboxFolder>, name: Option<&str>) -> Vec<SandboxFolder> {
    folders.into_iter().filter(|folder| name.is_none_or(|name| folder.name == name)).collect()
}

/// One that has ended is no failure unless it was asked for by name.
fn running(
    answer: Result<Report, ClientError>,
    kind: &str,
    folder: &SandboxFolder,
    name: Option<&str>,
) -> Result<Option<Report>, Failure> {
    match answer {
        Ok(report) => Ok(Some(report)),
        Err(ClientError::NotRunning) if name.is_none() => Ok(None),
        Err(error) => Err(Failure::new(Kind::Other, format!("{kind} {}: {error}", folder.name))),
    }
}

fn print(report: &Report) {
    match report {
        Report::Sandbox(status) => print_sandbox(status),
        Report::Proxy(status) => print_proxy(status),
    }
}

fn line(label: &str, value: &str) {
    println!("  {label:<12}{value}");
}

fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or_default()
}

fn print_sandbox(status: &Status) {
    println!("{} (pid {})", status.name, status.pid);
    line("command", &status.command.join(" "));
    let hash = short(&status.policy_sha256);
    line("policy", &format!("{}, generation {}, {hash}", status.policy_file, status.generation));
    print_audited(&status.audit_endpoints);
    for control in &status.controls {
        let state = if control.enforced { "on " } else { "OFF" };
        line("protection", &format!("{state} {}: {}", control.name, control.detail));
    }
    status.pins.iter().for_each(|pin| line("pin", pin));
    status.credentials.iter().for_each(|name| line("credential", name));
    line("open", &format!("{} connections and requests", status.open));
    print_limits(&status.limits);
    line("journal", &status.journal);
}

/// Five to a line.
fn print_limits(limits: &serde_json::Map<String, serde_json::Value>) {
    let all: Vec<_> = limits.iter().map(|(name, value)| format!("{name} {value}")).collect();
    for (number, some) in all.chunks(5).enumerate() {
        line(if number == 0 { "limits" } else { "" }, &some.join(", "));
    }
}

fn print_proxy(status: &ProxyStatus) {
    println!("{} (proxy, pid {})", status.name, status.pid);
    line("config", &status.config);
    if !status.refused.is_empty() {
        line("REFUSED", &format!("the last change of a file: {}", status.refused));
    }
    status.listeners.iter().for_each(|listener| line("listener", listener));
    line("connections", &format!("{} of {}", status.connections, status.connection_limit));
    if status.failed_accepts > 0 {
        line("SLOW", &format!("{} connections could not be accepted at once", status.failed_accepts));
    }
    print_limits(&status.limits);
    line("", &format!("drain_seconds {}", status.drain_seconds));
    status.pins.iter().for_each(|pin| line("pin", pin));
    status.agents.iter().for_each(print_agent);
    line("journal", &status.journal);
}

fn print_agent(agent: &AgentStatus) {
    let AgentStatus { name, known_by, connections, connection_limit, .. } = agent;
    line("agent", &format!("{name}, by {known_by}, connections {connections} of {connection_limit}"));
    let hash = short(&agent.policy_sha256);
    line("", &format!("policy {}, generation {}, {hash}", agent.policy_file, agent.generation));
    print_audited(&agent.audit_endpoints);
    agent.credentials.iter().for_each(|name| line("", &format!("credential {name}")));
}

fn print_audited(endpoints: &[String]) {
    for endpoint in endpoints {
        line("AUDIT ONLY", &format!("{endpoint}: what the policy denies there passes"));
    }
}
