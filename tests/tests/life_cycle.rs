//! Sandboxes that stay: made, shown, stopped, started again, removed, by the command line that people type.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tollgate_tests::{Finished, Started, Staying, family, finish, front_door, left_of, of_session, policy_for, until};

#[track_caller]
fn check(finished: &Finished, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(finished.code, code, "{finished:?}");
    assert!(finished.stdout.contains(stdout) && (stdout.is_empty() == finished.stdout.is_empty()), "{finished:?}");
    assert!(finished.stderr.contains(stderr) && (stderr.is_empty() == finished.stderr.is_empty()), "{finished:?}");
}

fn pid(shown: &Value) -> u32 {
    u32::try_from(shown["pid"].as_u64().expect("it runs")).expect("a pid")
}

fn kill_process(pid: u32) {
    // It may have ended in this moment.
    let _ = kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), Signal::SIGKILL);
}

/// Waits until a sandbox has ended by itself, and gives its log.
fn ended(bench: &Staying, name: &str) -> String {
    bench.sandbox(&["logs", name, "--follow"]).succeeded()
}

#[test]
fn a_whole_life() {
    let bench = Staying::new("version: 1\n");
    check(&bench.sandbox(&["list"]), 0, "no sandbox is there", "");
    check(
        &bench.create("box", &[], &["sh", "-c", "echo here; exec sleep 1000"]),
        0,
        "box\n",
        "box is created and ready",
    );
    let first = bench.get("box");
    assert_eq!(
        (&first["phase"], &first["policy_revision"], &first["stays"]),
        (&json!("ready"), &json!(1), &json!(true))
    );
    check(&bench.sandbox(&["list"]), 0, "sh -c echo here; exec sleep 1000", "");
    check(&bench.sandbox(&["get"]), 0, "  phase       ready\n", "");
    let again = bench.create("box", &[], &["true"]);
    check(&again, 1, "", "the sandbox box exists and runs");
    assert_eq!(bench.get("box"), first, "nothing changed");
    check(&bench.sandbox(&["start", "box"]), 1, "", "the sandbox box runs already");

    check(&bench.sandbox(&["stop", "box"]), 0, "", "box is stopped");
    until("its processes end", || of_session(pid(&first)).is_empty());
    let stopped = bench.get("box");
    assert_eq!(
        (&stopped["phase"], &stopped["pid"], &stopped["exit_code"]),
        (&json!("stopped"), &json!(null), &json!(143))
    );
    check(&bench.create("box", &[], &["true"]), 2, "", "the sandbox box exists already");
    check(&bench.sandbox(&["stop", "box"]), 1, "", "the sandbox box does not run");

    check(&bench.sandbox(&["start", "box"]), 0, "", "box is started and ready");
    let second = bench.get("box");
    assert_eq!(
        (&second["phase"], &second["command"], &second["created_at_ms"]),
        (&json!("ready"), &first["command"], &first["created_at_ms"])
    );
    assert_ne!(second["pid"], first["pid"]);
    check(&bench.sandbox(&["delete", "box"]), 0, "", "box is deleted");
    until("its processes end", || of_session(pid(&second)).is_empty());
    let left: Vec<_> = std::fs::read_dir(bench.0.path("home/sandboxes")).expect("there").collect();
    assert!(left.is_empty(), "{left:?}");
    check(&bench.sandbox(&["list", "--names"]), 0, "", "");
}

#[test]
fn an_agent_that_ends_is_reported() {
    let bench = Staying::new("version: 1\n");
    bench.create("box", &[], &["sh", "-c", "echo out; echo err >&2; exit 5"]).succeeded_with("box\n");
    assert_eq!(ended(&bench, "box"), "out\nerr\n");
    let shown = bench.get("box");
    assert_eq!((&shown["phase"], &shown["exit_code"]), (&json!("ended"), &json!(5)));
    check(&bench.sandbox(&["list"]), 0, "ended with 5", "");
    assert_eq!(bench.0.events("close")[0]["reason"], "the agent exited with 5");
    check(&bench.sandbox(&["exec", "box", "true"]), 1, "", "the sandbox box is not running");
    bench.sandbox(&["start", "box"]).succeeded_with("");
    assert_eq!(ended(&bench, "box"), "out\nerr\nout\nerr\n");
    check(&bench.sandbox(&["logs", "box", "-n", "1"]), 0, "err\n", "");
}

trait SucceededWith {
    fn succeeded_with(self, stdout: &str);
}

impl SucceededWith for Finished {
    #[track_caller]
    fn succeeded_with(self, stdout: &str) {
        assert_eq!(self.succeeded(), stdout);
    }
}

#[test]
fn what_does_not_start_leaves_nothing() {
    let bench = Staying::new("version: 1\n");
    #[track_caller]
    fn check_create(bench: &Staying, options: &[&str], agent: &[&str], code: i32, why: &str) {
        check(&bench.create("box", options, agent), code, "", why);
        check(&bench.sandbox(&["list"]), 0, "no sandbox is there", "");
        assert!(!bench.0.path("home/sandboxes/box").exists(), "{why}");
    }
    check_create(&bench, &[], &["no-such-program"], 127, "COMMAND `no-such-program` does not exist");
    check_create(&bench, &[], &["/etc/passwd"], 126, "cannot be executed");
    check_create(&bench, &["--secret", "NOT_THERE"], &["true"], 5, "NOT_THERE");
    check_create(&bench, &["--provider", "nobody"], &["true"], 2, "there is no provider nobody");
    check_create(&bench, &["--forward", "0"], &["true"], 2, "write PORT");
    check_create(&bench, &["--resolve", "x"], &["true"], 2, "--resolve");
    check_create(&bench, &["--env", "NOT_THERE"], &["true"], 2, "the variable is not set");
    let busy = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = busy.local_addr().expect("bound").port().to_string();
    check_create(&bench, &["--forward", &port], &["true"], 1, "cannot be forwarded");
    bench.0.set_policy("version: 2\n");
    check_create(&bench, &[], &["true"], 3, "the policy is not valid");
}

#[test]
fn mistakes_of_the_command_line() {
    let bench = Staying::new("version: 1\n");
    bench.create("box", &[], &[]).succeeded_with("box\n");
    let names: &[(&[&str], i32, &str)] = &[
        (&["create", "--name", "Big", "--policy", "p"], 2, "`Big` is no sandbox name"),
        (&["create", "--name", "a.b", "--policy", "p"], 2, "is no sandbox name"),
        (&["create", "--name", "box"], 2, "--policy"),
        (&["create", "--name", "other", "--policy", "not-there"], 3, "not-there cannot be read"),
        (&["get", "../box"], 2, "is no sandbox name"),
        (&["get", "other"], 1, "there is no sandbox other"),
        (&["exec", "other", "true"], 1, "there is no sandbox other"),
        (&["exec", "box"], 2, "COMMAND"),
        (&["connect", "other"], 1, "there is no sandbox other"),
        (&["stop", "other"], 1, "there is no sandbox other"),
        (&["start", "other"], 1, "there is no sandbox other"),
        (&["delete", "other"], 1, "there is no sandbox other"),
        (&["logs", "other"], 1, "there is no sandbox other"),
        (&["delete"], 2, "NAMES"),
        (&["nonsense"], 2, "unrecognized subcommand"),
    ];
    for (arguments, code, stderr) in names {
        check(&bench.sandbox(arguments), *code, "", stderr);
    }
    check(&bench.sandbox(&["stop", "other", "box"]), 1, "", "there is no sandbox other");
    assert_eq!(bench.get("box")["phase"], "stopped", "the others are seen to");
    check(&bench.sandbox(&["exec", "box", "true"]), 1, "", "`tollgate sandbox start box` starts it");
}

#[test]
fn sockets_are_their_owners() {
    let bench = Staying::new("version: 1\n");
    bench.create("box", &[], &[]).succeeded_with("box\n");
    for name in ["control.sock", "exec.sock"] {
        let mode =
            std::fs::metadata(bench.0.path("home/sandboxes/box").join(name)).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    let socket = bench.0.path("home/sandboxes/box/exec.sock");
    std::fs::set_permissions(&socket, Permissions::from_mode(0o000)).expect("set");
    check(&bench.sandbox(&["exec", "box", "true"]), 1, "", "the sandbox box cannot be reached: Permission denied");
    std::fs::set_permissions(bench.0.path("home"), Permissions::from_mode(0o755)).expect("set");
    check(&bench.sandbox(&["list"]), 6, "", "others may look into");
    std::fs::set_permissions(bench.0.path("home"), Permissions::from_mode(0o700)).expect("set");
}

#[test]
fn a_name_is_one_sandbox() {
    let bench = Staying::new("version: 1\n");
    let mut first = Started::new(&mut bench.0.run(&["--name", "box"], &["sh", "-c", "echo ready >&2; read end"]));
    first.wait_for("ready");
    check(&bench.0.agent(&["--name", "box"], &["true"]), 1, "", "the sandbox box exists and runs");
    check(&bench.create("box", &[], &["true"]), 1, "", "the sandbox box exists and runs");
    assert_eq!((&bench.get("box")["phase"], &bench.get("box")["stays"]), (&json!("ready"), &json!(false)));
    let said = bench.sandbox(&["exec", "box", "hostname"]).succeeded();
    assert_eq!(said, "box\n", "what runs in the foreground can be entered as well");
    check(&bench.sandbox(&["stop", "box"]), 0, "", "box is stopped");
    assert_eq!(first.end().code, 143);
    check(&bench.sandbox(&["list"]), 0, "no sandbox is there", "");
    check(&bench.sandbox(&["start", "box"]), 1, "", "ran for as long as its command");
    check(&bench.create("box", &[], &[]), 0, "box\n", "ready");
    check(&bench.sandbox(&["stop", "box"]), 0, "", "box is stopped");
    check(&bench.0.agent(&["--name", "box"], &["true"]), 2, "", "there is a sandbox box that was created to stay");
}

#[test]
fn a_start_brings_the_newest_policy_back() {
    let bench = Staying::new(&policy_for("/a"));
    let ask = |path: &str| {
        let url = format!("https://api.test{path}");
        bench.exec(&["box", "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", &url], b"").1
    };
    bench.create("box", &[], &[]).succeeded_with("box\n");
    assert_eq!((ask("/a"), ask("/b")), (b"200".to_vec(), b"403".to_vec()));
    let set = bench.0.write("set.yaml", policy_for("/b"));
    let set = finish(bench.0.tollgate().args(["policy", "set", "box", "--policy"]).arg(set));
    assert_eq!(set.code, 0, "{set:?}");
    for _ in 0..2 {
        check(&bench.sandbox(&["stop", "box"]), 0, "", "stopped");
        check(&bench.sandbox(&["start", "box"]), 0, "", "ready");
        assert_eq!((ask("/a"), ask("/b")), (b"403".to_vec(), b"200".to_vec()));
        assert_eq!(bench.get("box")["policy_revision"], 2);
    }
    // An edit that was made meanwhile is the newest word.
    check(&bench.sandbox(&["stop", "box"]), 0, "", "stopped");
    bench.0.set_policy(&policy_for("/c"));
    check(&bench.sandbox(&["start", "box"]), 0, "", "ready");
    until("the edit is in force", || bench.get("box")["policy_revision"] == 3);
    assert_eq!((ask("/b"), ask("/c")), (b"403".to_vec(), b"200".to_vec()));
    // A file that is gone takes nothing along.
    check(&bench.sandbox(&["stop", "box"]), 0, "", "stopped");
    std::fs::remove_file(bench.0.path("policy.yaml")).expect("removed");
    check(&bench.sandbox(&["start", "box"]), 0, "", "ready");
    assert_eq!(ask("/c"), b"200");
}

#[test]
fn k14_a_start_takes_no_policy_that_the_agent_could_have_written() {
    let bench = Staying::new("version: 1\n");
    let policy = bench.0.write("work/policy.yaml", policy_for("/a"));
    let mut create = bench.command(&["create", "--name", "box", "--policy", "policy.yaml"]);
    assert_eq!(finish(&mut create).code, 0);
    let revision = |number: u64| assert_eq!(bench.get("box")["policy_revision"], number);
    for (text, warning) in [(Some(policy_for("/b")), "lies where the agent writes"), (None, "is gone")] {
        check(&bench.sandbox(&["stop", "box"]), 0, "", "stopped");
        match text {
            Some(text) => std::fs::write(&policy, text).expect("written"),
            None => std::fs::remove_file(&policy).expect("removed"),
        }
        check(&bench.sandbox(&["start", "box"]), 0, "", warning);
        revision(1);
    }
    // What it lays there now is no better at the next start.
    let (code, ..) = bench.exec(&["box", "cp", "/dev/stdin", "policy.yaml"], policy_for("/**").as_bytes());
    assert_eq!(code, 0);
    check(&bench.sandbox(&["stop", "box"]), 0, "", "stopped");
    check(&bench.sandbox(&["start", "box"]), 0, "", "lies where the agent writes");
    revision(1);
}

#[test]
fn an_agent_that_does_not_stop_is_ended() {
    let bench = Staying::new("version: 1\n");
    bench
        .create("box", &[], &["sh", "-c", "trap '' TERM; echo ready; while :; do sleep 1000; done"])
        .succeeded_with("box\n");
    until("it ignores signals", || bench.sandbox(&["logs", "box"]).succeeded() == "ready\n");
    let begun = Instant::now();
    check(&bench.sandbox(&["stop", "box"]), 0, "", "box is stopped");
    assert!(begun.elapsed() >= Duration::from_secs(9), "it had its time");
    assert_eq!(bench.get("box")["exit_code"], 137);
}

#[test]
fn the_agent_does_not_reach_its_keepers_files() {
    let bench = Staying::new("version: 1\n");
    let script =
        "ls ~/../home /proc/1/fd 2>&1; echo x > /proc/self/fd/1; for fd in /proc/self/fd/*; do readlink $fd; done";
    bench.create("box", &[], &["sh", "-c", script]).succeeded_with("box\n");
    let log = ended(&bench, "box");
    assert!(log.contains("x\n") && log.contains("pipe:["), "{log}");
    assert!(!log.contains("agent.log") && !log.contains("control.sock"), "{log}");
}

/// Kills the process of a sandbox that is ready, and one at every few milliseconds of its start.
#[test]
fn n_nothing_outlives_a_killed_process() {
    let bench = Staying::new("version: 1\n");
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").expect("readable").lines().count();
    let before = mounts();
    bench.create("box", &[], &["sh", "-c", "sleep 1000 & exec sleep 1000"]).succeeded_with("box\n");
    let mut visitor = Started::new(&mut bench.command(&["exec", "box", "sh", "-c", "echo in >&2; exec cat"]));
    visitor.wait_for("in");
    let process = pid(&bench.get("box"));
    let family = family(process);
    assert!(family.len() >= 6, "proxy, supervisor, process 1, agent, its child, visitor: {family:?}");
    kill_process(process);
    until("its processes end", || left_of(&family).is_empty());
    check(&visitor.end(), 1, "", "the sandbox box has ended, and the command with it");
    until("it is seen as what it is", || bench.get("box")["phase"] == "dead");
    check(&bench.sandbox(&["list"]), 0, "dead", "");
    check(&bench.sandbox(&["exec", "box", "true"]), 1, "", "is not running");
    check(&bench.sandbox(&["stop", "box"]), 1, "", "does not run");
    check(&bench.sandbox(&["start", "box"]), 0, "", "ready");
    check(&bench.sandbox(&["delete", "box"]), 0, "", "deleted");
    for moment in 0..25 {
        kill_during_start(&bench, Duration::from_millis(moment * 6));
    }
    check(&bench.create("box", &[], &[]), 0, "box\n", "ready");
    assert_eq!(mounts(), before);
}

fn kill_during_start(bench: &Staying, moment: Duration) {
    let mut create = bench.command(&["create", "--name", "box", "--policy"]);
    create.arg(bench.0.path("policy.yaml")).args(["--", "sleep", "1000"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let create = create.spawn().expect("started");
    let mut process = None;
    until("the process of the sandbox is there", || {
        process = child_named(create.id(), "tollgate-sandbox");
        process.is_some()
    });
    let (process, begun) = (process.expect("found"), Instant::now());
    until("the moment comes", || begun.elapsed() >= moment);
    let family = family(process);
    kill_process(process);
    let said = create.wait_with_output().expect("ended");
    until("its processes end", || left_of(&family).is_empty() && of_session(process).is_empty());
    // The kernel takes a process apart thread by thread; until it has, its folder is held.
    let mut shown = Value::Null;
    until("it is seen as what it is", || {
        shown = serde_json::from_str(&bench.sandbox(&["list", "-o", "json"]).succeeded()).expect("JSON");
        shown.as_array().expect("a list").iter().all(|one| one["phase"] == "dead")
    });
    let said_why = String::from_utf8_lossy(&said.stderr).contains("ended before it was ready");
    match said.status.success() {
        // It was ready before.
        true => assert_eq!(shown[0]["name"], "box"),
        false => assert!(said_why, "{said:?}"),
    }
    // What is left of it makes room.
    let deleted = bench.sandbox(&["delete", "box"]);
    assert!(deleted.code == 0 || deleted.stderr.contains("there is no sandbox box"), "{deleted:?}");
}

/// A child of a process by its first argument.
fn child_named(parent: u32, name: &str) -> Option<u32> {
    let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(|pid: &u32| {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split(|byte| *byte == 0).next() == Some(name.as_bytes())
    })
}

#[test]
fn the_front_door() {
    let bench = Staying::new("version: 1\n");
    let policy = bench.0.path("policy.yaml").display().to_string();
    let openshell = |arguments: &[&str]| finish(bench.0.tollgate_as(&front_door()).args(arguments));
    check(&openshell(&["sandbox", "create", "--name", "box"]), 1, "", "name a policy with --policy FILE");
    check(
        &openshell(&["sandbox", "create", "--from", "img", "--policy", &policy]),
        1,
        "",
        "nothing is built or pulled",
    );
    check(
        &openshell(&["sandbox", "create", "--name", "box", "--policy", &policy]),
        0,
        "box\n",
        "✓ Created sandbox box",
    );
    check(&openshell(&["sandbox", "list"]), 0, "Ready\n", "");
    check(&openshell(&["sandbox", "list", "--names"]), 0, "box\n", "");
    check(&openshell(&["sandbox", "get", "box", "-o", "json"]), 0, "\"phase\": \"ready\"", "");
    check(&openshell(&["sandbox", "exec", "-n", "box", "--", "sh", "-c", "echo - one; exit 4"]), 4, "- one\n", "");
    check(&openshell(&["sandbox", "exec", "-n", "box", "--", "openclaw", "mcp", "list"]), 127, "", "does not exist");
    check(&openshell(&["sandbox", "stop", "box"]), 0, "", "✓ Stopped sandbox box");
    check(&openshell(&["sb", "list"]), 0, "Stopped\n", "");
    check(&openshell(&["sandbox", "start", "box"]), 0, "", "✓ Started sandbox box");
    check(&openshell(&["sandbox", "delete", "box"]), 0, "", "✓ Deleted sandbox box");
    let run = ["sandbox", "create", "--policy", &policy, "--no-keep", "--", "sh", "-c", "echo in; exit 3"];
    check(&openshell(&run), 3, "in\n", "✓ Deleted sandbox run-");
    check(&openshell(&["sandbox", "list"]), 0, "No sandboxes found.", "");
    let own =
        ["sandbox", "create", "--name", "own", "--policy", &policy, "--detach", "--", "sh", "-c", "echo out; exit 1"];
    check(&openshell(&own), 0, "own\n", "✓ Created sandbox own");
    check(&openshell(&["logs", "own", "--tail", "--source", "agent"]), 0, "out\n", "");
    check(&openshell(&["sandbox", "list"]), 0, "Error\n", "");
    check(&openshell(&["sandbox", "upload", "own", "x"]), 2, "", "x cannot be sent");
    check(&openshell(&["sandbox", "ssh-config", "own"]), 1, "", "is not here");
    check(&openshell(&["forward", "list"]), 0, "", "");
}
