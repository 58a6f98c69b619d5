//! `tollgate policy …` as a user types it.

use serde_json::Value;
use tollgate_tests::{Bench, Finished, finish};

const POLICY: &str = "\
version: 1
network_policies:
  api:
    endpoints:
      - host: api.test
        port: 443
        protocol: rest
        rules:
          - allow: { method: GET, path: /v1/* }
    binaries:
      - path: /usr/bin/curl
";

fn policy(bench: &Bench, arguments: &[&str]) -> Finished {
    finish(bench.tollgate().current_dir(bench.path("")).arg("policy").args(arguments))
}

#[test]
fn check_tells_every_mistake_where_it_stands() {
    let bench = Bench::new(POLICY);
    assert_eq!(policy(&bench, &["check", "policy.yaml"]).succeeded(), "policy.yaml: valid, 1 entries\n");
    bench.write("bad.yaml", POLICY.replace("protocol: rest", "protocol: rets").replace("port: 443", "prot: 443"));
    let finished = policy(&bench, &["check", "policy.yaml", "bad.yaml"]);
    assert_eq!(finished.code, 3, "{finished:?}");
    for text in ["bad.yaml:6:9: ", "did you mean `port`", "bad.yaml:7:19: ", "did you mean `rest`", "1 of 2"] {
        assert!(finished.stderr.contains(text), "{text:?} is not in {finished:?}");
    }
    let json = policy(&bench, &["check", "-o", "json", "bad.yaml"]);
    let json: Value = serde_json::from_str(&json.stdout).expect("JSON");
    let errors = json[0]["errors"].as_array().expect("errors");
    assert_eq!(json[0]["valid"], false);
    for line in [6, 7] {
        assert!(errors.iter().any(|error| error["line"] == line), "nothing about line {line}: {errors:?}");
    }
    assert_eq!(policy(&bench, &["check", "nowhere.yaml"]).code, 3);
}

#[test]
fn lint_warns_of_what_is_wider_than_meant() {
    let bench = Bench::new(
        "version: 1\nnetwork_policies: {a: {endpoints: [{host: api.test, port: 443, protocol: rest, access: full}]}}\n",
    );
    let said = policy(&bench, &["check", "--lint", "policy.yaml"]).succeeded();
    for text in ["any program", "access", "surface of 64"] {
        assert!(said.contains(text), "{text:?} is not in {said}");
    }
}

#[test]
fn explain_says_why_and_what_would_help() {
    let bench = Bench::new(POLICY);
    let ask = |path: &str, more: &[&str]| {
        let base = [
            "explain",
            "--policy",
            "policy.yaml",
            "--host",
            "api.test",
            "--binary",
            "/usr/bin/curl",
            "--method",
            "GET",
            "--path",
            path,
        ];
        policy(&bench, &[&base, more].concat()).succeeded()
    };
    assert!(ask("/v1/a", &[]).contains("ALLOWED\n  policy   api\n  rule     GET /v1/*"));
    let denied = ask("/v2/a", &[]);
    assert!(denied.contains("DENIED") && denied.contains("near misses:") && denied.contains("path: /v2/a"), "{denied}");
    let json: Value = serde_json::from_str(&ask("/v2/a", &["-o", "json"])).expect("JSON");
    assert_eq!((&json["answer"]["verdict"], &json["answer"]["layer"]), (&"deny".into(), &"l7".into()));
    // What is proposed is what is missing: with it merged in, the request passes.
    let merged =
        POLICY.replace("          - allow", "          - allow: { method: GET, path: /v2/a }\n          - allow");
    bench.set_policy(&merged);
    assert!(ask("/v2/a", &[]).contains("ALLOWED"));
}

#[test]
fn test_compares_with_what_is_expected() {
    let bench = Bench::new(POLICY);
    let case = "- {host: api.test, binary: /usr/bin/curl, path: /v1/a, expect: allow, rule: GET /v1/*}\n";
    bench.write("good.yaml", case);
    assert_eq!(policy(&bench, &["test", "--policy", "policy.yaml", "good.yaml"]).succeeded(), "1 passed, 0 failed\n");
    bench.write("bad.json", r#"[{"name": "writes", "host": "api.test", "binary": "/usr/bin/curl", "method": "PUT", "path": "/v1/a", "expect": "allow"}]"#);
    let finished = policy(&bench, &["test", "--policy", "policy.yaml", "bad.json"]);
    assert_eq!(finished.code, 1);
    assert!(finished.stdout.contains("bad.json:1: not ok 1 writes"), "{finished:?}");
    bench.write("wrong.yaml", "- {hots: api.test, expect: maybe}\n");
    let finished = policy(&bench, &["test", "--policy", "policy.yaml", "wrong.yaml"]);
    assert_eq!(finished.code, 3);
    assert!(finished.stderr.contains("wrong.yaml:1:4"), "{finished:?}");
}

#[test]
fn diff_is_about_meaning_and_takes_a_journal() {
    let bench = Bench::new(POLICY);
    let reordered = "{network_policies: {api: {binaries: [{path: /usr/bin/curl}], endpoints: [{protocol: rest, ports: [443], host: API.test, \
                     rules: [{allow: {path: /v1/*, method: get}}]}]}}, version: 1}";
    bench.write("same.yaml", reordered);
    assert_eq!(policy(&bench, &["diff", "policy.yaml", "same.yaml"]).succeeded(), "both policies mean the same\n");
    let _ = bench.shell(&[], "curl -sS --fail https://api.test/v1/really-asked").succeeded();
    bench.write("narrow.yaml", POLICY.replace("path: /v1/*", "path: /v1/other"));
    let journal = bench.journal_file().display().to_string();
    let said = policy(&bench, &["diff", "policy.yaml", "narrow.yaml", "--requests", &journal]).succeeded();
    assert!(said.contains("allow → deny  /usr/bin/curl → api.test:443 GET /v1/really-asked"), "{said}");
    assert_eq!(policy(&bench, &["diff", "--exit-code", "policy.yaml", "narrow.yaml"]).code, 1);
}

#[test]
fn show_is_stable_and_can_be_fed_back() {
    let bench = Bench::new(POLICY);
    let shown = policy(&bench, &["show", "policy.yaml"]).succeeded();
    bench.write("shown.yaml", &shown);
    assert_eq!(policy(&bench, &["show", "shown.yaml"]).succeeded(), shown);
    assert!(shown.contains("    endpoints:\n    - host: api.test\n      port: 443\n"), "{shown}");
}
