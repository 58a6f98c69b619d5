//! `openshell status`, `gateway`, `settings`, `whoami`: what there is to say of a place without a gateway.

use clap::{Args, Subcommand};
use nix::unistd::{Uid, User};
use serde_json::{Value, json};

use super::provider::{Format, Rest, missing};
use crate::commands::sandbox::{all, running};
use crate::detached::{Phase, Sandbox};
use crate::failure::Failure;
use crate::home::Home;
use crate::operator::{POLICY, fetch};

/// Arguments of commands that only show something.
#[derive(Debug, Args)]
pub struct Shown {
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

/// What to do with gateways.
#[derive(Debug, Subcommand)]
pub enum GatewayCommand {
    /// Show the one there is: this machine
    List(Shown),
    /// Show it, with what runs
    Info {
        /// Its name
        name: Option<String>,
        #[command(flatten)]
        shown: Shown,
    },
    /// Use one; there is one
    Select {
        /// Its name
        name: Option<String>,
    },
    #[command(external_subcommand)]
    Other(Vec<String>),
}

/// What to do with settings.
#[derive(Debug, Subcommand)]
pub enum SettingsCommand {
    /// Show them
    Get {
        /// The sandbox; the one that runs if absent
        name: Option<String>,
        /// For programs
        #[arg(long)]
        json: bool,
        #[arg(long, hide = true)]
        global: bool,
    },
    /// Change one
    Set(Rest),
    /// Change one back
    Delete(Rest),
}

/// The name of the one gateway there is.
const LOCAL: &str = "local";

/// `openshell status`.
pub fn status(shown: &Shown) -> Result<(), Failure> {
    print(&described()?, shown.output);
    Ok(())
}

/// `openshell gateway …`.
pub fn gateway(command: GatewayCommand) -> Result<(), Failure> {
    let unknown = |name: &str| missing(&format!("gateway {name}"), "there is one gateway, `local`: this machine");
    match command {
        GatewayCommand::List(Shown { output: Format::Table }) => {
            println!("{:<12}{:<12}STATUS\n{LOCAL:<12}{:<12}Connected", "NAME", "TYPE", "this host")
        }
        GatewayCommand::List(Shown { output }) => {
            print(&json!([{ "name": LOCAL, "type": "this host", "status": "connected" }]), output)
        }
        GatewayCommand::Info { name: Some(name), .. } | GatewayCommand::Select { name: Some(name) }
            if name != LOCAL =>
        {
            return Err(unknown(&name));
        }
        GatewayCommand::Info { shown, .. } => return status(&shown),
        GatewayCommand::Select { .. } => eprintln!("✓ Using gateway {LOCAL}"),
        GatewayCommand::Other(words) => {
            let word = words.first().map(String::as_str).unwrap_or_default();
            let instead =
                "nothing has to be added or logged in to: each sandbox has a process of its own, for its owner alone";
            return Err(missing(&format!("gateway {word}"), instead));
        }
    }
    Ok(())
}

fn described() -> Result<Value, Failure> {
    let home = Home::open()?;
    let sandboxes = all()?;
    let ready = sandboxes.iter().filter(|sandbox: &&Sandbox| sandbox.phase == Phase::Ready).count();
    Ok(json!({
        "gateway": LOCAL,
        "status": "Connected",
        "version": env!("CARGO_PKG_VERSION"),
        "server": home.path().display().to_string(),
        "sandboxes": sandboxes.len(),
        "ready": ready,
    }))
}

/// A line for each field, or JSON, which is YAML as well.
fn print(value: &Value, output: Format) {
    let Value::Object(fields) = value else {
        println!("{value:#}");
        return;
    };
    if output != Format::Table {
        println!("{value:#}");
        return;
    }
    for name in ["gateway", "server", "status", "version", "sandboxes", "ready"] {
        let Some(value) = fields.get(name) else { continue };
        let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        println!("{:<15}{shown}", format!("{}:", capitalised(name)));
    }
}

fn capitalised(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// `openshell settings …`.
pub fn settings(command: SettingsCommand) -> Result<(), Failure> {
    let SettingsCommand::Get { name, json, global } = command else {
        let instead = "nothing is switched here: providers and OCSF are always there, proposals are not, and the policy says the rest";
        return Err(missing("settings set and delete", instead));
    };
    let mut all = json!({
        "providers_v2_enabled": true,
        "ocsf_json_enabled": true,
        "agent_policy_proposals_enabled": false,
        "proposal_approval_mode": "manual",
    });
    if !global {
        let folder = running(name)?;
        let runtime = crate::commands::runtime()?;
        let shown: tollgate_wire::policy::Shown = runtime
            .block_on(fetch(&folder.socket(), POLICY))
            .map_err(|e| Failure::new(crate::failure::Kind::Other, format!("sandbox {}: {e}", folder.name)))?;
        all["sandbox"] = folder.name.into();
        all["policy_source"] = "sandbox".into();
        all["policy_version"] = shown.active.into();
    }
    match (json, all.as_object()) {
        (false, Some(fields)) => fields.iter().for_each(|(name, value)| {
            println!("{name:<34}{}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }),
        _ => println!("{all:#}"),
    }
    Ok(())
}

/// `openshell whoami`: who the sandboxes of this state folder belong to.
pub fn whoami() {
    let own = Uid::effective();
    match User::from_uid(own) {
        Ok(Some(user)) => println!("{} (user {own} of this machine)", user.name),
        _ => println!("user {own} of this machine"),
    }
}
