//! `tollgate status`.

use std::process::ExitCode;

use tollgate_wire::status::Status;

use crate::failure::{Failure, Kind};
use crate::home::{Home, check_name};
use crate::operator::{ClientError, fetch};
use crate::output::Output;

/// Shows one sandbox or all that run.
pub fn status(name: Option<&str>, output: Output) -> Result<ExitCode, Failure> {
    let home = Home::open()?;
    if let Some(name) = name {
        check_name(name)?;
        if !home.sandboxes().iter().any(|folder| folder.name == name) {
            return Err(Failure::new(Kind::Other, format!("there is no sandbox {name} in {}", home.path().display())));
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Failure::new(Kind::Other, format!("the runtime cannot be started: {e}")))?;
    let mut found = Vec::new();
    for folder in home.sandboxes().iter().filter(|folder| name.is_none_or(|name| folder.name == name)) {
        match runtime.block_on(fetch::<Status>(&folder.socket(), "/v1/status")) {
            Ok(status) => found.push(status),
            Err(ClientError::NotRunning) if name.is_none() => {}
            Err(error) => return Err(Failure::new(Kind::Other, format!("sandbox {}: {error}", folder.name))),
        }
    }
    match output {
        Output::Json => println!("{}", serde_json::to_string_pretty(&found).expect("status is text and numbers")),
        Output::Text if found.is_empty() => println!("no sandbox is running"),
        Output::Text => found.iter().for_each(print),
    }
    Ok(ExitCode::SUCCESS)
}

fn print(status: &Status) {
    let line = |label: &str, value: &str| println!("  {label:<12}{value}");
    println!("{} (pid {})", status.name, status.pid);
    line("command", &status.command.join(" "));
    let hash = status.policy_sha256.get(..12).unwrap_or_default();
    line("policy", &format!("{}, generation {}, {hash}", status.policy_file, status.generation));
    for endpoint in &status.audit_endpoints {
        line("AUDIT ONLY", &format!("{endpoint}: what the policy denies there passes"));
    }
    for control in &status.controls {
        let state = if control.enforced { "on " } else { "OFF" };
        line("protection", &format!("{state} {}: {}", control.name, control.detail));
    }
    status.pins.iter().for_each(|pin| line("pin", pin));
    status.credentials.iter().for_each(|name| line("credential", name));
    line("journal", &status.journal);
}
