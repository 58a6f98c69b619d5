//! `nemoclaw NAME config …`.

use clap::{Subcommand, ValueEnum};
use serde_json::Value;

use crate::agent_config::{self, Key, Set};
use crate::commands::Running;
use crate::definition::Definition;
use crate::failure::{Failure, Kind};
use crate::home::{Home, SandboxFolder};

/// What to do with the configuration of the agent.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print it, or what stands at a key; what looks like a secret is not shown
    Get {
        /// Where, as mcp.servers
        #[arg(long)]
        key: Option<String>,
        /// How to print
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
    /// Set a key. Literal bearer tokens become credentials of the store, bound to the service beside whose `url` they stand
    Set {
        /// Where, as mcp.servers
        #[arg(long)]
        key: String,
        /// JSON; what is no JSON is text
        #[arg(long)]
        value: String,
        #[command(flatten)]
        taken: Taken,
    },
    /// Draw a new token for the agent's own control interface
    #[command(hide = true)]
    RotateToken,
}

/// Taken, and not needed: any key can be set, and the agent is not restarted.
#[derive(Debug, clap::Args)]
pub struct Taken {
    #[arg(long, hide = true)]
    config_accept_new_path: bool,
    #[arg(long, hide = true)]
    restart: bool,
}

/// How to print.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON.
    #[default]
    Json,
    /// YAML.
    Yaml,
}

/// Does it.
pub fn config(name: &str, command: ConfigCommand) -> Result<(), Failure> {
    match command {
        ConfigCommand::Get { key, format } => get(name, key.as_deref(), format),
        ConfigCommand::Set { taken: Taken { restart: true, .. }, .. } => {
            let message = format!(
                "`--restart` is not here: most agents read their file anew; `tollgate sandbox stop {name}` and `start` restart one"
            );
            Err(Failure::new(Kind::Other, message))
        }
        ConfigCommand::Set { key, value, .. } => set(name, &key, value),
        ConfigCommand::RotateToken => {
            let message = "`config rotate-token` is not here: the sandbox has no control interface of its own to be opened with a token";
            Err(Failure::new(Kind::Other, message))
        }
    }
}

fn get(name: &str, key: Option<&str>, format: Format) -> Result<(), Failure> {
    let parsed = key.map(read_key).transpose()?;
    let sandbox = Running::find(Some(name.to_owned()))?;
    let found = match starts_again(&sandbox.folder)? {
        true => agent_config::get_kept(&sandbox.folder, parsed.as_ref())?,
        false => agent_config::get(&sandbox, parsed.as_ref())?,
    };
    let found =
        found.ok_or_else(|| Failure::new(Kind::Other, format!("nothing is set at `{}`", key.unwrap_or_default())))?;
    match format {
        Format::Json => println!("{found:#}"),
        Format::Yaml => print!("{}", tollgate_policy::yaml::write(&found)),
    }
    Ok(())
}

fn set(name: &str, key: &str, value: String) -> Result<(), Failure> {
    let key = read_key(key)?;
    let value = serde_json::from_str(&value).unwrap_or(Value::String(value));
    let sandbox = Running::find(Some(name.to_owned()))?;
    let home = Home::open()?;
    let (Set { moved }, when) = match starts_again(&sandbox.folder)? {
        // Held meanwhile, so that nobody starts it with half of it.
        true => (agent_config::set_kept(&home, &home.claim(name)?, &key, value)?, ", for its next start"),
        false => (agent_config::set(&home, &sandbox, &key, value)?, ""),
    };
    for (credential, service) in moved {
        println!("the token for {service} is the credential {credential} now; the agent sees a reference to it");
    }
    println!("✓ Set {key} of {name}{when}");
    Ok(())
}

/// True for one that does not run and stays.
fn starts_again(folder: &SandboxFolder) -> Result<bool, Failure> {
    Ok(!folder.is_held() && Definition::load(folder)?.is_some())
}

fn read_key(text: &str) -> Result<Key, Failure> {
    text.parse().map_err(|error: agent_config::KeyError| Failure::new(Kind::Usage, error.to_string()))
}
