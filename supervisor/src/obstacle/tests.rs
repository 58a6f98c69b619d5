use super::*;

const UBUNTU: &str = "6.8.0-31-generic";
const WSL2: &str = "5.15.133.1-microsoft-standard-WSL2";

/// A machine: release, settings, security modules, whether it is a container.
type Machine<'a> = (&'a str, &'a [(&'static str, &'a str)], Option<&'a str>, bool);

#[track_caller]
fn check(machine: Machine<'_>, missing: Missing, expected: &str) {
    let (release, settings, modules, container) = machine;
    let facts = Facts {
        release: release.to_owned(),
        settings: settings.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(),
        modules: modules.map(str::to_owned),
        container,
    };
    let remedy = recognise(&facts, missing);
    assert!(remedy.contains(expected), "{machine:?} {missing:?}: {remedy}");
}

#[test]
fn withheld_namespaces() {
    let refused = Missing::Namespaces(Errno::EPERM);
    let apparmor = [("user.max_user_namespaces", "63000"), ("kernel.apparmor_restrict_unprivileged_userns", "1")];
    check((UBUNTU, &apparmor, None, false), refused, "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0");
    check((UBUNTU, &apparmor, None, false), refused, "AppArmor profile");
    let debian = [("kernel.unprivileged_userns_clone", "0")];
    check(("5.10.0-28-amd64", &debian, None, false), refused, "sysctl -w kernel.unprivileged_userns_clone=1");
    let hardened = [("user.max_user_namespaces", "0")];
    check(
        (UBUNTU, &hardened, None, false),
        Missing::Namespaces(Errno::ENOSPC),
        "sysctl -w user.max_user_namespaces=10000",
    );
    for kind in ["net", "mnt", "pid", "ipc", "uts", "cgroup"] {
        let name = SWITCHES.iter().map(|switch| switch.name).find(|name| name.contains(kind)).expect("a switch");
        let remedy = format!("sysctl -w user.max_{kind}_namespaces=10000");
        check((UBUNTU, &[(name, "0")], None, false), Missing::Namespaces(Errno::ENOSPC), &remedy);
    }
    let open = [("user.max_user_namespaces", "63000"), ("kernel.apparmor_restrict_unprivileged_userns", "0")];
    check((UBUNTU, &open, None, false), Missing::Namespaces(Errno::ENOSPC), "all that are allowed are in use");
    check((UBUNTU, &open, None, true), refused, "--security-opt seccomp=unconfined");
    check((UBUNTU, &[], None, false), Missing::Namespaces(Errno::EINVAL), "CONFIG_USER_NS");
    check(("4.18.0-553.el8", &[], None, false), refused, "Linux 5.13 or newer");
}

#[test]
fn kernels_without_a_feature() {
    check(("5.10.0-28-amd64", &[], None, false), Missing::Landlock, "Linux 5.13 or newer");
    check(
        (UBUNTU, &[], Some("lockdown,yama,apparmor"), false),
        Missing::Landlock,
        "lsm=landlock,lockdown,yama,apparmor",
    );
    check((UBUNTU, &[], Some("lockdown,landlock"), true), Missing::Landlock, "landlock_create_ruleset(2)");
    check((UBUNTU, &[], None, false), Missing::Landlock, "lsm= list");
    check((UBUNTU, &[], None, false), Missing::Nftables, "as root run: modprobe -a nf_tables");
    check((UBUNTU, &[], None, true), Missing::Nftables, "on the machine that runs this container");
    check((UBUNTU, &[], None, false), Missing::Seccomp, "CONFIG_SECCOMP_FILTER");
    check((UBUNTU, &[], None, true), Missing::Seccomp, "--security-opt seccomp=unconfined");
    check((UBUNTU, &[], None, false), Missing::Cgroup, "systemd-run --user");
}

#[test]
fn windows_subsystems() {
    for missing in [Missing::Namespaces(Errno::EINVAL), Missing::Landlock, Missing::Nftables, Missing::Cgroup] {
        check(("4.4.0-19041-Microsoft", &[], None, false), missing, "wsl --set-version");
    }
    check((WSL2, &[], None, false), Missing::Landlock, ".wslconfig");
    check((WSL2, &[], None, false), Missing::Nftables, "wsl --update");
    check((WSL2, &[], None, false), Missing::Cgroup, "systemd=true");
}

#[test]
fn versions() {
    for (release, expected) in
        [(UBUNTU, Some((6, 8))), (WSL2, Some((5, 15))), ("6.18.44-fc-v657", Some((6, 18))), ("", None), ("linux", None)]
    {
        let facts = Facts { release: release.to_owned(), ..Facts::default() };
        assert_eq!(facts.version(), expected, "{release}");
    }
}

#[test]
fn this_machine_says_something() {
    assert!(Facts::gather().version().is_some());
}
