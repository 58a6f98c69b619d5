//! `policy set`, `get`, `list` and `rollback` on a running sandbox, as a user types them, and the API behind them.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tollgate_tests::{ASKING, Bench, Finished, Started, finish, front_door, policy_for};

/// A sandbox named `box` whose policy file allows `/a`.
fn start(bench: &Bench) -> Started {
    let mut agent = Started::new(&mut bench.run(&["--name", "box"], &["sh", "-c", ASKING]));
    agent.wait_for("ready");
    agent
}

fn openshell(bench: &Bench, arguments: &[&str]) -> Finished {
    finish(bench.tollgate_as(&front_door()).current_dir(bench.path("")).args(arguments))
}

fn tollgate(bench: &Bench, arguments: &[&str]) -> Finished {
    finish(bench.tollgate().current_dir(bench.path("")).args(arguments))
}

#[track_caller]
fn check(finished: &Finished, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(finished.code, code, "{finished:?}");
    assert!(finished.stdout.contains(stdout) && (stdout.is_empty() == finished.stdout.is_empty()), "{finished:?}");
    assert!(finished.stderr.contains(stderr) && (stderr.is_empty() == finished.stderr.is_empty()), "{finished:?}");
}

/// `METHOD path` with a JSON body on the control socket, as its owner: status, answer, and how long it took.
fn timed(bench: &Bench, method: &str, path: &str, body: &str) -> (u16, Value, Duration) {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let body = bench.write(&format!("body-{}", CALLS.fetch_add(1, Ordering::Relaxed)), body);
    let mut curl = bench.tollgate_as(Path::new("curl"));
    curl.args(["-sS", "-X", method, "-w", "\n%{http_code} %{time_total}", "-H", "expect:", "--unix-socket"]);
    curl.arg(bench.path("home/sandboxes/box/control.sock")).arg("--data-binary");
    curl.arg(format!("@{}", body.display())).arg(format!("http://tollgate{path}"));
    let said = finish(&mut curl).succeeded();
    let (answer, measured) = said.rsplit_once('\n').expect("two lines");
    let (status, seconds) = measured.split_once(' ').expect("two numbers");
    let took = Duration::from_secs_f64(seconds.parse().expect("seconds"));
    (status.parse().expect("a status"), serde_json::from_str(answer).unwrap_or(Value::Null), took)
}

fn call(bench: &Bench, method: &str, path: &str, body: &str) -> (u16, Value) {
    let (status, answer, _) = timed(bench, method, path, body);
    (status, answer)
}

fn put(bench: &Bench, text: &str, expected: Option<&str>) -> (u16, Value) {
    call(bench, "PUT", "/v1/policy", &json!({ "text": text, "expected": expected }).to_string())
}

#[test]
fn a_policy_that_is_set_is_in_force_for_the_next_request() {
    let bench = Bench::new(&policy_for("/a"));
    let mut agent = start(&bench);
    agent.ask("/b");
    bench.write("next.yaml", policy_for("/b"));
    let set = openshell(&bench, &["policy", "set", "box", "--policy", "next.yaml", "--wait"]);
    check(&set, 0, "", "✓ Policy version 2 submitted (hash: ");
    assert!(set.stderr.ends_with("✓ Policy version 2 loaded (active version: 2)\n"), "{set:?}");
    agent.ask("/b");
    agent.ask("/a");
    let again = openshell(&bench, &["policy", "set", "--policy", "next.yaml", "--wait"]);
    check(&again, 0, "", "· Policy unchanged (version 2, hash: ");
    let back = openshell(&bench, &["policy", "rollback", "box", "--rev", "1"]);
    check(&back, 0, "", "✓ Policy version 3 submitted (hash: ");
    agent.ask("/a");
    assert_eq!(agent.end().stdout.lines().collect::<Vec<_>>(), ["403", "200", "403", "200"]);
    let own = nix::unistd::Uid::effective();
    let user = if own.is_root() { 65534 } else { own.as_raw() };
    let events = bench.events("policy");
    let told: Vec<_> = events.iter().map(|record| record["detail"].as_str().expect("text")).collect();
    assert_eq!(told, [format!("revision 2, set by user {user}"), format!("revision 3, back to 1, by user {user}")]);
    assert!(events.iter().all(|record| record["outcome"] == "in-force"), "{events:?}");
}

/// A request that is under way is refused when its permission goes.
#[test]
fn what_lost_its_permission_is_ended() {
    const WAITING: &str = "(echo part; read word) | curl -sS -X GET -T . -o /dev/null -w 'ended with %{http_code}\\n' https://api.test/a >&2";
    const BOUND: Duration = Duration::from_secs(10);
    let bench = Bench::new(&policy_for("/a"));
    let mut agent = Started::new(&mut bench.run(&["--name", "box"], &["sh", "-c", WAITING]));
    let began = Instant::now();
    while !bench.path("home/sandboxes/box/journal/000001.jsonl").exists() || bench.events("request").is_empty() {
        assert!(began.elapsed() < BOUND, "nothing was asked");
        std::thread::yield_now();
    }
    bench.write("next.yaml", policy_for("/b"));
    openshell(&bench, &["policy", "set", "box", "--policy", "next.yaml", "--wait"]).succeeded_quietly();
    agent.wait_for("ended with 403");
    assert_eq!(agent.end().code, 0);
}

#[test]
fn what_was_in_force_is_shown() {
    let bench = Bench::new(&policy_for("/a"));
    let agent = start(&bench);
    let next = bench.write("next.yaml", format!("# mine\n{}", policy_for("/b")));
    openshell(&bench, &["policy", "set", "box", "--policy", &next.display().to_string()]).succeeded_quietly();
    let get = |arguments: &[&str]| openshell(&bench, &[&["policy", "get", "box"], arguments].concat()).succeeded();
    let effective = get(&[]);
    let head = "Version:      2\nHash:         ";
    assert!(
        effective.starts_with(head)
            && effective.contains("\nStatus:       Effective\nSource:       sandbox\nConfig rev:   2\n"),
        "{effective}"
    );
    assert!(!effective.contains("---"), "{effective}");
    let full = get(&["--full"]);
    let text = full.split_once("---\n").expect("a policy").1;
    assert_eq!(text, tollgate_policy::load(&policy_for("/b")).expect("valid").canonical());
    let first = get(&["--rev", "1", "--base"]);
    assert!(first.contains("Status:       Superseded\nActive:       2\nCreated:      "), "{first}");
    assert!(first.contains("path: /a"), "{first}");
    let json: Value = serde_json::from_str(&get(&["-o", "json", "--full"])).expect("JSON");
    assert_eq!(
        (&json["scope"], &json["sandbox"], &json["version"], &json["active_version"]),
        (&"sandbox".into(), &"box".into(), &2.into(), &2.into())
    );
    assert_eq!(
        (&json["status"], &json["policy_source"], &json["config_revision"]),
        (&"effective".into(), &"sandbox".into(), &2.into())
    );
    assert_eq!(json["policy"]["network_policies"]["api"]["endpoints"][0]["host"], "api.test");
    let json: Value = serde_json::from_str(&get(&["-o", "json", "--rev", "1"])).expect("JSON");
    assert_eq!((&json["status"], &json["provenance"]["origin"]), (&"superseded".into(), &"file".into()));
    assert!(json["policy"].is_null() && json["loaded_at_ms"].is_u64(), "{json}");
    let list = tollgate(&bench, &["policy", "list", "box"]).succeeded();
    let lines: Vec<_> = list.lines().collect();
    assert_eq!(lines[0], "VERSION HASH          STATUS      CREATED                 ERROR");
    let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!((fields(lines[1])[0].as_str(), fields(lines[1])[2].as_str()), ("2", "Loaded"));
    assert_eq!((fields(lines[2])[0].as_str(), fields(lines[2])[2].as_str()), ("1", "Superseded"));
    assert_eq!(openshell(&bench, &["pol", "list", "box", "--limit", "1"]).succeeded().lines().count(), 2);
    // What is printed is a policy again, and the one in force, with what stands above it or without.
    bench.write("again.yaml", text);
    check(&openshell(&bench, &["policy", "set", "box", "--policy", "again.yaml"]), 0, "", "· Policy unchanged");
    bench.write("whole.yaml", &full);
    check(&openshell(&bench, &["policy", "set", "box", "--policy", "whole.yaml"]), 0, "", "· Policy unchanged");
    assert_eq!(agent.end().code, 0);
}

#[test]
fn mistakes_change_nothing() {
    let bench = Bench::new(&policy_for("/a"));
    let mut agent = start(&bench);
    bench.write("good.yaml", policy_for("/b"));
    bench.write(
        "bad.yaml",
        policy_for("/b").replace("protocol: rest", "protocol: rets").replace("port: 443", "prot: 443"),
    );
    bench.write("fixed.yaml", format!("landlock: {{compatibility: best_effort}}\n{}", policy_for("/b")));
    let set = |name: &str, file: &str| openshell(&bench, &["policy", "set", name, "--policy", file]);
    let bad = set("box", "bad.yaml");
    check(&bad, 1, "", "Error:   × the policy is not valid; nothing changed:\nbad.yaml:5:9: ");
    assert!(
        bad.stderr.contains("bad.yaml:6:9: ") && bad.stderr.contains("bad.yaml:7:19: "),
        "every mistake is told: {bad:?}"
    );
    check(&tollgate(&bench, &["policy", "set", "box", "--policy", "bad.yaml"]), 3, "", "bad.yaml:7:19: ");
    check(&set("box", "fixed.yaml"), 1, "", "fixed.yaml: `landlock` was applied when the sandbox started");
    check(&set("box", "nowhere.yaml"), 1, "", "Error:   × nowhere.yaml cannot be read: ");
    check(&set("Box", "good.yaml"), 1, "", "`Box` is no sandbox name");
    check(&set("other", "good.yaml"), 1, "", "there is no sandbox other in ");
    check(&openshell(&bench, &["policy", "set", "box"]), 2, "", "--policy");
    check(
        &openshell(&bench, &["policy", "set", "box", "--policy", "good.yaml", "--global"]),
        1,
        "",
        "no policy for all sandboxes",
    );
    check(&openshell(&bench, &["policy", "get", "box", "--full", "--base"]), 2, "", "cannot be used with");
    check(&openshell(&bench, &["policy", "get", "box", "--rev", "9"]), 1, "", "there is no revision 9");
    check(&openshell(&bench, &["policy", "rollback", "box", "--rev", "9"]), 1, "", "there is no revision 9");
    check(&openshell(&bench, &["policy", "rollback", "box"]), 2, "", "--rev");
    check(&openshell(&bench, &["policy", "delete"]), 1, "", "a sandbox always has a policy");
    check(&openshell(&bench, &["policy", "delete", "--global"]), 1, "", "say --yes");
    check(&openshell(&bench, &["policy", "delete", "--global", "--yes"]), 0, "", "! Global setting policy not found");
    check(&openshell(&bench, &["policy", "get", "--global"]), 0, "", "No global policy history found");
    check(&openshell(&bench, &["policy", "list", "--global"]), 0, "", "No global policy history found");
    check(&openshell(&bench, &["policy", "prove"]), 2, "", "unrecognized subcommand");
    check(&openshell(&bench, &["policy"]), 0, "rollback", "");
    let unexpected = ["policy", "set", "box", "--policy", "good.yaml", "--expect", "0123456789ab"];
    check(&openshell(&bench, &unexpected), 1, "", "is in force and not 0123456789ab; nothing changed");
    check(
        &openshell(&bench, &["policy", "set", "box", "--policy", "good.yaml", "--expect", "x"]),
        1,
        "",
        "hexadecimal digits",
    );
    agent.ask("/a");
    agent.ask("/b");
    assert_eq!(openshell(&bench, &["policy", "list", "box"]).succeeded().lines().count(), 2, "one revision");
    assert_eq!(agent.end().stdout, "200\n403\n");
    let outcomes: Vec<_> = bench.events("policy").iter().map(|r| r["outcome"].to_string()).collect();
    assert_eq!(outcomes, ["\"refused\"", "\"refused\"", "\"refused\""], "each set that was not valid is recorded");
    check(&set("box", "good.yaml"), 1, "", "sandbox box: it is not running");
    check(&openshell(&bench, &["policy", "get"]), 1, "", "no sandbox is running");
}

/// What cannot be kept does not come into force, and the proxy goes on.
#[test]
fn a_policy_that_cannot_be_kept_changes_nothing() {
    let bench = Bench::new(&policy_for("/a"));
    let mut agent = start(&bench);
    bench.write("next.yaml", policy_for("/b"));
    let set = || openshell(&bench, &["policy", "set", "box", "--policy", "next.yaml"]);
    let folder = bench.path("home/sandboxes/box/revisions");
    std::fs::set_permissions(&folder, Permissions::from_mode(0o500)).expect("closed");
    check(&set(), 1, "", "000002.json cannot be written: Permission denied (os error 13); nothing changed");
    agent.ask("/b");
    std::fs::set_permissions(&folder, Permissions::from_mode(0o700)).expect("open again");
    check(&set(), 0, "", "✓ Policy version 2 submitted");
    agent.ask("/b");
    assert_eq!(agent.end().stdout, "403\n200\n");
}

/// Whenever the proxy is killed, what is on disk afterwards are whole policies that were accepted, numbered on.
#[test]
fn a_proxy_that_is_killed_while_policies_are_set_leaves_whole_revisions() {
    let bench = Bench::new(&policy_for("/a"));
    for (round, sets) in [(0, 1), (1, 4), (2, 9)] {
        let agent = start(&bench);
        let proxy = Pid::from_raw(i32::try_from(agent.child.id()).expect("a pid"));
        std::thread::scope(|scope| {
            let (told, done) = channel();
            let bench = &bench;
            let writer = scope.spawn(move || {
                for number in 0.. {
                    bench.write("next.yaml", policy_for(&format!("/{round}/{number}")));
                    let one = openshell(bench, &["policy", "set", "box", "--policy", "next.yaml"]);
                    if one.code != 0 {
                        return one;
                    }
                    told.send(number).expect("awaited");
                }
                unreachable!("it is killed before");
            });
            while done.recv().expect("it goes on") < sets {}
            kill(proxy, Signal::SIGKILL).expect("killed");
            check(&writer.join().expect("ended"), 1, "", "sandbox box: it ");
        });
        let _killed = agent.end();
    }
    let mut agent = Started::new(&mut bench.run(&["--name", "box"], &["sh", "-c", ASKING]));
    let said = agent.wait_for("ready");
    assert!(!said.contains("damaged"), "{said}");
    let (_, list) = call(&bench, "GET", "/v1/policy/revisions", "");
    let numbers: Vec<_> = list["revisions"].as_array().expect("a list").iter().map(|r| r["number"].as_u64()).collect();
    let expected: Vec<_> = (1..=numbers.len() as u64).rev().map(Some).collect();
    assert!(numbers.len() > 14, "{list}");
    assert_eq!(numbers, expected, "none is missing and none came twice");
    assert_eq!(agent.end().code, 0);
}

#[test]
fn a_proxy_that_hangs_ends_the_wait() {
    let bench = Bench::new(&policy_for("/a"));
    let agent = start(&bench);
    bench.write("next.yaml", policy_for("/b"));
    let proxy = Pid::from_raw(i32::try_from(agent.child.id()).expect("a pid"));
    kill(proxy, Signal::SIGSTOP).expect("stopped");
    let set = ["policy", "set", "box", "--policy", "next.yaml", "--wait", "--timeout", "1"];
    check(&openshell(&bench, &set), 124, "", "Timeout waiting for the sandbox box");
    check(&tollgate(&bench, &set), 124, "", "tollgate: Timeout waiting");
    kill(proxy, Signal::SIGCONT).expect("goes on");
    assert_eq!(agent.end().code, 0);
}

#[test]
fn the_policy_file_undoes_a_set_only_by_an_edit_that_says_something_else() {
    let bench = Bench::new(&policy_for("/a"));
    let mut agent = start(&bench);
    bench.write("next.yaml", policy_for("/b"));
    openshell(&bench, &["policy", "set", "box", "--policy", "next.yaml"]).succeeded_quietly();
    agent.wait_for("generation 2 is in force");
    // The same again, a comment, and a mistake that is taken back: it is still what it was.
    bench.set_policy(&policy_for("/a"));
    bench.set_policy(&format!("# a comment\n{}", policy_for("/a")));
    bench.set_policy("version: 7\n");
    agent.wait_for("generation 2 stays in force");
    bench.set_policy(&policy_for("/a"));
    agent.ask("/b");
    agent.ask("/a");
    bench.set_policy(&policy_for("/c"));
    agent.wait_for("generation 3 is in force");
    agent.ask("/c");
    agent.ask("/b");
    let list: Value =
        serde_json::from_str(&openshell(&bench, &["policy", "list", "-o", "json"]).succeeded()).expect("JSON");
    let origins: Vec<_> =
        list["revisions"].as_array().expect("a list").iter().map(|r| &r["provenance"]["origin"]).collect();
    assert_eq!(origins, ["file", "set", "file"]);
    assert_eq!(agent.end().stdout, "200\n403\n200\n403\n");
}

#[test]
fn revisions_outlive_the_sandbox_and_a_damaged_one_costs_only_itself() {
    let bench = Bench::new(&policy_for("/a"));
    let agent = start(&bench);
    bench.write("next.yaml", policy_for("/b"));
    openshell(&bench, &["policy", "set", "box", "--policy", "next.yaml"]).succeeded_quietly();
    assert_eq!(agent.end().code, 0);
    let folder = bench.path("home/sandboxes/box/revisions");
    let text = std::fs::read_to_string(folder.join("000002.json")).expect("kept");
    std::fs::write(folder.join("000002.json"), &text[..text.len() / 2]).expect("cut");
    // A draft that a crash left.
    bench.write("home/sandboxes/box/revisions/000003.new", &text[..9]);
    let mut agent = Started::new(&mut bench.run(&["--name", "box"], &["sh", "-c", ASKING]));
    let said = agent.wait_for("ready");
    assert!(said.contains("000002.json is damaged"), "{said}");
    agent.ask("/a");
    let list = openshell(&bench, &["policy", "list", "box"]).succeeded();
    let numbers: Vec<_> = list.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(numbers, ["1"], "the file says what revision 1 said: {list}");
    check(
        &openshell(&bench, &["policy", "set", "box", "--policy", "next.yaml"]),
        0,
        "",
        "✓ Policy version 3 submitted",
    );
    assert_eq!(agent.end().stdout, "200\n");
}

#[test]
fn the_api_tells_conflicts_mistakes_and_nonsense_apart() {
    let bench = Bench::new(&policy_for("/a"));
    let agent = start(&bench);
    let (status, shown) = call(&bench, "GET", "/v1/policy?text=base", "");
    assert_eq!((status, &shown["revision"]["number"], &shown["active"]), (200, &1.into(), &1.into()), "{shown}");
    let first = shown["revision"]["sha256"].as_str().expect("a hash").to_owned();
    let (status, applied) = put(&bench, &policy_for("/b"), Some(&first));
    assert_eq!((status, &applied["is_new"], &applied["revision"]["status"]), (200, &true.into(), &"loaded".into()));
    let (status, problem) = put(&bench, &policy_for("/c"), Some(&first));
    assert_eq!(status, 409, "{problem}");
    assert!(problem["message"].as_str().expect("text").contains("revision 2 "), "{problem}");
    let (status, problem) = put(&bench, "version: 2\nnonsense: 1\n", None);
    assert_eq!((status, problem["mistakes"].as_array().map(Vec::len)), (422, Some(2)), "{problem}");
    let (status, _) = put(&bench, &"#".repeat((1 << 20) + 1), None);
    assert_eq!(status, 413);
    for (method, path, body, expected) in [
        ("PUT", "/v1/policy", "{", 400),
        ("PUT", "/v1/policy", "{\"text\": \"version: 1\", \"other\": 1}", 400),
        ("PUT", "/v1/policy", "{\"text\": \"version: 1\", \"expected\": \"zz\"}", 400),
        ("POST", "/v1/policy/rollback", "{\"revision\": 99}", 404),
        ("POST", "/v1/policy/rollback", "{\"revision\": -1}", 400),
        ("GET", "/v1/policy?revision=99", "", 404),
        ("GET", "/v1/policy?revision=x", "", 400),
        ("DELETE", "/v1/policy", "", 405),
    ] {
        assert_eq!(call(&bench, method, path, body).0, expected, "{method} {path} {body}");
    }
    let (status, list) = call(&bench, "GET", "/v1/policy/revisions", "");
    assert_eq!(
        (status, &list["active"], list["revisions"].as_array().map(Vec::len)),
        (200, &2.into(), Some(2)),
        "{list}"
    );
    assert_eq!(agent.end().code, 0);
}

/// Of writers that all replace the same revision one wins, each time, and none is lost without being told.
#[test]
fn concurrent_writers_get_a_conflict_and_not_a_lost_update() {
    const WRITERS: usize = 8;
    let bench = Bench::new(&policy_for("/a"));
    let agent = start(&bench);
    let active = || call(&bench, "GET", "/v1/policy", "").1["revision"]["sha256"].as_str().expect("a hash").to_owned();
    for round in 0..5 {
        let expected = active();
        let statuses: Vec<_> = std::thread::scope(|scope| {
            let write = |writer| {
                let (bench, expected) = (&bench, &expected);
                scope.spawn(move || put(bench, &policy_for(&format!("/{round}/{writer}")), Some(expected)).0)
            };
            let writers: Vec<_> = (0..WRITERS).map(write).collect();
            writers.into_iter().map(|writer| writer.join().expect("answered")).collect()
        });
        let won = statuses.iter().filter(|status| **status == 200).count();
        let lost = statuses.iter().filter(|status| **status == 409).count();
        assert_eq!((won, lost), (1, WRITERS - 1), "{statuses:?}");
    }
    let (_, list) = call(&bench, "GET", "/v1/policy/revisions", "");
    assert_eq!(list["revisions"].as_array().map(Vec::len), Some(6));
    assert_eq!(agent.end().code, 0);
}

/// One entry for each rule, as policies of many services have them.
fn large(rules: usize, path: &str) -> String {
    let mut text = "version: 1\nnetwork_policies:\n".to_owned();
    for number in 0..rules {
        let host = if number == 0 { "api.test".to_owned() } else { format!("host-{number}.test") };
        text += &format!(
            "  entry-{number}:\n    endpoints:\n    - {{host: {host}, port: 443, protocol: rest, rules: [{{allow: {{method: GET, path: {path}}}}}]}}\n"
        );
    }
    text
}

/// Prints how long it takes until a policy of 1,000 rules is in force: the request on the socket alone, and the command.
#[test]
fn a_thousand_rules_are_in_force_soon() {
    /// An optimised build takes a twentieth; this is for one that is not, on a machine that does much else.
    const BOUND: Duration = Duration::from_secs(5);
    let bench = Bench::new(&policy_for("/a"));
    let mut agent = start(&bench);
    let (mut calls, mut commands) = (Vec::new(), Vec::new());
    for round in 0..5 {
        let body = json!({ "text": large(1_000, &format!("/call/{round}")) }).to_string();
        let (status, _, took) = timed(&bench, "PUT", "/v1/policy", &body);
        assert_eq!(status, 200);
        calls.push(took);
        bench.write("large.yaml", large(1_000, &format!("/{round}")));
        let mut set = bench.tollgate_as(&front_door());
        set.args(["policy", "set", "box", "--wait", "--policy"]).arg(bench.path("large.yaml"));
        let began = Instant::now();
        assert_eq!(finish(&mut set).code, 0);
        commands.push(began.elapsed());
    }
    calls.sort();
    commands.sort();
    eprintln!(
        "policy set, 1,000 rules: request {:?} ({:?}), command {:?} ({:?})",
        calls[2], calls, commands[2], commands
    );
    agent.ask("/4");
    agent.ask("/call/4");
    assert!(calls[2] < BOUND && commands[2] < BOUND, "{calls:?} {commands:?}");
    assert_eq!(agent.end().stdout, "200\n403\n");
}
