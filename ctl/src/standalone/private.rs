//! Files that hold something secret: read only where nobody else can read them.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::unistd::Uid;
use zeroize::Zeroizing;

/// A token or a key is far smaller.
const MAX_BYTES: u64 = 64 * 1024;

/// Reads a file that only its owner, who is us or root, may read.
///
/// # Errors
/// One sentence with the file's name and, where its mode is wrong, the command that corrects it.
pub fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    let refused = |why: String| format!("{} cannot be used: {why}", path.display());
    let file = File::open(path).map_err(|e| refused(e.to_string()))?;
    let metadata = file.metadata().map_err(|e| refused(e.to_string()))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(refused(format!("others may read it; run: chmod 600 {}", path.display())));
    }
    if metadata.uid() != Uid::effective().as_raw() && metadata.uid() != 0 {
        return Err(refused(format!("it belongs to another user; run: chown {} {}", Uid::effective(), path.display())));
    }
    let mut text = Zeroizing::new(String::new());
    let read = file.take(MAX_BYTES + 1).read_to_string(&mut text).map_err(|e| refused(e.to_string()))?;
    match u64::try_from(read).is_ok_and(|read| read <= MAX_BYTES) {
        true => Ok(text),
        false => Err(refused(format!("it has more than {MAX_BYTES} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_private_files_are_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("key");
        assert!(read(&path).expect_err("missing").contains("key cannot be used"));
        std::fs::write(&path, "value").expect("written");
        for (mode, expected) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("set");
            let answer = read(&path);
            assert_eq!(answer.is_ok(), expected, "{mode:o}");
            assert!(answer.is_ok() || answer.is_err_and(|why| why.contains("run: chmod 600 ")));
        }
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("set");
        std::fs::write(&path, "x".repeat(70_000)).expect("written");
        assert!(read(&path).expect_err("large").contains("more than"));
    }
}
