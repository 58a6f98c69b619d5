//! Paths of an unpacked image, as they would be if its folder were the root.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;

/// What a path of an image leads to, free of links.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its name inside.
    pub inside: PathBuf,
    /// Where it lies on the host.
    pub on_host: PathBuf,
}

/// What a path of the image below `root` leads to. Links lead where they would lead inside, and never out of `root`
/// (openat2(2), `RESOLVE_IN_ROOT`). `root` itself must be free of them.
///
/// # Errors
/// When the image has no such path, or it cannot be followed.
pub fn in_image(root: &Path, path: &Path) -> io::Result<Found> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let folder = open(root, flags | OFlag::O_DIRECTORY, Mode::empty())?;
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let found = openat2(&folder, path, OpenHow::new().flags(flags).resolve(resolve))?;
    let on_host = std::fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))?;
    let inside = Path::new("/").join(on_host.strip_prefix(root).map_err(io::Error::other)?);
    Ok(Found { inside, on_host })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn links_lead_where_they_lead_inside() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path().canonicalize().expect("its name");
        std::fs::create_dir_all(root.join("usr/bin")).expect("a tree");
        std::fs::write(root.join("usr/bin/tool"), "").expect("a file");
        for (name, target) in [
            ("bin", "usr/bin"),
            ("out", "../../../../usr/bin"),
            ("tool", "/bin/tool"),
            ("etc", "/etc"),
            ("loop", "loop"),
        ] {
            symlink(target, root.join(name)).expect("a link");
        }
        let check = |path: &str, expected: Option<&str>| {
            let found = in_image(&root, Path::new(path)).ok();
            let place = |place| Found { inside: Path::new("/").join(place), on_host: root.join(place) };
            assert_eq!(found, expected.map(place), "{path}");
        };
        check("/usr/bin/tool", Some("usr/bin/tool"));
        check("/bin/tool", Some("usr/bin/tool"));
        check("/out/tool", Some("usr/bin/tool"));
        check("/tool", Some("usr/bin/tool"));
        check("/../../usr", Some("usr"));
        for nothing in ["/etc/passwd", "/etc", "/loop", "/usr/bin/tool/x"] {
            check(nothing, None);
        }
    }
}
