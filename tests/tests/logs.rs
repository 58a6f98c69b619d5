//! `logs` of a sandbox: what its gate decided, by each of the commands that show it.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;
use tollgate_tests::{ASKING, Bench, Finished, Started, built, finish, front_door, policy_for};

fn logs(bench: &Bench, arguments: &[&str]) -> Finished {
    finish(bench.tollgate().args(["logs", "box"]).args(arguments))
}

/// A sandbox named `box` in which one request was allowed and one refused.
fn asked(bench: &Bench) -> Started {
    let mut agent = Started::new(&mut bench.run(&["--name", "box"], &["sh", "-c", ASKING]));
    agent.wait_for("ready");
    agent.ask("/a");
    agent.ask("/b");
    agent
}

#[test]
fn what_was_decided_is_shown_and_filtered() {
    let bench = Bench::new(&policy_for("/a"));
    let agent = asked(&bench);
    let all = logs(&bench, &[]).succeeded();
    assert!(all.contains(" HTTP:GET [INFO] ALLOWED GET https://api.test:443/a [by:/usr/bin/curl("), "{all}");
    assert!(all.contains(" HTTP:GET [MED] DENIED GET https://api.test:443/b [by:/usr/bin/curl("), "{all}");
    assert!(all.lines().all(|line| line.starts_with("20") && line.contains("Z ")), "{all}");
    assert!(!all.contains('\u{1b}'), "no colours into a pipe");

    #[track_caller]
    fn check(bench: &Bench, filters: &[&str], there: &str, not_there: &str) {
        let shown = logs(bench, filters).succeeded();
        assert!(shown.contains(there) && !shown.contains(not_there), "{filters:?}: {shown}");
    }
    check(&bench, &["--decision", "denied"], "api.test:443/b", "api.test:443/a");
    check(&bench, &["--decision", "allowed", "--host", "api.test"], "api.test:443/a", "api.test:443/b");
    check(&bench, &["--binary", "curl", "--host", "api.test"], "api.test:443/a", "APP:");
    check(&bench, &["--since", "1h", "--binary", "/usr/bin/*"], "api.test:443/a", "APP:");
    for nothing in [["--host", "other.test"], ["--binary", "git"], ["--since", "2999-01-01T00:00:00Z"]] {
        assert_eq!(logs(&bench, &nothing).succeeded(), "", "{nothing:?}");
    }
    assert_eq!(logs(&bench, &["-n", "2"]).succeeded().lines().count(), 2);
    assert_eq!(agent.end().code, 0);
    assert!(logs(&bench, &[]).succeeded().contains(" APP:STOP "), "also when it has ended");
}

/// Through a terminal of its own what was refused stands out; into a pipe, or where its user wants none, nothing is coloured.
#[test]
fn colours_are_for_terminals() {
    let bench = Bench::new(&policy_for("/a"));
    assert_eq!(asked(&bench).end().code, 0);
    let shown = |no_color: &str| {
        let both = nix::pty::openpty(None, None).expect("a terminal");
        let mut command = bench.tollgate();
        command.args(["logs", "box", "--decision", "denied", "-n", "1"]).env("NO_COLOR", no_color).stdout(both.slave);
        let mut child = command.spawn().expect("started");
        let mut line = String::new();
        BufReader::new(std::fs::File::from(both.master)).read_line(&mut line).expect("a line");
        assert!(child.wait().expect("ended").success());
        line
    };
    let coloured = shown("");
    assert!(coloured.starts_with("\u{1b}[31m20") && coloured.trim_end().ends_with("\u{1b}[0m"), "{coloured:?}");
    assert!(!shown("1").contains('\u{1b}'));
}

#[test]
fn programs_get_ocsf() {
    let bench = Bench::new(&policy_for("/a"));
    assert_eq!(asked(&bench).end().code, 0);
    let shown = logs(&bench, &["-o", "json", "--decision", "denied", "--host", "api.test"]).succeeded();
    let events: Vec<Value> = shown.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let refused = events.iter().find(|event| event["class_uid"] == 4002).expect("the request");
    assert_eq!(
        (&refused["activity_name"], &refused["action"], &refused["http_request"]["url"]["path"]),
        (&"Get".into(), &"Denied".into(), &"/b".into())
    );
    assert_eq!(refused["actor"]["process"]["file"]["path"], "/usr/bin/curl");
    assert_eq!(refused["metadata"]["log_name"], "box");
}

#[test]
fn other_commands_show_the_same() {
    let bench = Bench::new(&policy_for("/a"));
    let agent = asked(&bench);
    let by =
        |program: &std::path::Path, arguments: &[&str]| finish(bench.tollgate_as(program).args(arguments)).succeeded();
    let theirs = by(&front_door(), &["logs", "box", "--level", "warn"]);
    let refused = "] [sandbox] [OCSF ] [ocsf] HTTP:GET [MED] DENIED GET https://api.test:443/b ";
    assert!(theirs.contains(refused) && !theirs.contains("ALLOWED"), "{theirs}");
    let theirs = by(&front_door(), &["logs", "-n", "1", "--source", "all", "--since", "5m"]);
    assert_eq!(theirs.lines().count(), 1);
    let nemoclaw = by(&built("nemoclaw"), &["box", "logs", "--tail", "500"]);
    assert!(nemoclaw.contains(refused), "{nemoclaw}");
    let own = by(tollgate_tests::program(), &["sandbox", "logs", "box", "--source", "gate", "--decision", "denied"]);
    assert!(own.contains("DENIED GET https://api.test:443/b"), "{own}");
    assert_eq!(agent.end().code, 0);
}

#[test]
fn it_is_followed_to_its_end() {
    let bench = Bench::new(&policy_for("/a"));
    let mut agent = asked(&bench);
    let mut follow = bench.tollgate();
    follow.args(["logs", "box", "--follow", "--decision", "denied"]).stdout(Stdio::piped());
    let mut follow = follow.spawn().expect("started");
    let mut lines = BufReader::new(follow.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    assert!(lines.any(|line| line.contains("api.test:443/b")), "what was there");
    agent.ask("/later");
    assert!(lines.any(|line| line.contains("api.test:443/later")), "what comes");
    assert_eq!(agent.end().code, 0);
    assert_eq!(lines.count(), 0, "it ends with the sandbox");
    assert!(follow.wait().expect("ended").success());
}

#[test]
fn what_makes_no_sense_is_said() {
    let bench = Bench::new("version: 1\n");
    let refused: &[(&[&str], i32, &str)] = &[
        (&["logs", "box"], 1, "there is no sandbox box"),
        (&["logs"], 1, "no sandbox is running"),
        (&["logs", "Box"], 2, "`Box` is no sandbox name"),
        (&["logs", "box", "--since", "yesterday"], 2, "`yesterday` is no time"),
        (&["logs", "box", "--decision", "maybe"], 2, "invalid value 'maybe'"),
        (&["logs", "box", "--host", "a b"], 2, "invalid value 'a b'"),
    ];
    for (arguments, code, said) in refused {
        let finished = finish(bench.tollgate().args(*arguments));
        assert!(finished.code == *code && finished.stderr.contains(said), "{arguments:?}: {finished:?}");
    }
}
