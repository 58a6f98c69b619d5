//! Credentials outside the sandbox: where their values come from, how long they are good, and the store of this user.
//!
//! `store` is `credentials.json`; `source` says in one line where a value is; `fetch` is the seam behind which every source
//! stands, `oauth` one that asks a token endpoint, `network` the way there; `lease` decides, without a clock, when a value is
//! fetched again and how long it may be used; `kept` does both for one credential, `keeper` for those of a running sandbox.

mod fetch;
mod keeper;
mod kept;
mod lease;
mod network;
mod oauth;
mod prompt;
mod providers;
mod source;
mod store;

pub use keeper::{Keeper, Keeping, Shared, draw};
pub use network::Network;
pub use prompt::{Input, read_value};
pub use providers::{Provider, Providers, attach, profile, profiles};
pub use source::{Access, SecretArgument, Source};
pub use store::{Entry, Store};
