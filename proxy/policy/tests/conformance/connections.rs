//! Rows 1 to 20: host, port, program.

use crate::ask::{CURL, Request};
use crate::table::{check_one, load, refused, with_endpoints};

const NO_ENDPOINT: &str = "is not allowed by any policy";
const NO_BINARY: &str = "not allowed in policy";

/// Checks hosts (with a port where it is not 443) against one endpoint.
#[track_caller]
fn hosts(endpoint: &str, rows: &[(&str, &str)]) {
    let policy = load(&with_endpoints(endpoint));
    for (host, expected) in rows {
        let (host, port) = match host.rsplit_once(':') {
            Some((host, port)) => (host, port.parse().expect("a port")),
            None => (*host, 443),
        };
        check_one(&policy, Request { host, port, ..CURL }, expected);
    }
}

/// Checks `binary` or `binary < ancestor` against a list of programs.
#[track_caller]
fn binaries(list: &str, rows: &[(&str, &str)]) {
    let entry = "endpoints: [{host: x.example.com, port: 443}]";
    let policy = load(&format!("version: 1\nnetwork_policies: {{p: {{{entry}{list}}}}}"));
    for (who, expected) in rows {
        let (binary, ancestor) = who.split_once(" < ").unwrap_or((who, "/sbin/init"));
        check_one(&policy, Request { binary, ancestors: &[ancestor], ..CURL }, expected);
    }
}

#[test]
fn row_1_nothing() {
    check_one(&load("version: 1"), CURL, "network connections not allowed by policy");
}

#[test]
fn rows_2_to_4_ports() {
    hosts("{host: x.example.com, port: 443}", &[("X.Example.COM", "allow"), ("x.example.com:80", NO_ENDPOINT)]);
    hosts(
        "{host: x.example.com, ports: [443, 8443]}",
        &[("x.example.com:8443", "allow"), ("x.example.com:80", NO_ENDPOINT)],
    );
}

#[test]
fn row_5_port_and_ports() {
    refused(&with_endpoints("{host: x.example.com, port: 443, ports: [80, 8080]}"), "`port` and `ports`");
}

#[test]
fn rows_6_to_9_wildcards() {
    hosts(
        "{host: '*.example.com', port: 443}",
        &[
            ("a.example.com", "allow"),
            ("example.com", NO_ENDPOINT),
            ("a.b.example.com", NO_ENDPOINT),
            ("xexample.com", NO_ENDPOINT),
        ],
    );
    hosts("{host: '**.example.com', port: 443}", &[("a.b.example.com", "allow"), ("example.com", NO_ENDPOINT)]);
    hosts(
        "{host: '*-ai.example.com', port: 443}",
        &[("us-ai.example.com", "allow"), ("us.x-ai.example.com", NO_ENDPOINT)],
    );
    hosts(
        "{host: 'api.*.example.com', port: 443}",
        &[("api.us.example.com", "allow"), ("api.us.eu.example.com", NO_ENDPOINT)],
    );
}

#[test]
fn rows_10_to_12_too_broad() {
    for host in ["*.com", "**", "*", "a*.com", "*.*.com"] {
        refused(&with_endpoints(&format!("{{host: '{host}', port: 443}}")), "at least two plain labels");
    }
    refused(&with_endpoints("{host: 'api.**.example.com', port: 443}"), "`**` stands alone");
    refused(&with_endpoints("{host: 'api.*-x.example.com', port: 443}"), "first label or is a whole label");
}

#[test]
fn row_13_one_spelling() {
    hosts("{host: example.com., port: 443}", &[("example.com", "allow"), ("example.com.", "allow")]);
}

#[test]
fn row_14_any_host_inside_a_range() {
    hosts(
        "{allowed_ips: [10.0.5.0/24], port: 8080}",
        &[("db.internal:8080", "allow"), ("db.internal:8081", NO_ENDPOINT)],
    );
}

#[test]
fn rows_15_to_17_programs() {
    binaries(
        ", binaries: [{path: /usr/bin/curl}]",
        &[("/usr/bin/curl2", NO_BINARY), ("/usr/bin/bash < /usr/bin/curl", "allow"), ("/usr/bin/curl", "allow")],
    );
    binaries(
        ", binaries: [{path: /usr/bin/*}]",
        &[("/usr/bin/x", "allow"), ("/usr/bin/a/x", NO_BINARY), ("/opt/x < /usr/bin/y", "allow")],
    );
    binaries(", binaries: [{path: /opt/**}]", &[("/opt/a/b/x", "allow"), ("/opt", NO_BINARY)]);
}

#[test]
fn row_18_half_a_pattern() {
    let entry = "endpoints: [{host: x.example.com, port: 443}], binaries: [{path: '/usr/bin/{a,b}'}]";
    refused(&format!("version: 1\nnetwork_policies: {{p: {{{entry}}}}}"), "looks like a pattern");
}

#[test]
fn row_19_no_programs_named() {
    binaries("", &[("/usr/bin/anything", "allow")]);
    binaries(", binaries: []", &[("/usr/bin/anything", NO_BINARY)]);
}

#[test]
fn row_20_entries_do_not_mix() {
    let policy = load(
        "
version: 1
network_policies:
  a: {endpoints: [{host: x.example.com, port: 443}], binaries: [{path: /usr/bin/curl}]}
  b: {endpoints: [{host: y.example.com, port: 443}], binaries: [{path: /usr/bin/git}]}
",
    );
    check_one(&policy, Request { host: "y.example.com", ..CURL }, "binary '/usr/bin/curl' not allowed in policy 'b'");
}
