use crate::document::read;

/// Lints a policy of one entry `e` and compares the messages in order.
#[track_caller]
fn check(entry: &str, expected: &[&str]) {
    let text = format!("version: 1\nnetwork_policies:\n  e:\n{entry}");
    let document = read(&text).unwrap_or_else(|found| panic!("{found}\n{text}"));
    let report = super::lint(&document);
    let seen: Vec<&str> = report.warnings.iter().map(|warning| &*warning.message).collect();
    assert_eq!(seen, expected, "{text}");
}

const CURL: &str = "    binaries: [{path: /usr/local/bin/agent}]\n    endpoints:\n    - ";

#[test]
fn wide_entries() {
    check("    endpoints: [{host: x.example.com, port: 443}]\n", &["any program may use the entry `e`"]);
    check(
        "    endpoints: [{host: x.example.com, port: 443}]\n    binaries: []\n",
        &["no program may use the entry `e`, since `binaries` is empty"],
    );
    check(
        &format!("{CURL}{{host: x.example.com, port: 443, protocol: rest, access: full, enforcement: audit}}\n"),
        &[
            "`access: full` allows anything on x.example.com:443",
            "refusals on x.example.com:443 are only recorded (audit mode)",
        ],
    );
    check(
        &format!("{CURL}{{host: '*.co.uk', port: 443, protocol: rest, access: read-only}}\n"),
        &["`*.co.uk` covers everybody who registers below co.uk"],
    );
    check(
        &format!("{CURL}{{host: a.b.amazonaws.com, port: 443, protocol: rest, access: read-write}}\n"),
        &[
            "`a.b.amazonaws.com` is a cloud with many tenants, and the endpoint can write: anybody can receive data there",
        ],
    );
    check(&format!("{CURL}{{host: a.b.amazonaws.com, port: 443, protocol: rest, access: read-only}}\n"), &[]);
}

#[test]
fn rules_without_effect() {
    let rest = |rules: &str| format!("{CURL}{{host: x.example.com, port: 443, protocol: rest, {rules}}}\n");
    check(
        &rest("rules: [{allow: {method: GET, path: '/**'}}, {allow: {method: HEAD, path: /a}}]"),
        &["the rule adds nothing: line 6 allows the same already"],
    );
    check(
        &rest("rules: [{allow: {method: GET, path: /a}}, {allow: {path: /b}}], deny_rules: [{path: /a}]"),
        &["the rule never allows anything: the deny rule in line 6 refuses all of it"],
    );
    check(&rest("rules: [{allow: {path: /x/**}}]"), &["`/x/**` does not cover `/x` itself"]);
    check(&rest("rules: [{allow: {path: /x/**}}, {allow: {path: /x}}]"), &[]);
    check(
        &rest("path: /v1/**, rules: [{allow: {path: /v2/x}}]"),
        &["the rule never matches: the endpoint speaks for `/v1/**`, not for `/v2/x`"],
    );
}

#[test]
fn paths_that_look_alike() {
    check(
        "    binaries: [{path: /usr/local/bin/agent}]
    endpoints:
    - {host: x.example.com, port: 443, protocol: rest, access: read-write}
    - {host: x.example.com, port: 443, protocol: graphql, path: /graphql, access: read-only}
",
        &["`/graphql/` is judged by the broader endpoint in line 6, though servers may take it for `/graphql`"],
    );
}

#[test]
fn secrets_of_interpreters() {
    for (binary, expected) in [
        ("/usr/bin/python3*", "`/usr/bin/python3*` can use the credential `TOKEN` through the entry `e`"),
        ("/usr/bin/*", "`/usr/bin/*` can use the credential `TOKEN` through the entry `e`"),
    ] {
        let text = format!(
            "{{version: 1, x-tollgate: {{credentials: {{TOKEN: {{bindings: [{{host: x.example.com, header: authorization}}]}}}}}},
              network_policies: {{e: {{endpoints: [{{host: x.example.com, port: 443, protocol: rest, access: read-only}}], binaries: [{{path: '{binary}'}}]}}}}}}"
        );
        let report = super::lint(&read(&text).unwrap_or_else(|found| panic!("{found}")));
        assert_eq!(report.warnings.iter().map(|w| &*w.message).collect::<Vec<_>>(), [expected]);
    }
}

#[test]
fn surface_grows_with_what_may_leave() {
    let score = |entry: &str| {
        let document = read(&format!("{{version: 1, network_policies: {{e: {entry}}}}}")).expect("a policy");
        super::lint(&document).surface[0].score
    };
    let curl = "binaries: [{path: /usr/bin/curl}]";
    let reading = score(&format!(
        "{{endpoints: [{{host: x.example.com, port: 443, protocol: rest, access: read-only}}], {curl}}}"
    ));
    let writing =
        score(&format!("{{endpoints: [{{host: x.example.com, port: 443, protocol: rest, access: full}}], {curl}}}"));
    let unread = score(&format!("{{endpoints: [{{host: x.example.com, port: 443}}], {curl}}}"));
    let anybody = score("{endpoints: [{host: '**.example.com', port: 443}]}");
    assert!(reading < writing && writing < unread && unread < anybody, "{reading} {writing} {unread} {anybody}");
}
