//! Rows 46 to 59: several entries and endpoints for one destination.

use crate::ask::{CURL, Request};
use crate::table::{check, check_one, load, refused, with_endpoints};

const NO_RULE: &str = "not permitted by policy";

/// Entries `a`, `b`, … of one endpoint and one program each.
fn entries(entries: &[(&str, &str)]) -> String {
    let mut text = "version: 1\nnetwork_policies:\n".to_owned();
    for ((endpoint, binary), key) in entries.iter().zip('a'..) {
        text.push_str(&format!("  {key}: {{endpoints: [{{{endpoint}}}], binaries: [{{path: /usr/bin/{binary}}}]}}\n"));
    }
    text
}

const REST: &str = "host: x.example.com, port: 443, protocol: rest";

fn rest(fields: &str) -> String {
    format!("{REST}, {fields}")
}

#[test]
fn row_46_allows_are_a_union() {
    let policy = entries(&[
        (&rest("rules: [{allow: {method: GET, path: /a}}]"), "curl"),
        (&rest("rules: [{allow: {method: POST, path: /b}}]"), "curl"),
    ]);
    check(&policy, &[("GET /a", "allow"), ("POST /b", "allow"), ("POST /a", NO_RULE)]);
}

#[test]
fn rows_47_and_48_any_deny_wins_for_the_same_program() {
    let (full, deny) = (rest("access: full"), rest("access: full, deny_rules: [{path: /x}]"));
    check(&entries(&[(&full, "curl"), (&deny, "curl")]), &[("GET /x", "blocked by deny rule")]);
    let policy = load(&entries(&[(&full, "curl"), (&deny, "git")]));
    let get = Request { target: "/x", ..CURL };
    check_one(&policy, get, "allow");
    check_one(&policy, Request { binary: "/usr/bin/git", ..get }, "blocked by deny rule");
}

#[test]
fn rows_49_and_50_rules_apply_to_whom_they_name() {
    let (plain, read_only) = ("host: x.example.com, port: 443", rest("access: read-only"));
    check(&entries(&[(plain, "curl"), (&read_only, "curl")]), &[("POST /", NO_RULE), ("GET /", "allow")]);
    let policy = load(&entries(&[(plain, "node"), (&read_only, "curl")]));
    let post = Request { method: "POST", ..CURL };
    check_one(&policy, Request { binary: "/usr/bin/node", ..post }, "allow");
    check_one(&policy, post, NO_RULE);
}

#[test]
fn rows_51_to_54_and_56_disagreements_do_not_load() {
    let plain = "host: x.example.com, port: 443";
    let audit = |host: &str| format!("host: '{host}', port: 443, protocol: rest, access: full, enforcement: audit");
    let enforce = rest("access: full, enforcement: enforce");
    for (a, b, expected) in [
        (enforce.as_str(), audit("x.example.com").as_str(), "enforcement=\"enforce\" vs \"audit\""),
        (&enforce, &audit("*.example.com"), "enforcement=\"enforce\" vs \"audit\""),
        (&enforce, &format!("{plain}, tls: skip"), "tls=\"auto\" vs \"skip\""),
        (plain, &format!("{plain}, allowed_ips: [10.0.0.0/8]"), "allowed_ips=[] vs [10.0.0.0/8]"),
        (plain, &format!("{plain}, protocol: tcp"), "protocol tcp=false vs true"),
        (&enforce, &format!("{plain}, protocol: graphql, access: full"), "protocol=\"rest\" vs \"graphql\""),
        (
            &format!("{enforce}, path: '/graphql*'"),
            &format!("{plain}, protocol: graphql, access: full, path: /graphql"),
            "protocol=\"rest\" vs \"graphql\"",
        ),
    ] {
        refused(&entries(&[(a, "curl"), (b, "git")]), expected);
    }
}

#[test]
fn row_55_graphql_below_rest() {
    let policy = with_endpoints(&format!(
        "{{{}}}, {{host: x.example.com, port: 443, protocol: graphql, path: /graphql, access: read-only}}",
        rest("path: '/**', access: full")
    ));
    check(
        &policy,
        &[
            (r#"POST /graphql {"query":"mutation{x}"}"#, "GraphQL operation not permitted"),
            (r#"POST /graphql {"query":"{x}"}"#, "allow"),
            ("POST /other", "allow"),
        ],
    );
}

#[test]
fn rows_57_and_58_the_narrower_path_decides_alone() {
    let full = rest("path: '/**', access: full");
    let policy = with_endpoints(&format!("{{{full}}}, {{{}}}", rest("path: /safe/**, access: read-only")));
    check(&policy, &[("DELETE /safe/x", NO_RULE), ("GET /safe/x", "allow"), ("DELETE /x", "allow")]);
    let mcp = "{host: x.example.com, port: 443, protocol: mcp, path: /mcp, rules: [{allow: {tool: search}}]}";
    let policy = with_endpoints(&format!("{{{full}}}, {mcp}"));
    let call = |tool: &str| {
        format!(r#"POST /mcp {{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}"}}}}"#)
    };
    check(&policy, &[(&call("rm"), NO_RULE), (&call("search"), "allow")]);
    let socket = "{host: x.example.com, port: 443, protocol: websocket, path: /ws, access: read-only}";
    check(
        &with_endpoints(&format!("{{{full}}}, {socket}")),
        &[("WEBSOCKET_TEXT /ws hello", NO_RULE), ("POST /ws", "only WebSocket")],
    );
}

#[test]
fn row_59_modes_of_paths() {
    let policy = with_endpoints(&format!(
        "{{{}}}, {{{}}}",
        rest("path: '/**', access: read-only"),
        rest("path: /beta/**, access: read-only, enforcement: audit")
    ));
    check(&policy, &[("POST /beta/x", "audit"), ("POST /x", NO_RULE)]);
}
