//! Secrets at the gate: placeholders, the vault, injection into requests, scrubbing of replies.
//!
//! The agent holds placeholders. [`inject`] swaps one for its value in the slot of a bound destination, and only for a
//! request that carries a [`Permit`](tollgate_policy::Permit); what it returns, an [`Outbound`], is the only thing that
//! can be sent upstream. A [`Scrubber`] turns every value that a reply brings back into its placeholder again.
//!
//! Pure: no IO, no clock; randomness comes from the caller. Values live in [`Vault`], `inject` and the needles of the
//! scrubber, nowhere else; nothing here prints them.
#![forbid(unsafe_code)]

mod broker;
mod decode;
mod encodings;
mod inject;
mod name;
mod placeholder;
mod rewrite;
mod scrub;
mod search;
mod slot;
mod tokens;
mod vault;

pub use broker::{Broker, Destination};
pub use decode::{Coding, DECODED_PIECE_BYTES, DecodeError, Decoder};
pub use inject::{InjectError, Outbound, Place, inject, message_fields};
pub use name::{NameError, SecretName};
pub use placeholder::{PLACEHOLDER_RANDOM_BYTES, shape};
pub use rewrite::{Encoding, Fields, MAX_HELD_BYTES, Rewriter};
pub use scrub::{Needles, Scrubber};
pub use vault::{MAX_FORMER_VALUES, Secret, ValueError, Vault};
