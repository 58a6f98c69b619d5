//! What fields mean together: contradictions, and statements that would have no effect.

mod ambiguity;
mod credentials;
mod endpoint;
mod middlewares;
mod reading;
mod rules;

use super::{Document, Report};
use crate::diagnostic::Diagnostics;

/// Adds what is wrong with a document whose fields are valid one by one.
pub(super) fn document(document: &Document, found: &mut Diagnostics) {
    for entry in document.network_policies.values() {
        for endpoint in &entry.endpoints {
            endpoint::endpoint(endpoint, found);
        }
    }
    middlewares::middlewares(document, found);
    // Both compare endpoints with each other, which says little while single ones are broken.
    if !found.has_errors() {
        ambiguity::ambiguity(document, found);
        credentials::credentials(document, found);
    }
}
