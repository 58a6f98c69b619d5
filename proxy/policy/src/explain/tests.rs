use super::*;
use crate::question::RequestWords;

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
    - {host: api.example.com, port: 443, protocol: rest, rules: [{allow: {method: GET, path: /v1/**}}], deny_rules: [{path: /v1/secret}]}
    - {host: api.example.com, port: 443, protocol: mcp, path: /mcp, rules: [{allow: {tool: search}}]}
    binaries: [{path: /usr/bin/curl}]
  reading: {endpoints: [{host: '*.docs.example', port: 443, protocol: rest, access: read-only}]}
";

/// Asks as `binary METHOD host/path [body]`, or `binary host:port` for a connection.
fn question(words: &str) -> Question {
    let mut parts = words.splitn(4, ' ');
    let binary = parts.next().map(|name| format!("/usr/bin/{name}"));
    let (Some(method), target) = (parts.next(), parts.next()) else { panic!("{words}") };
    let Some(target) = target else {
        let (host, port) = method.split_once(':').expect("host:port");
        return Question { binary, ..Question::connection(host, port.parse().expect("a port")) };
    };
    let (host, path) = target.split_once('/').expect("host/path");
    let request =
        RequestWords { method: method.into(), path: format!("/{path}"), body: parts.next().map(str::to_owned) };
    Question { binary, request: Some(request), ..Question::connection(host, 443) }
}

fn explained(words: &str) -> Explanation {
    explain(&crate::load(POLICY).expect("a policy"), &question(words))
}

/// Near misses as `policy: miss; miss`.
#[track_caller]
fn check_near(words: &str, expected: &[&str]) {
    let seen: Vec<String> = explained(words)
        .near_misses
        .iter()
        .map(|miss| format!("{}: {}", miss.policy, miss.misses.join("; ")))
        .collect();
    assert_eq!(seen, expected, "{words}");
}

#[test]
fn near_misses() {
    check_near(
        "curl POST api.example.com/v1/x",
        &["api: rules: method POST is not GET", "api: path: the endpoint speaks for `/mcp` only"],
    );
    check_near(
        "curl GET api.example.com/v1",
        &[
            "api: rules: path /v1 does not match `/v1/**` (`/x/**` does not cover `/x` itself)",
            "api: path: the endpoint speaks for `/mcp` only",
        ],
    );
    check_near(
        "git GET api.example.com/v1/x",
        &[
            "api: program: `/usr/bin/git` is not among the entry's `binaries`",
            "api: program: `/usr/bin/git` is not among the entry's `binaries`; path: the endpoint speaks for `/mcp` only",
        ],
    );
    check_near("git DELETE a.docs.example/x", &["reading: rules: `access: read-only` does not include DELETE"]);
    check_near("git a.docs.example:80", &["reading: port: 80 is not 443"]);
    check_near("git docs.example:443", &["reading: host: `docs.example` is not covered by `*.docs.example`"]);
}

/// The summary, and lines that the fragment must hold.
#[track_caller]
fn check_change(words: &str, summary: &str, lines: &[&str]) {
    let change = explained(words).change.unwrap_or_else(|| panic!("no change for {words}"));
    assert_eq!(change.summary, summary, "{words}");
    for line in lines {
        assert!(
            change.fragment.lines().any(|seen| seen.trim_start_matches([' ', '-']) == *line),
            "{line}:\n{}",
            change.fragment
        );
    }
}

#[test]
fn changes() {
    check_change(
        "curl POST api.example.com/v1/x*y?q",
        "add a rule to `api` for api.example.com:443",
        &["method: POST", "path: /v1/x\\*y", "host: api.example.com"],
    );
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"write"}}"#;
    check_change(
        &format!("curl POST api.example.com/mcp {call}"),
        "add a rule to `api` for api.example.com:443/mcp",
        &["tool: write", "path: /mcp"],
    );
    check_change("git GET api.example.com/v1/x", "let `/usr/bin/git` use the entry `api`", &["path: /usr/bin/git"]);
    check_change(
        "git x.example.com:22",
        "add the entry `allow_x_example_com_22`",
        &["host: x.example.com", "port: 22"],
    );
    check_change(
        "curl GET api.example.com/v1/secret",
        "remove or narrow the deny rule `* /v1/secret`; nothing that is added can overrule it",
        &[],
    );
    assert_eq!(explained("curl GET api.example.com/v1/x").change, None, "allowed already");
    assert_eq!(explained("curl GET api.example.com/..").change, None, "no rule can allow a broken path");
}
