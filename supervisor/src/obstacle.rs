//! What stands in a sandbox's way on this machine, and what to do about it.
//!
//! [`recognise`] decides from facts alone; [`Facts::gather`] reads them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use nix::errno::Errno;

/// What a machine says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// `/proc/sys/kernel/osrelease`: `6.8.0-31-generic`.
    pub release: String,
    /// Settings of the kernel by name, `user.max_user_namespaces`, as text; those that it has.
    pub settings: BTreeMap<&'static str, String>,
    /// The active security modules, `/sys/kernel/security/lsm`, where they can be read.
    pub modules: Option<String>,
    /// Whether this is a container that says so.
    pub container: bool,
}

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// Namespaces, and how they were refused.
    Namespaces(Errno),
    /// Landlock.
    Landlock,
    /// The system call filter.
    Seccomp,
    /// The capture of every port.
    Nftables,
    /// A control group of one's own.
    Cgroup,
}

impl Facts {
    /// Reads them.
    #[must_use]
    pub fn gather() -> Self {
        let read = |path: &str| fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
        let setting = |name: &'static str| Some((name, read(&format!("/proc/sys/{}", name.replacen('.', "/", 1)))?));
        Self {
            release: read("/proc/sys/kernel/osrelease").unwrap_or_default(),
            settings: SWITCHES.iter().filter_map(|switch| setting(switch.name)).collect(),
            modules: read("/sys/kernel/security/lsm"),
            container: ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| Path::new(mark).exists()),
        }
    }

    /// Major and minor version of the kernel.
    #[must_use]
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    fn is_older_than(&self, version: (u32, u32)) -> bool {
        self.version().is_some_and(|own| own < version)
    }

    /// Its kernel is named `5.15.167.4-microsoft-standard-WSL2`; the first WSL, which has no kernel, `4.4.0-19041-Microsoft`.
    fn wsl(&self) -> Option<u8> {
        let release = self.release.to_ascii_lowercase();
        release
            .contains("microsoft")
            .then(|| if release.contains("wsl2") || !self.is_older_than((4, 19)) { 2 } else { 1 })
    }

    fn switched_off(&self) -> Option<&'static Switch> {
        SWITCHES.iter().find(|switch| self.settings.get(switch.name).is_some_and(|value| value == switch.off))
    }
}

/// The exact remedy for what is missing on such a machine.
#[must_use]
pub fn recognise(facts: &Facts, missing: Missing) -> String {
    if facts.wsl() == Some(1) {
        return "WSL 1 has no Linux kernel; in PowerShell run: wsl --set-version DISTRIBUTION 2".to_owned();
    }
    match missing {
        Missing::Namespaces(error) => namespaces(facts, error),
        Missing::Landlock => landlock(facts),
        Missing::Seccomp if facts.container => {
            "let the container call seccomp(2) (--security-opt seccomp=unconfined), or run Tollgate outside it".to_owned()
        }
        Missing::Seccomp => "use a kernel with CONFIG_SECCOMP_FILTER".to_owned(),
        Missing::Nftables if facts.wsl() == Some(2) => {
            "in PowerShell run: wsl --update; kernels of WSL from 5.15.153 on have nf_tables".to_owned()
        }
        Missing::Nftables if facts.container => {
            "on the machine that runs this container, as root: modprobe -a nf_tables nft_chain_nat nft_redir".to_owned()
        }
        Missing::Nftables => "as root run: modprobe -a nf_tables nft_chain_nat nft_redir".to_owned(),
        Missing::Cgroup if facts.wsl() == Some(2) => {
            "write systemd=true below [boot] into /etc/wsl.conf, run `wsl --shutdown` in PowerShell, and start it by: systemd-run --user \
             --scope -p Delegate=yes tollgate ..."
                .to_owned()
        }
        Missing::Cgroup => crate::group::REMEDY.to_owned(),
    }
}

fn namespaces(facts: &Facts, error: Errno) -> String {
    if let Some(switch) = facts.switched_off() {
        return format!("an administrator can allow them with: {}", switch.remedy);
    }
    match error {
        Errno::EINVAL => "use a kernel with CONFIG_USER_NS, and the other namespaces, built in".to_owned(),
        Errno::ENOSPC | Errno::EUSERS => {
            "all that are allowed are in use; an administrator can allow more with: sysctl -w user.max_user_namespaces=10000"
                .to_owned()
        }
        _ if facts.is_older_than(OLDEST) => "use Linux 5.13 or newer".to_owned(),
        _ => "inside a container, allow the unshare and mount system calls (--security-opt seccomp=unconfined), or \
              run Tollgate outside it"
            .to_owned(),
    }
}

fn landlock(facts: &Facts) -> String {
    let listed = facts.modules.as_ref().map(|modules| modules.split(',').any(|module| module == "landlock"));
    match (facts.wsl(), listed) {
        _ if facts.is_older_than(OLDEST) => "use Linux 5.13 or newer".to_owned(),
        (Some(2), _) => {
            "in PowerShell run `wsl --update`, and write kernelCommandLine=lsm=landlock,yama below [wsl2] into .wslconfig"
                .to_owned()
        }
        (_, Some(false)) => {
            let modules = facts.modules.as_deref().unwrap_or_default();
            format!("boot with lsm=landlock,{modules} on the kernel's command line")
        }
        (_, Some(true)) => {
            "let the container call landlock_create_ruleset(2), by a newer engine or --security-opt seccomp=unconfined".to_owned()
        }
        (_, None) => "use Linux 5.13 or newer with `landlock` in the kernel's lsm= list, and a container that lets \
                      landlock_create_ruleset(2) through"
            .to_owned(),
    }
}

/// The oldest kernel that builds a sandbox: Landlock, and mounts restricted before they can be reached.
pub const OLDEST: (u32, u32) = (5, 13);

/// A setting by which a distribution or an administrator withholds namespaces.
struct Switch {
    name: &'static str,
    /// The value at which there are none.
    off: &'static str,
    remedy: &'static str,
}

const SWITCHES: &[Switch] = &[
    Switch { name: "user.max_user_namespaces", off: "0", remedy: "sysctl -w user.max_user_namespaces=10000" },
    Switch { name: "user.max_net_namespaces", off: "0", remedy: "sysctl -w user.max_net_namespaces=10000" },
    Switch { name: "user.max_mnt_namespaces", off: "0", remedy: "sysctl -w user.max_mnt_namespaces=10000" },
    Switch { name: "user.max_pid_namespaces", off: "0", remedy: "sysctl -w user.max_pid_namespaces=10000" },
    Switch { name: "user.max_ipc_namespaces", off: "0", remedy: "sysctl -w user.max_ipc_namespaces=10000" },
    Switch { name: "user.max_uts_namespaces", off: "0", remedy: "sysctl -w user.max_uts_namespaces=10000" },
    Switch { name: "user.max_cgroup_namespaces", off: "0", remedy: "sysctl -w user.max_cgroup_namespaces=10000" },
    Switch {
        name: "kernel.unprivileged_userns_clone",
        off: "0",
        remedy: "sysctl -w kernel.unprivileged_userns_clone=1",
    },
    Switch {
        name: "kernel.apparmor_restrict_unprivileged_userns",
        off: "1",
        remedy: "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for tollgate with `userns,`",
    },
];

#[cfg(test)]
mod tests;
