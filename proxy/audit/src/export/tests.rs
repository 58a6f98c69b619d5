//! Exports of two segments: taken apart in every way, each is found.

use super::*;
use crate::{Chain, End, Event, Follows, SigningKey};

const START: i64 = 1_700_000_000_000_000;

fn key() -> SigningKey {
    SigningKey::from_seed(&[7; 32]).expect("32 bytes")
}

/// The lines of an export of two segments with three records each, one a second, the last not closed and its last record not signed.
fn export(format: Format, since: Option<i64>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut follows: Option<Follows> = None;
    for (number, closed) in [(1, true), (2, false)] {
        let session = format!("box/{number:06}");
        let mut chain = Chain::new(&session);
        let mut journal = Vec::new();
        let mut head = String::new();
        for second in 0..3 {
            let link = follows.take().map(|follows| follows.event().to_body());
            let body = link.unwrap_or_else(|| Event::Notice { detail: "ünder\u{1b} \"quotes\"" }.to_body());
            chain.append(START + i64::from(number * 10 + second) * 1_000_000, &body, &mut journal);
            if closed || second == 1 {
                head = key().sign(&chain, closed).to_text();
            }
        }
        let end = End::of(&session, &journal).expect("records");
        follows = Some(Follows { session, end, kept_from: 1 });
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
    let flaw = |lines: &[String], extent| verify(lines, extent).map_err(|flaw| flaw.kind);
    assert_eq!(flaw(&swapped, Extent::Whole), Err(Gap::Unlinked("box/000001".to_owned()).into()));
    let (before, found, follows) = ("box/000002".to_owned(), "box/000001".to_owned(), "another".to_owned());
    assert_eq!(flaw(&swapped, Extent::Part), Err(Gap::Missing { before, found, follows }.into()));
}

#[test]
fn segments_that_are_missing_are_found_in_a_whole_export_alone() {
    let parts = [verify(&export(Format::Ocsf, None), Extent::Whole).expect("it holds")].concat();
    let [first, second] = parts.as_slice() else { panic!("two segments") };
    let later = ("box/000003".to_owned(), Summary { follows: None, ..second.1.clone() });
    assert!(follows(first, &later, Extent::Whole).is_err());
    assert!(follows(first, &later, Extent::Part).is_ok());
    assert!(follows(second, &("other/000001".to_owned(), first.1.clone()), Extent::Whole).is_ok());
    let mut cut = first.clone();
    cut.1.last = 2;
    assert!(follows(&cut, second, Extent::Part).is_err(), "what stands beside each other must fit in a part too");
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
