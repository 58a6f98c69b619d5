//! `nemoclaw NAME policy-add|policy-remove|policy-list`, and the same with a space.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::json;
use tollgate_policy::Document;
use tollgate_policy::document::read;
use tollgate_policy::update::{NotationError, Operation, apply};
use tollgate_wire::policy::Shown;

use crate::commands::{Running, report};
use crate::failure::{Failure, Kind};
use crate::operator::POLICY;
use crate::output::{Output, print_json};
use crate::presets::{Preset, Standing, built_in, named, of_file};

/// What to do with the policy.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Add the entries of a preset, or one host
    Add(Add),
    /// Remove the entries of a preset, or one host
    Remove(Remove),
    /// Show presets and which are in the policy, and its other entries
    List(List),
}

/// Arguments of `policy-add`.
#[derive(Debug, Args)]
pub struct Add {
    /// The preset
    #[arg(conflicts_with_all = ["from_file", "from_dir", "domain"])]
    preset: Option<String>,
    /// A preset of your own
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// All presets of a folder
    #[arg(long, value_name = "FOLDER")]
    from_dir: Option<PathBuf>,
    /// A host, everything on it at port 443
    #[arg(long, value_name = "HOST")]
    domain: Vec<String>,
    /// A program that may use the hosts; any if absent
    #[arg(long = "binary", value_name = "PATH", requires = "domain")]
    binaries: Vec<String>,
    #[command(flatten)]
    how: How,
}

/// Arguments of `policy-remove`.
#[derive(Debug, Args)]
pub struct Remove {
    /// The preset
    #[arg(conflicts_with = "domain")]
    preset: Option<String>,
    /// A host, at port 443
    #[arg(long, value_name = "HOST")]
    domain: Vec<String>,
    #[command(flatten)]
    how: How,
}

/// Arguments of `policy-list`.
#[derive(Debug, Args)]
pub struct List {
    /// Hosts alone
    #[arg(long)]
    domain: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// How a change is made.
#[derive(Debug, Args)]
struct How {
    /// Show what the policy would be, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Ask nothing; nothing is asked in any case
    #[arg(long, hide = true)]
    yes: bool,
    #[arg(long, hide = true)]
    force: bool,
}

/// A policy is in force within milliseconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// Does it.
pub fn policy(name: &str, command: PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::Add(arguments) => add(name, &arguments),
        PolicyCommand::Remove(arguments) => remove(name, &arguments),
        PolicyCommand::List(arguments) => list(name, &arguments),
    }
}

fn add(name: &str, arguments: &Add) -> Result<(), Failure> {
    let Add { preset, from_file, from_dir, domain, binaries, how } = arguments;
    let presets = match (preset, from_file, from_dir) {
        (Some(preset), ..) => vec![named(preset)?],
        (_, Some(file), _) => vec![of_file(file)?],
        (.., Some(folder)) => of_folder(folder)?,
        _ => Vec::new(),
    };
    let any = ["/**".to_owned()];
    let binaries: &[String] = if binaries.is_empty() { &any } else { binaries };
    let hosts =
        read_each(domain, |host| Operation::add_endpoint(&format!("{host}:443:full:rest:enforce"), None, binaries))?;
    if presets.is_empty() && hosts.is_empty() {
        return Err(nothing("add"));
    }
    change(name, how, |document| {
        presets.iter().for_each(|preset| preset.add_to(document));
        applied(document, &hosts)
    })
}

fn remove(name: &str, arguments: &Remove) -> Result<(), Failure> {
    let Remove { preset, domain, how } = arguments;
    let preset = preset.as_deref().map(named).transpose()?;
    let hosts = read_each(domain, |host| Operation::remove_endpoint(&format!("{host}:443")))?;
    if preset.is_none() && hosts.is_empty() {
        return Err(nothing("remove"));
    }
    change(name, how, |document| {
        if let Some(preset) = &preset {
            preset.remove_from(document);
        }
        applied(document, &hosts)
    })
}

fn nothing(what: &str) -> Failure {
    let names: Vec<_> = built_in().into_iter().map(|preset| preset.name).collect();
    Failure::new(Kind::Usage, format!("say what to {what}: a preset ({}), or --domain HOST", names.join(", ")))
}

fn of_folder(folder: &std::path::Path) -> Result<Vec<Preset>, Failure> {
    let unreadable =
        |e: std::io::Error| Failure::new(Kind::Policy, format!("the folder {} cannot be read: {e}", folder.display()));
    let entries = std::fs::read_dir(folder).map_err(unreadable)?;
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    paths.sort();
    paths.iter().map(|path| of_file(path)).collect()
}

fn read_each(
    hosts: &[String],
    read: impl Fn(&str) -> Result<Operation, NotationError>,
) -> Result<Vec<Operation>, Failure> {
    let read = |host: &String| read(host).map_err(|error| Failure::new(Kind::Usage, error.to_string()));
    hosts.iter().map(read).collect()
}

fn applied(document: &mut Document, hosts: &[Operation]) -> Result<(), Failure> {
    let told = apply(document, hosts).map_err(|error| Failure::new(Kind::Policy, error.to_string()))?;
    told.iter().for_each(|line| eprintln!("! {line}"));
    Ok(())
}

fn change(name: &str, how: &How, change: impl Fn(&mut Document) -> Result<(), Failure>) -> Result<(), Failure> {
    let sandbox = Running::find(Some(name.to_owned()))?;
    let changed = |mut document: Document| change(&mut document).map(|()| document);
    if how.dry_run {
        print!("{}", changed(current(&sandbox)?)?.canonical());
        return Ok(());
    }
    report(&sandbox.edit(PATIENCE, changed)?, true);
    Ok(())
}

fn current(sandbox: &Running) -> Result<Document, Failure> {
    let Shown { text, .. } = sandbox.fetch(&format!("{POLICY}?text=base"))?;
    read(&text.unwrap_or_default())
        .map_err(|e| Failure::new(Kind::Policy, format!("the policy in force cannot be read: {e}")))
}

fn list(name: &str, arguments: &List) -> Result<(), Failure> {
    let document = current(&Running::find(Some(name.to_owned()))?)?;
    let mut hosts: Vec<_> =
        document.network_policies.values().flat_map(|entry| &entry.endpoints).map(|e| e.describe()).collect();
    hosts.sort();
    hosts.dedup();
    if arguments.domain {
        match arguments.output {
            Output::Json => print_json(&hosts),
            Output::Text => hosts.iter().for_each(|host| println!("{host}")),
        }
        return Ok(());
    }
    let presets = built_in();
    let of_presets = |key: &str| presets.iter().any(|preset| preset.keys().any(|own| own == key));
    let others: Vec<_> = document.network_policies.keys().filter(|key| !of_presets(key)).collect();
    if arguments.output == Output::Json {
        let row = |preset: &Preset| json!({ "name": preset.name, "description": preset.description, "state": word(preset.standing(&document)) });
        print_json(&json!({ "presets": presets.iter().map(row).collect::<Vec<_>>(), "entries": others }));
        return Ok(());
    }
    for preset in &presets {
        let mark = match preset.standing(&document) {
            Standing::Applied => "●",
            Standing::Changed => "◐",
            Standing::Absent => "○",
        };
        println!("  {mark} {:<14}{}", preset.name, preset.description);
    }
    others.iter().for_each(|key| println!("  ● {key:<14}an entry of the policy"));
    Ok(())
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Applied => "applied",
        Standing::Changed => "changed",
        Standing::Absent => "absent",
    }
}
