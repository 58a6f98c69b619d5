//! Exports of two segments: taken apart in every way, each is found.

use super::*;
use crate::{Chain, Event, SigningKey};

const START: i64 = 1_700_000_000_000_000;

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32]).expect("32 bytes")
}

/// The lines of an export of segments with three records each, one a second, the last not closed and its last record not signed.
fn export(format: Format, since: Option<i64>) -> Vec<String> {
    let mut lines = Vec::new();
    for (number, closed) in [(1, true), (2, false)] {
        let mut chain = Chain::new(&format!("box/{number:06}"));
        let mut journal = Vec::new();
        let mut head = String::new();
        for second in 0..3 {
            let body = Event::Notice { detail: "ünder\u{1b} \"quotes\"" }.to_body();
            chain.append(START + i64::from(number * 10 + second) * 1_000_000, &body, &mut journal);
            if closed || second == 1 {
                head = key().sign(&chain, closed).to_text();
            }
        }
        let mut export = Export::new(head.as_bytes(), format, since).expect("a head");
        for line in std::str::from_utf8(&journal).expect("JSON").lines() {
            let text = export.take(line.as_bytes()).expect("a record");
            lines.extend(text.split_inclusive('\n').map(str::to_owned));
        }
    }
    lines
}

fn verify(lines: &[String], extent: Extent) -> Result<Vec<(String, Summary)>, Flaw> {
    verify_export(lines.concat().as_bytes(), &key().public(), extent)
}

#[track_caller]
fn check(lines: &[String], extent: Extent, expected: &[(&str, u64, u64)]) {
    let found = verify(lines, extent).expect("it holds");
    let found: Vec<_> = found.iter().map(|(name, s)| (name.as_str(), s.records, s.beyond_head)).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_was_exported_verifies() {
    for format in [Format::Ocsf, Format::Jsonl] {
        let lines = export(format, None);
        assert!(is_export(lines[0].trim_end().as_bytes()), "{format:?}");
        check(&lines, Extent::Whole, &[("box/000001", 3, 0), ("box/000002", 3, 1)]);
        check(&lines, Extent::Part, &[("box/000001", 3, 0), ("box/000002", 3, 1)]);
    }
}

#[test]
fn an_event_carries_its_record_and_the_chain() {
    let lines = export(Format::Ocsf, None);
    let event: Value = serde_json::from_str(&lines[1]).expect("JSON");
    let record: Value = serde_json::from_str(event["raw_data"].as_str().expect("text")).expect("JSON");
    for field in ["seq", "prev", "hash"] {
        assert_eq!(event["unmapped"][field], record[field], "{field}");
    }
    assert_eq!((&event["unmapped"]["session"], &event["metadata"]["log_name"]), (&"box/000001".into(), &"box".into()));
}

#[test]
fn every_single_byte_edit_is_found() {
    for format in [Format::Ocsf, Format::Jsonl] {
        let whole = export(format, None).concat();
        for at in 0..whole.len() {
            let mut edited = whole.clone().into_bytes();
            edited[at] ^= 1;
            let found = verify_export(edited.as_slice(), &key().public(), Extent::Whole);
            assert!(found.is_err(), "{format:?}: the edit at byte {at} was not seen");
        }
    }
}

#[test]
fn dropped_swapped_and_repeated_lines_are_found() {
    for (format, extent) in [(Format::Ocsf, Extent::Whole), (Format::Jsonl, Extent::Whole)] {
        let whole = export(format, None);
        // The very last record is not signed for yet.
        for at in 0..whole.len() - 1 {
            let mut lines = whole.clone();
            lines.remove(at);
            assert!(verify(&lines, extent).is_err(), "{format:?}: line {at} dropped");
            let mut lines = whole.clone();
            lines.swap(at, at + 1);
            assert!(verify(&lines, extent).is_err(), "{format:?}: line {at} swapped");
            let mut lines = whole.clone();
            lines.insert(at, lines[at].clone());
            assert!(verify(&lines, extent).is_err(), "{format:?}: line {at} repeated");
        }
    }
}

#[test]
fn whole_segments_that_move_are_found() {
    let lines = export(Format::Ocsf, None);
    let swapped = [&lines[3..], &lines[..3]].concat();
    let moved = FlawKind::Segments { before: "box/000002".to_owned(), found: "box/000001".to_owned() };
    assert_eq!(verify(&swapped, Extent::Whole).map_err(|flaw| flaw.kind), Err(moved.clone()));
    assert_eq!(verify(&swapped, Extent::Part).map_err(|flaw| flaw.kind), Err(moved));
    assert!(follows("box/000001", "box/000003", Extent::Whole).is_err());
    assert!(follows("box/000001", "box/000003", Extent::Part).is_ok());
    assert!(follows("box/000003", "other/000001", Extent::Whole).is_ok());
}

#[test]
fn a_part_verifies_as_a_part() {
    for format in [Format::Ocsf, Format::Jsonl] {
        let second = |number: i64| Some(START + number * 1_000_000);
        let lines = export(format, second(12));
        check(&lines, Extent::Part, &[("box/000001", 1, 0), ("box/000002", 3, 1)]);
        let flaw = verify(&lines, Extent::Whole).expect_err("it begins in the middle");
        assert_eq!(flaw.kind, FlawKind::Beginning(3));
        // The record that is signed for comes along, where only younger ones were asked for.
        check(&export(format, second(22)), Extent::Part, &[("box/000002", 2, 1)]);
        assert_eq!(export(format, second(30)), Vec::<String>::new());
    }
}

#[test]
fn another_key_is_not_believed() {
    let stranger = SigningKey::from_seed(&[8; 32]).expect("32 bytes");
    let export = export(Format::Ocsf, None).concat();
    let found = verify_export(export.as_bytes(), &stranger.public(), Extent::Whole);
    assert_eq!(found, Err(Flaw { line: 1, kind: FlawKind::Head(HeadError::BadSignature) }));
}
