//! Credentials outside the sandbox: where their values come from, how long they are good, and the store of this user.
//!
//! `store` is `credentials.json`; `source` says in one line where a value is; `fetch` is the seam behind which every source
//! stands, and `oauth` one that asks a token endpoint; `lease` decides, without a clock, when a value is fetched again and how
//! long it may be used; `keeper` does both for a running sandbox.

mod fetch;
mod keeper;
mod lease;
mod oauth;
mod prompt;
mod providers;
mod source;
mod store;

pub use keeper::{Keeper, Keeping, draw};
pub use prompt::{Input, read_value};
pub use providers::{Provider, Providers, profile, profiles};
pub use source::{SecretArgument, Source};
pub use store::{Entry, Store};
