//! The nouns of the gate: host, authority, method, path, caller, ask.
//!
//! Every type here parses or refuses; a value that exists is valid and canonical, so no later stage has to check it
//! again. The crate holds no policy, does no IO, reads no clock.
//!
//! ```
//! use tollgate_model::{Authority, CanonicalPath, EncodedSlash};
//!
//! let authority = Authority::parse("API.Example.com:443").unwrap();
//! assert_eq!(authority.to_string(), "api.example.com:443");
//!
//! let path = CanonicalPath::parse("/public/%2e%2e/secret", EncodedSlash::Refuse).unwrap();
//! assert_eq!(path.as_str(), "/secret");
//! ```
#![forbid(unsafe_code)]

mod address;
mod ask;
mod authority;
mod caller;
mod host;
mod method;
mod path;

pub use address::AddressClass;
pub use ask::{Ask, ConnectAsk, Scheme};
pub use authority::{Authority, AuthorityError, Port};
pub use caller::{Caller, Program, Unidentified};
pub use host::{Host, HostError};
pub use method::{Method, MethodError};
pub use path::{CanonicalPath, EncodedSlash, MAX_PATH_BYTES, PathError};
