//! What was recorded, cut into segments, killed, tampered with.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::queue::QUEUE_ENDS;
use super::segment::Segment;
use super::*;

const DAY: i64 = 24 * 60 * 60 * 1_000_000;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn key() -> SigningKey {
    SigningKey::from_seed(&[1; 32]).expect("32 bytes")
}

fn open(folder: &Path, rotation: Rotation) -> Journal {
    Journal::open(folder, "box", key(), rotation).expect("opened")
}

fn record(journal: &Journal, count: u32) {
    for number in 0..count {
        journal.record(&Event::Notice { detail: &number.to_string() }).expect("queued");
    }
}

/// A record is about 250 bytes: three fit.
fn small() -> Rotation {
    Rotation { segment_bytes: 600, ..Rotation::default() }
}

/// The numbers of the segments of a folder that holds, and the number of all records.
#[track_caller]
fn holds(folder: &Path) -> (Vec<u32>, u64) {
    let found = JournalFolder::new(folder).verify(&key().public(), &mut |_| {}).expect("read");
    let segments = found.segments.into_iter();
    let sums: Vec<_> = segments.map(|(n, summary)| (n, summary.expect("it holds").records)).collect();
    found.order.expect("all of them hold").expect("in order");
    (sums.iter().map(|(number, _)| *number).collect(), sums.iter().map(|(_, records)| records).sum())
}

/// The first thing that is wrong, and where.
fn flaw(folder: &Path) -> String {
    let found = JournalFolder::new(folder).verify(&key().public(), &mut |_| {}).expect("read");
    let broken = found.segments.into_iter().find_map(|(number, found)| Some(format!("{number}: {}", found.err()?)));
    broken.or_else(|| Some(found.order?.err()?.to_string())).unwrap_or_else(|| "whole".to_owned())
}

#[test]
fn what_was_recorded_verifies() {
    let folder = folder();
    let journal = open(folder.path(), Rotation::default());
    record(&journal, 1000);
    journal.close("done").expect("closed");
    assert_eq!(journal.record(&Event::Notice { detail: "late" }), Err(JournalError::Dead(CLOSED.to_owned())));
    let found = JournalFolder::new(folder.path()).verify(&key().public(), &mut |_| {}).expect("read");
    let summary = found.segments[0].1.as_ref().expect("whole");
    assert_eq!((summary.records, summary.closed, summary.beyond_head), (1001, true, 0));
    assert_eq!(holds(folder.path()), (vec![1], 1001));
}

#[test]
fn r7_a_segment_is_never_continued_by_another() {
    let folder = folder();
    let place = JournalFolder::new(folder.path());
    let begin = || Segment::begin(&place, ("box", 1), None, &key(), 0);
    let _first = begin().expect("made");
    assert_eq!(begin().err().map(|e| e.kind()), Some(std::io::ErrorKind::AlreadyExists));
}

#[test]
fn a_large_segment_is_followed_by_another() {
    let folder = folder();
    let journal = open(folder.path(), small());
    let mut heard = journal.follow().expect("it runs");
    record(&journal, 30);
    journal.sync().expect("written");
    let (segments, records) = holds(folder.path());
    let links = segments.len() as u64 - 1;
    assert!(segments.len() > 8 && segments == (1..=segments.len() as u32).collect::<Vec<_>>(), "{segments:?}");
    assert_eq!(records, 30 + links);
    journal.close("done").expect("closed");
    let all: Vec<_> = std::iter::from_fn(|| heard.try_recv().ok()).collect();
    let files = JournalFolder::new(folder.path());
    let written = files.segments().expect("read").into_iter().map(|n| std::fs::read_to_string(files.records(n)));
    let written: String = written.map(|text| text.expect("read")).collect();
    assert_eq!(all.iter().map(|line| format!("{line}\n")).collect::<String>(), written, "who follows hears all of it");
    assert!(std::fs::metadata(files.records(1)).expect("there").len() < 1000, "as large as was said and one record");
}

#[test]
fn an_old_segment_is_followed_by_another() {
    let folder = folder();
    let place = JournalFolder::new(folder.path());
    let mut writer = Writer::open(place.clone(), "box", Rotation::default(), key(), 0).expect("opened");
    let body = Event::Notice { detail: "" }.to_body();
    for (time, expected) in [(0, 1), (DAY - 1, 1), (DAY, 2), (DAY + 1, 2), (2 * DAY - 1, 2), (2 * DAY, 3), (5 * DAY, 4)]
    {
        writer.append(time, &body).expect("written");
        writer.flush().expect("written");
        assert_eq!(place.segments().expect("read").last(), Some(&expected), "at {time}");
    }
    // A clock that is set back makes no segment old.
    writer.append(0, &body).expect("written");
    writer.flush().expect("written");
    assert_eq!(holds(folder.path()), (vec![1, 2, 3, 4], 8 + 3));
}

#[test]
fn what_is_kept_verifies_and_says_from_where() {
    for keep in [
        Rotation { keep_segments: 3, ..small() },
        Rotation { keep_bytes: 2000, ..small() },
        Rotation { keep_age: Duration::from_secs(5), ..small() },
    ] {
        let folder = folder();
        let place = JournalFolder::new(folder.path());
        let mut writer = Writer::open(place.clone(), "box", keep, key(), 0).expect("opened");
        for second in 0..40 {
            writer.append(second * 1_000_000, &Event::Notice { detail: "" }.to_body()).expect("written");
            writer.flush().expect("written");
        }
        let (segments, _) = holds(folder.path());
        assert!(segments[0] > 5 && (2..=4).contains(&segments.len()), "{keep:?}: {segments:?}");
        let found = place.verify(&key().public(), &mut |_| {}).expect("read");
        let first = found.segments[0].1.as_ref().expect("it holds").follows.clone().expect("it follows another");
        assert_eq!(first.session, format!("box/{:06}", segments[0] - 1));
        let heads = std::fs::read_dir(folder.path()).expect("read").flatten();
        let heads = heads.filter(|entry| entry.path().extension().is_some_and(|found| found == "head")).count();
        assert_eq!(heads, segments.len(), "heads go with their segments");
        // A start keeps as little as was said, too.
        drop(writer);
        let next =
            Writer::open(place, "box", Rotation { keep_segments: 1, ..keep }, key(), 60_000_000).expect("opened");
        drop(next);
        assert_eq!(holds(folder.path()).0, vec![segments[segments.len() - 1] + 1]);
    }
}

#[test]
fn r2_what_was_done_to_segments_is_found() {
    type Forge = fn(&JournalFolder);
    let cases: [(Forge, &str); 8] = [
        (
            |place| edit(&place.records(2), |text| text.replacen("notice", "nothing", 1)),
            "2: line 2: the record was changed",
        ),
        (
            |place| edit(&place.records(3), |text| text[..text.len() - 9].to_owned()),
            "3: line 3: this is not a journal record",
        ),
        (|place| edit(&place.records(3), |text| lines(text, 2)), "3: line 3: the journal was cut: it ends at record 2"),
        (
            |place| edit(&place.head(2), |text| text.replacen("\"seq\":3", "\"seq\":2", 1)),
            "2: line 0: the signature of the head",
        ),
        (|place| remove_segment(place, 3), "box/000004 follows box/000003 and not box/000002"),
        (|place| remove_segment(place, 1), "the oldest segments are missing"),
        (|place| (4..=9).for_each(|number| remove_segment(place, number)), "the newest segments are missing"),
        (|place| swap(place, 2, 3), "2: its signed head is that of box/000003"),
    ];
    for (forge, expected) in cases {
        let folder = folder();
        let journal = open(folder.path(), small());
        record(&journal, 17);
        journal.close("done").expect("closed");
        assert_eq!(holds(folder.path()).0.len(), 9);
        forge(&JournalFolder::new(folder.path()));
        let found = flaw(folder.path());
        assert!(found.contains(expected), "{expected:?} is not what was found: {found}");
        // Nor does the next start gloss over it.
        open(folder.path(), small()).close("done").expect("closed");
        assert_ne!(flaw(folder.path()), "whole", "{expected}");
    }
}

#[test]
fn the_note_of_the_newest_segment_is_missed() {
    let folder = folder();
    open(folder.path(), small()).close("done").expect("closed");
    std::fs::remove_file(JournalFolder::new(folder.path()).latest()).expect("removed");
    assert!(flaw(folder.path()).contains("which names the newest segment, is missing"));
}

fn edit(path: &Path, edit: impl Fn(&str) -> String) {
    let text = std::fs::read_to_string(path).expect("read");
    let edited = edit(&text);
    assert_ne!(edited, text);
    std::fs::write(path, edited).expect("written");
}

fn lines(text: &str, count: usize) -> String {
    text.split_inclusive('\n').take(count).collect()
}

fn remove_segment(place: &JournalFolder, number: u32) {
    std::fs::remove_file(place.records(number)).expect("removed");
    std::fs::remove_file(place.head(number)).expect("removed");
}

fn swap(place: &JournalFolder, one: u32, other: u32) {
    let aside = place.path().join("aside");
    for path in [JournalFolder::records, JournalFolder::head] {
        std::fs::rename(path(place, one), &aside).expect("moved");
        std::fs::rename(path(place, other), path(place, one)).expect("moved");
        std::fs::rename(&aside, path(place, other)).expect("moved");
    }
}

#[test]
fn half_a_record_that_a_kill_left_is_taken_away_and_told() {
    let folder = folder();
    let place = JournalFolder::new(folder.path());
    let mut killed = Writer::open(place.clone(), "box", Rotation::default(), key(), 0).expect("opened");
    killed.append(0, &Event::Notice { detail: "" }.to_body()).expect("written");
    killed.flush().expect("written");
    drop(killed);
    let text = std::fs::read_to_string(place.records(1)).expect("read");
    std::fs::write(place.records(1), format!("{text}{{\"seq\":2,")).expect("written");
    assert!(flaw(folder.path()).starts_with("1: line 2: this is not a journal record"));
    open(folder.path(), Rotation::default()).close("done").expect("closed");
    assert_eq!(holds(folder.path()), (vec![1, 2], 3));
    let follows =
        place.verify(&key().public(), &mut |_| {}).expect("read").segments.remove(1).1.expect("it holds").follows;
    assert_eq!(follows.map(|follows| follows.end.dropped_bytes), Some(9));
}

/// Where a process of this test finds the folder to write to until it is killed.
const WRITE_TO: &str = "TOLLGATE_TEST_JOURNAL";

#[test]
fn a_kill_at_any_time_leaves_what_the_next_start_continues() {
    if let Some(folder) = std::env::var_os(WRITE_TO) {
        return write_for_ever(Path::new(&folder));
    }
    let folder = folder();
    for round in 0..8 {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "--nocapture", "journal::tests::a_kill_at_any_time_leaves_what_the_next_start_continues"])
            .env(WRITE_TO, folder.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("started");
        let said = BufReader::new(child.stdout.take().expect("piped")).lines();
        let written = said.map_while(Result::ok).filter(|line| line == WRITTEN).take(1 + round * 5).count();
        child.kill().expect("killed");
        let _ = child.wait().expect("ended");
        assert_eq!(written, 1 + round * 5, "it wrote until it was killed");
    }
    // What was written last may end in half a record; the next start takes that away.
    open(folder.path(), small()).close("done").expect("closed");
    let (segments, records) = holds(folder.path());
    assert_eq!(segments.len(), segments[segments.len() - 1] as usize);
    assert!(records > 140 && segments.len() > 40, "{records} records in {} segments", segments.len());
}

const WRITTEN: &str = "written";

fn write_for_ever(folder: &Path) {
    let journal = open(folder, small());
    loop {
        record(&journal, 1);
        journal.sync().expect("written");
        println!("{WRITTEN}");
    }
}

#[test]
fn r6_a_full_queue_refuses_what_is_new_and_loses_no_end() {
    let followers = broadcast::channel(1).0.downgrade();
    let (queue, death, writer, tally) = Default::default();
    let journal = Journal { queue, death, writer, path: PathBuf::new(), tally, followers };
    let (new, end) = (Event::Notice { detail: "" }, Event::Close { reason: "" });
    for _ in 0..QUEUE_RECORDS {
        journal.record(&new).expect("there is room");
    }
    assert_eq!(journal.record(&new), Err(JournalError::Full));
    for _ in 0..QUEUE_ENDS {
        journal.record(&end).expect("there is room for ends");
    }
    assert!(matches!(journal.record(&end), Err(JournalError::Dead(_))), "an end was lost");
    assert!(matches!(journal.record(&new), Err(JournalError::Dead(_))));
}
