//! What the subcommands do.

mod audit;
mod policy;
mod run;
mod status;

pub use audit::{read_key, verify};
pub use policy::{PolicyCommand, policy};
pub use run::{run, runtime};
pub use status::status;
