use tollgate_secrets::MAX_FORMER_VALUES;

use super::super::store::Entry;
use super::*;
use crate::home::Home;

struct Place {
    folder: tempfile::TempDir,
    access: Access,
}

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::open_at(&folder.path().join("home")).expect("a home");
        Self { access: Access::of(&home, &[], &[]).expect("access"), folder }
    }

    fn change(&self, change: impl FnOnce(&mut Entry)) {
        let changed = self.access.store.change(|entries| {
            change(entries.0.entry("TOKEN".to_owned()).or_default());
            Ok(())
        });
        changed.expect("written");
    }

    fn open(&self, source: &str) -> Result<Keeper, Failure> {
        Keeper::open(&[format!("TOKEN={source}").parse().expect("an argument")], self.access.clone(), draw)
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

/// What the journal would be told; slow sources are waited for.
fn refresh(keeper: &mut Keeper) -> Vec<&'static str> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let changes = runtime.block_on(async {
        let mut changes = keeper.refresh(Instant::now(), When::Due).await;
        changes.extend(keeper.answers().await);
        changes
    });
    changes.iter().map(|change| change.outcome).collect()
}

#[test]
fn k9_rotation_and_revocation_reach_a_sandbox_that_runs() {
    let place = Place::new();
    place.change(|entry| entry.rotate(value("the-first-value")));
    let mut keeper = place.open("store").expect("there");
    let placeholder = keeper.vault(Instant::now()).secrets()[0].placeholder().to_owned();
    assert_eq!(refresh(&mut keeper), [""; 0], "nothing has changed");
    place.change(|entry| entry.rotate(value("the-second-value")));
    assert_eq!(refresh(&mut keeper), ["rotated"]);
    assert_eq!(keeper.vault(Instant::now()).secrets()[0].placeholder(), placeholder, "stable over rotation");
    let both = scrubbed(&keeper, "the-first-value the-second-value");
    assert!(!both.contains("the-first-value") && !both.contains("the-second-value"), "{both}");
    place.change(Entry::revoke);
    assert_eq!(refresh(&mut keeper), ["revoked"]);
    assert_eq!(keeper.failures(Instant::now())["TOKEN"], "it was revoked");
    assert!(!scrubbed(&keeper, "the-second-value").contains("the-second-value"));
    assert_eq!(refresh(&mut keeper), [""; 0], "and so it stays");
    place.change(|entry| entry.rotate(value("the-third-value")));
    assert_eq!(refresh(&mut keeper), ["usable"]);
    let forgotten = place.access.store.change(|entries| Ok(entries.0.remove("TOKEN").is_some()));
    assert!(forgotten.expect("written"));
    assert_eq!(refresh(&mut keeper), ["revoked"], "what is forgotten is used no longer");
}

#[test]
fn files_are_read_again_when_they_change() {
    let place = Place::new();
    let path = place.folder.path().join("token");
    std::fs::write(&path, "the-first-value\n").expect("written");
    let mut keeper = place.open(&format!("file:{}", path.display())).expect("there");
    std::fs::write(&path, "the-second-value\n").expect("written");
    assert_eq!(refresh(&mut keeper), ["rotated"]);
    assert!(!scrubbed(&keeper, "the-second-value").contains("the-second-value"));
    std::fs::remove_file(&path).expect("removed");
    assert_eq!(refresh(&mut keeper), ["not-renewed"], "a value without an end is used on while its file is away");
    assert_eq!(refresh(&mut keeper), [""; 0], "which is told once");
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

/// The store leads to a command, of which nothing but the store says that it was taken back.
#[test]
fn k9_a_credential_that_is_elsewhere_is_revoked_in_the_store() {
    let place = Place::new();
    let count = place.folder.path().join("count");
    let command = format!("cmd:echo asked >> {}; printf the-first-value", count.display());
    place.change(|entry| entry.from = Some(command.clone()));
    let mut keeper = place.open("store").expect("there");
    let other = Entry { value: Some(value("of no interest")), ..Entry::default() };
    place.access.store.change(|entries| Ok(entries.0.insert("OTHER".to_owned(), other).is_none())).expect("written");
    assert_eq!(refresh(&mut keeper), [""; 0]);
    assert_eq!(std::fs::read_to_string(&count).expect("there"), "asked\n", "another entry makes nobody ask again");
    place.change(Entry::revoke);
    assert_eq!(refresh(&mut keeper), ["revoked"]);
    assert!(!scrubbed(&keeper, "the-first-value").contains("the-first-value"));
}

/// A command that hangs for a minute must not keep a revocation waiting.
#[tokio::test]
async fn k9_a_slow_source_keeps_nobody_waiting() {
    let place = Place::new();
    place.change(|entry| entry.rotate(value("the-first-value")));
    let once = place.folder.path().join("once");
    let slow = format!("SLOW=cmd:test -e {0} && exec sleep 50; touch {0}; printf the-slow-value", once.display());
    let arguments = [slow, "TOKEN=store".to_owned()].map(|text| text.parse().expect("an argument"));
    let access = place.access.clone();
    let opened = tokio::task::spawn_blocking(move || Keeper::open(&arguments, access, draw));
    let mut keeper = opened.await.expect("joined").expect("both there");
    let begun = Instant::now();
    assert!(keeper.refresh(begun, When::Now).await.is_empty(), "asked, not answered");
    place.change(Entry::revoke);
    let changes = keeper.refresh(Instant::now(), When::Due).await;
    assert_eq!(
        changes.iter().map(|change| (&*change.name, change.outcome)).collect::<Vec<_>>(),
        [("TOKEN", "revoked")]
    );
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(keeper.states(Instant::now(), "").iter().any(|state| state.name == "SLOW" && state.is_awaited));
}

#[test]
fn former_values_are_bounded() {
    let place = Place::new();
    place.change(|entry| entry.rotate(value("value-number-0")));
    let mut keeper = place.open("store").expect("there");
    for round in 1..10 {
        place.change(|entry| entry.rotate(value(&format!("value-number-{round}"))));
        assert_eq!(refresh(&mut keeper), ["rotated"]);
    }
    let held = (0..10).filter(|round| {
        let text = format!("value-number-{round}");
        scrubbed(&keeper, &text) != text
    });
    assert_eq!(held.collect::<Vec<_>>(), [5, 6, 7, 8, 9], "the value and the last {MAX_FORMER_VALUES} before it");
}
