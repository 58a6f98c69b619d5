//! What the subcommands do.

mod audit;
mod policy;
mod proxy;
mod run;
mod status;

pub use audit::{read_key, verify};
pub use policy::{PolicyCommand, policy};
pub use proxy::{ProxyArguments, proxy};
pub use run::{run, runtime};
pub use status::status;
