use proptest::prelude::*;
use serde_json::{Value, json};

use super::Record;
use crate::{Chain, Event, Program, Verdict};

const CURL: Program<'_> = Program { binary: "/usr/bin/curl", pid: 64, binary_sha256: "ab12", agent: "", client: "" };
const NOBODY: Verdict<'_> = Verdict { decision: "allowed", policy: "", rule: "", error: "", reason: "" };

fn record(event: &Event<'_>) -> Record {
    let mut line = Vec::new();
    Chain::new("box").append(1_775_014_132_690_123, &event.to_body(), &mut line);
    Record::parse(&line).expect("a record")
}

fn connection<'a>(verdict: Verdict<'a>, caller: Program<'a>, authority: &'a str) -> Event<'a> {
    Event::Connection { connection: 1, via: "explicit", authority, caller, generation: 1, verdict }
}

fn request<'a>(method: &'a str, decision: &'a str) -> Event<'a> {
    let verdict = Verdict { decision, policy: "api", rule: "allow 1", ..NOBODY };
    let (authority, path) = ("api.test:443", "/v1/x");
    Event::Request {
        connection: 1,
        request: 7,
        method,
        scheme: "https",
        authority,
        path,
        caller: CURL,
        generation: 1,
        verdict,
        exchanged: &[],
        inert: &[],
    }
}

#[test]
fn lines() {
    #[track_caller]
    fn check(event: &Event<'_>, expected: &str) {
        assert_eq!(record(event).shorthand(), expected);
    }
    let denied = Verdict { decision: "denied", reason: "no matching policy", error: "policy_denied", ..NOBODY };
    check(
        &connection(denied, CURL, "evil.test:443"),
        "NET:OPEN [MED] DENIED /usr/bin/curl(64) -> evil.test:443 [policy:- engine:tollgate] [reason:no matching policy]",
    );
    let elsewhere = Program { agent: "alice", client: "192.0.2.1:5000", ..Program::default() };
    let allowed = Verdict { policy: "api", ..NOBODY };
    check(
        &connection(allowed, elsewhere, "api.test:443"),
        "NET:OPEN [INFO] ALLOWED alice -> api.test:443 [policy:api engine:tollgate]",
    );
    check(
        &request("GET", "audit"),
        "HTTP:GET [LOW] AUDIT GET https://api.test:443/v1/x [by:/usr/bin/curl(64)] [policy:api]",
    );
    let reply = Event::Reply {
        request: 7,
        status: 200,
        bytes: 5,
        sent: 2,
        scrubbed: 0,
        exchanged: &[],
        milliseconds: 12,
        outcome: "complete",
    };
    check(&reply, "HTTP:REPLY [INFO] 200 request:7 in:5 out:2 12ms [complete]");
    let tunnel = Event::Tunnel { connection: 1, up: 3, down: 4, milliseconds: 9, outcome: "complete" };
    check(&tunnel, "NET:CLOSE [INFO] connection:1 in:4 out:3 9ms [complete]");
    check(
        &Event::Dns { name: "evil.test", kind: "A", outcome: "refused" },
        "DNS:QUERY [MED] DENIED A evil.test [refused]",
    );
    let policy = Event::Policy {
        agent: "",
        generation: 2,
        outcome: "refused",
        policy_sha256: "0123456789abcdef",
        detail: "why",
    };
    check(&policy, "CONFIG:REFUSED [MED] policy generation 2 (0123456789ab): why");
    let credential = Event::Credential { agent: "", credential: "TOKEN", outcome: "rotated", detail: "" };
    check(&credential, "CONFIG:CREDENTIAL [INFO] credential TOKEN rotated");
    let proof = Event::SelfProof { outcome: "surprised", attempts: &["one".to_owned()], milliseconds: 20 };
    check(&proof, "FINDING:CREATE [HIGH] self-proof surprised, 1 attempts");
    check(&Event::Agent { command: &["sh".to_owned(), "-c".to_owned()] }, "PROC:LAUNCH [INFO] sh -c");
    check(&Event::Close { reason: "" }, "APP:STOP [INFO]");
    check(&Event::Notice { detail: "a\u{1b}[2J\nb" }, "APP:NOTICE [LOW] a\\u{1b}[2J\\nb");
}

#[test]
fn events() {
    #[track_caller]
    fn check(event: &Event<'_>, expected: &Value) {
        let found = record(event).ocsf("box");
        for (name, value) in expected.as_object().expect("an object") {
            assert_eq!(found.get(name), Some(value), "{name} of {found:#}");
        }
    }
    let denied = Verdict { decision: "denied", reason: "no matching policy", error: "policy_denied", ..NOBODY };
    check(
        &connection(denied, CURL, "[2001:db8::1]:443"),
        &json!({
            "class_uid": 4001, "category_uid": 4, "activity_id": 5, "type_uid": 400_105, "severity": "Medium",
            "time": 1_775_014_132_690_i64, "action": "Denied", "disposition_id": 2, "status_detail": "no matching policy",
            "status_code": "policy_denied", "dst_endpoint": { "ip": "2001:db8::1", "port": 443 },
        }),
    );
    check(
        &request("POST", "allowed"),
        &json!({
            "class_uid": 4002, "activity_name": "Post", "type_uid": 400_206, "action_id": 1,
            "dst_endpoint": { "hostname": "api.test", "port": 443 },
            "firewall_rule": { "name": "api", "type": "l7", "desc": "allow 1" },
        }),
    );
    let client = Program { agent: "alice", client: "192.0.2.1:5000", ..Program::default() };
    check(
        &connection(NOBODY, client, "api.test:443"),
        &json!({ "src_endpoint": { "ip": "192.0.2.1", "port": 5000 }, "actor": { "app_name": "alice" } }),
    );
    check(
        &Event::Tunnel { connection: 1, up: 3, down: 4, milliseconds: 9, outcome: "aborted" },
        &json!({ "traffic": { "bytes_in": 4, "bytes_out": 3, "bytes": 7 }, "duration": 9, "status": "Failure" }),
    );
    check(
        &Event::Dns { name: "a.test", kind: "A", outcome: "answered" },
        &json!({ "class_uid": 4003, "action": "Allowed" }),
    );
    check(&Event::Close { reason: "done" }, &json!({ "class_uid": 6002, "activity_id": 4, "status_detail": "done" }));
}

/// Whoever gets the events alone can still put each in its place.
#[test]
fn the_chain_is_carried_along() {
    let event = record(&request("GET", "allowed")).ocsf("box");
    let metadata = &event["metadata"];
    assert_eq!((&metadata["sequence"], &metadata["log_name"]), (&json!(1), &json!("box")));
    assert_eq!(metadata["uid"], event["unmapped"]["hash"]);
    assert_eq!(event["unmapped"]["prev"].as_str().map(str::len), Some(64));
    assert_eq!(event["actor"]["process"]["file"]["hashes"][0]["value"], "ab12");
    assert_eq!(event["unmapped"]["connection"], 1);
}

#[test]
fn what_is_no_record() {
    for line in ["", "{}", "[]", "{\"event\":\"open\"}", "{\"event\":7,\"time\":\"x\"}", "not JSON"] {
        assert_eq!(Record::parse(line.as_bytes()), None, "{line}");
    }
    let odd = Record::parse(b"{\"event\":\"new-thing\",\"time\":\"never\"}").expect("a record of a later version");
    assert_eq!((odd.shorthand().as_str(), odd.time(), odd.decision()), ("APP:NEW-THING [INFO]", None, None));
}

proptest! {
    /// Whatever an agent gets into a record: one line, nothing that moves a cursor, and an event that says the same.
    #[test]
    fn any_text_is_one_line(event in "connection|request|reply|dns|policy|agent|notice|other", text in any::<String>()) {
        let record = json!({
            "event": event, "time": text, "authority": text, "binary": text, "method": text, "path": text, "name": text,
            "outcome": text, "detail": text, "reason": text, "decision": text, "command": [text, text], "client": text,
        });
        let record = Record::parse(record.to_string().as_bytes()).expect("a record");
        let line = record.shorthand();
        prop_assert!(!line.chars().any(char::is_control), "{line:?}");
        prop_assert_eq!(&record.ocsf("box")["message"], &Value::from(line));
    }

    #[test]
    fn no_bytes_are_too_odd(bytes in any::<Vec<u8>>()) {
        prop_assert!(Record::parse(&bytes).is_none_or(|record| !record.shorthand().is_empty()));
    }
}
