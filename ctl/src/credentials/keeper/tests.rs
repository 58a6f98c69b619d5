use super::super::store::Entry;
use super::*;
use crate::home::Home;

struct Place {
    folder: tempfile::TempDir,
    store: Store,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::open_at(&folder.path().join("home")).expect("a home");
        Self { store: Store::of(&home), folder }
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        let changed = self.store.change(|entries| {
            change(entries.0.entry("TOKEN".to_owned()).or_default());
            Ok(())
        });
        changed.expect("written");
    }

    fn open(&self, source: &str) -> Result<Keeper, Failure> {
        Keeper::open(&[format!("TOKEN={source}").parse().expect("an argument")], self.store.clone(), draw)
    }
}

fn value(text: &str) -> zeroize::Zeroizing<String> {
    zeroize::Zeroizing::new(text.to_owned())
}

/// What a reply that repeats all these values would look like.
fn scrubbed(keeper: &Keeper, text: &str) -> String {
    let vault = keeper.vault(Instant::now());
    let clean = vault.needles().scrub_whole(text.as_bytes());
    clean.map_or(text.to_owned(), |clean| String::from_utf8_lossy(&clean).into_owned())
}

fn refresh(keeper: &mut Keeper) -> bool {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(keeper.refresh(Instant::now(), false))
}

#[test]
fn k9_rotation_and_revocation_reach_a_sandbox_that_runs() {
    let place = Place::new();
    place.change(|entry| entry.rotate(value("the-first-value")));
    let mut keeper = place.open("store").expect("there");
    let placeholder = keeper.vault(Instant::now()).secrets()[0].placeholder().to_owned();
    assert!(!refresh(&mut keeper), "nothing has changed");
    place.change(|entry| entry.rotate(value("the-second-value")));
    assert!(refresh(&mut keeper), "another value");
    assert_eq!(keeper.vault(Instant::now()).secrets()[0].placeholder(), placeholder, "stable over rotation");
    let both = scrubbed(&keeper, "the-first-value the-second-value");
    assert!(!both.contains("the-first-value") && !both.contains("the-second-value"), "{both}");
    place.change(Entry::revoke);
    assert!(refresh(&mut keeper), "no value");
    assert_eq!(keeper.failures(Instant::now())["TOKEN"], "it was revoked");
    assert!(!scrubbed(&keeper, "the-second-value").contains("the-second-value"));
    assert!(!refresh(&mut keeper), "and so it stays");
}

#[test]
fn files_are_read_again_when_they_change() {
    let place = Place::new();
    let path = place.folder.path().join("token");
    std::fs::write(&path, "the-first-value\n").expect("written");
    let mut keeper = place.open(&format!("file:{}", path.display())).expect("there");
    std::fs::write(&path, "the-second-value\n").expect("written");
    assert!(refresh(&mut keeper));
    assert!(!scrubbed(&keeper, "the-second-value").contains("the-second-value"));
    std::fs::remove_file(&path).expect("removed");
    assert!(!refresh(&mut keeper), "a value without an end is used on while its file is away");
}

#[test]
fn k27_what_fails_at_the_start_stops_it() {
    let place = Place::new();
    for (source, expected) in [
        ("store", "tollgate credential set TOKEN"),
        ("env:TOLLGATE_TEST_UNSET", "is not set"),
        ("cmd:exit 1", "exit status: 1"),
        ("cmd:printf ''", "the value is empty"),
        ("cmd:printf 'a-value\\nwith a line break'", "line break"),
    ] {
        let failure = place.open(source).err().expect(source);
        assert!(failure.message().starts_with("secret TOKEN: "), "{}", failure.message());
        assert!(failure.message().contains(expected), "{}", failure.message());
    }
}
