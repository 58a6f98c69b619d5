//! `tollgate audit verify` and `tollgate status`, from the outside.

use std::path::Path;

use tollgate_tests::{Bench, Finished, Started, finish};

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
      - { host: api.test, port: 443, protocol: rest, access: read-only }
      - { host: other.test, port: 443, protocol: rest, access: read-only, enforcement: audit }
";

fn verify(bench: &Bench, argument: Option<&Path>) -> Finished {
    let mut command = bench.tollgate();
    command.args(["audit", "verify"]);
    command.args(argument);
    finish(&mut command)
}

fn recorded() -> Bench {
    let bench = Bench::new(POLICY);
    let script = "curl -sS https://api.test/; curl -sS -X POST https://api.test/a; curl -sS https://evil.test/; true";
    let _ = bench.shell(&[], script).succeeded();
    bench
}

#[test]
fn an_honest_journal_verifies() {
    let bench = recorded();
    let said = verify(&bench, None).succeeded();
    assert!(said.contains("intact") && said.contains("closed in order"), "{said}");
    let said = verify(&bench, Some(&bench.journal_file())).succeeded();
    assert!(said.contains("intact"), "{said}");
    let kinds: Vec<_> = bench.journal().iter().map(|r| r["event"].as_str().unwrap_or_default().to_owned()).collect();
    assert_eq!((kinds.first().map(String::as_str), kinds.last().map(String::as_str)), (Some("open"), Some("close")));
    for kind in ["agent", "connection", "request", "reply"] {
        assert!(kinds.iter().any(|k| k == kind), "{kind} is missing: {kinds:?}");
    }
}

#[test]
fn r2_every_kind_of_tampering_is_found() {
    let bench = recorded();
    let file = bench.journal_file();
    let honest = std::fs::read_to_string(&file).expect("a journal");
    let lines: Vec<&str> = honest.split_inclusive('\n').collect();
    let without_last = lines[..lines.len() - 1].concat();
    let without_third = [&lines[..2], &lines[3..]].concat().concat();
    let swapped = [&lines[..2], &[lines[3], lines[2]], &lines[4..]].concat().concat();
    for (forged, said) in [
        (honest.replacen("denied", "allowed", 1), "changed"),
        (without_last, "cut"),
        (lines[0].to_owned(), "cut"),
        (String::new(), "cut"),
        (without_third, "removed, inserted or moved"),
        (swapped, "removed, inserted or moved"),
        (format!("{honest}{}", lines[1]), "removed, inserted or moved"),
    ] {
        std::fs::write(&file, forged).expect("forged");
        let finished = verify(&bench, None);
        assert_eq!(finished.code, 1, "{finished:?}");
        assert!(finished.stderr.contains(said), "{said:?} is not in {finished:?}");
    }
    std::fs::write(&file, &honest).expect("restored");
    std::fs::remove_file(file.with_extension("head")).expect("removed");
    assert!(verify(&bench, None).stderr.contains("signed head"));
}

#[test]
fn i9_every_connection_leaves_a_record() {
    let bench = Bench::new(POLICY);
    let script = "python3 - <<'E'\nimport socket\nfor port in (22, 443, 8080):\n  for address in ('1.2.3.4', '2606:4700::1'):\n    \
                  s = socket.create_connection((address, port)); s.close()\nE";
    let _ = bench.shell(&[], script).succeeded();
    let mut seen: Vec<_> = bench.events("connection").iter().map(|r| r["authority"].to_string()).collect();
    seen.sort();
    let mut expected: Vec<_> = ["22", "443", "8080"]
        .iter()
        .flat_map(|port| [format!("\"1.2.3.4:{port}\""), format!("\"[2606:4700::1]:{port}\"")])
        .collect();
    expected.sort();
    assert_eq!(seen, expected);
}

#[test]
fn p6_audit_mode_passes_and_is_shown() {
    let bench = Bench::new(POLICY);
    let printed = bench.shell(&[], "curl -sS --fail -X DELETE https://other.test/x").succeeded();
    assert_eq!(printed, "ok");
    assert_eq!(bench.events("request")[0]["decision"], "audit");
}

#[test]
fn status_shows_what_is_in_force() {
    let bench = Bench::new(POLICY);
    let options = ["--name", "watched", "--secret", "TOKEN=cmd:echo the-real-token"];
    let mut running = Started::new(&mut bench.run(&options, &["sh", "-c", "echo ready >&2; read line; true"]));
    running.wait_for("ready");
    let said = finish(bench.tollgate().arg("status")).succeeded();
    for text in [
        "watched (pid",
        "AUDIT ONLY",
        "other.test",
        "landlock",
        "seccomp",
        "nftables",
        "TOKEN",
        "api.test:443 -> 127.0.0.1",
    ] {
        assert!(said.contains(text), "{text:?} is not in {said}");
    }
    assert!(!said.contains("the-real-token"));
    let json = finish(bench.tollgate().args(["status", "watched", "-o", "json"])).succeeded();
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!((&json[0]["generation"], &json[0]["degraded"]), (&1.into(), &serde_json::json!([])));
    assert_eq!(running.end().code, 0);
    assert!(finish(bench.tollgate().arg("status")).succeeded().contains("no sandbox is running"));
    assert_eq!(finish(bench.tollgate().args(["status", "nobody"])).code, 1);
}
