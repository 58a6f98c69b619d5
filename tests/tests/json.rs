//! `-o json`: what commands say for programs.

use std::os::unix::fs::PermissionsExt;

use serde_json::Value;
use tollgate_tests::{Bench, Finished, LISTENERS, Staying, finish, free_port, policy_for, two_agents};

#[track_caller]
fn json(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|e| panic!("{e}: {finished:?}"))
}

#[test]
fn what_was_done_to_a_sandbox() {
    let staying = Staying::new(&policy_for("/a"));
    let created = json(&staying.create("box", &["-o", "json"], &["sleep", "1000"]));
    assert_eq!((&created["name"], created["pid"].is_u64()), (&"box".into(), true), "{created}");
    let run = |arguments: &[&str]| {
        let finished = finish(staying.0.tollgate().args(arguments).args(["-o", "json"]));
        assert_eq!(finished.code, 0, "{arguments:?}: {finished:?}");
        finished
    };
    let other = staying.0.write("other.yaml", policy_for("/b")).display().to_string();
    for (arguments, version, changed) in [
        (&["policy", "set", "box", "--policy", &other][..], 2, true),
        (&["policy", "set", "box", "--policy", &other], 2, false),
        (&["policy", "update", "box", "--add-allow", "api.test:443:GET:/c"], 3, true),
        (&["policy", "rollback", "box", "--rev", "1"], 4, true),
    ] {
        let said = json(&run(arguments));
        assert_eq!((&said["sandbox"], &said["version"]), (&"box".into(), &version.into()), "{arguments:?}: {said}");
        assert_eq!(said["changed"], changed, "{arguments:?}: {said}");
    }
    for (arguments, found) in [
        (&["status"][..], "/0/name"),
        (&["sandbox", "list"], "/0/name"),
        (&["sandbox", "get", "box"], "/name"),
        (&["policy", "get", "box"], "/hash"),
        (&["policy", "list", "box"], "/revisions/0/version"),
        (&["audit", "verify", "box"], "/0/segments/0/records"),
    ] {
        let said = json(&run(arguments));
        assert!(said.pointer(found).is_some(), "{found} of {arguments:?}: {said}");
    }
    assert_eq!(json(&run(&["forward", "list"])), serde_json::json!([]));
    let tail = run(&["audit", "tail", "box", "-n", "2"]).stdout;
    let classes = tail.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON")["class_uid"].is_u64());
    assert_eq!(classes.collect::<Vec<_>>(), [true, true]);
    let port = free_port();
    let forward = |what: &str| json(&run(&["forward", what, &port.to_string(), "box"]));
    assert_eq!(forward("start"), serde_json::json!({ "sandbox": "box", "host": port, "inside": port }));
    assert_eq!(forward("stop"), serde_json::json!({ "sandbox": "box", "host": port, "stopped": true }));
    let sent = json(&run(&["sandbox", "upload", "box", &other]));
    assert_eq!(sent, serde_json::json!({ "sandbox": "box", "path": "./other.yaml", "files": 1 }));
    let got = json(&run(&["sandbox", "download", "box", "other.yaml", &staying.0.path("got").display().to_string()]));
    assert_eq!((&got["files"], &got["left_out"]), (&1.into(), &serde_json::json!([])), "{got}");
    assert_eq!(json(&run(&["sandbox", "stop", "box"])), serde_json::json!({ "name": "box", "stopped": true }));
    let started = json(&run(&["sandbox", "start", "box"]));
    assert!(started["name"] == "box" && started["pid"] != created["pid"], "{started}");
    assert_eq!(json(&run(&["sandbox", "delete", "box"])), serde_json::json!({ "name": "box", "deleted": true }));
}

#[test]
fn what_was_done_to_credentials() {
    let bench = Bench::new("version: 1\n");
    let value = bench.write("value", "ghp_0123456789abcdefghij0123456789abcdef").display().to_string();
    let stored = bench.write("stored.json", r#"{"OTHER_TOKEN": "abcdefghijklmnop"}"#);
    std::fs::set_permissions(&stored, PermissionsExt::from_mode(0o600)).expect("set");
    let stored = stored.display().to_string();
    let none = serde_json::json!([]);
    for (arguments, expected) in [
        (&["credential", "set", "GH_TOKEN", "--file", &value][..], r#"{"name": "GH_TOKEN", "kept": true, "told": []}"#),
        (
            &["credential", "rotate", "GH_TOKEN", "--file", &value],
            r#"{"name": "GH_TOKEN", "rotated": true, "told": []}"#,
        ),
        (
            &["provider", "create", "--name", "work", "--type", "github", "--credential", "GH_TOKEN"],
            r#"{"name": "work", "type": "github", "credentials": 1, "created": true}"#,
        ),
        (&["provider", "delete", "work"], r#"{"name": "work", "deleted": true}"#),
        (&["credential", "revoke", "GH_TOKEN"], r#"{"name": "GH_TOKEN", "revoked": true, "told": []}"#),
        (&["credential", "reset", "GH_TOKEN"], r#"{"name": "GH_TOKEN", "forgotten": true, "told": []}"#),
    ] {
        let finished = finish(bench.tollgate().args(arguments).args(["-o", "json"]));
        let expected: Value = serde_json::from_str(expected).expect("JSON");
        assert_eq!((finished.code, json(&finished)), (0, expected), "{arguments:?}: {finished:?}");
    }
    let imported = json(&finish(bench.tollgate().args(["credential", "import", &stored, "-o", "json"])));
    assert_eq!((&imported["taken"], &imported["left"]), (&serde_json::json!(["OTHER_TOKEN"]), &none), "{imported}");
}

#[test]
fn whether_a_configuration_can_be_used() {
    let bench = two_agents(LISTENERS);
    let check = || finish(bench.proxy().args(["check", "-o", "json"]));
    let good = check();
    assert_eq!((good.code, json(&good)), (0, serde_json::json!({ "valid": true, "errors": [], "warnings": [] })));
    bench.configure("listeners: [{ adress: \"127.0.0.1:0\" }]\nagents: []");
    let bad = check();
    let said = json(&bad);
    assert_eq!((bad.code, &said["valid"]), (3, &false.into()));
    assert!(said["errors"].as_array().is_some_and(|errors| errors.len() > 1), "{said}");
}
