//! Rows 60 to 78: GraphQL, JSON-RPC, MCP, WebSocket.

use tollgate_model::{Ask, Authority, Caller, CanonicalPath, EncodedSlash, Method, Program, Scheme};
use tollgate_policy::{Decision, Payload};

use crate::ask::{CURL, Request};
use crate::table::{check, check_one, load, refused, with_endpoints};

const NO_RULE: &str = "not permitted by policy";
const NO_OPERATION: &str = "GraphQL operation not permitted";
const REJECTED: &str = "GraphQL request rejected";

fn endpoint(protocol: &str, fields: &str) -> String {
    with_endpoints(&format!("{{host: x.example.com, port: 443, protocol: {protocol}, {fields}}}"))
}

/// Checks GraphQL documents sent by POST.
#[track_caller]
fn graphql(fields: &str, rows: &[(&str, &str)]) {
    let policy = load(&endpoint("graphql", fields));
    for (document, expected) in rows {
        let body = serde_json::json!({ "query": document }).to_string();
        check_one(&policy, Request { method: "POST", body: Some(&body), ..CURL }, expected);
    }
}

/// Checks JSON-RPC bodies; a word stands for a call of that method, `tool:x` for a call of that tool.
#[track_caller]
fn rpc(policy: &str, rows: &[(&str, &str)]) {
    let policy = load(policy);
    for (line, expected) in rows {
        let calls: Vec<String> = line.split(' ').map(call).collect();
        let body = if calls.len() == 1 { calls[0].clone() } else { format!("[{}]", calls.join(",")) };
        check_one(&policy, Request { method: "POST", body: Some(&body), ..CURL }, expected);
    }
}

fn call(word: &str) -> String {
    match word.split_once(':') {
        _ if word.starts_with(['{', '[']) => word.to_owned(),
        Some(("tool", name)) => {
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{name}","arguments":{{}}}}}}"#)
        }
        _ => format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{word}"}}"#),
    }
}

const RESPONSE: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

#[test]
fn rows_60_to_62_operations() {
    graphql(
        "rules: [{allow: {operation_type: query, fields: [viewer, 'repo*']}}]",
        &[
            ("{viewer repository}", "allow"),
            ("{viewer secret}", NO_OPERATION),
            ("{viewer: secret}", NO_OPERATION),
            ("{...F} fragment F on Query {secret}", NO_OPERATION),
        ],
    );
    graphql(
        "rules: [{allow: {operation_type: mutation, operation_name: 'Issue*', fields: [createIssue]}}]",
        &[("mutation IssueX {createIssue}", "allow"), ("mutation {createIssue}", NO_OPERATION)],
    );
    graphql(
        "access: full, deny_rules: [{operation_type: mutation, fields: ['delete*']}]",
        &[("mutation {createX deleteY}", "blocked by endpoint policy"), ("{deleteY}", "allow")],
    );
}

#[test]
fn row_63_unreadable_graphql() {
    for mode in ["enforce", "audit"] {
        let policy = endpoint("graphql", &format!("access: full, enforcement: {mode}"));
        check(
            &policy,
            &[
                (r#"POST / {"query":"query A{a} query B{b}"}"#, REJECTED),
                ("PUT / {}", REJECTED),
                ("POST / {", REJECTED),
                ("GET /?query=%7Ba%7D&query=%7Bb%7D", REJECTED),
                (r#"POST /?query=mutation%7Bx%7D {"query":"{a}"}"#, REJECTED),
            ],
        );
    }
}

#[test]
fn row_64_batches() {
    check(
        &endpoint("graphql", "access: read-only"),
        &[
            (r#"POST / [{"query":"{a}"},{"query":"{b}"}]"#, "allow"),
            (r#"POST / [{"query":"{a}"},{"query":"mutation{b}"}]"#, NO_OPERATION),
        ],
    );
}

#[test]
fn row_65_persisted_operations() {
    let registry = "graphql_persisted_queries: {abc: {operation_type: query, fields: [viewer]}}";
    let rules = "rules: [{allow: {operation_type: query, fields: [viewer]}}]";
    check(
        &endpoint("graphql", &format!("persisted_queries: allow_registered, {registry}, {rules}")),
        &[
            (r#"POST / {"extensions":{"persistedQuery":{"sha256Hash":"abc"}}}"#, "allow"),
            (r#"POST / {"extensions":{"persistedQuery":{"sha256Hash":"zzz"}}}"#, "not registered"),
            (r#"POST / {"query":"{viewer}","id":"zzz"}"#, "allow"),
            (r#"POST / {"query":"{other}","id":"abc"}"#, NO_OPERATION),
        ],
    );
    check(&endpoint("graphql", &format!("{registry}, {rules}")), &[(r#"POST / {"id":"abc"}"#, "not registered")]);
}

#[test]
fn rows_66_and_67_spellings() {
    graphql("rules: [{allow: {operation_type: '*'}}]", &[("subscription {s}", "allow"), ("mutation {m}", "allow")]);
    check(
        &endpoint("GraphQL", "access: read-only"),
        &[("GET /?query=mutation%7Bx%7D", NO_OPERATION), (r#"POST / {"query":"{x}"}"#, "allow")],
    );
}

#[test]
fn rows_68_and_69_json_rpc() {
    let policy = endpoint("json-rpc", "rules: [{allow: {method: reports.list}}, {allow: {method: init}}]");
    rpc(
        &policy,
        &[
            ("reports.list", "allow"),
            ("reports.list init", "allow"),
            ("reports.list x", NO_RULE),
            (RESPONSE, "response frames are not permitted"),
        ],
    );
    check(&policy, &[("GET /", "JSON-RPC request rejected")]);
    refused(&endpoint("json-rpc", "rules: [{allow: {method: 'reports.*'}}]"), "methods are exact");
}

#[test]
fn rows_70_and_71_tools() {
    let policy = endpoint(
        "mcp",
        "rules: [{allow: {method: tools/list}}, {allow: {method: tools/call, tool: 'read_*'}}], deny_rules: [{tool: read_secret}]",
    );
    rpc(
        &policy,
        &[
            ("tools/list", "allow"),
            ("tool:read_file", "allow"),
            ("tool:read_a.b", "allow"),
            ("tool:read_secret", "blocked by deny rule"),
            ("tool:write_file", NO_RULE),
            ("tool:read_file tool:write_file", NO_RULE),
            ("prompts/list", NO_RULE),
            (RESPONSE, "allow"),
        ],
    );
    let policy = load(&policy);
    // A case is asked as an MCP client asks; a stream without its media type is not one.
    check_one(&policy, CURL, "allow");
    let method = Method::parse("GET").expect("a method");
    let path = CanonicalPath::parse("/", EncodedSlash::Refuse).expect("canonical");
    let authority = Authority::parse("x.example.com:443").expect("an authority");
    let program = Program { path: CURL.binary.into(), sha256: [0; 32], changed: false };
    let caller = Caller::Known { pid: 2, program, ancestors: Vec::new() };
    let ask = Ask {
        caller: &caller,
        authority: &authority,
        scheme: Scheme::Https,
        method: &method,
        path: &path,
        query: None,
    };
    let decision = policy.decide_with_body(&ask, Payload::json(b""));
    assert!(
        matches!(&decision, Decision::Deny(why) if why.to_string().contains("must ask for text/event-stream")),
        "{decision:?}"
    );
    check_one(&policy, Request { method: "DELETE", ..CURL }, "JSON-RPC request rejected");
}

#[test]
fn row_72_unreadable_calls() {
    let policy = endpoint("mcp", "enforcement: audit, rules: [{allow: {method: tools/list}}]");
    rpc(
        &policy,
        &[
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"bad\u0020name"}}"#, "tool name"),
            (r#"{"jsonrpc":"1.0","id":1,"method":"tools/list"}"#, "JSON-RPC request rejected"),
            ("[]", "JSON-RPC request rejected"),
            ("prompts/list", "audit"),
        ],
    );
}

#[test]
fn rows_73_and_74_all_methods() {
    let all = "mcp: {allow_all_known_mcp_methods: true}";
    rpc(
        &endpoint("mcp", &format!("{all}, deny_rules: [{{tool: rm}}]")),
        &[("resources/list", "allow"), ("tool:ls", "allow"), ("tool:rm", "deny rule"), ("x/custom", "allow")],
    );
    rpc(
        &endpoint("mcp", &format!("{all}, rules: [{{allow: {{tool: 'read_*'}}}}]")),
        &[("tool:read_x", "allow"), ("tool:write", NO_RULE), ("resources/list", "allow")],
    );
}

#[test]
fn row_75_contradictions() {
    refused(&endpoint("mcp", "rules: [{allow: {method: '*'}}]"), "is not accepted for mcp");
    let both = "rules: [{allow: {method: 'tools/*'}}, {allow: {tool: search}}]";
    refused(&endpoint("mcp", both), "covers every tool");
}

#[test]
fn arguments_of_tools() {
    let policy = endpoint(
        "mcp",
        "rules: [{allow: {tool: push, params: {arguments.repo: 'acme/*', arguments.force: false}}}],
         deny_rules: [{tool: push, params: {arguments.files.path: '*.env'}}]",
    );
    let push = |arguments: &str| {
        format!(
            r#"POST / {{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"push","arguments":{arguments}}}}}"#
        )
    };
    check(
        &policy,
        &[
            (&push(r#"{"repo":"acme/site","force":false}"#), "allow"),
            (&push(r#"{"repo":"other/site","force":false}"#), NO_RULE),
            (&push(r#"{"repo":"acme/site","force":true}"#), NO_RULE),
            (&push(r#"{"repo":"acme/site","force":"false"}"#), NO_RULE),
            (&push(r#"{"repo":["acme/site","evil/x"],"force":false}"#), NO_RULE),
            (&push(r#"{"repo":"acme/site"}"#), NO_RULE),
            (&push(r#"{"repo":"acme/site","force":false,"files":[{"path":"a"},{"path":".env"}]}"#), "deny rule"),
            (&push(r#"{"repo":"acme/site","repo":"evil/x","force":false}"#), "stands twice"),
        ],
    );
}

#[test]
fn rows_76_and_77_messages() {
    let policy = endpoint("websocket", "access: read-only");
    check(&policy, &[("GET /", "allow"), ("WEBSOCKET_TEXT / hello", NO_RULE), ("POST /", "only WebSocket")]);
    check(&endpoint("websocket", "access: read-write"), &[("WEBSOCKET_TEXT / hello", "allow")]);
    let policy = endpoint(
        "websocket",
        "rules: [{allow: {method: GET, path: /ws/**}}, {allow: {method: WEBSOCKET_TEXT, path: /ws/pub/**}}]",
    );
    check(&policy, &[("WEBSOCKET_TEXT /ws/a hello", NO_RULE), ("WEBSOCKET_TEXT /ws/pub/a hello", "allow")]);
}

#[test]
fn row_78_graphql_over_websocket() {
    let policy =
        endpoint("websocket", "rules: [{allow: {method: GET, path: /ws}}, {allow: {operation_type: subscription}}]");
    check(
        &policy,
        &[
            (r#"WEBSOCKET_TEXT /ws {"type":"subscribe","id":"1","payload":{"query":"subscription{s}"}}"#, "allow"),
            (r#"WEBSOCKET_TEXT /ws {"type":"subscribe","id":"1","payload":{"query":"mutation{s}"}}"#, NO_OPERATION),
            (r#"WEBSOCKET_TEXT /ws {"type":"connection_init"}"#, "allow"),
            ("WEBSOCKET_TEXT /ws hello", REJECTED),
        ],
    );
    let policy = endpoint("websocket", "access: read-write, deny_rules: [{operation_type: mutation}]");
    check(
        &policy,
        &[
            (r#"WEBSOCKET_TEXT / {"type":"start","id":"1","payload":{"query":"{s}"}}"#, "allow"),
            (r#"WEBSOCKET_TEXT / {"type":"start","id":"1","payload":{"query":"mutation{s}"}}"#, "blocked by endpoint"),
        ],
    );
}
