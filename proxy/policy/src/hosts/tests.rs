use tollgate_model::{Host, HostError};

use super::*;
use crate::glob::GlobError;

fn pattern(text: &str) -> HostPattern {
    HostPattern::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[track_caller]
fn check(source: &str, matching: &[&str], other: &[&str]) {
    let pattern = pattern(source);
    for (hosts, expected) in [(matching, true), (other, false)] {
        for host in hosts {
            let parsed = Host::parse(host).expect("a host");
            assert_eq!(pattern.matches(&parsed), expected, "{source} on {host}");
        }
    }
}

#[test]
fn matching() {
    check("x.example.com", &["X.example.COM", "x.example.com."], &["y.example.com", "example.com"]);
    check("example.com.", &["example.com", "example.com."], &[]);
    check("bücher.example", &["xn--bcher-kva.example", "BÜCHER.example"], &[]);
    check("10.0.0.5", &["10.0.0.5"], &["10.0.0.50"]);
    check("[::1]", &["::1", "[::1]"], &[]);
    check("*.example.com", &["a.example.com"], &["example.com", "a.b.example.com", "xexample.com"]);
    check("*.bücher.example", &["a.xn--bcher-kva.example"], &[]);
    check("**.example.com", &["a.example.com", "a.b.example.com"], &["example.com", "xexample.com"]);
    check("*-ai.example.com", &["us-ai.example.com", "-ai.example.com"], &["us.x-ai.example.com", "ai.example.com"]);
    check("Api-*.example.com", &["api-1.example.com"], &["api.example.com"]);
    check("api.*.example.com", &["api.us.example.com"], &["api.us.eu.example.com", "api.example.com"]);
    check("{a,b}-*.example.com", &["a-1.example.com", "b-1.example.com"], &["c-1.example.com"]);
    check("us-?*.example.com", &["us-a.example.com"], &["us-.example.com"]);
}

#[test]
fn refused() {
    for (source, error) in [
        ("*", HostPatternError::TooBroad),
        ("**", HostPatternError::TooBroad),
        ("*.com", HostPatternError::TooBroad),
        ("a*.com", HostPatternError::TooBroad),
        ("*.*.com", HostPatternError::TooBroad),
        ("foo*.*.com", HostPatternError::TooBroad),
        ("a.*", HostPatternError::TooBroad),
        ("api.**.example.com", HostPatternError::MisplacedDeep),
        ("**x.example.com", HostPatternError::MisplacedDeep),
        ("api.*-x.example.com", HostPatternError::Misplaced),
        ("*.0.0.5", HostPatternError::Address),
        ("*.1.2.3.4", HostPatternError::Address),
        ("*.exa[mple.com", HostPatternError::TooBroad),
        ("a[*.example.com", HostPatternError::Glob(GlobError::OpenClass)),
        ("https://example.com", HostPatternError::Url),
        ("example.com/x", HostPatternError::Url),
        ("example.com:443", HostPatternError::Port),
        ("*.example.com:443", HostPatternError::Port),
        ("exa mple.com", HostPatternError::Host(HostError::BadName)),
        ("exa[m]ple.com", HostPatternError::Host(HostError::BadName)),
        ("", HostPatternError::Host(HostError::Empty)),
    ] {
        assert_eq!(HostPattern::parse(source), Err(error), "{source}");
    }
}

#[test]
fn overlaps() {
    for (a, b, expected) in [
        ("a.example.com", "A.example.com", true),
        ("a.example.com", "*.example.com", true),
        ("a.b.example.com", "*.example.com", false),
        ("*.example.com", "**.example.com", true),
        ("**.b.example.com", "*.example.com", false),
        ("**.b.example.com", "**.example.com", true),
        ("api-*.example.com", "*-eu.example.com", true),
        ("api-*.example.com", "web-*.example.com", false),
        ("api.*.example.com", "*.eu.example.com", true),
    ] {
        assert_eq!(pattern(a).overlaps(&pattern(b)), expected, "{a} and {b}");
        assert_eq!(pattern(b).overlaps(&pattern(a)), expected, "{b} and {a}");
    }
}
