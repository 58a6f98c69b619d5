//! `tollgate audit export` and `tail`, and what `verify` says of an export elsewhere.

use std::path::Path;

use serde_json::Value;
use tollgate_tests::{ASKING, Bench, Finished, Started, finish, policy_for};

/// A sandbox named `box` that has ended, with one request allowed and one refused.
fn recorded() -> Bench {
    let bench = Bench::new(&policy_for("/a"));
    let mut agent = Started::new(&mut bench.run(&["--name", "box"], &["sh", "-c", ASKING]));
    agent.wait_for("ready");
    agent.ask("/a");
    agent.ask("/b");
    assert_eq!(agent.end().code, 0);
    bench
}

fn audit(bench: &Bench, arguments: &[&str]) -> Finished {
    finish(bench.tollgate().arg("audit").args(arguments))
}

/// Verifies on a machine that has the file and the key, and no state folder.
fn verify_elsewhere(bench: &Bench, export: &Path, options: &[&str]) -> Finished {
    let mut command = bench.tollgate();
    command.env_remove("TOLLGATE_HOME").env("HOME", bench.path("nowhere"));
    command.args(["audit", "verify"]).arg(export).arg("--key").arg(bench.path("home/journal.pub")).args(options);
    finish(&mut command)
}

#[test]
fn an_export_verifies_elsewhere() {
    let bench = recorded();
    let records = bench.whole_journal().len();
    for format in ["ocsf", "jsonl"] {
        let exported = audit(&bench, &["export", "box", "--format", format]).succeeded();
        let file = bench.write("export.jsonl", &exported);
        let said = verify_elsewhere(&bench, &file, &[]).succeeded();
        assert!(said.contains(&format!("box/000001: intact, {records} records, closed in order")), "{format}: {said}");
        let by_file = bench.journal_file();
        let by_file = audit(&bench, &["export", &by_file.display().to_string(), "--format", format]).succeeded();
        assert_eq!(by_file, exported, "{format}");
    }
    let events = audit(&bench, &["export"]).succeeded();
    assert_eq!(events.lines().count(), records);
    let event: Value = serde_json::from_str(events.lines().nth(1).expect("a second")).expect("JSON");
    assert_eq!((&event["metadata"]["log_name"], &event["unmapped"]["seq"]), (&"box".into(), &2.into()));
}

#[test]
fn r2_what_was_done_to_an_export_is_found() {
    let bench = recorded();
    let honest = audit(&bench, &["export", "box"]).succeeded();
    let lines: Vec<&str> = honest.split_inclusive('\n').collect();
    let without = |at: usize| [&lines[..at], &lines[at + 1..]].concat().concat();
    for (forged, said) in [
        (honest.replacen("\"Denied\"", "\"Denieb\"", 1), "does not say what its record says"),
        (without(0), "signed head"),
        (without(3), "removed, inserted or moved"),
        (without(lines.len() - 1), "was cut"),
        ([&lines[..2], &[lines[3], lines[2]], &lines[4..]].concat().concat(), "removed, inserted or moved"),
    ] {
        assert_ne!(forged, honest, "{said}");
        let finished = verify_elsewhere(&bench, &bench.write("forged.jsonl", &forged), &[]);
        assert_eq!(finished.code, 1, "{finished:?}");
        assert!(finished.stderr.contains(said), "{said:?} is not in {finished:?}");
    }
}

#[test]
fn a_part_is_exported_and_verified_as_one() {
    let bench = recorded();
    let journal = bench.whole_journal();
    let middle = journal[journal.len() / 2]["time"].as_str().expect("a time").to_owned();
    let exported = audit(&bench, &["export", "box", "--since", &middle]).succeeded();
    let left = exported.lines().count();
    assert!(left > 0 && left < journal.len(), "{left} of {}", journal.len());
    let file = bench.write("part.jsonl", &exported);
    let whole = verify_elsewhere(&bench, &file, &[]);
    assert!(whole.code == 1 && whole.stderr.contains("say --part"), "{whole:?}");
    let part = verify_elsewhere(&bench, &file, &["--part"]).succeeded();
    assert!(part.contains(&format!("intact, {left} records")), "{part}");
    assert_eq!(audit(&bench, &["export", "box", "--since", "2999-01-01T00:00:00Z"]).succeeded(), "");
}

#[test]
fn the_journal_of_a_running_sandbox_is_exported() {
    let bench = Bench::new(&policy_for("/a"));
    let mut agent = Started::new(&mut bench.run(&["--name", "box"], &["sh", "-c", ASKING]));
    agent.wait_for("ready");
    for format in ["ocsf", "jsonl"] {
        agent.ask("/a");
        let exported = audit(&bench, &["export", "box", "--format", format]).succeeded();
        let said = verify_elsewhere(&bench, &bench.write("export.jsonl", &exported), &[]).succeeded();
        assert!(said.contains("box/000001: intact, ") && said.contains(", not closed"), "{format}: {said}");
    }
    assert_eq!(agent.end().code, 0);
}

#[test]
fn what_cannot_be_exported_is_said() {
    let bench = recorded();
    let unknown = audit(&bench, &["export", "bx"]);
    assert!(unknown.code == 1 && unknown.stderr.contains("there is no sandbox or proxy bx"), "{unknown:?}");
    let file = bench.journal_file();
    let broken = std::fs::read_to_string(&file).expect("a journal") + "no record\n";
    std::fs::write(&file, broken).expect("written");
    let broken = audit(&bench, &["export", "box"]);
    assert!(broken.code == 6 && broken.stderr.contains("is no record"), "{broken:?}");
    std::fs::remove_file(file.with_extension("head")).expect("removed");
    let headless = audit(&bench, &["export", "box"]);
    assert!(headless.code == 6 && headless.stderr.contains("its signed head"), "{headless:?}");
}

#[test]
fn the_tail_is_the_last_records() {
    let bench = recorded();
    let all = finish(bench.tollgate().args(["logs", "box"])).succeeded();
    let all: Vec<&str> = all.lines().collect();
    let shown = audit(&bench, &["tail", "box", "-n", "3"]).succeeded();
    assert_eq!(shown.lines().collect::<Vec<_>>(), all[all.len() - 3..]);
    assert_eq!(audit(&bench, &["tail", "box"]).succeeded().lines().count(), 10);
    let followed = audit(&bench, &["tail", "box", "-n", "2", "--follow"]).succeeded();
    assert_eq!(followed.lines().collect::<Vec<_>>(), all[all.len() - 2..], "what has ended is shown and left");
}
