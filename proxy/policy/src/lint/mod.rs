//! `policy check --lint`: what loads and is probably wider than meant.
//!
//! Nothing here changes a verdict; each finding says what to write instead. The exfiltration surface is a number for
//! comparing entries and revisions, not a measure of risk in itself.
//!
//! ```
//! let document = tollgate_policy::document::read(
//!     "{version: 1, network_policies: {a: {endpoints: [{host: x.example.com, port: 443}]}}}").unwrap();
//! let report = tollgate_policy::lint::lint(&document);
//! assert!(report.warnings.to_string().contains("any program"));
//! ```

mod credentials;
mod hosts;
mod rules;
mod surface;

use serde::Serialize;

pub use surface::Surface;

use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::document::{Access, Document, Endpoint, Entry};

/// Findings and numbers about a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// What is probably wider than meant, in the order of the text.
    pub warnings: Diagnostics,
    /// One number for each entry.
    pub surface: Vec<Surface>,
}

/// Looks a document over, including what its loading warned about.
#[must_use]
pub fn lint(document: &Document) -> Report {
    let mut found = document.warnings.clone();
    for (key, entry) in &document.network_policies {
        programs(key, entry, &mut found);
        for endpoint in &entry.endpoints {
            breadth(endpoint, &mut found);
            hosts::sinks(endpoint, &mut found);
            rules::rules(endpoint, &mut found);
        }
    }
    rules::lookalike_paths(document, &mut found);
    credentials::credentials(document, &mut found);
    let surface = document.network_policies.iter().map(|(key, entry)| surface::surface(key, entry)).collect();
    Report { warnings: found.sorted(), surface }
}

/// True for an entry that any program may use.
fn is_for_anybody(entry: &Entry) -> bool {
    entry.binaries.as_ref().is_none_or(|binaries| binaries.iter().any(|binary| binary.path.is_any()))
}

fn programs(key: &str, entry: &Entry, found: &mut Diagnostics) {
    if is_for_anybody(entry) {
        found.push(
            Diagnostic::warning(entry.at, format!("any program may use the entry `{key}`"))
                .hint("name the programs that need it in `binaries`"),
        );
    }
    if entry.binaries.as_ref().is_some_and(Vec::is_empty) {
        found.push(
            Diagnostic::warning(entry.at, format!("no program may use the entry `{key}`, since `binaries` is empty"))
                .hint("list programs, or remove the entry"),
        );
    }
}

fn breadth(endpoint: &Endpoint, found: &mut Diagnostics) {
    if endpoint.access == Some(Access::Full) && endpoint.inspected().is_some() {
        found.push(
            Diagnostic::warning(
                endpoint.place("access"),
                format!("`access: full` allows anything on {}", endpoint.describe()),
            )
            .hint("write `read-only` or `read-write`, or list `rules`"),
        );
    }
    if endpoint.inspected().is_some() && endpoint.is_audit() {
        found.push(
            Diagnostic::warning(
                endpoint.place("enforcement"),
                format!("refusals on {} are only recorded (audit mode)", endpoint.describe()),
            )
            .hint("write `enforcement: enforce` once the log is quiet"),
        );
    }
}

#[cfg(test)]
mod tests;
