//! `policy update`: small changes of the policy in force.

use std::time::Duration;

use clap::Args;
use tollgate_policy::Document;
use tollgate_policy::document::read;
use tollgate_policy::update::{NotationError, Operation, apply};
use tollgate_wire::policy::Shown;

use super::{Format, MAX_TIMEOUT_SECONDS, Running, Scope, find, tell};
use crate::failure::{Failure, Kind};
use crate::operator::POLICY;

/// Arguments of `update`.
#[derive(Debug, Args)]
pub struct UpdateArguments {
    /// The sandbox; the one that runs if absent
    name: Option<String>,
    /// Let programs reach a destination: host:port[:access[:protocol[:enforcement[:options]]]]
    #[arg(long, value_name = "ENDPOINT")]
    add_endpoint: Vec<String>,
    /// Close a port of a host
    #[arg(long, value_name = "HOST:PORT")]
    remove_endpoint: Vec<String>,
    /// Allow a kind of request at an endpoint that is there
    #[arg(long, value_name = "HOST:PORT:METHOD:PATH")]
    add_allow: Vec<String>,
    /// Refuse a kind of request at an endpoint that is there
    #[arg(long, value_name = "HOST:PORT:METHOD:PATH")]
    add_deny: Vec<String>,
    /// Remove an entry by its key
    #[arg(long, value_name = "KEY")]
    remove_rule: Vec<String>,
    /// A program that may use what --add-endpoint adds
    #[arg(long = "binary", value_name = "PATH")]
    binaries: Vec<String>,
    /// The key of the entry that --add-endpoint is for
    #[arg(long, value_name = "KEY")]
    rule_name: Option<String>,
    /// Show what the policy would be, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Say that it is in force; it always is when this command returns
    #[arg(long)]
    wait: bool,
    /// The longest to wait; ends with 124
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=MAX_TIMEOUT_SECONDS))]
    timeout: u64,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    scope: Scope,
}

/// Changes the policy, or shows what it would be.
pub fn update(arguments: UpdateArguments) -> Result<(), Failure> {
    let operations = arguments.operations()?;
    let UpdateArguments { name, dry_run, wait, timeout, output, scope, .. } = arguments;
    let sandbox = find(name, &scope)?;
    if dry_run {
        return preview(&sandbox, &operations);
    }
    let mut told = Vec::new();
    let applied = sandbox.edit(Duration::from_secs(timeout), |document| {
        let (document, said) = changed(document, &operations)?;
        told = said;
        Ok(document)
    })?;
    report_told(&told);
    tell(&sandbox.name, &applied, wait, output);
    Ok(())
}

/// How the changes were made, where that is worth telling.
fn report_told(told: &[String]) {
    told.iter().for_each(|line| eprintln!("! {line}"));
}

/// What is in force with what providers bring, changed.
fn preview(sandbox: &Running, operations: &[Operation]) -> Result<(), Failure> {
    let Shown { text, .. } = sandbox.fetch(&format!("{POLICY}?text=effective"))?;
    let document = read(&text.unwrap_or_default())
        .map_err(|e| Failure::new(Kind::Policy, format!("the policy in force cannot be read: {e}")))?;
    let (document, told) = changed(document, operations)?;
    eprintln!("✓ Dry run preview for {} incremental policy operation(s)", operations.len());
    report_told(&told);
    println!("Policy:\n");
    document.canonical().lines().for_each(|line| println!("  {line}"));
    Ok(())
}

fn changed(mut document: Document, operations: &[Operation]) -> Result<(Document, Vec<String>), Failure> {
    let told = apply(&mut document, operations).map_err(|e| {
        Failure::new(Kind::Policy, format!("the policy cannot be changed like this, and nothing changed: {e}"))
    })?;
    Ok((document, told))
}

impl UpdateArguments {
    /// What the options say, found to make sense together.
    fn operations(&self) -> Result<Vec<Operation>, Failure> {
        let usage = |message: &str| Err(Failure::new(Kind::Usage, message));
        if self.dry_run && self.wait {
            return usage("--dry-run changes nothing, so there is nothing to --wait for");
        }
        if self.add_endpoint.is_empty() && !self.binaries.is_empty() {
            return usage("--binary names programs for --add-endpoint, which is missing");
        }
        if self.add_endpoint.len() != 1 && self.rule_name.is_some() {
            return usage("--rule-name is for exactly one --add-endpoint");
        }
        let entry = self.rule_name.as_deref();
        let mut all = read_each(&self.add_endpoint, |text| Operation::add_endpoint(text, entry, &self.binaries))?;
        all.extend(read_each(&self.remove_endpoint, Operation::remove_endpoint)?);
        all.extend(self.remove_rule.iter().map(|key| Operation::remove_entry(key)));
        all.extend(read_each(&self.add_allow, Operation::add_allow)?);
        all.extend(read_each(&self.add_deny, Operation::add_deny)?);
        match all.is_empty() {
            true => usage(
                "nothing is to be changed: use --add-endpoint, --remove-endpoint, --add-allow, --add-deny or --remove-rule",
            ),
            false => Ok(all),
        }
    }
}

fn read_each(
    texts: &[String],
    read: impl Fn(&str) -> Result<Operation, NotationError>,
) -> Result<Vec<Operation>, Failure> {
    let read = |text: &String| read(text).map_err(|error| Failure::new(Kind::Usage, error.to_string()));
    texts.iter().map(read).collect()
}
