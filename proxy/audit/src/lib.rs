//! The journal as bytes: records, the hash chain that binds them, the signed head that pins its end, and their verification.
//!
//! No IO and no clock here: the caller brings the time, the bytes and the files. A journal is text, one JSON object a
//! line. Each line carries its sequence number, the hash of the line before, and its own hash over everything before
//! that field, so an edit, a removal or a reordering breaks the chain where it happened. A truncation leaves a valid
//! chain; the [`head`] catches it, since it names the last sequence number and hash under an Ed25519 signature.
//!
//! What it does not prove: that a machine's owner did not write a false journal, key in hand. Export the signed heads for that.
//!
//! ```
//! use tollgate_audit::{Chain, Event, verify_chain};
//!
//! let mut chain = Chain::new("demo");
//! let mut journal = Vec::new();
//! chain.append(0, &Event::Close { reason: "done" }.to_body(), &mut journal);
//! assert_eq!(verify_chain("demo", journal.as_slice()).unwrap().records, 1);
//! ```
#![forbid(unsafe_code)]

mod chain;
pub mod digest;
mod event;
mod export;
pub mod head;
mod often;
pub mod segment;
mod verify;
mod view;

pub use chain::Chain;
pub use event::{Event, Program, Verdict};
pub use export::{Export, Extent, Format, is_export, verify_export};
pub use head::{Head, HeadError, SigningKey};
pub use segment::{End, Follows, Gap, verify_order};
pub use verify::{Flaw, FlawKind, Summary, verify_chain, verify_journal};
pub use view::{Record, Severity};
