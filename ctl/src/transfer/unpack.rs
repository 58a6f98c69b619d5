//! A tar stream that is not trusted, written below one folder under one name.
//!
//! No name leads elsewhere: each part of a path is opened from the folder before it and never through a link (openat(2),
//! O_NOFOLLOW). Links that lead out of what is unpacked, hard links, devices and the like are left out, and that is told. So are
//! bits that give a program another user's rights.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, mkdirat, openat, symlinkat, unlinkat};
use rustix::io::Errno;
use tar::{Archive, Entry, EntryType};

use crate::progress::Progress;

/// What came of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// How many files were written.
    pub files: u64,
    /// Names that were left out, and why.
    pub left_out: Vec<String>,
}

/// Why it ended.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    /// Not an archive, or one that breaks off.
    #[error("what came is no whole archive: {0}")]
    Malformed(std::io::Error),
    /// A name that nobody asked for.
    #[error("`{name}` was sent, which is not below `{expected}`; nothing of it was written", name = name.display(), expected = expected.display())]
    Stray {
        /// What was sent.
        name: PathBuf,
        /// What was asked for.
        expected: PathBuf,
    },
    /// A file cannot be written.
    #[error("{path} cannot be written: {reason}", path = path.display())]
    Unwritable {
        /// Which one.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
}

/// What is left out is told for so many names.
const MAX_TOLD: usize = 20;

/// Behind its end an archive is filled up to a whole record (POSIX pax: of 32 KiB at most, which some programs exceed).
const MAX_PADDING_BYTES: u64 = 1 << 20;

/// Writes all of `archive` that is below `name` into `folder`, which is there already; anything else ends it.
///
/// # Errors
/// [`UnpackError`]; what was written until then stays.
pub fn unpack(
    archive: impl Read,
    folder: &Path,
    name: &OsStr,
    progress: &mut Progress,
) -> Result<Unpacked, UnpackError> {
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = openat(CWD, folder, flags, Mode::empty()).map_err(|e| unwritable(folder, e))?;
    let mut done = Unpacked::default();
    let mut archive = Archive::new(archive);
    for entry in archive.entries().map_err(UnpackError::Malformed)? {
        let mut entry = entry.map_err(UnpackError::Malformed)?;
        let path = entry.path().map_err(UnpackError::Malformed)?.into_owned();
        let parts = parts(&path).filter(|parts| parts.first().is_some_and(|first| first == name));
        let parts = parts.ok_or_else(|| UnpackError::Stray { name: path.clone(), expected: name.into() })?;
        match write(&root, &parts, &mut entry, progress).map_err(|e| unwritable(&folder.join(&path), e))? {
            None if entry.header().entry_type().is_file() => done.files += 1,
            None => {}
            Some(why) if done.left_out.len() < MAX_TOLD => done.left_out.push(format!("{}: {why}", path.display())),
            Some(_) => {}
        }
    }
    // Who still writes its padding must not be ended by a closed pipe.
    std::io::copy(&mut archive.into_inner().take(MAX_PADDING_BYTES), &mut std::io::sink())
        .map_err(UnpackError::Malformed)?;
    Ok(done)
}

/// The parts of a path that leads downwards only.
fn parts(path: &Path) -> Option<Vec<OsString>> {
    let downwards = |part| match part {
        Component::Normal(part) => Some(Some(part.to_owned())),
        Component::CurDir => Some(None),
        Component::RootDir | Component::Prefix(_) | Component::ParentDir => None,
    };
    path.components().map(downwards).collect::<Option<Vec<_>>>().map(|parts| parts.into_iter().flatten().collect())
}

/// Writes one entry, or says why it is left out.
fn write(
    root: &OwnedFd,
    parts: &[OsString],
    entry: &mut Entry<'_, impl Read>,
    progress: &mut Progress,
) -> std::io::Result<Option<&'static str>> {
    let Some((last, before)) = parts.split_last() else { return Ok(None) };
    let mut folder = root.try_clone()?;
    for part in before {
        folder = enter(&folder, part)?;
    }
    match entry.header().entry_type() {
        EntryType::Directory => enter(&folder, last).map(|_| None),
        EntryType::Regular | EntryType::Continuous => {
            let mode = Mode::from_raw_mode(entry.header().mode()? & 0o777);
            free(&folder, last)?;
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            copy(entry, &mut File::from(openat(&folder, last, flags, mode)?), progress).map(|()| None)
        }
        EntryType::Symlink => {
            let target = entry.link_name()?.unwrap_or_default().into_owned();
            if !stays_inside(before, &target) {
                return Ok(Some("a link that leads out of what was sent"));
            }
            free(&folder, last)?;
            symlinkat(&target, &folder, last).map(|()| None).map_err(Into::into)
        }
        EntryType::XGlobalHeader => Ok(None),
        _ => Ok(Some("neither a file nor a folder")),
    }
}

/// Opens a folder below another, made if it is missing.
fn enter(folder: impl AsFd, name: &OsStr) -> std::io::Result<OwnedFd> {
    match mkdirat(&folder, name, Mode::from_raw_mode(0o777)) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(folder, name, flags, Mode::empty())?)
}

/// Removes a file or link of that name.
fn free(folder: impl AsFd, name: &OsStr) -> std::io::Result<()> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn copy(from: &mut impl Read, to: &mut File, progress: &mut Progress) -> std::io::Result<()> {
    let mut part = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut part)?;
        if length == 0 {
            return Ok(());
        }
        to.write_all(&part[..length])?;
        progress.add(length as u64);
    }
}

/// Whether a link in this folder leads to what is below the first name as well. Upwards only to begin with: behind a name, which
/// may be a link itself, nobody knows from here what is above.
fn stays_inside(folder: &[OsString], target: &Path) -> bool {
    let mut depth = folder.len();
    let mut goes_down = false;
    for part in target.components() {
        match part {
            Component::Normal(_) => goes_down = true,
            Component::CurDir => {}
            Component::ParentDir if depth > 1 && !goes_down => depth -= 1,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => return false,
        }
    }
    depth > 0
}

fn unwritable(path: &Path, reason: impl Into<std::io::Error>) -> UnpackError {
    UnpackError::Unwritable { path: path.to_owned(), reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use tar::{Builder, Header};

    use super::*;

    /// An archive of entries as they are written, whatever they are called.
    fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
        let mut builder = Builder::new(Vec::new());
        for (kind, name, content) in entries {
            let mut header = Header::new_gnu();
            let raw = header.as_old_mut();
            raw.name[..name.len()].copy_from_slice(name.as_bytes());
            let is_file = *kind == EntryType::Regular;
            if !is_file {
                raw.linkname[..content.len()].copy_from_slice(content.as_bytes());
            }
            header.set_entry_type(*kind);
            header.set_mode(0o6755);
            header.set_size(if is_file { content.len() as u64 } else { 0 });
            header.set_cksum();
            builder.append(&header, if is_file { content.as_bytes() } else { b"" }).expect("in memory");
        }
        builder.into_inner().expect("in memory")
    }

    const FILE: EntryType = EntryType::Regular;
    const LINK: EntryType = EntryType::Symlink;
    const FOLDER: EntryType = EntryType::Directory;

    /// What comes of it in the folder `here`, beside which `outside` lies with a file `kept`.
    #[track_caller]
    fn check(entries: &[(EntryType, &str, &str)], expected: &str) -> tempfile::TempDir {
        let place = tempfile::tempdir().expect("a folder");
        for name in ["here", "outside"] {
            std::fs::create_dir(place.path().join(name)).expect("made");
        }
        std::fs::write(place.path().join("outside/kept"), "kept").expect("written");
        symlink("../outside", place.path().join("here/planted")).expect("linked");
        let bytes = archive(entries);
        let found = unpack(bytes.as_slice(), &place.path().join("here"), "data".as_ref(), &mut Progress::new("", None));
        let found = match found {
            Ok(Unpacked { files, left_out }) => format!("{files} files, left out {left_out:?}"),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(expected), "{entries:?}: {found}");
        let outside: Vec<_> = std::fs::read_dir(place.path().join("outside")).expect("read").flatten().collect();
        assert_eq!(outside.len(), 1, "{entries:?}: something was written outside");
        assert_eq!(std::fs::read(place.path().join("outside/kept")).expect("there"), b"kept", "{entries:?}");
        place
    }

    #[test]
    fn files_folders_and_links_within() {
        let entries =
            [(FOLDER, "data/", ""), (FILE, "data/a/b", "text"), (FILE, "./data/c", ""), (LINK, "data/a/l", "../c")];
        let place = check(&entries, "2 files, left out []");
        let path = |name: &str| place.path().join("here/data").join(name);
        assert_eq!(std::fs::read(path("a/b")).expect("there"), b"text");
        assert_eq!(std::fs::read_link(path("a/l")).expect("a link"), Path::new("../c"));
        let mode = std::fs::metadata(path("a/b")).expect("there").permissions().mode();
        assert_eq!(mode & 0o7000, 0, "nobody's rights are lent");
        check(&[(FILE, "data", "first"), (FILE, "data", "again")], "2 files");
    }

    #[test]
    fn n_no_name_leads_elsewhere() {
        for name in
            ["../outside/kept", "/tmp/outside", "data/../../outside/kept", "other", ".bashrc", "planted/kept", "data2"]
        {
            check(&[(FILE, name, "evil")], "which is not below `data`");
        }
        check(&[(LINK, "data", "../outside"), (FILE, "data/kept", "evil")], "left out");
        check(&[(LINK, "data/l", "../../outside"), (FILE, "data/l/kept", "evil")], "1 files, left out [\"data/l:");
        check(&[(LINK, "data/l", "/etc")], "leads out of what was sent");
        check(&[(LINK, "data/a/b/up", "../.."), (LINK, "data/l", "a/b/up/../x")], "left out [\"data/l:");
        // A link that stays inside is not followed either.
        check(&[(FOLDER, "data/a", ""), (LINK, "data/l", "a"), (FILE, "data/l/x", "")], "data/l/x cannot be written");
        check(&[(EntryType::Link, "data/h", "../outside/kept")], "neither a file nor a folder");
        check(&[(EntryType::Char, "data/null", ""), (EntryType::Fifo, "data/pipe", "")], "neither a file nor a folder");
        // What lies there already is replaced, and not written through.
        let place = tempfile::tempdir().expect("a folder");
        std::fs::write(place.path().join("kept"), "kept").expect("written");
        std::fs::create_dir(place.path().join("data")).expect("made");
        symlink("../kept", place.path().join("data/x")).expect("linked");
        let bytes = archive(&[(FILE, "data/x", "new")]);
        unpack(bytes.as_slice(), place.path(), "data".as_ref(), &mut Progress::new("", None)).expect("written");
        assert_eq!(std::fs::read(place.path().join("kept")).expect("there"), b"kept");
        assert_eq!(std::fs::read(place.path().join("data/x")).expect("there"), b"new");
    }

    /// Who is still writing it when nobody reads any more is ended by SIGPIPE.
    #[test]
    fn the_padding_behind_the_end_is_read() {
        let place = tempfile::tempdir().expect("a folder");
        let mut whole = archive(&[(FILE, "data", "some text")]);
        whole.resize(whole.len() + 10_240, 0);
        let mut rest = whole.as_slice();
        unpack(&mut rest, place.path(), "data".as_ref(), &mut Progress::new("", None)).expect("written");
        assert_eq!(rest.len(), 0);
        // What never ends is not read for ever.
        unpack(std::io::repeat(0), place.path(), "data".as_ref(), &mut Progress::new("", None)).expect("nothing");
    }

    #[test]
    fn what_breaks_off_is_no_archive() {
        let whole = archive(&[(FILE, "data", "some text")]);
        for cut in [100, 515] {
            let place = tempfile::tempdir().expect("a folder");
            let found = unpack(&whole[..cut], place.path(), "data".as_ref(), &mut Progress::new("", None));
            assert!(found.is_err(), "{cut}");
        }
    }
}
