//! Endpoints that are judged by what is in the body: MCP, JSON-RPC, GraphQL.

use tollgate_tests::Bench;

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
      - host: api.test
        port: 443
        path: /mcp
        protocol: mcp
        rules:
          - allow: { method: tools/list }
          - allow: { method: tools/call, tool: 'read_*' }
        deny_rules:
          - { method: tools/call, tool: read_secret }
      - host: api.test
        port: 443
        path: /graphql
        protocol: graphql
        access: read-only
      - host: api.test
        port: 443
        path: /rpc
        protocol: json-rpc
        json_rpc: { max_body_bytes: 1000 }
        rules:
          - allow: { method: reports.list }
";

/// Posts a body; checks the status and whether the origin got exactly that body.
#[track_caller]
fn check(path: &str, body: &str, status: &str) {
    let bench = Bench::new(POLICY);
    bench.write("work/body", body);
    let script = format!(
        "curl -sS -o reply -w '%{{http_code}}' -H 'Content-Type: application/json' --data-binary @body https://api.test{path}; cat reply >&2"
    );
    let finished = bench.shell(&[], &script);
    assert_eq!(finished.stdout, status, "{finished:?}");
    let arrived: Vec<_> = bench.origin.arrived().into_iter().map(|arrived| arrived.body).collect();
    let expected = if status == "200" { vec![body.as_bytes().to_vec()] } else { Vec::new() };
    assert_eq!(arrived, expected);
    let decision = if status == "200" { "allowed" } else { "denied" };
    assert_eq!(bench.events("request")[0]["decision"], decision);
}

fn call(tool: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{{}}}}}}"#)
}

#[test]
fn u1_mcp_tools_are_judged_one_by_one() {
    check("/mcp", r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, "200");
    check("/mcp", &call("read_file"), "200");
    check("/mcp", &call("read_secret"), "403");
    check("/mcp", &call("write_file"), "403");
    check("/mcp", &format!("[{},{}]", call("read_file"), call("write_file")), "403");
    check("/mcp", &call("read_file").replace("\"id\":1", "\"method\":\"tools/list\",\"id\":1"), "403");
    check("/mcp", "not json", "403");
}

#[test]
fn f13_graphql_operations_are_judged() {
    check("/graphql", r#"{"query":"{ viewer { login } }"}"#, "200");
    check("/graphql", r#"{"query":"mutation { deleteAll }"}"#, "403");
    check("/graphql", r#"[{"query":"{ viewer }"},{"query":"mutation { deleteAll }"}]"#, "403");
}

#[test]
fn f9_a_body_beyond_the_limit_does_not_pass() {
    check("/rpc", r#"{"jsonrpc":"2.0","id":1,"method":"reports.list"}"#, "200");
    check("/rpc", r#"{"jsonrpc":"2.0","id":1,"method":"reports.drop"}"#, "403");
    let long = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"reports.list","params":["{}"]}}"#, "x".repeat(2000));
    check("/rpc", &long, "413");
}
