//! The self-proof before every start, and `tollgate doctor`.

use std::process::Command;

use serde_json::Value;
use tollgate_tests::{Bench, finish, without};

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
      - { host: api.test, port: 443, protocol: rest, access: read-only }
";

/// The rows of the start-up subset that a canary can try.
const ROWS: &[&str] =
    &["A1", "A14", "A2", "B1", "C1", "H1", "I1", "I4", "J2", "K1", "K11", "M1", "M3", "M5", "M16", "N1", "N2", "S2"];

fn attempts(bench: &Bench) -> Vec<String> {
    let proof = &bench.events("self-proof")[0];
    let attempts = proof["attempts"].as_array().expect("a list");
    attempts.iter().filter_map(|attempt| attempt.as_str().map(str::to_owned)).collect()
}

#[test]
fn every_row_is_tried_before_the_agent_starts() {
    let bench = Bench::new(POLICY);
    assert_eq!(bench.shell(&[], "echo started").succeeded(), "started\n");
    let proof = &bench.events("self-proof")[0];
    assert_eq!(proof["outcome"], "passed", "{proof}");
    let attempts = attempts(&bench);
    for row in ROWS {
        let tried = attempts.iter().filter(|attempt| attempt.starts_with(&format!("{row} "))).collect::<Vec<_>>();
        assert!(
            !tried.is_empty() && tried.iter().all(|attempt| attempt.contains(": stopped by ")),
            "{row}: {attempts:?}"
        );
    }
    let kinds: Vec<_> = bench.whole_journal().iter().map(|record| record["event"].clone()).collect();
    let place = |kind: &str| kinds.iter().position(|event| event == kind).expect(kind);
    assert!(place("open") < place("connection") && place("connection") < place("self-proof"), "{kinds:?}");
    assert!(place("self-proof") < place("agent"), "{kinds:?}");
    assert!(bench.origin.arrived().is_empty());
}

/// An address that the policy allows where the canary expects a refusal: the start stops, and says which and what to do.
#[test]
fn a_surprise_stops_the_start() {
    let open =
        POLICY.replace("  api:", "  wide:\n    endpoints:\n      - { host: 192.0.2.1, port: 443, tls: skip }\n  api:");
    let bench = Bench::new(&open);
    let finished = bench.shell(&[], "echo started");
    assert_eq!((finished.code, finished.stdout.as_str()), (4, ""), "{finished:?}");
    for part in ["self-proof", "A14", "stopped by gate", "--no-self-proof", "policy"] {
        assert!(finished.stderr.contains(part), "{part}: {finished:?}");
    }
    assert_eq!(bench.events("self-proof")[0]["outcome"], "surprised");
    assert!(bench.events("agent").is_empty());
    assert!(bench.events("close")[0]["reason"].to_string().contains("not started"));
}

#[test]
fn only_the_flag_switches_it_off() {
    let bench = Bench::new(POLICY);
    assert_eq!(bench.shell(&["--no-self-proof"], "echo started").succeeded(), "started\n");
    assert_eq!(bench.events("self-proof")[0]["outcome"], "off");
    assert!(bench.events("connection").is_empty());
}

#[test]
fn what_is_allowed_to_be_missing_is_not_tried() {
    let bench = Bench::new(POLICY);
    let run = bench.run(&["--allow-degraded", "seccomp"], &["echo", "started"]);
    assert_eq!(finish(&mut without("seccomp", &run)).succeeded(), "started\n");
    let attempts = attempts(&bench);
    let left_out = attempts.iter().filter(|attempt| attempt.contains("seccomp is not in force")).count();
    assert!(left_out > 20, "{attempts:?}");
    assert!(!attempts.iter().any(|attempt| attempt.contains("stopped by seccomp")), "{attempts:?}");
}

/// The controls of a doctor's report by name, and its exit code.
fn doctor(command: &mut Command) -> (i32, Value) {
    let finished = finish(command.args(["doctor", "-o", "json"]));
    (finished.code, serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{finished:?}")))
}

fn finding<'a>(report: &'a Value, name: &str) -> &'a Value {
    let controls = report["controls"].as_array().expect("a list");
    controls.iter().find(|control| control["name"] == name).unwrap_or_else(|| panic!("{name}: {report}"))
}

#[test]
fn the_doctor_tries_every_control() {
    let bench = Bench::new(POLICY);
    let (code, report) = doctor(&mut bench.tollgate());
    assert_eq!((code, &report["ready"]), (0, &Value::Bool(true)), "{report}");
    for name in
        ["kernel", "state-folder", "namespaces", "nftables", "files", "landlock", "seccomp", "privileges", "self-proof"]
    {
        assert_eq!(finding(&report, name)["state"], "in-force", "{report}");
    }
    assert!(finding(&report, "cgroup")["detail"].is_string());
    let text = finish(bench.tollgate().arg("doctor")).succeeded();
    assert!(text.contains("self-proof") && text.trim_end().ends_with("Ready."), "{text}");
}

#[test]
fn the_doctor_names_what_is_missing_and_the_remedy() {
    for (feature, name, remedy) in
        [("landlock", "landlock", "landlock"), ("seccomp", "seccomp", "seccomp"), ("nftables", "nftables", "modprobe")]
    {
        let bench = Bench::new(POLICY);
        let mut command = bench.tollgate();
        command.args(["doctor", "-o", "json"]);
        let finished = finish(&mut without(feature, &command));
        let report: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{finished:?}"));
        assert_eq!((finished.code, &report["ready"]), (4, &Value::Bool(false)), "{report}");
        let found = finding(&report, name);
        assert_eq!(found["state"], "missing", "{report}");
        assert!(found["remedy"].to_string().contains(remedy), "{report}");
    }
    let bench = Bench::new(POLICY);
    let mut command = bench.tollgate();
    command.arg("doctor");
    let finished = finish(&mut without("user-namespaces", &command));
    assert_eq!(finished.code, 4, "{finished:?}");
    assert!(finished.stdout.contains("no user namespaces") && finished.stdout.contains("Not ready"), "{finished:?}");
}

/// Where no group can be had, bounds for the whole sandbox are refused and not pretended.
#[test]
fn bounds_of_the_whole_sandbox_hold_or_are_refused() {
    let bench = Bench::new(POLICY);
    let (_, report) = doctor(&mut bench.tollgate());
    let finished = bench.shell(&["--memory", "64M", "--pids", "50", "--cpus", "0.5"], "echo started");
    if finding(&report, "cgroup")["state"] == "in-force" {
        assert_eq!(finished.succeeded(), "started\n");
        let bomb = bench.shell(&["--memory", "64M"], "exec python3 -c 'bytearray(1 << 30)'");
        assert_eq!(bomb.code, 137, "{bomb:?}");
        return;
    }
    assert_eq!((finished.code, finished.stdout.as_str()), (4, ""), "{finished:?}");
    assert!(finished.stderr.contains("cgroup") && finished.stderr.contains("systemd"), "{finished:?}");
    let bench = Bench::new(POLICY);
    let degraded = bench.shell(&["--memory", "64M", "--allow-degraded", "cgroup"], "echo started");
    assert!(degraded.stderr.contains("WITHOUT cgroup"), "{degraded:?}");
    assert_eq!(bench.events("open")[0]["degraded"][0], "cgroup");
}

/// Each runtime of this machine opens a connection; those that read one of the variables trust the gate.
#[test]
fn the_doctor_looks_at_runtimes_from_inside() {
    let bench = Bench::new(POLICY);
    let finished = finish(bench.tollgate().args(["doctor", "--inside", "-o", "json"]));
    let report: Value = serde_json::from_str(&finished.stdout).unwrap_or_else(|_| panic!("{finished:?}"));
    for name in ["Rust", "curl", "git", "Python", "Node.js"] {
        assert_eq!(finding(&report, name)["state"], "in-force", "{report}");
    }
    let controls = report["controls"].as_array().expect("a list");
    let failed: Vec<_> = controls.iter().filter(|control| control["state"] == "missing").collect();
    assert_eq!(finished.code, i32::from(!failed.is_empty()), "{finished:?}");
    for control in failed {
        assert!(control["remedy"].to_string().contains("/run/tollgate/ca"), "{control}");
    }
}
