//! `tollgate provider`: sets of credentials by profile, with the command lines that OpenShell's users know.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::json;
use tollgate_policy::profile::Profile;
use tollgate_secrets::SecretName;
use zeroize::Zeroizing;

use super::credential::{check_value, tell};
use crate::credentials::{Provider, Providers, Store, profile, profiles};
use crate::failure::{Failure, Kind};
use crate::home::Home;
use crate::output::{Output, print_json};

/// What to do with providers.
#[derive(Debug, Subcommand)]
pub enum ProviderCommand {
    /// Make a provider of a profile; its credentials are read from your environment
    Create(CreateArguments),
    /// Show one provider, never a value
    Get {
        /// Its name
        name: String,
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show all providers
    List {
        /// Names alone
        #[arg(long)]
        names: bool,
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Remove providers; their credentials stay in the store
    Delete {
        /// Their names
        #[arg(required = true)]
        names: Vec<String>,
        /// How to print; an object for each
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Show the profiles that a provider can be made of
    ListProfiles {
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Print the policy that a profile amounts to, to begin your own with
    Policy {
        /// The profile's id
        profile: String,
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// A new provider.
#[derive(Debug, Args)]
pub struct CreateArguments {
    /// A name for it
    #[arg(long)]
    name: String,
    /// The profile's id
    #[arg(long = "type", value_name = "PROFILE")]
    kind: String,
    /// The variable of a credential: its value is read from your environment and kept, never from the command line
    #[arg(long = "credential", value_name = "VARIABLE")]
    credentials: Vec<String>,
    /// Take every credential of the profile that is in your environment
    #[arg(long)]
    from_existing: bool,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// A provider to be, whichever command line it was written on.
#[derive(Debug)]
pub struct NewProvider {
    /// Its name.
    pub name: String,
    /// The profile's id.
    pub kind: String,
    /// Variables that hold its credentials.
    pub credentials: Vec<String>,
    /// As well, every credential of the profile that is in the environment.
    pub from_existing: bool,
}

/// Does it.
pub fn provider(command: ProviderCommand) -> Result<ExitCode, Failure> {
    let home = Home::open()?;
    match command {
        ProviderCommand::Create(CreateArguments { name, kind, credentials, from_existing, output }) => {
            let new = NewProvider { name, kind, credentials, from_existing };
            let count = create_provider(&home, &new)?;
            output.done(&json!({ "name": new.name, "type": new.kind, "credentials": count, "created": true }), || {
                println!("provider {} of {}: {count} credentials", new.name, new.kind);
            });
        }
        ProviderCommand::Get { name, output } => {
            let providers = Providers::open(&home)?;
            print(output, &[(name.as_str(), providers.get(&name)?)]);
        }
        ProviderCommand::List { names, output } => {
            let providers = Providers::open(&home)?;
            match names {
                true => providers.all().keys().for_each(|name| println!("{name}")),
                false => print(output, &providers.all().iter().map(|(name, one)| (&**name, one)).collect::<Vec<_>>()),
            }
        }
        ProviderCommand::Delete { names, output } => {
            let mut providers = Providers::open(&home)?;
            for name in &names {
                providers.delete(name)?;
                output.done(&json!({ "name": name, "deleted": true }), || ());
            }
        }
        ProviderCommand::ListProfiles { output } => list_profiles(&home, output)?,
        ProviderCommand::Policy { profile: id, output } => match output {
            Output::Text => print!("{}", profile(&home, &id)?.document.canonical()),
            Output::Json => println!("{}", profile(&home, &id)?.document.canonical_json()),
        },
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes a provider, with the values that are in the environment kept in the store; gives the number of its credentials.
pub fn create_provider(home: &Home, new: &NewProvider) -> Result<usize, Failure> {
    let profile = profile(home, &new.kind)?;
    let mut providers = Providers::open(home)?;
    let names = chosen(&profile, new)?;
    let values = in_environment(home, &names)?;
    let store = Store::of(home);
    let kept = store.read()?;
    let is_there = |name: &SecretName| {
        values.iter().any(|(known, _)| *known == name.as_str()) || kept.0.contains_key(name.as_str())
    };
    if let Some(name) = names.iter().find(|name| !is_there(name)) {
        let message =
            format!("{name} is neither in the environment nor kept; export it or run: tollgate credential set {name}");
        return Err(Failure::new(Kind::Credential, message));
    }
    let credentials = names.iter().map(ToString::to_string).collect();
    providers.create(&new.name, Provider { kind: new.kind.clone(), credentials })?;
    keep(&store, values)?;
    Ok(names.len())
}

/// Gives credentials of a provider the values that they have in the environment, all of them where none is named; returns when
/// they are in force in what runs.
pub fn renew_provider(home: &Home, name: &str, credentials: &[String]) -> Result<(), Failure> {
    let providers = Providers::open(home)?;
    let provider = providers.get(name)?;
    if let Some(other) = credentials.iter().find(|name| !provider.credentials.contains(name)) {
        let message = format!("{other} is no credential of {name}, which has {}", provider.credentials.join(", "));
        return Err(Failure::new(Kind::Credential, message));
    }
    let wanted = if credentials.is_empty() { &provider.credentials } else { credentials };
    let names: Vec<_> = wanted.iter().filter_map(|name| SecretName::parse(name).ok()).collect();
    let values = in_environment(home, &names)?;
    let missing = wanted.iter().find(|name| values.iter().all(|(known, _)| known != *name));
    if let Some(missing) = missing.filter(|_| values.is_empty() || !credentials.is_empty()) {
        return Err(Failure::new(Kind::Credential, format!("{missing} is not in the environment; export it")));
    }
    let changed: Vec<_> = values.iter().map(|(name, _)| name.clone()).collect();
    keep(&Store::of(home), values)?;
    changed.iter().try_for_each(|name| tell(home, name)?.say(Output::Text))
}

/// The values that the environment has, each found fit to be one.
fn in_environment(home: &Home, names: &[SecretName]) -> Result<Vec<(String, Zeroizing<String>)>, Failure> {
    let mut values = Vec::new();
    for name in names {
        if let Ok(value) = std::env::var(name.as_str()).map(Zeroizing::new) {
            check_value(home, name, &value)?;
            values.push((name.to_string(), value));
        }
    }
    Ok(values)
}

fn keep(store: &Store, values: Vec<(String, Zeroizing<String>)>) -> Result<(), Failure> {
    store.change(|entries| {
        values.into_iter().for_each(|(name, value)| entries.0.entry(name).or_default().rotate(value));
        Ok(())
    })
}

/// The variables of the new provider: those that were named, or what the profile knows and the environment has.
fn chosen(profile: &Profile, new: &NewProvider) -> Result<Vec<SecretName>, Failure> {
    let mut names = Vec::new();
    for text in &new.credentials {
        let hint = if text.contains('=') { "; the value is never given on the command line" } else { "" };
        names.push(SecretName::parse(text).map_err(|e| Failure::new(Kind::Usage, format!("--credential: {e}{hint}")))?);
    }
    let wants_all = new.from_existing || names.is_empty();
    for credential in profile.credentials.iter().filter(|_| wants_all) {
        let set = credential.variables.iter().find(|variable| std::env::var_os(&***variable).is_some());
        if set.is_none() && credential.required && new.credentials.is_empty() {
            let variables = credential.variables.join(" or ");
            let message = format!("the profile {} needs {variables}, which is not set; export it", profile.id);
            return Err(Failure::new(Kind::Credential, message));
        }
        let name = set.and_then(|variable| SecretName::parse(variable).ok());
        names.extend(name.filter(|name| !new.credentials.iter().any(|known| known == name.as_str())));
    }
    Ok(names)
}

fn list_profiles(home: &Home, output: Output) -> Result<(), Failure> {
    let all = profiles(home)?;
    match output {
        Output::Text => all.values().for_each(|profile| {
            let variables: Vec<&str> = profile
                .credentials
                .iter()
                .filter_map(|credential| credential.variables.first().map(|v| &**v))
                .collect();
            println!("{:<14}{:<16}{}", profile.id, profile.category, variables.join(", "));
        }),
        Output::Json => {
            let rows = all.values().map(|profile| {
                let variables: Vec<&[Box<str>]> = profile.credentials.iter().map(|c| &*c.variables).collect();
                json!({ "id": profile.id, "display_name": profile.display_name, "category": profile.category, "credentials": variables })
            });
            print_json(&rows.collect::<Vec<_>>());
        }
    }
    Ok(())
}

fn print(output: Output, providers: &[(&str, &Provider)]) {
    match output {
        Output::Text if providers.is_empty() => println!("there are no providers"),
        Output::Text => providers
            .iter()
            .for_each(|(name, one)| println!("{name:<20}{:<14}{}", one.kind, one.credentials.join(", "))),
        Output::Json => {
            let rows = providers
                .iter()
                .map(|(name, one)| json!({ "name": name, "type": one.kind, "credentials": one.credentials }));
            print_json(&rows.collect::<Vec<_>>());
        }
    }
}
