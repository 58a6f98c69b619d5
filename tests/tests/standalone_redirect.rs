//! A transparent listener behind a real redirect: what clients name is judged, not where they were going.

use std::process::Command;

use tollgate_tests::{Bench, finish, policy_for, redirected};

const AGENT: &str = "listeners: [{ systemd: captured, transparent: true }]\n\
                     agents: [{ name: all, sources: [\"0.0.0.0/0\"], policy: policy.yaml }]\n";

/// Runs a shell script in the redirected network and gives what it printed.
fn run(bench: &Bench, script: &str) -> String {
    let mut command: Command = redirected(bench, &["sh", "-c", script]);
    finish(&mut command).succeeded()
}

/// One request by curl, to an address that nobody has; prints the status.
fn get(name: &str, port: u16, url: &str) -> String {
    format!("curl -sSk --resolve {name}:{port}:192.0.2.7 -o /dev/null -w '%{{http_code}}\\n' {url} 2>/dev/null; ")
}

#[test]
fn names_are_judged_and_resolved_by_the_gate() {
    let bench = Bench::new(&policy_for("/a"));
    bench.configure(AGENT);
    let script = [
        get("api.test", 443, "https://api.test/a"),
        get("api.test", 443, "https://api.test/b"),
        get("evil.test", 443, "https://evil.test/a"),
        get("x.test", 443, "https://192.0.2.7/a"),
        get("api.test", 80, "http://api.test/a"),
        get("api.test", 80, "-H 'Host: api.test:443' http://api.test/a"),
        "true".to_owned(),
    ]
    .concat();
    assert_eq!(run(&bench, &script).lines().collect::<Vec<_>>(), ["200", "403", "000", "000", "403", "421"]);
    assert_eq!(bench.origin.lines(), ["GET /a"]);
    let judged: Vec<_> = bench
        .proxy_events(1, "connection")
        .iter()
        .map(|event| {
            assert_eq!((&event["via"], &event["agent"]), (&"transparent".into(), &"all".into()), "{event}");
            let text = |name: &str| event[name].as_str().unwrap_or_default().to_owned();
            format!("{} {}", text("authority"), text("decision"))
        })
        .collect();
    let expected = [
        "api.test:443 allowed",
        "api.test:443 allowed",
        "evil.test:443 denied",
        "192.0.2.7:443 denied",
        "api.test:80 denied",
        "- denied",
    ];
    assert_eq!(judged, expected);
}

#[test]
fn a_client_that_is_no_agents_is_refused_in_its_language() {
    let bench = Bench::new(&policy_for("/a"));
    bench.configure(&AGENT.replace("0.0.0.0/0", "203.0.113.0/24"));
    let script = get("api.test", 443, "https://api.test/a") + &get("api.test", 80, "http://api.test/a") + "true";
    assert_eq!(run(&bench, &script).lines().collect::<Vec<_>>(), ["000", "403"]);
    let errors: Vec<_> = bench.proxy_events(1, "connection").iter().map(|event| event["error"].to_string()).collect();
    assert_eq!(errors, ["\"unknown_agent\"", "\"unknown_agent\""]);
}

#[test]
fn i9_what_names_nothing_leaves_a_record() {
    let bench = Bench::new(&policy_for("/a"));
    bench.configure(&format!("{AGENT}limits: {{ handshake_seconds: 1 }}\n"));
    let script = "python3 - <<'E'\nimport socket\nfor said in (b'', b'\\x16\\x03', b'SSH-2.0-x', b'\\x05\\x01'):\n  \
                  s = socket.create_connection(('192.0.2.7', 22)); s.sendall(said); s.shutdown(1); s.recv(9); s.close()\nE\n";
    assert_eq!(run(&bench, script), "");
    let events = bench.proxy_events(1, "connection");
    assert_eq!(events.len(), 4, "{events:?}");
    assert!(events.iter().all(|event| event["decision"] == "denied"), "{events:?}");
}
