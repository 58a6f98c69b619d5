//! Documents that are refused, each with its reason at its place; and limits.

use std::time::{Duration, Instant};

use tollgate_policy::Severity;

use crate::table::with_endpoints;

/// Checks the first error of a document, as `line:column: beginning of the message`.
#[track_caller]
fn check(text: &str, expected: &str) {
    let seen = match tollgate_policy::load(text) {
        Ok(_) => "it loads".to_owned(),
        Err(found) => {
            let error = found.iter().find(|one| one.severity == Severity::Error).expect("a reason to refuse it");
            error.to_string()
        }
    };
    assert!(seen.starts_with(expected), "expected {expected:?}, got:\n{seen}\n{text}");
}

/// The same for the fields of one endpoint, whatever the place.
#[track_caller]
fn check_endpoint(fields: &str, expected: &str) {
    let text = with_endpoints(&format!("{{host: x.example.com, port: 443, {fields}}}"));
    let seen = match tollgate_policy::load(&text) {
        Ok(_) => "it loads".to_owned(),
        Err(found) => found.to_string(),
    };
    assert!(seen.contains(expected), "expected {expected:?}, got:\n{seen}\n{fields}");
}

/// Checks the first error of a document by a part of its message, or that it loads where nothing is expected.
#[track_caller]
fn check_message(text: &str, expected: Option<&str>) {
    match (tollgate_policy::load(text), expected) {
        (Ok(_), None) => {}
        (Err(found), Some(expected)) => {
            let error = found.iter().find(|one| one.severity == Severity::Error).expect("a reason to refuse it");
            assert!(error.message.contains(expected), "expected {expected:?}, got:\n{error}\n{text}");
        }
        (Ok(_), Some(expected)) => panic!("it loads, expected {expected:?}\n{text}"),
        (Err(found), None) => panic!("expected that it loads, got:\n{found}\n{text}"),
    }
}

#[test]
fn p1_structure() {
    check("", "1:1: the document is empty");
    check("network_policies: {}", "1:1: `version` is missing");
    check("version: 2", "1:10: `version` must be 1");
    check("version: '1'", "1:10: `version` must be 1");
    check("version: 1.0", "1:10: `version` must be 1");
    check("version: 1\nversion: 1", "2:1: the key `version` stands twice");
    check("version: 1\n---\nversion: 1", "2:1: a second document");
    check("version: 1\ninference: {}", "2:1: unknown field `inference` in a policy (hint: accepted: version,");
    check(
        "version: 1\nnetwork_policy: {}",
        "2:1: unknown field `network_policy` in a policy (hint: did you mean `network_policies`?)",
    );
    check("version: 1\nnetwork_policies: []", "2:19: `network_policies` must be a map of names, not a list");
    check("version: 1\nnetwork_policies: {a: {}, a: {}}", "2:27: the key `a` stands twice");
    check("version: 1\nnetwork_policies: {'': {}}", "2:20: an entry needs a key");
    check("version: 1\nnetwork_policies: {_provider_x: {}}", "2:20: keys that begin with `_provider_` are reserved");
    check("version: 1\nnetwork_policies: {a: {endpoints: }}", "2:33: `endpoints` has no value");
    check("version: 1\nnetwork_policies: {a: {binaries: [curl]}}", "2:35: a program is a map with `path`");
    check(
        "version: 1\nnetwork_policies: {a: {binaries: [{path: curl}]}}",
        "2:42: the program `curl` is not an absolute path",
    );
}

#[test]
fn empty_sections_are_as_good_as_none() {
    for text in
        ["version: 1\nnetwork_policies:", "version: 1\nfilesystem_policy:\nlandlock: ~\nprocess:", "{\"version\": 1}"]
    {
        check(text, "it loads");
    }
}

#[test]
fn row_90_a_shown_policy_can_be_set_again() {
    check("Version:      7\nHash:         ab\nStatus:       Effective\n---\nversion: 1\n", "it loads");
    check("Version:      7\nHash:         ab\n---\nversion: 2\n", "4:10: `version` must be 1");
}

#[test]
fn every_mistake_at_once() {
    let text = "version: 2
network_policies:
  a:
    endpoints:
    - {host: 'https://x', port: 70000, protocol: grcp}
    - {host: x.example.com, port: 443, protocol: rest, access: readonly}
";
    let found = tollgate_policy::load(text).expect_err("many mistakes").to_string();
    let lines: Vec<&str> = found.lines().map(|line| line.split(" (hint").next().unwrap_or_default()).collect();
    assert_eq!(
        lines,
        [
            "1:10: `version` must be 1",
            "5:14: the host `https://x`: a host stands alone, without scheme or path",
            "5:33: `port` must be from 1 to 65535",
            "5:50: unknown value `grcp` for `protocol`",
            "6:64: unknown value `readonly` for `access`",
        ]
    );
}

#[test]
fn static_sections() {
    check("version: 1\nfilesystem_policy: {read_only: [usr]}", "2:33: the path `usr` must be absolute");
    check("version: 1\nfilesystem_policy: {read_only: [/a/../b]}", "2:33: the path `/a/../b` may not hold `..`");
    check("version: 1\nfilesystem_policy: {read_write: [//]}", "2:34: the path `//` would make everything writable");
    check("version: 1\nfilesystem_policy: {read_only: }", "2:30: `read_only` has no value");
    check("version: 1\nlandlock: {compatibility: hard}", "2:27: unknown value `hard` for `compatibility`");
    check("version: 1\nprocess: {run_as_user: root}", "2:24: `run_as_user` may not be `root`");
    check("version: 1\nprocess: {run_as_user: '0'}", "2:24: `run_as_user` may not be `0`");
    check(
        "version: 1\nprocess: {run_as_user: 1000}",
        "2:24: `run_as_user` must be text, not a number (hint: put it in quotes)",
    );
    check("version: 1\nprocess: {run_as_user: '1000', run_as_group: sandbox}", "it loads");
}

#[test]
fn endpoints_that_would_not_do_what_they_say() {
    let rest = "protocol: rest, access: full";
    for (fields, expected) in [
        ("tls: SKIP", "unknown value `SKIP` for `tls` (hint: did you mean `skip`?)"),
        ("protocol: sql", "`protocol: sql` is not inspected"),
        ("protocol: rest", "the endpoint allows nothing"),
        ("protocol: rest, rules: []", "the endpoint allows nothing"),
        ("protocol: rest, access: full, rules: [{allow: {method: GET}}]", "`access` and `rules` stand together"),
        ("protocol: rest, rules: [{method: GET}]", "unknown field `method` in an item of `rules`"),
        ("protocol: rest, rules: [{allow: {}}]", "the rule is empty"),
        ("protocol: rest, rules: [{allow: {method: 'G*'}}]", "a method has no wildcards"),
        ("protocol: rest, rules: [{allow: {method: GET, path: ''}}]", "`path` is empty"),
        ("protocol: rest, rules: [{allow: {path: 'v1/*'}}]", "never matches, since every path begins with `/`"),
        ("protocol: rest, rules: [{allow: {path: '/a b'}}]", "(hint: write `/a%20b`)"),
        ("protocol: rest, rules: [{allow: {query: {a: {glob: x}}}}]", "unknown field `glob` in a query value"),
        ("protocol: rest, rules: [{allow: {query: {a: {any: []}}}}]", "`any` is empty"),
        ("protocol: rest, rules: [{allow: {tool: x}}]", "`tool` and `params` cannot be judged with `protocol: rest`"),
        ("protocol: rest, access: full, deny_rules: []", "`deny_rules` is empty"),
        ("protocol: rest, access: full, tls: skip", "leaves nothing to inspect"),
        ("deny_rules: [{method: GET}]", "would never refuse anything"),
        ("path: /v1/**", "`path` without `protocol` has no effect"),
        ("allowed_ips: [10.0.0.1/8]", "the address has bits beyond its prefix"),
        ("allowed_ips: [127.0.0.0/8]", "which no policy can open"),
        ("protocol: tcp, access: full", "`access` has no meaning for `protocol: tcp`"),
        ("protocol: json-rpc, access: full", "`access` has no meaning for `protocol: json-rpc`"),
        ("protocol: graphql, rules: [{allow: {method: GET}}]", "a graphql rule needs `operation_type`"),
        ("protocol: graphql, rules: [{allow: {operation_type: read}}]", "unknown value `read` for `operation_type`"),
        ("protocol: mcp, rules: [{allow: {method: 'prompts/*'}}]", "globs are accepted only below `tools/`"),
        ("protocol: mcp, rules: [{allow: {params: {title: x}}}]", "`params.title` cannot be matched"),
        ("protocol: mcp, rules: [{allow: {tool: a, params: {name: b}}}]", "say the same"),
        (
            "protocol: rest, access: full, mcp: {strict_tool_names: false}",
            "`mcp` has an effect only with `protocol: mcp`",
        ),
        ("protocol: rest, access: full, credential_signing: sigv4", "needs `signing_service`"),
        ("protocol: rest, access: full, credential_signing: sigv5, signing_service: s3", "did you mean `sigv4`?"),
        ("advisor_proposed: true", "unknown field `advisor_proposed`"),
    ] {
        check_endpoint(fields, expected);
    }
    for fields in [
        rest,
        "access: full",
        "rules: [{allow: {method: '*', path: '/**'}}]",
        "protocol: REST, access: full",
        "protocol: rest, access: full, tls: terminate",
        "protocol: rest, access: full, mcp: {}",
        "tls: ''",
    ] {
        check_endpoint(fields, "it loads");
    }
    check(&with_endpoints("{port: 443}"), "2:36: the endpoint names no host");
    check(&with_endpoints("{host: x.example.com}"), "2:36: the endpoint names no port");
    check(&with_endpoints("{host: 10.0.0.1, port: 443, protocol: tcp}"), "2:37: `protocol: tcp` needs a host name");
}

#[test]
fn middlewares() {
    let stage = |fields: &str| format!("version: 1\nnetwork_middlewares: {{m: {{{fields}}}}}");
    check(&stage("middleware: openshell/regex, config: {mode: redact}, endpoints: {include: ['**.com']}"), "it loads");
    check(&stage("endpoints: {include: [x.com]}"), "2:23: `middleware` is missing");
    check(&stage("middleware: openshell/regexp, endpoints: {include: [x.com]}"), "2:23: no built-in middleware");
    check(&stage("middleware: m"), "2:23: `endpoints` is missing");
    check(&stage("middleware: m, endpoints: {include: []}"), "2:53: `include` names no host");
    check(&stage("middleware: m, on_error: open, endpoints: {include: [x.com]}"), "2:52: unknown value `open`");
    let two = "version: 1\nnetwork_middlewares: {a: {middleware: m, endpoints: {include: [x.com]}}, b: {middleware: m, endpoints: {include: [y.com]}}}";
    check(two, "2:74: the middlewares `a` and `b` have the same `order` 0");
    let blind = format!(
        "{}network_middlewares: {{m: {{middleware: m, endpoints: {{include: [x.example.com]}}}}}}",
        with_endpoints("{host: x.example.com, port: 443, tls: skip}")
    );
    check(&blind, "3:23: the middleware `m` must see x.example.com:443, where `tls: skip` hides everything");
}

#[test]
fn credentials() {
    let bound = |endpoint: &str, binding: &str| {
        format!("{}x-tollgate: {{credentials: {{TOKEN: {{bindings: [{{{binding}}}]}}}}}}", with_endpoints(endpoint))
    };
    let read = "{host: x.example.com, port: 443, protocol: rest, access: full}";
    check(&bound(read, "host: x.example.com, header: Authorization"), "it loads");
    check(
        &bound(read, "host: y.example.com, header: authorization"),
        "3:47: the credential `TOKEN` is bound to y.example.com:443, which no endpoint covers",
    );
    check(
        &bound(read, "host: x.example.com, port: 80, header: authorization"),
        "3:47: the credential `TOKEN` is bound to x.example.com:80",
    );
    check(
        &bound(read, "host: '*.example.com', header: authorization"),
        "3:47: the credential `TOKEN` is bound to *.example.com:443",
    );
    for header in ["Cookie", "host", "If-Match", "Sec-Fetch-Site", "Proxy-Authorization", "Access-Control-Allow-Origin"]
    {
        let text = bound(read, &format!("host: x.example.com, header: {header}"));
        check(&text, &format!("3:77: the header `{}` may not hold a secret", header.to_ascii_lowercase()));
    }
    check(&bound(read, "host: x.example.com, header: 'a b'"), "3:77: `a b` is no header name");
    let blind = bound("{host: x.example.com, port: 443, tls: skip}", "host: x.example.com, header: authorization");
    check(&blind, "3:47: the credential `TOKEN` is bound to x.example.com:443, where the connection is not read");
}

#[test]
fn places_of_credentials() {
    let bound = |endpoint: &str, binding: &str| {
        let endpoint = format!("{{host: x.example.com, port: 443, protocol: rest, access: full{endpoint}}}");
        format!("{}x-tollgate: {{credentials: {{TOKEN: {{bindings: [{{{binding}}}]}}}}}}", with_endpoints(&endpoint))
    };
    for slot in ["query: key", "path_template: '/bot{credential}/**'", "cookie: session", "header: x-key"] {
        check_message(&bound("", &format!("host: x.example.com, {slot}")), None);
    }
    let (body, socket) = (", request_body_credential_rewrite: true", ", websocket_credential_rewrite: true");
    check_message(&bound(body, "host: x.example.com, body: token"), None);
    check_message(&bound(socket, "host: x.example.com, websocket: '*'"), None);
    for (binding, expected) in [
        ("host: x.example.com", "a binding needs a place for the secret"),
        ("host: x.example.com, header: a, query: b", "a binding has one place, not both `header` and `query`"),
        ("host: x.example.com, path_template: /bot", "`/bot`: a path template holds `{credential}` exactly once"),
        ("host: x.example.com, cookie: 'a b'", "`a b` is no cookie name"),
        ("host: x.example.com, header: cookie", "the header `cookie` may not hold a secret"),
        ("host: x.example.com, body: a", "which needs `request_body_credential_rewrite`"),
        ("host: x.example.com, websocket: a", "which needs `websocket_credential_rewrite`"),
    ] {
        check_message(&bound("", binding), Some(expected));
    }
}

#[test]
fn k15_no_request_gets_a_credential_past_the_rules() {
    let bound = |endpoint: &str| {
        let read = "{host: x.example.com, port: 443, protocol: rest, access: read-only}";
        let both = with_endpoints(&format!("{read}, {endpoint}"));
        format!(
            "{both}x-tollgate: {{credentials: {{TOKEN: {{bindings: [{{host: x.example.com, header: authorization}}]}}}}}}"
        )
    };
    for (endpoint, expected) in [
        (
            "{host: '*.example.com', port: 443}",
            Some(
                "GET https://x.example.com:443/ would get the credential `TOKEN` at *.example.com:443, where no rule judges requests",
            ),
        ),
        (
            "{host: x.example.com, port: 443, path: /v1/**, protocol: rest, enforcement: audit, access: full}",
            Some("even if a rule refuses it"),
        ),
        ("{host: '*.example.com', port: 443, allow_uninspected_credentials: true}", None),
        ("{host: y.example.com, port: 443}", None),
    ] {
        check_message(&bound(endpoint), expected);
    }
}

#[test]
fn circumstances() {
    let when = |fields: &str| {
        format!("version: 1\nnetwork_policies: {{a: {{endpoints: [], x-tollgate: {{when: {{{fields}}}}}}}}}")
    };
    check(&when("agent: [claude, 'codex-*'], time: {days: [mon], from: '08:00', to: '18:00'}"), "it loads");
    check(&when(""), "2:58: `when` asks for nothing");
    check(&when("agent: []"), "2:66: `agent` is empty");
    check(&when("time: {from: '8:00'}"), "2:72: `8:00` is not a time of day");
    check(&when("time: {days: [monday]}"), "2:73: unknown value `monday` for a day");
    check(&when("expires: tomorrow"), "2:68: `tomorrow` is not a time");
    check(
        &when("not_before: 2027-01-01T00:00:00Z, expires: 2026-01-01T00:00:00Z"),
        "2:58: `expires` is not after `not_before`",
    );
}

#[test]
fn bombs_are_refused_quickly() {
    let entries = |count: usize, entry: fn(usize) -> String| {
        let all: Vec<String> = (0..count).map(entry).collect();
        format!("version: 1\nnetwork_policies: {{{}}}", all.join(", "))
    };
    let aliases = format!("a: &a [{}]\nb: [{}]", "x, ".repeat(50_000), "*a, ".repeat(50_000));
    for (name, text) in [
        ("aliases", aliases),
        (
            "ports times rules",
            with_endpoints(&format!(
                "{{host: x.example.com, ports: [{}], protocol: rest, rules: [{}]}}",
                (1..20_000).map(|port| port.to_string()).collect::<Vec<_>>().join(","),
                "{allow: {path: /x}},".repeat(2_000)
            )),
        ),
        (
            "braces",
            with_endpoints(&format!(
                "{{host: x.example.com, port: 443, protocol: rest, rules: [{{allow: {{path: '/{}'}}}}]}}",
                "{a,b}".repeat(64)
            )),
        ),
        (
            "disagreeing paths",
            entries(6_000, |number| {
                let mode = if number % 2 == 0 { "audit" } else { "enforce" };
                format!(
                    "e{number}: {{endpoints: [{{host: x.example.com, port: 443, protocol: rest, access: full, path: /p{number}/**, enforcement: {mode}}}]}}"
                )
            }),
        ),
        ("many bytes", " ".repeat(5 << 20)),
    ] {
        let start = Instant::now();
        assert!(tollgate_policy::load(&text).is_err(), "{name}");
        // Generous, since this also runs unoptimised and next to other tests.
        assert!(start.elapsed() < Duration::from_secs(5), "{name}: {:?}", start.elapsed());
    }
}
