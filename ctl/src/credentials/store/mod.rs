//! `credentials.json`: values of this user, in clear, for nobody else's eyes.

mod file;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::libc;
use nix::unistd::Uid;
use tollgate_secrets::{MAX_FORMER_VALUES, Secret, SecretName};
use zeroize::Zeroizing;

use file::write;
pub use file::{Entries, Entry};

use super::lease::Terms;
use crate::failure::{Failure, Kind};
use crate::home::{Home, check_parents, write_private};

/// The store of one state folder.
#[derive(Debug, Clone)]
pub struct Store {
    path: PathBuf,
}

/// Larger files are no store of credentials.
const MAX_BYTES: u64 = 4 << 20;

impl Store {
    /// The store in a state folder; the file need not exist.
    pub fn of(home: &Home) -> Self {
        Self { path: home.path().join("credentials.json") }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the store; empty where there is no file.
    pub fn read(&self) -> Result<Entries, Failure> {
        match open(&self.path)? {
            Some(file) => parse(&self.path, file),
            None => Ok(Entries::default()),
        }
    }

    /// Reads, changes and writes the store, alone: no other command changes it meanwhile.
    pub fn change<T>(&self, change: impl FnOnce(&mut Entries) -> Result<T, Failure>) -> Result<T, Failure> {
        let path = self.path.with_extension("lock");
        let unwritten =
            |e: &dyn fmt::Display| state(format!("the credentials in {} cannot be written: {e}", self.path.display()));
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.map_err(|e| unwritten(&e))?;
        lock.lock().map_err(|e| unwritten(&e))?;
        let mut entries = self.read()?;
        let done = change(&mut entries)?;
        let text = write(&entries).map_err(|e| unwritten(&e))?;
        write_private(&self.path, &text).map_err(|e| unwritten(&e))?;
        Ok(done)
    }

    /// Takes over what another store holds and this one does not.
    ///
    /// Refused where others may read the file, or may put another in its place: what they put there would be used.
    pub fn import(&self, other: &Path) -> Result<Imported, Failure> {
        let missing = || state(format!("there is no file {}", other.display()));
        let file = open(other)?.ok_or_else(missing)?;
        check_parents(&std::path::absolute(other).map_err(|_| missing())?)?;
        let theirs = parse(other, file)?;
        self.change(|entries| {
            let mut imported = Imported::default();
            for (name, entry) in theirs.0 {
                match unfit(&name, &entry) {
                    Some(reason) => imported.left.push((name, reason)),
                    None if entries.0.contains_key(&name) => {
                        imported.left.push((name, "it is kept here already".to_owned()));
                    }
                    None => {
                        imported.taken.push(name.clone());
                        entries.0.insert(name, entry);
                    }
                }
            }
            Ok(imported)
        })
    }
}

/// What came of taking over another store.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Names that were taken over.
    pub taken: Vec<String>,
    /// Names that were not, and why.
    pub left: Vec<(String, String)>,
}

/// Why an entry of another store cannot be used.
fn unfit(name: &str, entry: &Entry) -> Option<String> {
    let name = match SecretName::parse(name) {
        Ok(name) => name,
        Err(error) => return Some(error.to_string()),
    };
    let value = entry.value.as_ref()?;
    Secret::new(name, value.as_str().into(), String::new()).err().map(|error| error.to_string())
}

impl Entry {
    /// Gives it another value; the one that it had is remembered for replies.
    pub fn rotate(&mut self, value: Zeroizing<String>) {
        self.forget();
        self.value = Some(value);
        self.revoked = false;
    }

    /// Makes it unusable.
    pub fn revoke(&mut self) {
        self.forget();
        self.revoked = true;
    }

    fn forget(&mut self) {
        self.former.extend(self.value.take());
        let over = self.former.len().saturating_sub(MAX_FORMER_VALUES);
        self.former.drain(..over);
    }

    /// What was agreed for it.
    pub fn terms(&self) -> Terms {
        let seconds = |seconds: Option<u32>| seconds.map(|seconds| Duration::from_secs(seconds.into()));
        let default = Terms::default();
        Terms {
            ttl: seconds(self.ttl),
            failure_ttl: seconds(self.failure_ttl).unwrap_or(default.failure_ttl),
            stale: seconds(self.stale).unwrap_or(default.stale),
        }
    }
}

/// Opens a store that only its owner can read; nothing where there is none.
fn open(path: &Path) -> Result<Option<File>, Failure> {
    let unreadable = |e: &dyn fmt::Display| state(format!("the credentials in {} cannot be read: {e}", path.display()));
    let file = match OpenOptions::new().read(true).custom_flags(libc::O_NOFOLLOW).open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(unreadable(&e)),
    };
    let about = file.metadata().map_err(|e| unreadable(&e))?;
    if !about.is_file() {
        return Err(unreadable(&"it is no file"));
    }
    if about.uid() != Uid::effective().as_raw() {
        return Err(unreadable(&"it belongs to another user"));
    }
    if about.permissions().mode() & 0o077 != 0 {
        return Err(state(format!("others may read the credentials in {0}; run: chmod 600 {0}", path.display())));
    }
    if about.len() > MAX_BYTES {
        return Err(unreadable(&format!("it has more than {MAX_BYTES} bytes")));
    }
    Ok(Some(file))
}

fn parse(path: &Path, file: File) -> Result<Entries, Failure> {
    let mut text = Zeroizing::new(Vec::new());
    let read = file.take(MAX_BYTES).read_to_end(&mut text);
    read.map_err(|e| state(format!("the credentials in {} cannot be read: {e}", path.display())))?;
    file::read(&text).map_err(|(line, column)| {
        state(format!(
            "{}:{line}:{column}: this is no map of credentials; correct it, or move the file away and set them again",
            path.display()
        ))
    })
}

fn state(message: impl Into<String>) -> Failure {
    Failure::new(Kind::State, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::open_at(&folder.path().join("home")).expect("a home");
        (folder, Store::of(&home))
    }

    fn write(path: &Path, text: &str, mode: u32) {
        std::fs::write(path, text).expect("written");
        std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("set");
    }

    #[track_caller]
    fn check_refused(text: &str, mode: u32, expected: &str) {
        let (_folder, store) = store();
        write(store.path(), text, mode);
        let Err(refused) = store.read() else { panic!("{text} is read") };
        assert!(refused.message().contains(expected), "{}", refused.message());
        assert!(!refused.message().contains("the-real"), "{}", refused.message());
    }

    #[test]
    fn what_is_set_is_read_and_private() {
        let (_folder, store) = store();
        assert!(store.read().expect("no file is an empty store").0.is_empty());
        let set = |value: &str| {
            let value = Zeroizing::new(value.to_owned());
            store.change(|entries| {
                entries.0.entry("A".to_owned()).or_default().rotate(value);
                Ok(())
            })
        };
        set("the-real-value").expect("written");
        let mode = std::fs::metadata(store.path()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let text = std::fs::read_to_string(store.path()).expect("readable");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["A"], "the-real-value");
        set("the-real-other").expect("written");
        let entries = store.read().expect("read");
        let entry = &entries.0["A"];
        assert_eq!(entry.value.as_ref().map(|v| v.as_str()), Some("the-real-other"));
        assert_eq!(entry.former.iter().map(|v| v.as_str()).collect::<Vec<_>>(), ["the-real-value"]);
    }

    #[test]
    fn k9_a_revoked_credential_keeps_only_what_replies_are_searched_for() {
        let mut entry = Entry { value: Some(Zeroizing::new("the-real-value".to_owned())), ..Entry::default() };
        entry.revoke();
        assert!(entry.value.is_none() && entry.revoked);
        assert_eq!(entry.former.len(), 1);
        (0..10).for_each(|n| entry.rotate(Zeroizing::new(format!("value-number-{n}"))));
        assert_eq!(entry.former.len(), MAX_FORMER_VALUES);
    }

    #[test]
    fn unsafe_and_broken_files_are_refused() {
        check_refused("{}", 0o644, "chmod 600");
        check_refused("{}", 0o660, "chmod 600");
        check_refused("{\"A\": \"the-real-value\",}", 0o600, ":1:");
        check_refused("{\"A\": 7}", 0o600, "no map of credentials");
        check_refused("{\"A\": \"the-real-value\", \"A\": \"x\"}", 0o600, "no map of credentials");
        check_refused("{\"A\": {\"valeu\": \"the-real-value\"}}", 0o600, "no map of credentials");
        check_refused("", 0o600, "no map of credentials");
        let (folder, store) = store();
        write(&folder.path().join("elsewhere"), "{}", 0o600);
        std::os::unix::fs::symlink(folder.path().join("elsewhere"), store.path()).expect("linked");
        assert!(store.read().is_err(), "a link is not followed");
    }

    #[test]
    fn import_takes_what_is_not_there() {
        let (folder, store) = store();
        let theirs = folder.path().join("credentials.json");
        let text =
            r#"{"A": "the-real-a", "B": "the-real-b", "EMPTY": "", "bad name": "the-real-c", "D": "two\nlines"}"#;
        write(&theirs, text, 0o600);
        write(store.path(), "{\"A\": \"own-value\"}", 0o600);
        let imported = store.import(&theirs).expect("imported");
        assert_eq!(imported.taken, ["B"]);
        let left: Vec<_> = imported.left.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(left, ["A", "D", "EMPTY", "bad name"]);
        assert!(imported.left.iter().all(|(_, reason)| !reason.contains("the-real")), "{imported:?}");
        let entries = store.read().expect("read");
        assert_eq!(entries.0["A"].value.as_ref().map(|v| v.as_str()), Some("own-value"));
        assert!(store.import(&folder.path().join("missing")).is_err());
        let open = folder.path().join("open");
        std::fs::create_dir(&open).expect("made");
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).expect("set");
        write(&open.join("theirs.json"), "{\"C\": \"the-real-c\"}", 0o600);
        let refused = store.import(&open.join("theirs.json")).expect_err("others may replace it");
        assert!(refused.message().contains("chmod go-w"), "{}", refused.message());
    }
}
