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
use crate::obstacle::{Facts, Missing, recognise};

/// The newest rules that are asked for; an older kernel gives fewer, which is reported.
const ABI_WANTED: ABI = ABI::V9;

/// What may be changed besides the granted paths. Not `/proc`: by `/proc/PID/mem` one program could be made another.
const OWN: &[&str] = &["/tmp", "/dev"];

/// What each ABI added of what is used here.
const GRADES: &[(ABI, &str)] = &[
    (ABI::V1, "files"),
    (ABI::V2, "moves between folders"),
    (ABI::V3, "truncation"),
    (ABI::V5, "device ioctls"),
    (ABI::V6, "signals and abstract sockets"),
];

/// The ABI from which on signals and abstract sockets stay inside.
const SCOPES: ABI = ABI::V6;

/// How it stands, and whether signals and abstract sockets are held inside.
pub(crate) struct Fence {
    pub(crate) control: Control,
    pub(crate) scoped: bool,
}

/// Restricts this process and all that come after it.
///
/// `landlock.compatibility` grades it: `best_effort` takes what the kernel has and says what that is; with
/// `hard_requirement` everything in [`GRADES`] must be there.
pub(crate) fn enforce(cell: &Cell) -> Result<Fence, LaunchError> {
    match restrict(cell) {
        Ok(Some(abi)) if cell.files.hard_requirement && abi < SCOPES => {
            let reason = format!("landlock.compatibility is hard_requirement and {}", describe(abi));
            Err(LaunchError::Missing {
                feature: Feature::Landlock.name().to_owned(),
                reason,
                remedy: "use Linux 6.12 or newer, or write `compatibility: best_effort`".to_owned(),
            })
        }
        Ok(Some(abi)) => {
            let name = Feature::Landlock.name().to_owned();
            let control = Control { name, enforced: true, detail: describe(abi) };
            Ok(Fence { control, scoped: abi >= SCOPES })
        }
        Ok(None) => missing(cell, "the kernel has no Landlock"),
        Err(reason) => missing(cell, &reason),
    }
}

/// What an ABI of the kernel's gives, and what it lacks.
fn describe(abi: ABI) -> String {
    let names = |has: bool| {
        let fits = GRADES.iter().filter(|(since, _)| (*since <= abi) == has);
        fits.map(|(_, name)| *name).collect::<Vec<_>>().join(", ")
    };
    let lacks = names(false);
    let lacks = if lacks.is_empty() { lacks } else { format!("; this kernel lacks: {lacks}") };
    format!("ABI {abi}: {}{lacks}", names(true))
}

fn missing(cell: &Cell, reason: &str) -> Result<Fence, LaunchError> {
    let name = Feature::Landlock.name().to_owned();
    if cell.allow_degraded.contains(&Feature::Landlock) && !cell.files.hard_requirement {
        let control = Control { name, enforced: false, detail: reason.to_owned() };
        return Ok(Fence { control, scoped: false });
    }
    Err(LaunchError::Missing {
        feature: name,
        reason: reason.to_owned(),
        remedy: recognise(&Facts::gather(), Missing::Landlock),
    })
}

/// What is in force, or nothing where the kernel has none of it.
fn restrict(cell: &Cell) -> Result<Option<ABI>, String> {
    let text = |error: landlock::RulesetError| error.to_string();
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI_WANTED))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(ABI_WANTED)))
        .and_then(Ruleset::create)
        .map_err(text)?;
    ruleset = allow(ruleset, Path::new("/"), AccessFs::from_read(ABI_WANTED))?;
    let own = OWN.iter().map(Path::new).chain([cell.files.home.as_path()]);
    for path in own.chain(cell.files.all_read_write().map(std::path::PathBuf::as_path)) {
        ruleset = allow(ruleset, path, AccessFs::from_all(ABI_WANTED))?;
    }
    ruleset = allow_streams(ruleset)?;
    let status = ruleset.restrict_self().map_err(text)?;
    Ok(match (status.ruleset, status.landlock) {
        (RulesetStatus::NotEnforced, _) => None,
        (_, LandlockStatus::Available { effective_abi, .. }) => Some(effective_abi),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(abi: ABI, expected: &str) {
        assert_eq!(describe(abi), expected);
    }

    #[test]
    fn what_a_kernel_gives_is_said() {
        check(
            ABI::V1,
            "ABI 1: files; this kernel lacks: moves between folders, truncation, device ioctls, signals and abstract sockets",
        );
        check(
            ABI::V4,
            "ABI 4: files, moves between folders, truncation; this kernel lacks: device ioctls, signals and abstract sockets",
        );
        check(ABI::V6, "ABI 6: files, moves between folders, truncation, device ioctls, signals and abstract sockets");
        check(ABI::V9, "ABI 9: files, moves between folders, truncation, device ioctls, signals and abstract sockets");
    }
}
