use tollgate_wire::policy::{LoadStatus, Origin};

use super::*;

fn entry(number: u64, sha256: &str) -> Entry {
    Entry {
        number,
        sha256: sha256.to_owned(),
        origin: Origin::Set,
        restores: None,
        author_uid: 1000,
        created_at_ms: number * 10,
        loaded_at_ms: Some(number * 10 + 1),
    }
}

/// Two revisions, `aa…` and `bb…`, the second in force.
fn two() -> History {
    let mut history = History::default();
    history.add(entry(1, &"a".repeat(64)));
    history.add(entry(2, &"b".repeat(64)));
    history
}

#[test]
fn what_a_policy_becomes() {
    #[track_caller]
    fn check(letter: &str, expected: Option<&str>, outcome: Result<Step, u64>) {
        let planned = two().plan(&letter.repeat(64), expected);
        assert_eq!(planned.map_err(|conflict| conflict.active), outcome, "{letter} {expected:?}");
    }
    check("c", None, Ok(Step::New(3)));
    check("b", None, Ok(Step::Unchanged(2)));
    check("a", None, Ok(Step::New(3)));
    check("c", Some(&"b".repeat(12)), Ok(Step::New(3)));
    check("c", Some(&"b".repeat(64)), Ok(Step::New(3)));
    check("c", Some(&"a".repeat(12)), Err(2));
    check("b", Some(&"a".repeat(64)), Err(2));
}

#[test]
fn the_newest_are_kept_and_numbers_never_come_again() {
    let mut history = History::default();
    let mut forgotten = Vec::new();
    for number in 1..=MAX_REVISIONS as u64 + 3 {
        forgotten.extend(history.add(entry(number, &number.to_string())));
    }
    assert_eq!(forgotten, [1, 2, 3]);
    assert_eq!(history.newest_first().count(), MAX_REVISIONS);
    assert_eq!(history.get(3), None);
    let reopened = History::new(vec![entry(4, "x"), entry(2, "y")], 9);
    assert_eq!(reopened.newest_first().map(|entry| entry.number).collect::<Vec<_>>(), [4, 2]);
    assert_eq!(reopened.plan("z", None), Ok(Step::New(10)));
}

#[test]
fn statuses() {
    let never = Entry { loaded_at_ms: None, ..entry(2, "b") };
    let mut history = History::new(vec![entry(1, "a"), never], 2);
    history.add(entry(3, "c"));
    let statuses: Vec<_> = history.newest_first().map(|entry| history.describe(entry).status).collect();
    assert_eq!(statuses, [LoadStatus::Loaded, LoadStatus::Failed, LoadStatus::Superseded]);
    let failed = history.describe(history.get(2).expect("kept"));
    assert_eq!(failed.error.as_deref(), Some(NEVER_LOADED));
}

#[test]
fn a_start_with_the_same_policy_goes_on_with_its_revision() {
    let never = Entry { loaded_at_ms: None, ..entry(2, "b") };
    let mut history = History::new(vec![entry(1, "a"), never], 2);
    assert_eq!(history.active(), None);
    assert_eq!(history.plan("b", None), Ok(Step::Unchanged(2)));
    assert_eq!(history.resume(77).and_then(|entry| entry.loaded_at_ms), Some(77));
    assert_eq!(history.active(), Some(2));
}

fn folder() -> (tempfile::TempDir, Folder) {
    let place = tempfile::tempdir().expect("a folder");
    let folder = Folder::new(place.path().to_owned());
    (place, folder)
}

#[test]
fn what_is_written_is_read() {
    let (_place, folder) = folder();
    for number in [1, 2] {
        folder.write(&entry(number, "a"), &format!("version: {number}\n")).expect("written");
    }
    let (mut entries, last, damaged) = folder.entries().expect("read");
    entries.sort_by_key(|entry| entry.number);
    assert_eq!((entries, last, damaged.len()), (vec![entry(1, "a"), entry(2, "a")], 2, 0));
    assert_eq!(folder.text(2).expect("there"), "version: 2\n");
    folder.remove(1).expect("removed");
    assert!(folder.text(1).is_err());
}

/// Whatever a crash leaves of the file that was being written, the others are read and its number is not given again.
#[test]
fn a_crash_at_any_point_leaves_the_others() {
    let (place, folder) = folder();
    folder.write(&entry(1, "a"), "version: 1\n").expect("written");
    folder.write(&entry(2, "b"), "version: 1\nnetwork_policies: {}\n").expect("written");
    let whole = std::fs::read(place.path().join("000002.json")).expect("there");
    for cut in 0..whole.len() {
        std::fs::write(place.path().join("000003.new"), &whole[..cut]).expect("written");
        let (entries, last, damaged) = folder.entries().expect("read");
        assert_eq!((entries.len(), last, damaged.len()), (2, 2, 0), "a draft of {cut} bytes");
        std::fs::write(place.path().join("000002.json"), &whole[..cut]).expect("written");
        let (entries, last, damaged) = folder.entries().expect("read");
        assert_eq!((entries, last, damaged.len()), (vec![entry(1, "a")], 2, 1), "a file cut after {cut} bytes");
        std::fs::write(place.path().join("000002.json"), &whole).expect("written");
    }
}

#[test]
fn a_changed_text_is_no_policy() {
    let (place, folder) = folder();
    folder.write(&entry(1, "a"), "version: 1\n").expect("written");
    let path = place.path().join("000001.json");
    let text = std::fs::read_to_string(&path).expect("there").replace("version: 1", "version: 2");
    std::fs::write(&path, text).expect("written");
    let said = folder.text(1).expect_err("damaged").to_string();
    assert!(said.contains("000001.json is damaged"), "{said}");
}

/// A policy that comes into force, from writing it on.
fn bring(archive: &mut Archive, text: &str) {
    let Ok(Step::New(number)) = archive.history().plan(text, None) else { panic!("{text} is not new") };
    let entry = Entry { loaded_at_ms: None, ..entry(number, text) };
    archive.keep(&entry, text).expect("written");
    archive.loaded(entry, text, ());
}

#[test]
fn what_is_forgotten_leaves_the_disk() {
    let place = tempfile::tempdir().expect("a folder");
    let open = || Archive::open(place.path().to_owned()).expect("opened").0;
    let mut archive = open();
    archive.begin("first", "first", 7).expect("begun");
    for number in 0..MAX_REVISIONS + 2 {
        bring(&mut archive, &number.to_string());
    }
    archive.noted();
    assert_eq!(std::fs::read_dir(place.path()).expect("read").count(), MAX_REVISIONS);
    assert_eq!(archive.text(3).expect("readable"), None);
    assert_eq!(archive.text(4).expect("readable").as_deref(), Some("2"));
    let again = open();
    let entries = |archive: &Archive| archive.history().newest_first().cloned().collect::<Vec<_>>();
    assert_eq!(entries(&again), entries(&archive));
}

#[test]
fn a_start_begins_with_its_file() {
    let place = tempfile::tempdir().expect("a folder");
    let open = || Archive::open(place.path().to_owned()).expect("opened").0;
    let active = |archive: &Archive| archive.history().active();
    let mut archive = open();
    archive.begin("a", "a", 7).expect("begun");
    bring(&mut archive, "b");
    assert_eq!(active(&archive), Some(2));
    archive.noted();
    for (text, expected) in [("b", 2), ("a", 3), ("a", 3), ("b", 4)] {
        let mut archive = open();
        archive.begin(text, text, 7).expect("begun");
        assert_eq!(
            (active(&archive), archive.text(expected).expect("readable").as_deref()),
            (Some(expected), Some(text))
        );
    }
}
