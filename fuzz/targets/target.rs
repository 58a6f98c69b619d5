//! Request targets, paths and queries.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_inspect::query;
use tollgate_inspect::target::Target;
use tollgate_model::{CanonicalPath, EncodedSlash};

fuzz_target!(|bytes: &[u8]| {
    let _ = tollgate_inspect::sniff::sniff(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = Target::parse_connect(text);
    let _ = query::pairs_with_semicolons(text).count();
    if let Ok(Target::Origin { path, query } | Target::Absolute { path, query, .. }) = Target::parse(text) {
        check(path);
        assert_eq!(query::check(query.unwrap_or_default()).is_ok(), query::pairs(query.unwrap_or_default()).all(|p| p.is_ok()));
    }
    check(text);
});

fn check(path: &str) {
    for slash in [EncodedSlash::Refuse, EncodedSlash::Keep] {
        let Ok(canonical) = CanonicalPath::parse(path, slash) else { continue };
        let again = CanonicalPath::parse(canonical.as_str(), slash).expect("a canonical path is a path");
        assert_eq!(again.as_str(), canonical.as_str());
        assert!(canonical.as_str().split('/').all(|segment| segment != "." && segment != ".."));
    }
}
