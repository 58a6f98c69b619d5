//! The program that whole-process benches measure.

use std::io::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target folder that the running bench lies in, as `target/release/deps/load-0123456789abcdef`.
///
/// # Errors
/// When it lies elsewhere.
pub fn target() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    own.ancestors().nth(3).map(Path::to_owned).ok_or_else(|| Error::other("this program is not in a target folder"))
}

/// Builds `tollgate` in the release profile, and says where it is.
///
/// # Errors
/// When it cannot be built.
pub fn built() -> Result<PathBuf> {
    let (target, package) = (target()?, Path::new(env!("CARGO_MANIFEST_DIR")));
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.args(["build", "--release", "--quiet", "--package", "tollgate", "--bin", "tollgate", "--target-dir"]);
    let ended = build.arg(&target).current_dir(package).status()?;
    match ended.success() {
        true => Ok(target.join("release/tollgate")),
        false => Err(Error::other(format!("tollgate could not be built: {ended}"))),
    }
}
