//! Why there are no user namespaces, and what to do about it.

use std::fs;

use nix::errno::Errno;

use crate::error::LaunchError;

/// unshare(2) was refused.
pub(crate) fn no_namespaces(error: Errno) -> LaunchError {
    let remedy = match error {
        Errno::EINVAL => "use a kernel with CONFIG_USER_NS, and the other namespaces, built in".to_owned(),
        Errno::ENOSPC | Errno::EUSERS if switched_off().is_none() => {
            "all that are allowed are in use; an administrator can allow more with: sysctl -w user.max_user_namespaces=10000"
                .to_owned()
        }
        _ => remedy(),
    };
    LaunchError::NoUserNamespace { reason: error.desc().to_owned(), remedy }
}

/// The namespace exists, but may not be used.
pub(crate) fn no_maps(error: std::io::Error) -> LaunchError {
    LaunchError::NoUserNamespace { reason: error.to_string(), remedy: remedy() }
}

/// The namespace exists and gives no capabilities: that is how AppArmor withholds it.
pub(crate) fn no_capabilities(error: Errno) -> LaunchError {
    match error {
        Errno::EPERM => no_namespaces(error),
        other => LaunchError::step("set the host name", other.desc()),
    }
}

/// Looks at the switches that distributions have for this.
fn remedy() -> String {
    match switched_off() {
        Some(switch) => format!("an administrator can allow them with: {}", switch.remedy),
        None => "inside a container, allow the unshare and mount system calls (--security-opt seccomp=unconfined), or \
                 run Tollgate outside it"
            .to_owned(),
    }
}

fn switched_off() -> Option<&'static Switch> {
    SWITCHES.iter().find(|switch| read(switch.path) == Some(switch.off))
}

struct Switch {
    path: &'static str,
    /// The value at which there are none.
    off: u64,
    remedy: &'static str,
}

const SWITCHES: &[Switch] = &[
    Switch { path: "/proc/sys/user/max_user_namespaces", off: 0, remedy: "sysctl -w user.max_user_namespaces=10000" },
    Switch { path: "/proc/sys/user/max_net_namespaces", off: 0, remedy: "sysctl -w user.max_net_namespaces=10000" },
    Switch { path: "/proc/sys/user/max_mnt_namespaces", off: 0, remedy: "sysctl -w user.max_mnt_namespaces=10000" },
    Switch { path: "/proc/sys/user/max_pid_namespaces", off: 0, remedy: "sysctl -w user.max_pid_namespaces=10000" },
    Switch { path: "/proc/sys/user/max_ipc_namespaces", off: 0, remedy: "sysctl -w user.max_ipc_namespaces=10000" },
    Switch { path: "/proc/sys/user/max_uts_namespaces", off: 0, remedy: "sysctl -w user.max_uts_namespaces=10000" },
    Switch {
        path: "/proc/sys/user/max_cgroup_namespaces",
        off: 0,
        remedy: "sysctl -w user.max_cgroup_namespaces=10000",
    },
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
