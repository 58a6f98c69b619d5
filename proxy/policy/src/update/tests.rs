use proptest::prelude::*;

use super::{NotationError, Operation, apply};
use crate::Policy;
use crate::document::{Document, check, read};

const CURL: &str = "/usr/bin/curl";
const GIT: &str = "/usr/bin/git";

fn add(text: &str, binaries: &[&str]) -> Operation {
    let binaries: Vec<_> = binaries.iter().map(|path| (*path).to_owned()).collect();
    Operation::add_endpoint(text, None, &binaries).expect(text)
}

fn named(text: &str, entry: &str, binaries: &[&str]) -> Operation {
    let Operation::AddEndpoint(mut addition) = add(text, binaries) else { panic!("{text}") };
    addition.entry = Some(entry.into());
    Operation::AddEndpoint(addition)
}

fn allow(text: &str) -> Operation {
    Operation::add_allow(text).expect(text)
}

fn deny(text: &str) -> Operation {
    Operation::add_deny(text).expect(text)
}

fn document(entries: &str) -> Document {
    read(&format!("version: 1\nnetwork_policies: {entries}\n")).expect("a policy")
}

/// Applies, and compares with the document that is expected and with a piece of what is told.
#[track_caller]
fn check_applied(before: &str, operations: &[Operation], after: &str, told: &str) {
    let mut changed = document(before);
    let said = apply(&mut changed, operations).expect("applied").join("; ");
    assert_eq!(changed.canonical(), document(after).canonical());
    assert!(said.contains(told) && told.is_empty() == said.is_empty(), "{said}");
    check(&changed).expect("valid");
    Policy::compile(changed).expect("compiles");
}

#[track_caller]
fn check_refused(before: &str, operations: &[Operation], expected: &str) {
    let refused = apply(&mut document(before), operations).expect_err("refused").to_string();
    assert!(refused.contains(expected), "{refused}");
}

const API: &str = "{allow_h_test_443: {endpoints: [{host: h.test, port: 443, protocol: rest, access: read-only}], binaries: [{path: /usr/bin/curl}]}}";
const BOTH: &str = "{allow_h_test_443: {endpoints: [{host: h.test, port: 443, protocol: rest, access: read-only}], binaries: [{path: /usr/bin/curl}, {path: /usr/bin/git}]}}";

#[test]
fn an_endpoint_is_added() {
    check_applied("{}", &[add("h.test:443:read-only:rest", &[CURL])], API, "");
    check_applied("{}", &[add("H.test:443:read-only:rest", &[CURL, CURL])], API, "");
    check_applied(API, &[add("h.test:443:read-only:rest", &[CURL])], API, "");
    check_applied(API, &[add("h.test:443", &[GIT])], BOTH, "");
    check_applied(API, &[add("h.test:443:full:rest", &[GIT])], BOTH, "the access of h.test:443 stays as it is");
    check_applied(
        "{}",
        &[add("2e443:443", &[CURL])],
        "{allow_2e443_443: {endpoints: [{host: 2e443, port: 443}], binaries: [{path: /usr/bin/curl}]}}",
        "",
    );
    check_applied(
        "{}",
        &[add("h.test:22::tcp", &[])],
        "{allow_h_test_22: {endpoints: [{host: h.test, port: 22, protocol: tcp}], binaries: []}}",
        "no program may use",
    );
    check_applied(
        "{}",
        &[named("h.test:443:full:rest:enforce:request-body-credential-rewrite,allowed-ip=10.0.0.0/8", "mine", &[CURL])],
        "{mine: {endpoints: [{host: h.test, port: 443, protocol: rest, access: full, enforcement: enforce, request_body_credential_rewrite: true, allowed_ips: [10.0.0.0/8]}], binaries: [{path: /usr/bin/curl}]}}",
        "",
    );
}

/// A program that joins would reach what the update does not name, or a program that is there would.
#[test]
fn nobody_gets_more_than_is_said() {
    const TWO: &str = "{a: {endpoints: [{host: h.test, port: 443, protocol: rest, access: read-only}, {host: i.test, port: 443}], binaries: [{path: /usr/bin/curl}]}}";
    const PORTS: &str = "{a: {endpoints: [{host: h.test, ports: [443, 8443], protocol: rest, access: read-only}], binaries: [{path: /usr/bin/curl}]}}";
    let apart = |before: &str, rest: &str, operation: Operation, told: &str| {
        let (own, _) = before.rsplit_once('}').expect("a map");
        check_applied(before, &[operation], &format!("{own}, allow_h_test_443: {rest}}}"), told);
    };
    let own =
        "{endpoints: [{host: h.test, port: 443, protocol: rest, access: read-only}], binaries: [{path: /usr/bin/git}]}";
    apart(TWO, own, add("h.test:443:read-only:rest", &[GIT]), "`/usr/bin/git` could use i.test:443 as well");
    apart(PORTS, own, add("h.test:443:read-only:rest", &[GIT]), "`/usr/bin/git` could use h.test:443,8443 as well");
    check_refused(TWO, &[named("h.test:443:read-only:rest", "a", &[GIT])], "`/usr/bin/git` could use i.test:443");
    check_refused(TWO, &[named("j.test:443", "a", &[GIT])], "`/usr/bin/curl` could use it as well");
    check_refused(
        API,
        &[named("h.test:443:read-only:rest:audit", "allow_h_test_443", &[GIT])],
        "`/usr/bin/curl` could",
    );
    check_refused(PORTS, &[named("h.test:443:read-only:rest:audit", "a", &[CURL])], "other ports");
    const ANY: &str = "{a: {endpoints: [{host: h.test, port: 443}]}}";
    check_applied(ANY, &[named("h.test:443", "a", &[GIT])], ANY, "");
    check_refused(ANY, &[named("i.test:443", "a", &[GIT])], "any program could use it");
}

#[test]
fn endpoints_and_entries_are_removed() {
    const PORTS: &str =
        "{a: {endpoints: [{host: h.test, ports: [443, 8443]}]}, b: {endpoints: [{host: h.test, port: 443}]}}";
    let remove = |text: &str| Operation::remove_endpoint(text).expect(text);
    check_applied(PORTS, &[remove("h.test:443")], "{a: {endpoints: [{host: h.test, port: 8443}]}}", "");
    check_applied(PORTS, &[remove("h.test:443"), remove("h.test:8443")], "{}", "");
    check_applied(PORTS, &[remove("i.test:443"), Operation::remove_entry("c")], PORTS, "");
    check_applied(PORTS, &[Operation::remove_entry("a")], "{b: {endpoints: [{host: h.test, port: 443}]}}", "");
    check_applied(API, &[Operation::remove_entry("allow_h_test_443"), add("h.test:443", &[CURL])], "{}", "");
}

#[test]
fn rules_are_added() {
    const WRITTEN: &str = "{allow_h_test_443: {endpoints: [{host: h.test, port: 443, protocol: rest, rules: [\
        {allow: {method: GET, path: /**}}, {allow: {method: HEAD, path: /**}}, {allow: {method: OPTIONS, path: /**}}, \
        {allow: {method: POST, path: /x}}]}], binaries: [{path: /usr/bin/curl}]}}";
    let written = WRITTEN.replace("\\\n", "");
    check_applied(
        API,
        &[allow("h.test:443:post:/x")],
        &written,
        "`access: read-only` of h.test:443 is written as rules",
    );
    check_applied(&written, &[allow("h.test:443:POST:/x")], &written, "");
    let denied = API.replace("access: read-only", "access: read-only, deny_rules: [{method: GET, path: /secret/**}]");
    check_applied(API, &[deny("h.test:443:GET:/secret/**")], &denied, "");
    check_refused(API, &[allow("i.test:443:GET:/")], "endpoint i.test:443 was not found in the current policy");
    check_refused(API, &[deny("h.test:444:GET:/")], "endpoint h.test:444 was not found");
    let twice = API.replacen("}]", "}, {host: h.test, port: 443, path: /v1/**, protocol: rest, access: full}]", 1);
    check_refused(&twice, &[allow("h.test:443:GET:/")], "several places");
    check_refused("{a: {endpoints: [{host: h.test, port: 443}]}}", &[deny("h.test:443:GET:/")], "no protocol");
}

#[test]
fn notations() {
    #[track_caller]
    fn check<T>(read: Result<T, NotationError>, expected: &str) {
        let said = read.err().map(|error| error.to_string());
        assert!(said.as_ref().is_some_and(|said| said.contains(expected)), "{said:?} {expected}");
    }
    let add = |text: &str| Operation::add_endpoint(text, None, &[]);
    check(add("h.test"), "host:port");
    check(add("h.test:0"), "no port");
    check(add("h.test:65536"), "no port");
    check(add("h.test:443:"), "after the last colon");
    check(add("h.test:443:full:rest:enforce:"), "after the last colon");
    check(add("h.test:443:all"), "`all` is no access");
    check(add("h.test:443:full:sql"), "cannot be added like this");
    check(add("h.test:443:full::enforce"), "needs a protocol");
    check(add("h.test:443:full:rest:enforced"), "no enforcement");
    check(add("h.test:443:full:tcp"), "tcp has neither");
    check(add("h.test:443:full:rest:enforce:fast"), "no option");
    check(add("h.test:443:full:websocket::request-body-credential-rewrite"), "does not go with");
    check(add("h.test:443:full:rest::allowed-ip=10.0.0.1/8"), "beyond its prefix");
    check(add("a b:443"), "a b");
    check(add("a/b:443"), "a/b");
    check(Operation::add_endpoint("h.test:443", None, &["curl".to_owned()]), "absolute path");
    check(Operation::remove_endpoint("h.test:443:full"), "host:port");
    check(Operation::add_allow("h.test:443:GET"), "host:port:METHOD:path");
    check(Operation::add_allow("h.test:443:GET:/a:b"), "host:port:METHOD:path");
    check(Operation::add_allow("h.test:443::/a"), "the method");
    check(Operation::add_allow("h.test:443:G T:/a"), "the method");
    check(Operation::add_deny("h.test:443:GET:a"), "begin with /");
    check(Operation::add_deny("h.test:443:GET:/["), "cannot be read");
    check(Operation::add_deny("h.test:443:GET:/x/*\""), "write `/x/*%22`");
    check(Operation::add_allow("h.test:443:GET:/a/../b"), "write `/b`");
    check(Operation::add_allow("h.test:443:G\u{7}T:/a"), "the method");
    check(Operation::add_endpoint("h.test:443", None, &["/usr/bin/python?".to_owned()]), "looks like a pattern");
}

proptest! {
    /// What can be written can be applied, and what comes of it can be written down and read again.
    #[test]
    fn whatever_is_added_reads_back(
        text in "[a-z*.]{1,12}:[0-9]{1,5}(:(read-only|full)?(:(rest|tcp|websocket)?(:(enforce|audit)?)?)?)?",
        any in any::<String>(),
    ) {
        for text in [&text, &any] {
            let Ok(add) = Operation::add_endpoint(text, None, &[CURL.to_owned()]) else { continue };
            let mut document = document("{}");
            apply(&mut document, &[add]).expect("nothing stands in its way");
            let written = document.canonical();
            if check(&document).is_ok() {
                prop_assert_eq!(read(&written).expect("valid").canonical(), written);
            }
        }
    }

    #[test]
    fn no_text_is_too_odd(text in any::<String>()) {
        let read = [Operation::remove_endpoint(&text), Operation::add_allow(&text), Operation::add_deny(&text)];
        for operation in read.into_iter().flatten() {
            let applied = apply(&mut document("{}"), &[operation]);
            prop_assert!(applied.is_ok() || text.matches(':').count() == 3);
        }
    }
}
