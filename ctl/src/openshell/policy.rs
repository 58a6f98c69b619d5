//! `openshell policy …`.

use clap::Subcommand;

use super::provider::{Rest, missing, plain};
use crate::commands::{LiveCommand, live};
use crate::failure::Failure;

/// What to do with the policy of a running sandbox.
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    #[command(flatten)]
    Live(LiveCommand),
    /// Change single endpoints and rules
    Update(Rest),
    /// Remove the policy of all sandboxes
    Delete(Rest),
}

/// Does it.
pub fn policy(command: PolicyCommand) -> Result<(), Failure> {
    match command {
        PolicyCommand::Live(command) => live(command).map_err(plain),
        PolicyCommand::Update(_) => Err(missing(
            "policy update",
            "take what `openshell policy get NAME --base` prints below its `---`, edit it, and `openshell policy set` it",
        )),
        PolicyCommand::Delete(_) => {
            Err(missing("policy delete", "there is no policy for all sandboxes, and each keeps one of its own"))
        }
    }
}
