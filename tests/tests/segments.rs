//! A journal in many files: what the commands make of it, and what is found when one of them is missing.

use std::process::Stdio;

use serde_json::Value;
use tollgate_tests::{ASKING, Bench, Finished, Started, finish, policy_for};

/// A sandbox named `box` that has ended, its journal in segments of about 2 KiB.
fn recorded(options: &[&str]) -> Bench {
    let bench = Bench::new(&policy_for("/a"));
    let small = ["--name", "box", "--limit", "journal_segment_kibibytes=2"];
    let mut agent = Started::new(&mut bench.run(&[&small[..], options].concat(), &["sh", "-c", ASKING]));
    agent.wait_for("ready");
    let mut follow = bench.tollgate();
    let follow = follow.args(["logs", "box", "--follow"]).stdout(Stdio::piped()).spawn().expect("started");
    agent.ask("/a");
    agent.ask("/b");
    assert_eq!(agent.end().code, 0);
    let followed = follow.wait_with_output().expect("ended").stdout;
    let followed = String::from_utf8(followed).expect("text");
    let all = finish(bench.tollgate().args(["logs", "box"])).succeeded();
    assert!(followed.ends_with(&all), "whoever follows hears of every segment that is kept, and in order");
    bench
}

fn audit(bench: &Bench, arguments: &[&str]) -> Finished {
    finish(bench.tollgate().arg("audit").args(arguments))
}

/// The verification of the one journal there is.
fn verified(bench: &Bench) -> Value {
    let reports: Value =
        serde_json::from_str(&audit(bench, &["verify", "box", "-o", "json"]).succeeded()).expect("JSON");
    reports[0].clone()
}

#[test]
fn all_commands_take_the_segments_in_order() {
    let bench = recorded(&[]);
    let report = verified(&bench);
    let segments = report["segments"].as_array().expect("a list");
    let records: u64 = segments.iter().filter_map(|segment| segment["records"].as_u64()).sum();
    assert!(segments.len() > 3 && report["holds"] == true && report["follows"].is_null(), "{report}");
    let shown = finish(bench.tollgate().args(["logs", "box"])).succeeded();
    assert_eq!(shown.lines().count() as u64, records);
    let times: Vec<_> = shown.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(times.is_sorted());
    for format in ["ocsf", "jsonl"] {
        let exported = audit(&bench, &["export", "box", "--format", format]).succeeded();
        let export = bench.write("export.jsonl", &exported);
        let said = audit(&bench, &["verify", &export.display().to_string()]).succeeded();
        assert_eq!(said.matches("closed in order").count(), segments.len(), "{format}: {said}");
    }
    let folder = bench.path("home/sandboxes/box/journal").display().to_string();
    assert!(audit(&bench, &["verify", &folder]).succeeded().contains("000002.jsonl: intact"));
    // Another start goes on where this one ended.
    let again = finish(&mut bench.run(&["--name", "box"], &["true"]));
    assert_eq!(again.code, 0, "{again:?}");
    assert_eq!(verified(&bench)["segments"].as_array().map(Vec::len), Some(segments.len() + 1));
}

#[test]
fn what_is_not_kept_is_named_and_what_was_removed_is_found() {
    let bench = recorded(&["--limit", "journal_keep_segments=3"]);
    let report = verified(&bench);
    let segments = report["segments"].as_array().expect("a list");
    assert_eq!((segments.len(), &report["holds"]), (3, &true.into()), "{report}");
    assert!(report["follows"]["session"].as_str().is_some_and(|session| session.starts_with("box/0000")), "{report}");
    let said = audit(&bench, &["verify", "box"]).succeeded();
    assert!(said.contains("which is not kept here"), "{said}");
    let path = |at: usize| std::path::PathBuf::from(segments[at]["segment"].as_str().expect("a path"));
    for (gone, said) in [(1, "segments between were removed"), (2, "newest segments are missing")] {
        let (records, head) = (path(gone), path(gone).with_extension("head"));
        let kept = [&records, &head].map(|path| std::fs::read(path).expect("read"));
        std::fs::remove_file(&records).expect("removed");
        std::fs::remove_file(&head).expect("removed");
        let broken = audit(&bench, &["verify", "box", "-o", "json"]);
        assert_eq!(broken.code, 1, "{broken:?}");
        assert!(broken.stdout.contains(said) && broken.stdout.contains("\"holds\": false"), "{said:?}: {broken:?}");
        assert!(audit(&bench, &["verify", "box"]).stderr.contains(said));
        for (path, text) in [records, head].iter().zip(kept) {
            std::fs::write(path, text).expect("put back");
        }
    }
}
