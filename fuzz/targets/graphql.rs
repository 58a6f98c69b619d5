//! GraphQL bodies, query strings and messages.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_inspect::graphql::{self, Request};

fuzz_target!(|bytes: &[u8]| {
    graphql::from_body(bytes).iter().flatten().for_each(check);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    graphql::from_query(text).iter().for_each(check);
    let _ = graphql::from_message(text);
});

fn check(request: &Request) {
    if let Request::Operation(operation) = request {
        assert!(!operation.fields.is_empty());
    }
}
