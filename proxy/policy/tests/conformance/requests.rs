//! Rows 21 to 45: method, path, query.

use crate::table::{check, refused, rest, with_endpoints};

const NO_RULE: &str = "not permitted by policy";
const DENIED: &str = "blocked by deny rule";

#[test]
fn rows_21_to_23_presets() {
    let reading = [("GET /", "allow"), ("HEAD /", "allow"), ("OPTIONS /", "allow"), ("TRACE /", NO_RULE)];
    check(&rest("access: read-only"), &reading);
    check(&rest("access: read-write"), &reading);
    check(&rest("access: read-only"), &[("POST /", NO_RULE), ("DELETE /", NO_RULE)]);
    check(
        &rest("access: read-write"),
        &[("POST /", "allow"), ("PUT /", "allow"), ("PATCH /", "allow"), ("DELETE /", NO_RULE)],
    );
    check(&rest("access: full"), &[("DELETE /", "allow"), ("FOO /", "allow")]);
}

#[test]
fn row_24_enforcement_omitted_enforces() {
    let policy = with_endpoints("{host: x.example.com, port: 443, protocol: rest, access: read-only}");
    check(&policy, &[("DELETE /", NO_RULE)]);
}

#[test]
fn rows_25_and_26_mistakes_that_would_open() {
    let policy = with_endpoints("{host: x.example.com, port: 443, protocol: rest, access: full, enforcement: Enforce}");
    refused(&policy, "did you mean `enforce`?");
    refused(&with_endpoints("{host: x.example.com, port: 443, access: read-only}"), "`access` without `protocol`");
}

#[test]
fn rows_27_to_30_paths() {
    let allow = |method: &str, path: &str| rest(&format!("rules: [{{allow: {{method: '{method}', path: '{path}'}}}}]"));
    check(&allow("GET", "/repos/*/issues"), &[("GET /repos/a/issues", "allow"), ("GET /repos/a/b/issues", NO_RULE)]);
    check(
        &allow("GET", "/repos/**"),
        &[("GET /repos/a/b", "allow"), ("GET /repos/", "allow"), ("GET /repos", NO_RULE)],
    );
    check(&allow("GET", "/v1/**"), &[("HEAD /v1/x", "allow"), ("OPTIONS /v1/x", NO_RULE), ("get /v1/x", "allow")]);
    check(
        &allow("*", "/v1/*/items"),
        &[("DELETE /v1/7/items", "allow"), ("GET /v1/7/8/items", NO_RULE), ("GET /v1/7/items/", NO_RULE)],
    );
}

#[test]
fn rows_31_to_33_deny_rules() {
    let policy = rest("access: full, deny_rules: [{method: '*', path: /admin/**}]");
    for target in ["/admin/x", "/a/../admin/x", "//admin/x", "/%61dmin/x", "/x;/../admin/x"] {
        check(&policy, &[(&format!("GET {target}"), DENIED)]);
    }
    check(&policy, &[("GET /admin", "allow"), ("GET /Admin/x", "allow")]);
    let policy = rest("access: full, deny_rules: [{method: GET, path: /a}]");
    check(&policy, &[("HEAD /a", DENIED), ("POST /a", "allow")]);
}

#[test]
fn row_34_half_a_deny_rule() {
    check(&rest("access: full, deny_rules: [{method: DELETE}]"), &[("DELETE /a", DENIED), ("GET /a", "allow")]);
    check(&rest("access: full, deny_rules: [{path: /a}]"), &[("DELETE /a", DENIED), ("GET /b", "allow")]);
}

#[test]
fn row_35_deny_rules_in_audit_mode() {
    let policy = with_endpoints(
        "{host: x.example.com, port: 443, protocol: rest, enforcement: audit, access: full, deny_rules: [{path: /a}]}",
    );
    check(&policy, &[("GET /a", "audit"), ("GET /b", "allow")]);
}

#[test]
fn rows_36_to_38_query_of_allow_rules() {
    let policy = rest("rules: [{allow: {method: GET, path: /d, query: {tag: 'foo-*'}}}]");
    check(
        &policy,
        &[
            ("GET /d?tag=foo-a", "allow"),
            ("GET /d?tag=foo-a&tag=bar", NO_RULE),
            ("GET /d", NO_RULE),
            ("GET /d?TAG=foo-a", NO_RULE),
            ("GET /d?t%61g=foo-z", "allow"),
            ("GET /d?tag=foo-a&extra=1", "allow"),
            ("GET /d?tag=foo-a.b", "allow"),
            ("GET /d?tag=foo-a/b", "allow"),
            ("GET /d?tag=foo-a&x=%zz", "broken percent escape"),
        ],
    );
    let policy = rest("rules: [{allow: {method: GET, path: /d, query: {v: {any: [a*, b*]}}}}]");
    check(&policy, &[("GET /d?v=a1&v=b1", "allow"), ("GET /d?v=a1&v=c", NO_RULE)]);
}

#[test]
fn rows_39_and_40_query_of_deny_rules() {
    let policy = rest("access: full, deny_rules: [{path: /d, query: {force: 'true'}}]");
    check(
        &policy,
        &[
            ("GET /d?force=true", DENIED),
            ("GET /d?force=false&force=true", DENIED),
            ("GET /d", "allow"),
            ("GET /d?x;force=true", DENIED),
        ],
    );
    check(&rest("access: full, deny_rules: [{query: {cmd: 'rm*'}}]"), &[("GET /?cmd=rm.all", DENIED)]);
}

#[test]
fn rows_41_and_42_odd_targets() {
    let policy = rest("rules: [{allow: {method: GET, path: /pub/**}}]");
    check(
        &policy,
        &[
            ("GET /pub/a%2Fb", "encoded slash"),
            ("GET /..", "climbs above the root"),
            ("GET /pub/%zz", "broken percent escape"),
            ("GET /pub/%00", "control character"),
            ("GET *", "does not start with `/`"),
        ],
    );
    let policy = rest("allow_encoded_slash: true, rules: [{allow: {method: GET, path: /pub/*}}]");
    check(&policy, &[("GET /pub/a%2fb", "allow"), ("GET /pub/..%2fx", "hides dot segments")]);
    // Where no rule depends on the path, no spelling of it dodges one.
    check(&rest("access: full"), &[("GET /pub/a%2fb", "allow")]);
}

#[test]
fn an_encoded_slash_is_judged_by_the_endpoint_that_speaks_for_the_path() {
    let policy = with_endpoints(
        "{host: x.example.com, port: 443, protocol: rest, path: /a/**, access: full, allow_encoded_slash: true},
         {host: x.example.com, port: 443, protocol: rest, path: /b/**, access: full}",
    );
    check(&policy, &[("GET /a/x%2Fy", "allow"), ("GET /b/x%2Fy", "encoded slash")]);
}

#[test]
fn row_43_unreadable_glob() {
    refused(&rest("rules: [{allow: {method: GET, path: '/a['}}]"), "`[` is never closed");
}

#[test]
fn rows_44_and_45_paths_of_endpoints() {
    for mode in ["enforce", "audit"] {
        let endpoint = |path: &str| {
            format!(
                "{{host: x.example.com, port: 443, protocol: rest, enforcement: {mode}, path: {path}, access: full}}"
            )
        };
        let policy = with_endpoints(&format!("{}, {}", endpoint("/a/**"), endpoint("/b/**")));
        check(&policy, &[("GET /c", "no L7 endpoint path matched request"), ("GET /a/x", "allow")]);
    }
    let single = "{host: x.example.com, port: 443, protocol: rest, enforcement: audit, path: /v1/**, access: full}";
    check(&with_endpoints(single), &[("GET /v2", "audit")]);
}
