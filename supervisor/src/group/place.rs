//! Where in the hierarchy of control groups this process may make one.

use std::fs;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, access};

/// A folder in which groups with the wanted controllers can be made.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Delegation {
    pub(crate) folder: PathBuf,
}

/// The nearest group above or at our own that is ours and has these controllers, or why there is none.
pub(crate) fn delegation(controllers: &[&str]) -> Result<Delegation, String> {
    let read = |path: &str| fs::read_to_string(path).map_err(|error| format!("{path}: {error}"));
    let own = own_group(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?)?;
    find(&own, controllers)
}

/// The mount of the hierarchy and our group in it, from `/proc/self/cgroup` and `/proc/self/mountinfo`.
fn own_group(cgroup: &str, mounts: &str) -> Result<Own, String> {
    let own = cgroup.lines().find_map(|line| line.strip_prefix("0::"));
    let own = own.ok_or("this machine has control groups of version 1 alone")?;
    let mount = mounts.lines().find_map(|line| {
        let (place, kind) = line.split_once(" - ")?;
        let mut fields = place.split(' ').skip(3);
        kind.starts_with("cgroup2 ").then_some((fields.next()?, fields.next()?))
    });
    let (root, mount) = mount.ok_or("control groups of version 2 are not mounted")?;
    let below = Path::new(own).strip_prefix(root).map_err(|_| "our control group lies outside the mounted part")?;
    Ok(Own { mount: PathBuf::from(mount), below: below.to_owned() })
}

/// A group below a mount.
#[derive(Debug, PartialEq, Eq)]
struct Own {
    mount: PathBuf,
    below: PathBuf,
}

fn find(own: &Own, controllers: &[&str]) -> Result<Delegation, String> {
    let mut reason = "no control group is delegated to this user".to_owned();
    for below in own.below.ancestors() {
        let folder = own.mount.join(below);
        // Moving a process takes the right to write to the nearest common group.
        let writable = [folder.clone(), folder.join("cgroup.procs")];
        if writable.iter().any(|path| access(path, AccessFlags::W_OK).is_err()) {
            break;
        }
        let available = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
        let missing: Vec<_> =
            controllers.iter().filter(|wanted| !available.split_whitespace().any(|c| c == **wanted)).collect();
        if let Some(controller) = missing.first() {
            reason = format!("the controller {controller} is not available in {}", folder.display());
            continue;
        }
        match enable(&folder, controllers) {
            Ok(()) => return Ok(Delegation { folder }),
            Err(error) => reason = error,
        }
    }
    Err(reason)
}

/// Passes the controllers on to the groups below. A group that holds processes itself cannot (EBUSY).
fn enable(folder: &Path, controllers: &[&str]) -> Result<(), String> {
    let path = folder.join("cgroup.subtree_control");
    let passed = fs::read_to_string(&path).unwrap_or_default();
    let missing = controllers.iter().filter(|wanted| !passed.split_whitespace().any(|c| c == **wanted));
    let order: String = missing.map(|controller| format!("+{controller} ")).collect();
    if order.is_empty() {
        return Ok(());
    }
    fs::write(&path, order.trim())
        .map_err(|error| format!("controllers cannot be passed on in {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

    #[track_caller]
    fn check(cgroup: &str, mounts: &str, expected: Result<(&str, &str), &str>) {
        let expected = expected.map(|(mount, below)| Own { mount: mount.into(), below: below.into() });
        assert_eq!(own_group(cgroup, mounts), expected.map_err(str::to_owned));
    }

    #[test]
    fn our_own_group_is_found() {
        check("0::/user.slice/a.scope\n", MOUNTS, Ok(("/sys/fs/cgroup", "user.slice/a.scope")));
        check("9:name=systemd:/\n1:cpu:/\n0::/\n", MOUNTS, Ok(("/sys/fs/cgroup", "")));
        check("1:cpu:/\n", MOUNTS, Err("this machine has control groups of version 1 alone"));
        check("0::/\n", "23 1 0:1 / / rw - ext4 a rw\n", Err("control groups of version 2 are not mounted"));
        let part = "30 23 0:26 /docker/x /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        check("0::/docker/x/y\n", part, Ok(("/sys/fs/cgroup", "y")));
        check("0::/other\n", part, Err("our control group lies outside the mounted part"));
    }

    #[test]
    fn the_nearest_group_that_can_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let own = Own { mount: folder.path().to_owned(), below: "app/scope".into() };
        let make = |name: &str, controllers: &str, passed: &str| {
            let path = folder.path().join(name);
            fs::create_dir_all(&path).expect("made");
            for (file, text) in
                [("cgroup.procs", ""), ("cgroup.controllers", controllers), ("cgroup.subtree_control", passed)]
            {
                fs::write(path.join(file), text).expect("written");
            }
        };
        make("", "cpu memory pids", "cpu memory pids");
        make("app", "memory pids", "memory pids");
        make("app/scope", "", "");
        let find = |controllers: &[&str]| find(&own, controllers).map(|found| found.folder);
        assert_eq!(find(&["memory"]), Ok(folder.path().join("app")));
        assert_eq!(find(&["memory", "cpu"]), Ok(folder.path().to_owned()));
        assert_eq!(
            find(&["io"]),
            Err(format!("the controller io is not available in {}", folder.path().join("").display()))
        );
        fs::remove_file(folder.path().join("app/scope/cgroup.procs")).expect("removed");
        assert_eq!(find(&["memory"]), Err("no control group is delegated to this user".to_owned()));
    }
}
