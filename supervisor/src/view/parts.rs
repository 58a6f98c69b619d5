//! The pieces that a tree is built of: folders and files for mounts to cover, memory, copies of the host's trees.

use std::fs::{DirBuilder, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MsFlags, mount};

use crate::error::{At, LaunchError};
use crate::sys::{Attributes, Tree};

pub(super) type Result<T> = std::result::Result<T, LaunchError>;

/// Where the host's tree hangs while the new one is built.
pub(super) const HOST: &str = "/.host";

/// Memory that the agent's private folders may take, each: like a small disk.
pub(super) const PRIVATE_FOLDER_SIZE: &str = "size=1g";

pub(super) const NONE: Option<&str> = None;

pub(super) fn tmpfs(target: &Path, mode: &str, size: &str) -> Result<()> {
    let options = format!("{mode},{size}");
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("tmpfs"), target, Some("tmpfs"), flags, Some(options.as_str()))
        .at(&format!("mount a temporary file system on {}", target.display()))
}

/// A folder of the skeleton, with those above it.
pub(super) fn folder(path: &Path) -> Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    DirBuilder::new().recursive(true).mode(0o755).create(path).at(&format!("make {}", path.display()))
}

/// An empty file of the skeleton, for a mount to cover.
pub(super) fn file(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        folder(parent)?;
    }
    if path.exists() {
        return Ok(());
    }
    File::create(path).map(drop).at(&format!("make {}", path.display()))
}

/// Mounts a copy of one tree over another. Nothing can reach it before it is restricted.
pub(super) fn attach(source: &OwnedFd, target: &OwnedFd, attributes: Attributes) -> std::io::Result<()> {
    let tree = Tree::copy(source.as_fd())?;
    tree.restrict(attributes)?;
    tree.attach(target.as_fd())
}

/// Opens what was found free of links before. One that has become a link since is an attack on whoever follows it.
pub(super) fn open_plain(path: &Path) -> nix::Result<OwnedFd> {
    let how = OpenHow::new().flags(OFlag::O_PATH | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
    openat2(AT_FDCWD, path, how)
}

pub(super) fn on_host(path: &Path) -> PathBuf {
    Path::new(HOST).join(path.strip_prefix("/").unwrap_or(path))
}
