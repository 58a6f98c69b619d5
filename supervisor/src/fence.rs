//! Landlock: the file rules once more, by another mechanism (landlock(7)).
//!
//! The mounts decide what exists; Landlock decides what may be changed, and that signals and abstract sockets stay inside.

use std::os::fd::AsFd;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use nix::sys::stat::fstat;
use tollgate_wire::cell::{Cell, Control, Feature};

use crate::error::LaunchError;

/// The newest rules that are asked for; an older kernel gives fewer, which is reported.
const ABI_WANTED: ABI = ABI::V9;

/// What may be changed besides the granted paths.
const OWN: &[&str] = &["/tmp", "/dev", "/proc"];

/// Restricts this process and all that come after it.
pub(crate) fn enforce(cell: &Cell) -> Result<Control, LaunchError> {
    let name = Feature::Landlock.name();
    match restrict(cell) {
        Ok(Some(detail)) => Ok(Control { name: name.to_owned(), enforced: true, detail }),
        Ok(None) => missing(cell, "the kernel has no Landlock"),
        Err(reason) => missing(cell, &reason),
    }
}

fn missing(cell: &Cell, reason: &str) -> Result<Control, LaunchError> {
    let name = Feature::Landlock.name().to_owned();
    if cell.allow_degraded.contains(&Feature::Landlock) && !cell.files.hard_requirement {
        return Ok(Control { name, enforced: false, detail: reason.to_owned() });
    }
    Err(LaunchError::Missing {
        feature: name,
        reason: reason.to_owned(),
        remedy: "use Linux 5.13 or newer with `landlock` in the kernel's lsm= list, and a container that lets \
                 landlock_create_ruleset(2) through"
            .to_owned(),
    })
}

/// What is in force, or nothing where the kernel has none of it.
fn restrict(cell: &Cell) -> Result<Option<String>, String> {
    let text = |error: landlock::RulesetError| error.to_string();
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI_WANTED))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(ABI_WANTED)))
        .and_then(Ruleset::create)
        .map_err(text)?;
    ruleset = allow(ruleset, Path::new("/"), AccessFs::from_read(ABI_WANTED))?;
    let own = OWN.iter().map(Path::new).chain([cell.files.home.as_path()]);
    for path in own.chain(cell.files.read_write.iter().map(std::path::PathBuf::as_path)) {
        ruleset = allow(ruleset, path, AccessFs::from_all(ABI_WANTED))?;
    }
    ruleset = allow_streams(ruleset)?;
    let status = ruleset.restrict_self().map_err(text)?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => None,
        (_, LandlockStatus::Available { effective_abi, .. }) => {
            Some(format!("files, signals and abstract sockets, ABI {effective_abi:?}"))
        }
        _ => None,
    })
}

/// The standard streams may lie on the host, and `> /dev/stderr` opens them anew: as they were opened the first time.
fn allow_streams(mut ruleset: landlock::RulesetCreated) -> Result<landlock::RulesetCreated, String> {
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for stream in [input.as_fd(), output.as_fd(), error.as_fd()] {
        let status = fcntl(stream, FcntlArg::F_GETFL).map_err(|error| error.to_string())?;
        let read = AccessFs::ReadFile | AccessFs::IoctlDev;
        let write = AccessFs::WriteFile | AccessFs::Truncate | AccessFs::IoctlDev;
        let access = match status & libc::O_ACCMODE {
            libc::O_RDONLY => read,
            libc::O_WRONLY => write,
            _ => read | write,
        };
        // Pipes and sockets have no place in the file tree; they take no rule and need none.
        let kind = fstat(stream).map_err(|error| error.to_string())?.st_mode & libc::S_IFMT;
        if kind == libc::S_IFREG || kind == libc::S_IFCHR {
            ruleset = ruleset.add_rule(PathBeneath::new(stream, access)).map_err(|error| error.to_string())?;
        }
    }
    Ok(ruleset)
}

/// A path that does not exist inside needs no rule.
fn allow(
    ruleset: landlock::RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<landlock::RulesetCreated, String> {
    let Ok(descriptor) = PathFd::new(path) else { return Ok(ruleset) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(ABI_WANTED) };
    ruleset.add_rule(PathBeneath::new(descriptor, access)).map_err(|error| error.to_string())
}
