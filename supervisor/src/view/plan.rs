//! What to bind where: grants, made absolute and free of links while the host's tree is still the root.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tollgate_wire::cell::Files;

use crate::error::{At, LaunchError};

/// The mounts of a sandbox, parents before children.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Real path to how it is bound.
    pub(crate) binds: BTreeMap<PathBuf, Access>,
    /// Links that must exist for granted names to lead to their real path: name, target.
    pub(crate) links: Vec<(PathBuf, PathBuf)>,
    /// Real host file, path inside.
    pub(crate) overlays: Vec<(PathBuf, PathBuf)>,
    /// Granted paths that this machine does not have.
    pub(crate) absent: Vec<PathBuf>,
}

/// How a path is bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// Read and execute.
    Read,
    /// Everything.
    Write,
}

/// The sandbox has its own of these; a grant of one of them means that one.
const PRIVATE: &[&str] = &["/proc", "/dev", "/tmp"];

/// What a grant of `/` leaves out beside them: kernel settings, and the sockets of the host's daemons.
const NOT_IN_ROOT: &[&str] = &["/sys", "/run"];

impl Plan {
    /// Reads the order.
    pub(crate) fn of(files: &Files) -> Result<Self, LaunchError> {
        let mut plan = Self::default();
        let read = files.read_only.iter().map(|path| (path, Access::Read));
        let write = files.read_write.iter().map(|path| (path, Access::Write));
        for (path, access) in read.chain(write) {
            plan.grant(path, access, files.hard_requirement)?;
        }
        for path in &files.pinned {
            // Bound onto itself, a folder can no longer be renamed away from what lies in it.
            if plan.is_writable(path) {
                plan.binds.entry(path.clone()).or_insert(Access::Write);
            }
        }
        for (host, inside) in &files.overlays {
            let real = host.canonicalize().map_err(|e| LaunchError::step(format!("find {}", host.display()), e))?;
            plan.overlays.push((real, inside.clone()));
        }
        // A link to a folder comes before links below it.
        plan.links.sort();
        Ok(plan)
    }

    /// What a person should know: how much is granted, what is not there, which names lead elsewhere.
    pub(crate) fn describe(&self) -> String {
        let writable = self.binds.values().filter(|access| **access == Access::Write).count();
        let mut text = format!("{} paths read-only, {writable} writable", self.binds.len() - writable);
        let links: Vec<_> = self.links.iter().map(|(n, t)| format!("{} to {}", n.display(), t.display())).collect();
        let absent: Vec<_> = self.absent.iter().map(|path| path.display().to_string()).collect();
        for (what, names) in [("links", links), ("not there", absent)] {
            if !names.is_empty() {
                text += &format!("; {what}: {}", names.join(", "));
            }
        }
        text
    }

    /// True below a grant for writing that no nearer grant takes back.
    fn is_writable(&self, path: &Path) -> bool {
        path.ancestors().find_map(|folder| self.binds.get(folder)) == Some(&Access::Write)
    }

    fn grant(&mut self, path: &Path, access: Access, required: bool) -> Result<(), LaunchError> {
        if !path.is_absolute() || path.components().any(|part| part == std::path::Component::ParentDir) {
            return Err(LaunchError::BadOrder(format!(
                "the granted path {} must be absolute, without `..`",
                path.display()
            )));
        }
        if is_private(path) {
            return Ok(());
        }
        let real = match path.canonicalize() {
            Ok(real) => real,
            Err(error) if required => {
                let reason = format!("landlock.compatibility is hard_requirement and {} is missing", path.display());
                return Err(LaunchError::step(reason, error));
            }
            // A policy may name what only some machines have.
            Err(_) => {
                self.absent.push(path.to_owned());
                return Ok(());
            }
        };
        if real == Path::new("/") {
            return self.grant_root(access, required);
        }
        if is_private(&real) {
            return Ok(());
        }
        if real != path {
            self.links.push((path.to_owned(), real.clone()));
        }
        let known = self.binds.entry(real).or_insert(access);
        *known = access.max(*known);
        Ok(())
    }
}

impl Plan {
    /// The root is the sandbox's own, so a grant of `/` means what lies in it.
    fn grant_root(&mut self, access: Access, required: bool) -> Result<(), LaunchError> {
        if access == Access::Write {
            return Err(LaunchError::BadOrder("the whole file tree cannot be granted for writing".to_owned()));
        }
        let entries = std::fs::read_dir("/").at("list /")?;
        for entry in entries {
            let path = entry.at("list /")?.path();
            if !NOT_IN_ROOT.iter().any(|out| path == Path::new(out)) {
                self.grant(&path, access, required)?;
            }
        }
        Ok(())
    }
}

fn is_private(path: &Path) -> bool {
    // Folders below /tmp are the host's and can be granted one by one; devices and processes cannot.
    PRIVATE.iter().any(|own| path == Path::new(own)) || path.starts_with("/dev") || path.starts_with("/proc")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(read_only: &[&str], read_write: &[&str]) -> Result<Plan, LaunchError> {
        let paths = |texts: &[&str]| texts.iter().map(PathBuf::from).collect();
        Plan::of(&Files { read_only: paths(read_only), read_write: paths(read_write), ..Files::default() })
    }

    #[test]
    fn writing_wins_over_reading() {
        let plan = plan(&["/usr/lib"], &["/usr/lib"]).expect("a plan");
        assert_eq!(plan.binds.get(Path::new("/usr/lib")), Some(&Access::Write));
    }

    #[test]
    fn the_sandboxs_own_places_are_never_the_hosts() {
        let plan = plan(&["/proc", "/dev/urandom", "/proc/1"], &["/tmp", "/dev/null"]).expect("a plan");
        assert_eq!(plan, Plan::default());
    }

    #[test]
    fn hostile_grants_are_refused() {
        for path in ["/", "//", "/usr/../", "relative", "/.."] {
            assert!(matches!(plan(&[], &[path]), Err(LaunchError::BadOrder(_))), "{path}");
        }
    }

    #[test]
    fn what_is_missing_is_left_out_and_said() {
        let plan = plan(&["/does/not/exist"], &[]).expect("a plan");
        assert!(plan.binds.is_empty() && plan.links.is_empty());
        assert_eq!(plan.describe(), "0 paths read-only, 0 writable; not there: /does/not/exist");
    }

    #[test]
    fn the_root_is_its_contents_without_the_hosts_own() {
        let plan = plan(&["/"], &[]).expect("a plan");
        assert!(plan.binds.contains_key(Path::new("/usr")));
        for out in ["/", "/proc", "/dev", "/tmp", "/sys", "/run"] {
            assert!(!plan.binds.contains_key(Path::new(out)), "{out}");
        }
    }

    #[test]
    fn only_what_is_writable_is_pinned() {
        let paths = |texts: &[&str]| texts.iter().map(PathBuf::from).collect();
        let files = Files { read_write: paths(&["/usr/lib"]), read_only: paths(&["/etc"]), ..Files::default() };
        let plan = Plan::of(&Files { pinned: paths(&["/usr/lib/x", "/etc/x", "/root"]), ..files }).expect("a plan");
        let bound: Vec<_> = plan.binds.keys().map(|path| path.display().to_string()).collect();
        assert_eq!(bound, ["/etc", "/usr/lib", "/usr/lib/x"]);
    }
}
