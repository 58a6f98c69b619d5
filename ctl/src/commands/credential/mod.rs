//! `tollgate credential`: the store of this user.

mod running;

pub use running::tell;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Subcommand};
use serde_json::json;
use tollgate_proxy::Pin;
use tollgate_secrets::{Secret, SecretName};
use zeroize::Zeroizing;

use crate::credentials::{Access, Entry, Input, Keeper, SecretArgument, Source, Store, draw, profiles, read_value};
use crate::failure::{Failure, Kind};
use crate::home::Home;
use crate::output::{Output, print_json};

/// What to do with credentials.
#[derive(Debug, Subcommand)]
pub enum CredentialCommand {
    /// Keep a credential; its value is asked for, or read from --stdin or --file
    Set(SetArguments),
    /// Show the names of all credentials, never a value
    List {
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Give a credential another value; when this ends, sandboxes and proxies that run use it, and search replies for the old
    /// one too
    Rotate(ValueArguments),
    /// Make a credential unusable; when this ends, sandboxes and proxies that run refuse it
    Revoke {
        /// Its name
        name: String,
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Forget a credential altogether
    Reset {
        /// Its name
        name: String,
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Fetch credentials without showing them, and say which cannot be used and why
    Test {
        /// Their names; all that are kept if absent
        names: Vec<String>,
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
        /// Pin the name of a token endpoint to an address, which may be private or loopback
        #[arg(long = "resolve", value_name = "NAME:PORT:ADDRESS")]
        pins: Vec<Pin>,
        /// Trust the authorities in this PEM file for the certificates of token endpoints as well
        #[arg(long = "upstream-ca", value_name = "FILE")]
        upstream_cas: Vec<PathBuf>,
    },
    /// Take over the credentials of another file of this kind; what is kept already stays
    Import {
        /// The file; ~/.nemoclaw/credentials.json if absent
        file: Option<PathBuf>,
        /// How to print
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// A name, and where its value is read now.
#[derive(Debug, Args)]
pub struct ValueArguments {
    /// The credential's name, such as GITHUB_TOKEN; never its value
    name: String,
    /// Read the value from standard input
    #[arg(long, conflicts_with = "file")]
    stdin: bool,
    /// Read the value from this file
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// How to print
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

/// What is to be kept.
#[derive(Debug, Args)]
pub struct SetArguments {
    #[command(flatten)]
    value: ValueArguments,
    /// Keep no value but where it is: env:VAR, file:PATH, cmd:COMMAND, oauth:FILE
    #[arg(long, value_name = "SOURCE", conflicts_with_all = ["stdin", "file"])]
    from: Option<String>,
    /// Fetch it again after this many seconds
    #[arg(long, value_name = "SECONDS", requires = "from")]
    ttl: Option<u32>,
    /// After a failure, try again after this many seconds; 30 if absent
    #[arg(long, value_name = "SECONDS", requires = "from")]
    failure_ttl: Option<u32>,
    /// While its source fails, use an expired value for this many seconds more; 0 if absent
    #[arg(long, value_name = "SECONDS", requires = "from")]
    stale: Option<u32>,
}

/// Does it.
pub fn credential(command: CredentialCommand) -> Result<ExitCode, Failure> {
    let home = Home::open()?;
    let store = Store::of(&home);
    match command {
        CredentialCommand::Set(arguments) => set(&home, &store, &arguments)?,
        CredentialCommand::List { output } => list(&store, output)?,
        CredentialCommand::Rotate(arguments) => rotate(&home, &store, &arguments)?,
        CredentialCommand::Revoke { name, output } => {
            change(&store, &name, |entry| entry.revoke())?;
            done(&home, &name, "revoked", output, || println!("{name} is revoked"))?;
        }
        CredentialCommand::Reset { name, output } => {
            store.change(|entries| entries.0.remove(&name).map(drop).ok_or_else(|| missing(&name)))?;
            done(&home, &name, "forgotten", output, || println!("{name} is forgotten"))?;
        }
        CredentialCommand::Test { names, output, pins, upstream_cas } => {
            return test(&Access::of(&home, &pins, &upstream_cas)?, names, output);
        }
        CredentialCommand::Import { file, output } => import(&store, file, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn set(home: &Home, store: &Store, arguments: &SetArguments) -> Result<(), Failure> {
    let name = check_name(&arguments.value.name)?;
    let SetArguments { from, ttl, failure_ttl, stale, .. } = arguments;
    if let Some(from) = from {
        from.parse::<Source>().map_err(|e| Failure::new(Kind::Usage, format!("--from SOURCE: {e}")))?;
    }
    let value = match from {
        Some(_) => None,
        None => Some(arguments.value.read(home, &name)?),
    };
    store.change(|entries| {
        let entry = entries.0.entry(name.to_string()).or_default();
        *entry = Entry { former: std::mem::take(&mut entry.former), value: entry.value.take(), ..Entry::default() };
        match value {
            Some(value) => entry.rotate(value),
            None => {
                entry.revoke();
                entry.revoked = false;
                (entry.from, entry.ttl) = (from.clone(), *ttl);
                (entry.failure_ttl, entry.stale) = (*failure_ttl, *stale);
            }
        }
        Ok(())
    })?;
    let say = || println!("{name} is kept in {}", store.path().display());
    done(home, name.as_str(), "kept", arguments.value.output, say)
}

fn rotate(home: &Home, store: &Store, arguments: &ValueArguments) -> Result<(), Failure> {
    let name = check_name(&arguments.name)?;
    // Asked for only where there is something to rotate.
    let entries = store.read()?;
    let entry = entries.0.get(name.as_str()).ok_or_else(|| missing(name.as_str()))?;
    if let Some(from) = &entry.from {
        let message = format!("the value of {name} is not kept here but at {from}; rotate it there");
        return Err(Failure::new(Kind::Credential, message));
    }
    let value = arguments.read(home, &name)?;
    change(store, name.as_str(), |entry| entry.rotate(value))?;
    done(home, name.as_str(), "rotated", arguments.output, || println!("{name} has another value"))
}

/// Says what was done to a credential, then where that is in force.
fn done(home: &Home, name: &str, what: &str, output: Output, say: impl FnOnce()) -> Result<(), Failure> {
    if output == Output::Text {
        say();
    }
    let told = tell(home, name)?;
    if output == Output::Json {
        print_json(&json!({ "name": name, what: true, "told": told.rows() }));
    }
    told.say(output)
}

fn change(store: &Store, name: &str, change: impl FnOnce(&mut Entry)) -> Result<(), Failure> {
    store.change(|entries| {
        change(entries.0.get_mut(name).ok_or_else(|| missing(name))?);
        Ok(())
    })
}

fn list(store: &Store, output: Output) -> Result<(), Failure> {
    let entries = store.read()?;
    let rows: Vec<_> = entries
        .0
        .iter()
        .map(|(name, entry)| {
            let state = if entry.revoked { "revoked" } else { "usable" };
            let from = match &entry.renews {
                Some(_) => "renewed by its token endpoint",
                None => entry.from.as_deref().unwrap_or("store"),
            };
            let overridden = std::env::var_os(name).is_some();
            json!({ "name": name, "state": state, "from": from, "in_environment": overridden })
        })
        .collect();
    match output {
        Output::Json => print_json(&rows),
        Output::Text if rows.is_empty() => println!("no credentials are kept in {}", store.path().display()),
        Output::Text => rows.iter().for_each(|row| {
            let text = |field: &str| row[field].as_str().unwrap_or_default();
            let note = if row["in_environment"] == true { "  (the environment comes first)" } else { "" };
            println!("{:<32}{:<10}{}{note}", text("name"), text("state"), text("from"));
        }),
    }
    Ok(())
}

fn test(access: &Access, names: Vec<String>, output: Output) -> Result<ExitCode, Failure> {
    let kept = || {
        let entries = access.store.read()?.0.into_iter();
        Ok(entries.filter(|(_, entry)| entry.renews.is_none()).map(|(name, _)| name).collect())
    };
    let names = if names.is_empty() { kept()? } else { names };
    let mut tested = Vec::new();
    for name in names {
        let failure = why_not(access, &check_name(&name)?);
        tested.push((name, failure));
    }
    match output {
        Output::Text => {
            tested.iter().for_each(|(name, failure)| println!("{name}: {}", failure.as_deref().unwrap_or("usable")))
        }
        Output::Json => {
            let row = |(name, failure): &(String, Option<String>)| json!({ "name": name, "usable": failure.is_none(), "reason": failure });
            print_json(&tested.iter().map(row).collect::<Vec<_>>());
        }
    }
    match tested.iter().filter(|(_, failure)| failure.is_some()).count() {
        0 => Ok(ExitCode::SUCCESS),
        failed => Err(Failure::new(Kind::Credential, format!("{failed} cannot be used"))),
    }
}

/// Why a credential cannot be used; nothing where it can.
fn why_not(access: &Access, name: &SecretName) -> Option<String> {
    let argument = SecretArgument { source: Source::Anywhere(name.to_string()), name: name.clone() };
    match Keeper::open(&[argument], access.clone(), draw) {
        Ok(keeper) => keeper.failures(Instant::now()).into_values().next(),
        Err(failure) => Some(failure.message().trim_start_matches(&format!("secret {name}: ")).to_owned()),
    }
}

fn import(store: &Store, file: Option<PathBuf>, output: Output) -> Result<(), Failure> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let known = || home.map(|home| home.join(".nemoclaw").join("credentials.json"));
    let file = file.or_else(known).ok_or_else(|| Failure::new(Kind::Usage, "HOME is not set; name the file"))?;
    let imported = store.import(&file)?;
    let left = |(name, reason): &(String, _)| json!({ "name": name, "reason": format!("{reason}") });
    let left: Vec<_> = imported.left.iter().map(left).collect();
    output.done(&json!({ "file": file, "taken": imported.taken, "left": left }), || {
        println!("{} taken over from {}", imported.taken.len(), file.display());
        imported.taken.iter().for_each(|name| println!("  {name}"));
        imported.left.iter().for_each(|(name, reason)| eprintln!("tollgate: {name} was left: {reason}"));
    });
    Ok(())
}

impl ValueArguments {
    /// The value, found fit to be one.
    fn read(&self, home: &Home, name: &SecretName) -> Result<Zeroizing<String>, Failure> {
        let input = match (&self.file, self.stdin) {
            (Some(file), _) => Input::File(file.clone()),
            (None, true) => Input::Stdin,
            (None, false) => Input::Asked,
        };
        let value = read_value(name.as_str(), &input)?;
        check_value(home, name, &value)?;
        Ok(value)
    }
}

/// Refuses what could never be sent; warns of what does not look like the service's.
pub fn check_value(home: &Home, name: &SecretName, value: &str) -> Result<(), Failure> {
    Secret::new(name.clone(), value.into(), String::new())
        .map_err(|e| Failure::new(Kind::Credential, format!("secret {name}: {e}")))?;
    for profile in profiles(home)?.values() {
        if let Some(credential) = profile.credential(name.as_str()).filter(|credential| !credential.fits(value)) {
            let expected = credential.prefixes.join("` or `");
            eprintln!("tollgate: warning: {name} of {} usually begins with `{expected}`", profile.display_name);
        }
    }
    Ok(())
}

/// A name, and nothing but a name: `NAME=VALUE` would already be in the history of a shell.
fn check_name(text: &str) -> Result<SecretName, Failure> {
    SecretName::parse(text).map_err(|error| {
        let hint = if text.contains('=') { "; the value is never given on the command line" } else { "" };
        Failure::new(Kind::Usage, format!("{error}{hint}"))
    })
}

fn missing(name: &str) -> Failure {
    Failure::new(Kind::Credential, format!("{name} is not kept here; `tollgate credential list` shows what is"))
}
