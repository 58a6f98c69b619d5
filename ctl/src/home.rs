//! `$TOLLGATE_HOME`: where state lives, and the rules that keep others out of it.

mod folder;

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Uid;
use tollgate_audit::SigningKey;
use tollgate_audit::digest::hex;

use crate::failure::{Failure, Kind};
pub use folder::{Claim, SandboxFolder};

use crate::suggestion::suggest;

/// The state folder, opened and found safe.
#[derive(Debug, Clone)]
pub struct Home(PathBuf);

impl Home {
    /// Opens `$TOLLGATE_HOME`, or `~/.tollgate`, making it with mode 0700 if it is missing.
    ///
    /// Refused: `/`, `/tmp`, `/var/tmp`, `/dev/shm`, and any folder that others may write to or that lies below one
    /// that others may write to without the sticky bit.
    pub fn open() -> Result<Self, Failure> {
        let path = match (std::env::var_os("TOLLGATE_HOME"), std::env::var_os("HOME")) {
            (Some(home), _) if !home.is_empty() => PathBuf::from(home),
            (_, Some(home)) if !home.is_empty() => PathBuf::from(home).join(".tollgate"),
            _ => return Err(state("neither TOLLGATE_HOME nor HOME is set; set TOLLGATE_HOME to a folder of yours")),
        };
        Self::open_at(&path)
    }

    /// Opens a given folder under the same rules.
    pub fn open_at(path: &Path) -> Result<Self, Failure> {
        if !path.is_absolute() {
            return Err(state(format!("TOLLGATE_HOME is {}, which is not an absolute path", path.display())));
        }
        let made = DirBuilder::new().recursive(true).mode(PRIVATE_FOLDER).create(path);
        let path = made.and_then(|()| path.canonicalize()).map_err(|e| {
            state(format!(
                "the state folder {} cannot be made ({e}); set TOLLGATE_HOME to a folder of yours",
                path.display()
            ))
        })?;
        check_place(&path)?;
        Ok(Self(path))
    }

    /// The folder itself.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Makes the folder of a sandbox, or takes the one that is there, for this process alone.
    ///
    /// # Errors
    /// When another process holds it.
    pub fn claim(&self, name: &str) -> Result<Claim, Failure> {
        loop {
            let claim = self.folder(SANDBOXES, name)?.claim()?;
            // Who held it before may have removed it between the opening and the lock.
            if let Some(claim) = claim.filter(Claim::stands) {
                return Ok(claim);
            }
        }
    }

    /// The same, waiting until the process that holds it has ended.
    ///
    /// # Errors
    /// When it takes longer.
    pub fn claim_within(&self, name: &str, patience: Duration) -> Result<Claim, Failure> {
        self.sandbox(name)?.wait(patience)?;
        self.claim(name)
    }

    /// The folder of a sandbox that was made before.
    pub fn sandbox(&self, name: &str) -> Result<SandboxFolder, Failure> {
        check_name(name)?;
        let found = self.sandboxes().into_iter().find(|folder| folder.name == name);
        found.ok_or_else(|| {
            let (all, place) = (self.sandboxes(), self.0.display());
            let known = all.iter().map(|folder| folder.name.as_str());
            let meant = suggest(name, known, "`tollgate sandbox list` shows those that are");
            Failure::new(Kind::Other, format!("there is no sandbox {name} in {place}; {meant}"))
        })
    }

    /// Makes the folder of a stand-alone proxy, or takes the one that is there.
    pub fn proxy(&self, name: &str) -> Result<SandboxFolder, Failure> {
        self.folder(PROXIES, name)
    }

    fn folder(&self, kind: &str, name: &str) -> Result<SandboxFolder, Failure> {
        check_name(name)?;
        let path = self.0.join(kind).join(name);
        for folder in [path.clone(), path.join("ca"), path.join("journal")] {
            DirBuilder::new()
                .recursive(true)
                .mode(PRIVATE_FOLDER)
                .create(&folder)
                .map_err(|e| state(format!("the folder {} cannot be made: {e}", folder.display())))?;
        }
        Ok(SandboxFolder { path, name: name.to_owned() })
    }

    /// The folders of all sandboxes that were ever started here, by name.
    pub fn sandboxes(&self) -> Vec<SandboxFolder> {
        self.folders(SANDBOXES)
    }

    /// The folders of all stand-alone proxies that were ever started here, by name.
    pub fn proxies(&self) -> Vec<SandboxFolder> {
        self.folders(PROXIES)
    }

    fn folders(&self, kind: &str) -> Vec<SandboxFolder> {
        let entries = std::fs::read_dir(self.0.join(kind)).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                Some(SandboxFolder { path: entry.path(), name })
            })
            .collect();
        found.sort_by(|a, b| a.name.cmp(&b.name));
        found
    }

    /// The key that signs journals, drawn when it is first needed.
    pub fn journal_key(&self) -> Result<SigningKey, Failure> {
        let path = self.0.join("journal.key");
        let unusable =
            |e: &dyn std::fmt::Display| state(format!("the journal key {} cannot be used: {e}", path.display()));
        let seed = match File::open(&path) {
            Ok(mut file) => {
                let mut seed = Vec::new();
                file.read_to_end(&mut seed).map_err(|e| unusable(&e))?;
                seed
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let seed: [u8; 32] = random()?;
                write_private(&path, &seed).map_err(|e| unusable(&e))?;
                seed.to_vec()
            }
            Err(e) => return Err(unusable(&e)),
        };
        let key = SigningKey::from_seed(&seed).map_err(|e| unusable(&e))?;
        let (place, public) = (self.0.join("journal.pub"), format!("{}\n", hex(&key.public())));
        // Written anew only where it is not there: each start would wait for the disk.
        if std::fs::read(&place).ok().as_deref() != Some(public.as_bytes()) {
            write_private(&place, public.as_bytes()).map_err(|e| unusable(&e))?;
        }
        Ok(key)
    }
}

/// Writes a file that only its owner may read, replacing what was there at once.
pub fn write_private(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    write_draft(&draft, content)?.sync_all()?;
    std::fs::rename(&draft, path)?;
    // Not before this is the new name on the disk.
    sync_folder(path)
}

/// The same for a file that takes no other's place, in half the time: the disk is told of content and name together. If the
/// machine stops before this returns, the file may be there with less than its content, so it has to say what that is.
pub fn write_private_anew(path: &Path, content: &[u8]) -> std::io::Result<()> {
    let draft = path.with_extension("new");
    let file = write_draft(&draft, content)?;
    std::fs::rename(&draft, path)?;
    file.sync_all()?;
    sync_folder(path)
}

fn write_draft(draft: &Path, content: &[u8]) -> std::io::Result<File> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(draft)?;
    file.write_all(content)?;
    Ok(file)
}

fn sync_folder(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// Bytes from the kernel's generator.
pub fn random<const N: usize>() -> Result<[u8; N], Failure> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|e| state(format!("/dev/urandom cannot be read: {e}")))?;
    Ok(bytes)
}

/// RFC 1123: letters, digits and hyphens, 1 to 63, no hyphen at either end; lower case here.
pub fn check_name(name: &str) -> Result<(), Failure> {
    let plain = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !plain || name.is_empty() || name.len() > 63 || name.starts_with('-') || name.ends_with('-') {
        let message =
            format!("`{name}` is no sandbox name; use lower-case letters, digits and inner hyphens, at most 63");
        return Err(Failure::new(Kind::Usage, message));
    }
    Ok(())
}

fn check_place(path: &Path) -> Result<(), Failure> {
    if FORBIDDEN.iter().any(|place| path == Path::new(place)) {
        let message = format!("{} is shared or temporary; set TOLLGATE_HOME to a folder of yours", path.display());
        return Err(state(message));
    }
    let of = |path: &Path| {
        std::fs::metadata(path).map_err(|e| state(format!("{} cannot be looked at: {e}", path.display())))
    };
    let own = of(path)?;
    if own.uid() != Uid::effective().as_raw() {
        return Err(state(format!(
            "{} belongs to another user; set TOLLGATE_HOME to a folder of yours",
            path.display()
        )));
    }
    if own.permissions().mode() & 0o077 != 0 {
        return Err(state(format!("others may look into {0}; run: chmod 700 {0}", path.display())));
    }
    check_parents(path)
}

/// Refuses a path below a folder in which others may put another file or folder in its place.
pub fn check_parents(path: &Path) -> Result<(), Failure> {
    for parent in path.ancestors().skip(1) {
        let looked = std::fs::metadata(parent);
        let mode = looked.map_err(|e| state(format!("{} cannot be looked at: {e}", parent.display())))?;
        let mode = mode.permissions().mode();
        if mode & 0o022 != 0 && mode & 0o1000 == 0 {
            let message = format!(
                "others may write to {0}, which holds {1}; run: chmod go-w {0}",
                parent.display(),
                path.display()
            );
            return Err(state(message));
        }
    }
    Ok(())
}

fn state(message: impl Into<String>) -> Failure {
    Failure::new(Kind::State, message)
}

const SANDBOXES: &str = "sandboxes";
const PROXIES: &str = "proxies";
const FORBIDDEN: &[&str] = &["/", "/tmp", "/var/tmp", "/dev/shm"];
const PRIVATE_FOLDER: u32 = 0o700;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsafe_homes_are_refused() {
        for place in FORBIDDEN {
            let refused = Home::open_at(Path::new(place)).expect_err(place);
            assert!(refused.message().contains("TOLLGATE_HOME"), "{}", refused.message());
        }
        let folder = tempfile::tempdir().expect("a folder");
        let open = folder.path().join("open");
        std::fs::create_dir(&open).expect("made");
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o755)).expect("set");
        assert!(Home::open_at(&open).expect_err("open to others").message().contains("chmod 700"));
        let inner = open.join("inner");
        std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).expect("set");
        assert!(Home::open_at(&inner).expect_err("parent is open").message().contains("chmod go-w"));
    }

    #[test]
    fn a_good_home_is_made_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let home = Home::open_at(&folder.path().join("state")).expect("made");
        let mode = std::fs::metadata(home.path()).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        assert_eq!(home.journal_key().expect("drawn").public(), home.journal_key().expect("read").public());
    }

    #[test]
    fn names_are_labels() {
        for good in ["a", "run-1", "0"] {
            assert_eq!(check_name(good), Ok(()));
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a/b", "..", &"a".repeat(64)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }
}
