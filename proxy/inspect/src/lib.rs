//! Reads what agents send: bytes in, facts out.
//!
//! Everything here is strict: what two readers could read in two ways is refused. Deliberately no verdicts (those are the
//! policy's) and no IO.
#![forbid(unsafe_code)]

pub mod query;
