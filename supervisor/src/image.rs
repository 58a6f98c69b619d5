//! Paths of an unpacked image, as they would be if its folder were the root.

use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, open, openat2};
use nix::sys::stat::Mode;

/// Where a path of the image below `root` lies on the host, free of links: they lead where they would lead inside, and
/// never out of `root` (openat2(2), `RESOLVE_IN_ROOT`). `root` itself must be free of them.
///
/// # Errors
/// When the image has no such path, or it cannot be followed.
pub fn in_image(root: &Path, path: &Path) -> io::Result<PathBuf> {
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
    let root = open(root, flags | OFlag::O_DIRECTORY, Mode::empty())?;
    let resolve = ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS;
    let found = openat2(&root, path, OpenHow::new().flags(flags).resolve(resolve))?;
    std::fs::read_link(format!("/proc/self/fd/{}", found.as_raw_fd()))
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
            assert_eq!(found, expected.map(|place| root.join(place)), "{path}");
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
