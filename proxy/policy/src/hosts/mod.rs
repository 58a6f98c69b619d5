//! Host patterns, the one host matcher.
//!
//! A pattern is an exact host (name or address) or a wildcard over labels: `*.example.com` is one label more,
//! `**.example.com` one or more, `api-*.example.com` a glob inside the first label, `api.*.example.com` a whole label in
//! between. A wildcard keeps at least two literal labels at its end and never matches an address. Everything is compared
//! as lower-case A-labels without a trailing dot, the one spelling of [`Host`](tollgate_model::Host).
//!
//! ```
//! use tollgate_model::Host;
//! use tollgate_policy::hosts::HostPattern;
//!
//! let pattern = HostPattern::parse("*.Example.com").unwrap();
//! assert!(pattern.matches(&Host::parse("api.example.com").unwrap()));
//! assert!(!pattern.matches(&Host::parse("example.com").unwrap()));
//! ```

mod map;
mod overlap;
mod pattern;
mod selector;

pub use map::HostMap;
pub use pattern::{HostPattern, HostPatternError};
pub use selector::{Selector, SelectorError};

#[cfg(test)]
mod tests;
