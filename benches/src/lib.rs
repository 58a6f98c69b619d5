//! What benchmarks have in common: policies of a given size, requests to ask them, and what is made of the figures.
//!
//! Deliberately no measuring here: `benches/` holds that. `cargo bench` runs all of it, with Criterion; `cargo bench --
//! --quick` runs it briefly.
//!
//! ```
//! let policy = tollgate_benches::policies::deep(10);
//! assert!(tollgate_benches::asks::Asker::new("host-0.example.com", "/v1/accounts/9/items").is_allowed(&policy));
//! ```
#![forbid(unsafe_code)]

pub mod asks;
pub mod baseline;
pub mod figures;
pub mod job;
pub mod pieces;
pub mod place;
pub mod plot;
pub mod policies;
pub mod program;
pub mod report;
pub mod targets;
