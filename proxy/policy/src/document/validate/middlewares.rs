//! The row of middlewares as a whole.

use std::collections::BTreeMap;

use super::Report;
use crate::diagnostic::Diagnostics;
use crate::document::{Document, Endpoint, OnError, Tls};
use crate::hosts::Selector;

/// Stages in one policy.
const MAX_MIDDLEWARES: usize = 10;

/// Names below this are built in.
const BUILT_IN_PREFIX: &str = "openshell/";
const BUILT_IN: &[&str] = &["openshell/regex"];

pub(super) fn middlewares(document: &Document, found: &mut Diagnostics) {
    let mut orders: BTreeMap<i32, &str> = BTreeMap::new();
    for (index, (key, stage)) in document.network_middlewares.iter().enumerate() {
        if index == MAX_MIDDLEWARES {
            found.error(stage.at, format!("more than {MAX_MIDDLEWARES} middlewares"));
        }
        if let Some(other) = orders.insert(stage.order, key) {
            let message = format!("the middlewares `{other}` and `{key}` have the same `order` {}", stage.order);
            found.error_with(stage.at, message, "give each its own");
        }
        let name = &*stage.middleware;
        if name.starts_with(BUILT_IN_PREFIX) && !BUILT_IN.contains(&name) {
            let hint = crate::diagnostic::suggest(name, BUILT_IN);
            found.error_with(stage.at, format!("no built-in middleware `{name}`"), hint);
        }
        if stage.on_error != Some(OnError::FailOpen) {
            blind(document, stage, found);
        }
    }
}

/// A stage that must not be passed by cannot be promised where nothing is read.
fn blind(document: &Document, stage: &crate::document::Middleware, found: &mut Diagnostics) {
    let selectors: Vec<Selector> = stage.include.iter().filter_map(|text| Selector::parse(text).ok()).collect();
    let endpoints = document.network_policies.values().flat_map(|entry| &entry.endpoints);
    let skipped = endpoints.filter(|endpoint| endpoint.tls == Some(Tls::Skip));
    for endpoint in skipped.filter(|endpoint| may_cover(&selectors, endpoint)) {
        let message = format!(
            "the middleware `{}` must see {}, where `tls: skip` hides everything",
            stage.name,
            endpoint.describe()
        );
        found.error_with(stage.at, message, "exclude that host, or write `on_error: fail_open`");
    }
}

/// A wildcard endpoint may always hold a host that a selector covers.
fn may_cover(selectors: &[Selector], endpoint: &Endpoint) -> bool {
    match endpoint.host.as_ref().map(|host| host.exact()) {
        Some(Some(host)) => selectors.iter().any(|selector| selector.matches(host)),
        Some(None) | None => !selectors.is_empty(),
    }
}
