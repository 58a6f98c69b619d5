//! What the subcommands do.

mod audit;
mod run;
mod status;

pub use audit::{read_key, verify};
pub use run::{run, runtime};
pub use status::status;
