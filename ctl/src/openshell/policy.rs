//! `openshell policy …`.

use std::io::{IsTerminal, stdin};

use clap::Subcommand;

use super::provider::plain;
use crate::commands::{LiveCommand, live};
use crate::failure::{Failure, Kind};

/// What to do with the policy of a running sandbox.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    #[command(flatten)]
    Live(LiveCommand),
    /// Remove the policy of all sandboxes, of which there never is one here
    Delete {
        /// The one of all sandboxes
        #[arg(long)]
        global: bool,
        /// Ask nothing
        #[arg(long)]
        yes: bool,
    },
}

/// Does it.
pub fn policy(command: PolicyCommand) -> Result<(), Failure> {
    let refused = |message: &str| Err(Failure::new(Kind::Other, message));
    match command {
        PolicyCommand::Live(command) => live(command).map_err(plain),
        PolicyCommand::Delete { global: false, .. } => refused(
            "a sandbox always has a policy: `openshell policy set` puts another one in its place; only --global names one that can be deleted",
        ),
        PolicyCommand::Delete { yes: false, .. } if !stdin().is_terminal() => {
            refused("there is no terminal to confirm it at; say --yes")
        }
        PolicyCommand::Delete { .. } => {
            eprintln!("! Global setting policy not found");
            Ok(())
        }
    }
}
