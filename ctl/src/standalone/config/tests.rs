//! Configurations that load, and each mistake once.

use super::*;

const WHOLE: &str = r#"
version: 1
name: gate
listeners:
  - { address: "127.0.0.1:3128" }
  - { address: "0.0.0.0:3129", tls: { certificate: tls.pem, key: /etc/tls.key } }
  - { address: "[::1]:3130", transparent: true }
  - { systemd: proxy }
authority: { folder: ca }
upstream: { ca: [extra.pem] }
resolve: [ "api.example.com:443:127.0.0.1:8443" ]
agents:
  - { name: alice, token_file: alice.token, policy: alice.yaml, secrets: { GITHUB_TOKEN: "env:TOKEN", KEY: "file:key" }, providers: [work] }
  - { name: ci, sources: [ "10.1.0.0/16", "127.0.0.1" ], policy: ci.yaml }
limits: { connections: 100, connections_per_agent: 10, handshake_seconds: 5, header_seconds: 6, drain_seconds: 0 }
"#;

fn read(text: &str) -> Result<(Config, Diagnostics), Diagnostics> {
    Config::read(text, Path::new("/etc/tollgate"))
}

#[test]
fn everything_that_there_is() {
    let (config, warnings) = read(WHOLE).expect("valid");
    assert!(warnings.is_empty(), "{warnings}");
    assert_eq!((config.name.as_str(), config.listeners.len(), config.agents.len()), ("gate", 4, 2));
    let Speaks::ExplicitTls(files) = &config.listeners[1].speaks else { panic!("{:?}", config.listeners[1]) };
    assert_eq!(files.certificate, Path::new("/etc/tollgate/tls.pem"));
    assert_eq!(files.key, Path::new("/etc/tls.key"), "an absolute path stays");
    assert_eq!(config.listeners[2].speaks, Speaks::Transparent);
    assert_eq!(config.listeners[3].place, Place::Systemd("proxy".to_owned()));
    assert_eq!(config.authority, Authority::Made(Some("/etc/tollgate/ca".into())));
    assert_eq!(config.agents[0].providers, ["work"]);
    assert_eq!(config.pins[0].to_string(), "api.example.com:443 -> 127.0.0.1:8443");
    assert_eq!(config.limits.drain, Duration::ZERO);
    let files: Vec<_> = config.files().iter().map(|path| path.display().to_string()).collect();
    let folder = "/etc/tollgate";
    let named = ["alice.token", "alice.yaml", "ci.yaml", "extra.pem", "key", "tls.pem"];
    let mut expected: Vec<_> = named.iter().map(|name| format!("{folder}/{name}")).collect();
    expected.push("/etc/tls.key".to_owned());
    expected.sort();
    assert_eq!(files, expected);
}

const SMALL: &str =
    "version: 1\nlisteners: [{ address: \"127.0.0.1:0\" }]\nagents: [{ name: a, sources: [\"::1\"], policy: p }]\n";

#[test]
fn what_may_be_left_out() {
    let (config, _) = read(SMALL).expect("valid");
    assert_eq!((config.name.as_str(), &config.authority), ("proxy", &Authority::Made(None)));
    assert_eq!(config.limits, Limits::default());
}

/// One edit of the whole configuration and what is said about it, with its place.
#[track_caller]
fn check(from: &str, to: &str, expected: &[&str]) {
    assert!(WHOLE.contains(from), "{from:?} is not in the sample");
    let text = WHOLE.replacen(from, to, 1);
    let said = read(text.trim_start()).expect_err(&text).to_string();
    for part in expected {
        assert!(said.contains(part), "{part:?} is not in {said:?}");
    }
    assert_eq!(said.lines().count(), 1, "one mistake, one line: {said}");
}

#[test]
fn each_mistake_once() {
    check("version: 1", "version: 2", &["1:10", "must be 1"]);
    check("version: 1\n", "", &["`version` is missing"]);
    check("name: gate", "name: Gate", &["2:7", "no label"]);
    check("upstream:", "upstreams:", &["9:1", "unknown field `upstreams`", "did you mean `upstream`?"]);
}

#[test]
fn mistakes_in_listeners() {
    check("\"127.0.0.1:3128\"", "\"localhost:3128\"", &["4:16", "no address to listen at"]);
    check("\"127.0.0.1:3128\"", "3128", &["4:16", "must be text", "quotes"]);
    check("address: \"127.0.0.1:3128\"", "adress: \"127.0.0.1:3128\"", &["did you mean `address`?"]);
    check("{ systemd: proxy }", "{ systemd: proxy, address: \"127.0.0.1:1\" }", &["either `address` or `systemd`"]);
    check("{ systemd: proxy }", "{ tls: { certificate: c, key: k } }", &["either `address` or `systemd`"]);
    check("0.0.0.0:3129", "127.0.0.1:3128", &["5:5", "has this place already"]);
    check(", key: /etc/tls.key", "", &["`key` is missing"]);
    check("transparent: true", "transparent: yes", &["must be true or false"]);
    check("transparent: true", "transparent: true, tls: { certificate: c, key: k }", &["no TLS of its own"]);
    check("sources: [ \"10.1.0.0/16\", \"127.0.0.1\" ]", "token_file: t", &["6:5", "nobody can come in here"]);
}

#[test]
fn mistakes_in_agents() {
    check("name: ci", "name: alice", &["13:5", "another agent is called `alice`"]);
    check("name: ci", "name: -ci", &["no label"]);
    check("token_file: alice.token, ", "", &["12:5", "could be anybody"]);
    check("sources: [ \"10.1.0.0/16\", \"127.0.0.1\" ]", "sources: []", &["`sources` is empty"]);
    check("10.1.0.0/16", "10.1.0.1/16", &["bits beyond its prefix"]);
    check("10.1.0.0/16", "somewhere", &["not an address or a range"]);
    check("token_file: alice.token", "sources: [\"10.0.0.0/8\"]", &["both `alice` and `ci`"]);
    let twice = "token_file: alice.token, policy: b.yaml }\n  - { name: bob, token_file: alice.token";
    check("token_file: alice.token", twice, &["13:5", "have one token file"]);
    check(", policy: ci.yaml", "", &["`policy` is missing"]);
    check("GITHUB_TOKEN:", "GITHUB-TOKEN:", &["a secret's name"]);
    check("\"env:TOKEN\"", "ghp_real", &["never the value itself"]);
    check("name: ci,", "name: ci, nmae: x,", &["unknown field `nmae`", "did you mean `name`?"]);
    check("name: ci,", "name: ci, name: ci,", &["stands twice"]);
}

#[test]
fn mistakes_elsewhere() {
    check("{ folder: ca }", "{ folder: ca, key: k }", &["8:12", "either `folder`"]);
    check("{ folder: ca }", "{ certificate: c }", &["`key` is missing"]);
    check("[extra.pem]", "extra.pem", &["must be a list"]);
    check("127.0.0.1:8443\" ]", "localhost\" ]", &["10:12", "is not NAME:PORT:ADDRESS"]);
    check("127.0.0.1:8443\" ]", "127.0.0.1:8443\", \"api.example.com:443:::1\" ]", &["pinned twice"]);
    check("connections: 100", "connections: 0", &["must be from 1 to"]);
    check("connections: 100", "connections: many", &["must be a whole number"]);
    check("drain_seconds: 0", "drain_second: 0", &["did you mean `drain_seconds`?"]);
}

#[test]
fn k10_a_value_in_place_of_a_source_is_not_repeated() {
    let said = read(&WHOLE.replace("env:TOKEN", "ghp_real")).expect_err("a value").to_string();
    assert!(!said.contains("ghp_real"), "{said}");
}

#[test]
fn tokens_in_clear_are_warned_about() {
    let open = WHOLE.replace("127.0.0.1:3128", "0.0.0.0:3128");
    let (_, warnings) = read(&open).expect("valid");
    assert!(warnings.to_string().contains("in clear"), "{warnings}");
}

#[test]
fn what_cannot_change_is_named() {
    let (running, _) = read(WHOLE).expect("valid");
    for (from, to, expected) in [
        ("name: gate", "name: other", Some("name")),
        (":3128", ":3127", Some("listeners")),
        ("folder: ca", "folder: cb", Some("authority")),
        ("connections: 100", "connections: 101", Some("limits")),
        ("name: ci", "name: cd", None),
        ("extra.pem", "other.pem", None),
    ] {
        let (edited, _) = read(&WHOLE.replacen(from, to, 1)).expect("valid");
        assert_eq!(edited.fixed_difference(&running), expected, "{to}");
    }
}
