//! Patterns over paths, text and hosts: the first line is the pattern, the rest what it meets.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_model::Host;
use tollgate_policy::glob::{PathGlob, TextGlob};
use tollgate_policy::hosts::{HostPattern, Selector};

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (pattern, input) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(glob) = PathGlob::parse(pattern) {
        let _ = glob.matches(input);
        assert!(glob.overlaps(&glob));
        if let Some(literal) = glob.literal() {
            assert!(glob.matches(&literal));
        }
    }
    if let Ok(glob) = TextGlob::parse(pattern) {
        let _ = glob.matches(input);
    }
    let host = Host::parse(input);
    if let (Ok(pattern), Ok(host)) = (HostPattern::parse(pattern), &host) {
        let _ = pattern.matches(host);
    }
    if let (Ok(selector), Ok(host)) = (Selector::parse(pattern), &host) {
        let _ = selector.matches(host);
    }
});
