//! Why there are no user namespaces, and what to do about it.

use std::fs;

use nix::errno::Errno;

use crate::error::LaunchError;

/// unshare(2) was refused.
pub(crate) fn no_namespaces(error: Errno) -> LaunchError {
    LaunchError::NoUserNamespace { reason: error.desc().to_owned(), remedy: remedy() }
}

/// The namespace exists, but may not be used.
pub(crate) fn no_maps(error: std::io::Error) -> LaunchError {
    LaunchError::NoUserNamespace { reason: error.to_string(), remedy: remedy() }
}

/// Looks at the switches that distributions have for this.
fn remedy() -> String {
    let found = SWITCHES.iter().find(|switch| read(switch.path) == Some(switch.off));
    match found {
        Some(switch) => format!("an administrator can allow them with: {}", switch.remedy),
        None => "inside a container, allow the unshare and mount system calls (--security-opt seccomp=unconfined), or \
                 run Tollgate outside it"
            .to_owned(),
    }
}

struct Switch {
    path: &'static str,
    /// The value at which there are none.
    off: u64,
    remedy: &'static str,
}

const SWITCHES: &[Switch] = &[
    Switch { path: "/proc/sys/user/max_user_namespaces", off: 0, remedy: "sysctl -w user.max_user_namespaces=10000" },
    Switch {
        path: "/proc/sys/kernel/unprivileged_userns_clone",
        off: 0,
        remedy: "sysctl -w kernel.unprivileged_userns_clone=1",
    },
    Switch {
        path: "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        off: 1,
        remedy: "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for tollgate with `userns,`",
    },
];

fn read(path: &str) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}
