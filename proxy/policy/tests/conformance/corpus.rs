//! Measured verdicts and real documents, all Apache-2.0 or our own (see `corpus/LICENSES.md`).

use std::path::Path;

use tollgate_policy::glob::{PathGlob, TextGlob};
use tollgate_policy::hosts::HostPattern;

use crate::ask::{Request, verdict};

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
fn random_policies_decide_as_measured() {
    let mut wrong = Vec::new();
    for (line, text) in read("decisions.jsonl").lines().enumerate() {
        let case: serde_json::Value = serde_json::from_str(text).expect("one JSON object a line");
        let policy = tollgate_policy::load(&case["policy"].to_string())
            .unwrap_or_else(|found| panic!("line {}: {found}", line + 1));
        for request in case["requests"].as_array().expect("requests") {
            let text = |index: usize| request[index].as_str().expect("text");
            let ancestors: Vec<&str> =
                request[3].as_array().expect("ancestors").iter().filter_map(|path| path.as_str()).collect();
            let asked = Request {
                host: text(0),
                port: u16::try_from(request[1].as_u64().expect("a port")).expect("a port"),
                binary: text(2),
                ancestors: &ancestors,
                method: text(4),
                target: text(5),
                body: None,
                accept: None,
            };
            let seen = verdict(&policy, asked);
            if (seen == "allow") != (text(6) == "allow") {
                wrong.push(format!("line {}: {asked:?}: expected {}, got {seen}", line + 1, text(6)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}

/// Rows of kind `name` where our text globs differ on purpose: there `*` stops at a dot, here it matches any text.
const DOTS: &[(&str, &str)] = &[("v1.*", "v1.2.3")];

#[test]
fn globs_match_as_measured() {
    let mut wrong = Vec::new();
    let mut dots = Vec::new();
    let text = read("glob-vectors.tsv");
    for row in text.lines().skip(1) {
        let columns: Vec<&str> = row.split('\t').collect();
        let [kind, pattern, input, expected] = columns[..] else { panic!("{row}") };
        let seen = match kind {
            "path" | "binary" => PathGlob::parse(pattern).map(|glob| glob.matches(input)).ok(),
            "name" => TextGlob::parse(pattern).map(|glob| glob.matches(input)).ok(),
            "host" => {
                let host = tollgate_model::Host::parse(input);
                HostPattern::parse(pattern).map(|glob| host.is_ok_and(|host| glob.matches(&host))).ok()
            }
            other => panic!("{other}"),
        };
        let seen = seen.map_or("error".to_owned(), |matches| matches.to_string());
        if seen != expected {
            match kind {
                "name" => dots.push((pattern, input)),
                _ => wrong.push(format!("{row}: got {seen}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(dots, DOTS);
}
