//! The memory of a process that holds secrets: not for other processes of the same user, and in no core dump.

use std::path::Path;

use tollgate_tests::{Bench, LISTENERS, Proxy, Started, finish};

const REAL: &str = "the-real-token-of-these-tests";

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
      - { host: api.test, port: 443, protocol: rest, access: read-only }
x-tollgate:
  credentials:
    TOKEN:
      bindings:
        - { host: api.test, port: 443, header: authorization }
";

/// Reads a file of a process as another process of its user, and says what happened.
fn read(bench: &Bench, pid: u32, name: &str) -> (i32, String) {
    let script = format!("head -c 100000 /proc/{pid}/{name} | tr '\\0' '\\n'");
    let finished = finish(bench.tollgate_as(Path::new("/bin/sh")).arg("-c").arg(script));
    (finished.code, finished.stdout + &finished.stderr)
}

#[track_caller]
fn check_hidden(bench: &Bench, pid: u32) {
    let (_, limits) = read(bench, pid, "limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).expect("a line of limits");
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    for name in ["environ", "mem", "maps"] {
        let (_, said) = read(bench, pid, name);
        assert!(said.contains("Permission denied"), "{name}: {said}");
        assert!(!said.contains(REAL), "{name}");
    }
}

/// The check sees what it looks for: a process that hides nothing shows its environment.
#[test]
fn what_is_not_hidden_is_seen() {
    let bench = Bench::new(POLICY);
    let mut shell = bench.tollgate_as(Path::new("/bin/sh"));
    let mut running = Started::new(shell.args(["-c", "echo ready >&2; read line"]).env("TOKEN", REAL));
    running.wait_for("ready");
    assert!(read(&bench, running.child.id(), "environ").1.contains(REAL));
    assert_eq!(running.end().code, 1, "its input has ended");
}

#[test]
fn k11_k12_run() {
    let bench = Bench::new(POLICY);
    let mut command = bench.run(&["--secret", "TOKEN"], &["sh", "-c", "echo ready >&2; read line; exit 0"]);
    let mut running = Started::new(command.env("TOKEN", REAL));
    running.wait_for("ready");
    check_hidden(&bench, running.child.id());
    assert_eq!(running.end().code, 0);
}

#[test]
fn k11_k12_proxy() {
    let bench = Bench::new(POLICY);
    let agents =
        "agents: [{ name: alice, sources: [\"127.0.0.1\"], policy: policy.yaml, secrets: { TOKEN: \"env:TOKEN\" } }]";
    bench.configure(&format!("{LISTENERS}\n{agents}"));
    let proxy = Proxy::start_as(bench.proxy().env("TOKEN", REAL));
    check_hidden(&bench, proxy.pid());
    assert_eq!(proxy.stop().code, 0);
}

/// The value is in its memory while it waits for the store.
#[test]
fn k12_credential_commands() {
    let bench = Bench::new(POLICY);
    let mut command = bench.tollgate();
    let running = Started::new(command.args(["credential", "set", "TOKEN", "--stdin"]));
    let hidden = || read(&bench, running.child.id(), "mem").1.contains("Permission denied");
    while !hidden() {
        std::thread::yield_now();
    }
    assert_eq!(running.end().code, 5, "an empty value is none");
}
