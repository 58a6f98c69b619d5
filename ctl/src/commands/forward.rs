//! `forward`: ports of this machine that lead into sandboxes. Behind `openshell forward` as well.

use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::json;
use tollgate_wire::forward::StartForward;

use super::Running;
use super::sandbox::all;
use crate::failure::{Failure, Kind};
use crate::forward::Forward;
use crate::operator::FORWARDS;
use crate::output::{Output, print_json};

/// What to do with forwarded ports.
#[derive(Debug, Subcommand)]
pub enum ForwardCommand {
    /// Show them
    List {
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Lead a port of this machine's loopback into a sandbox, until it is stopped or the sandbox is. Everyone on this machine can
    /// use it
    Start(StartArguments),
    /// Let a port of this machine go, with the connections through it
    Stop {
        /// The port of this machine
        #[arg(value_parser = clap::value_parser!(u16).range(1..))]
        port: u16,
        /// The sandbox; the one that runs if absent
        name: Option<String>,
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// Arguments of `start`.
#[derive(Debug, Args)]
pub struct StartArguments {
    /// The port, or two where they differ
    #[arg(value_name = "[HOST:]PORT")]
    ports: String,
    /// The sandbox; the one that runs if absent
    name: Option<String>,
    /// Return at once, as is done in any case
    #[arg(short = 'd', long, hide = true)]
    background: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// A sandbox that is alive answers at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// Does it.
pub fn forward(command: ForwardCommand) -> Result<(), Failure> {
    match command {
        ForwardCommand::List { output } => list(output),
        ForwardCommand::Start(StartArguments { ports, name, output, .. }) => {
            let forward: Forward = ports.parse().map_err(|e| Failure::new(Kind::Usage, format!("`{ports}`: {e}")))?;
            let sandbox = Running::find(name)?;
            let body = StartForward { ports: forward.to_string() };
            sandbox.change::<Vec<String>>((Method::POST, FORWARDS), &body, PATIENCE, "")?;
            output.done(&row(&sandbox.name, &forward.to_string()), || {
                let shown = forward.to_string().replace(':', " leads to port ");
                eprintln!("✓ 127.0.0.1:{shown} of the sandbox {}", sandbox.name);
            });
            Ok(())
        }
        ForwardCommand::Stop { port, name, output } => {
            let sandbox = Running::find(name)?;
            let path = format!("{FORWARDS}/{port}");
            sandbox.change::<Vec<String>>((Method::DELETE, &path), &json!({}), PATIENCE, "")?;
            output.done(&json!({ "sandbox": sandbox.name, "host": port, "stopped": true }), || {
                eprintln!("✓ 127.0.0.1:{port} leads into the sandbox {} no longer", sandbox.name);
            });
            Ok(())
        }
    }
}

fn list(output: Output) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for sandbox in all()? {
        let ports = sandbox.status.map(|status| status.forwards).unwrap_or_default();
        rows.extend(ports.into_iter().map(|ports| (sandbox.folder.name.clone(), ports)));
    }
    match output {
        Output::Text => {
            rows.iter().for_each(|(name, ports)| println!("{name}  127.0.0.1:{}", ports.replace(':', " -> ")));
        }
        Output::Json => {
            let rows: Vec<_> = rows.iter().map(|(name, ports)| row(name, ports)).collect();
            print_json(&rows);
        }
    }
    Ok(())
}

/// A forwarded port for programs.
fn row(sandbox: &str, ports: &str) -> serde_json::Value {
    let (host, inside) = ports.split_once(':').unwrap_or((ports, ports));
    json!({ "sandbox": sandbox, "host": host.parse::<u16>().ok(), "inside": inside.parse::<u16>().ok() })
}
