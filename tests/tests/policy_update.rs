//! `policy update` on a running sandbox, as a user types it.

use tollgate_tests::{ASKING, Bench, Finished, Started, finish, front_door, policy_for};

fn start(bench: &Bench) -> Started {
    let mut agent = Started::new(&mut bench.run(&["--name", "box"], &["sh", "-c", ASKING]));
    agent.wait_for("ready");
    agent
}

fn update(bench: &Bench, arguments: &[&str]) -> Finished {
    finish(bench.tollgate_as(&front_door()).args(["policy", "update", "box"]).args(arguments))
}

fn base(bench: &Bench) -> String {
    let said = finish(bench.tollgate_as(&front_door()).args(["policy", "get", "box", "--base"])).succeeded();
    said.split_once("---\n").expect("a policy").1.to_owned()
}

#[track_caller]
fn check(finished: &Finished, code: i32, stdout: &str, stderr: &str) {
    assert_eq!(finished.code, code, "{finished:?}");
    assert!(finished.stdout.contains(stdout) && (stdout.is_empty() == finished.stdout.is_empty()), "{finished:?}");
    assert!(finished.stderr.contains(stderr) && (stderr.is_empty() == finished.stderr.is_empty()), "{finished:?}");
}

#[test]
fn what_is_added_is_in_force_and_what_is_removed_is_not() {
    let bench = Bench::new("version: 1\n");
    let mut agent = start(&bench);
    agent.ask("/a");
    let add = ["--add-endpoint", "api.test:443:read-only:rest:enforce", "--binary", "/usr/bin/curl", "--wait"];
    let added = update(&bench, &add);
    check(&added, 0, "", "✓ Policy version 2 submitted (hash: ");
    assert!(added.stderr.ends_with("✓ Policy version 2 loaded (active version: 2)\n"), "{added:?}");
    agent.ask("/a");
    check(&update(&bench, &add), 0, "", "· Policy unchanged (version 2, hash: ");
    check(&update(&bench, &["--add-deny", "api.test:443:GET:/a"]), 0, "", "✓ Policy version 3 submitted");
    agent.ask("/a");
    agent.ask("/b");
    let written = update(&bench, &["--add-allow", "api.test:443:POST:/x"]);
    check(&written, 0, "", "! `access: read-only` of api.test:443 is written as rules now\n✓ Policy version 4");
    check(&update(&bench, &["--remove-rule", "allow_api_test_443"]), 0, "", "✓ Policy version 5 submitted");
    agent.ask("/b");
    let ended = agent.end();
    let statuses: Vec<_> = ended.stdout.lines().filter(|line| line.parse::<u16>().is_ok()).collect();
    assert_eq!(statuses, ["000", "200", "403", "200", "000"], "{ended:?}");
}

#[test]
fn a_dry_run_changes_nothing() {
    let bench = Bench::new(&policy_for("/a"));
    let agent = start(&bench);
    let before = base(&bench);
    let shown = update(&bench, &["--add-endpoint", "new.test:443", "--binary", "/usr/bin/curl", "--dry-run"]);
    check(&shown, 0, "Policy:\n\n  version: 1\n", "✓ Dry run preview for 1 incremental policy operation(s)\n");
    assert!(shown.stdout.contains("\n    allow_new_test_443:\n"), "{shown:?}");
    assert_eq!(base(&bench), before);
    assert_eq!(agent.end().code, 0);
}

#[test]
fn what_makes_no_sense_changes_nothing() {
    let bench = Bench::new(&policy_for("/a"));
    let agent = start(&bench);
    let before = base(&bench);
    let refused: &[(&[&str], &str)] = &[
        (&[], "nothing is to be changed"),
        (&["--binary", "/usr/bin/curl"], "--binary names programs"),
        (&["--rule-name", "a", "--remove-rule", "b"], "exactly one --add-endpoint"),
        (&["--remove-rule", "a", "--dry-run", "--wait"], "nothing to --wait for"),
        (&["--add-endpoint", "h.test:443::rest", "--binary", "/usr/bin/curl"], "allows nothing"),
        (&["--add-endpoint", "h.test:443:full:rest:audited"], "no enforcement"),
        (&["--add-allow", "h.test:443:GET:/x"], "endpoint h.test:443 was not found in the current policy"),
        (&["--remove-rule", "a", "--global"], "there is no policy for all sandboxes"),
    ];
    for (arguments, said) in refused {
        let finished = update(&bench, arguments);
        check(&finished, 1, "", "Error:   × ");
        assert!(finished.stderr.contains(said), "{arguments:?}: {finished:?}");
    }
    check(&update(&bench, &["--add-endpoint"]), 2, "", "--add-endpoint");
    assert_eq!(base(&bench), before);
    assert_eq!(agent.end().code, 0);
}

#[test]
fn writers_at_the_same_time_lose_nothing() {
    const WRITERS: usize = 6;
    let bench = Bench::new("version: 1\n");
    let agent = start(&bench);
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let bench = &bench;
            scope.spawn(move || {
                let endpoint = format!("host-{writer}.test:443");
                check(
                    &update(bench, &["--add-endpoint", &endpoint, "--binary", "/usr/bin/curl"]),
                    0,
                    "",
                    "✓ Policy version",
                );
            });
        }
    });
    let after = base(&bench);
    for writer in 0..WRITERS {
        assert!(after.contains(&format!("host: host-{writer}.test\n")), "{writer}: {after}");
    }
    assert_eq!(agent.end().code, 0);
}
