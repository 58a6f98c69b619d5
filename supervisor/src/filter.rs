//! The system call filter (seccomp(2)): what an agent never needs and an attacker would.
//!
//! Allowed by default, with a list of what is refused: agents run compilers, browsers and interpreters, and a call that
//! is refused by mistake breaks them in ways that nobody finds. The list holds what makes namespaces, mounts, devices,
//! other processes' memory, kernel code and odd network families reachable.

use std::collections::BTreeMap;

use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter, sock_filter,
};
use tollgate_wire::cell::{Cell, Control, Feature};

use crate::error::LaunchError;
use crate::obstacle::{Facts, Missing, recognise};

/// Restricts this process and all that come after it. `no_new_privs` must be set.
pub(crate) fn enforce(cell: &Cell) -> Result<Control, LaunchError> {
    let name = Feature::Seccomp.name().to_owned();
    match install() {
        Ok(calls) => {
            Ok(Control { name, enforced: true, detail: format!("{calls} system calls refused or restricted") })
        }
        Err(reason) if cell.allow_degraded.contains(&Feature::Seccomp) => {
            Ok(Control { name, enforced: false, detail: reason })
        }
        Err(reason) => {
            Err(LaunchError::Missing { feature: name, reason, remedy: recognise(&Facts::gather(), Missing::Seccomp) })
        }
    }
}

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

fn install() -> Result<usize, String> {
    let programs = programs()?;
    for program in &programs {
        apply_filter(program).map_err(|error| error.to_string())?;
    }
    Ok(NEVER.len() + RESTRICTED)
}

/// Calls of which some arguments are refused: clone, clone3, unshare, ioctl, personality, prctl, socket, socketpair.
const RESTRICTED: usize = 8;

/// One program per answer; the strictest answer counts.
fn programs() -> Result<Vec<BpfProgram>, String> {
    let families = Rules::from([(libc::SYS_socket, families()?), (libc::SYS_socketpair, vec![all(&[not(0, UNIX)?])?])]);
    let protocols = Rules::from([(libc::SYS_socket, protocols()?)]);
    // The C library falls back to clone(2), whose flags can be read here.
    let clone3 = Rules::from([(libc::SYS_clone3, Vec::new())]);
    Ok(vec![
        foreign_calls(),
        program(refused()?, libc::EPERM)?,
        program(families, libc::EAFNOSUPPORT)?,
        // What a client that tries MPTCP first takes for "not here" and goes on.
        program(protocols, libc::EPROTONOSUPPORT)?,
        program(clone3, libc::ENOSYS)?,
    ])
}

fn program(rules: Rules, errno: i32) -> Result<BpfProgram, String> {
    let errno = u32::try_from(errno).map_err(|error| error.to_string())?;
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch)
        .and_then(BpfProgram::try_from)
        .map_err(|error| error.to_string())
}

/// Kills a process that calls with the x32 numbers, which share the architecture of x86-64 (bit 30 set). Other
/// architectures are killed by every program that [`program`] makes.
fn foreign_calls() -> BpfProgram {
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const X32_BIT: u32 = 0x4000_0000;
    vec![
        sock_filter { code: LOAD_NUMBER, jt: 0, jf: 0, k: 0 },
        sock_filter { code: JUMP_IF_AT_LEAST, jt: 0, jf: 1, k: X32_BIT },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_KILL_PROCESS },
        sock_filter { code: RETURN, jt: 0, jf: 0, k: libc::SECCOMP_RET_ALLOW },
    ]
}

fn refused() -> Result<Rules, String> {
    let mut rules: Rules = NEVER.iter().map(|call| (*call, Vec::new())).collect();
    // Threads of one process share their descriptors here: who holds a connection is read process by process.
    let (thread, files) = (libc::CLONE_THREAD as u64, libc::CLONE_FILES as u64);
    let mut clone = each_bit(0, NAMESPACE_FLAGS)?;
    clone.push(all(&[masked(0, thread | files, thread)?])?);
    rules.insert(libc::SYS_clone, clone);
    let mut unshare = each_bit(0, NAMESPACE_FLAGS)?;
    unshare.extend(each_bit(0, &[CLONE_NEWTIME, files])?);
    rules.insert(libc::SYS_unshare, unshare);
    rules.insert(libc::SYS_close_range, each_bit(2, &[libc::CLOSE_RANGE_UNSHARE as u64])?);
    rules.insert(libc::SYS_ioctl, each_value(1, &[libc::TIOCSTI, TIOCCONS, TIOCLINUX, TIOCSETD])?);
    // A process that hides from /proc cannot be told from others, so that nothing of the sandbox could be identified.
    rules.insert(libc::SYS_prctl, vec![all(&[is(0, libc::PR_SET_DUMPABLE as u64)?, not(1, 1)?])?]);
    // 0 is what every process has; the other only asks.
    rules.insert(libc::SYS_personality, vec![all(&[not(0, 0)?, not(0, 0xffff_ffff)?])?]);
    Ok(rules)
}

/// Unix, IPv4, IPv6, and netlink for routes.
fn families() -> Result<Vec<SeccompRule>, String> {
    Ok(vec![
        all(&[not(0, UNIX)?, not(0, INET)?, not(0, INET6)?, not(0, NETLINK)?])?,
        all(&[is(0, NETLINK)?, not(2, libc::NETLINK_ROUTE as u64)?])?,
    ])
}

/// Of the IP families TCP and UDP: no raw packets, no ping, no SCTP, DCCP, MPTCP, UDP-Lite.
fn protocols() -> Result<Vec<SeccompRule>, String> {
    let (tcp, udp) = (libc::IPPROTO_TCP as u64, libc::IPPROTO_UDP as u64);
    let mut rules = Vec::new();
    for family in [INET, INET6] {
        for kind in 0..=SOCKET_TYPE {
            let of_this_kind = [is(0, family)?, masked(1, SOCKET_TYPE, kind)?];
            let only = match i32::try_from(kind) {
                Ok(libc::SOCK_STREAM) => Some(tcp),
                Ok(libc::SOCK_DGRAM) => Some(udp),
                _ => None,
            };
            rules.push(match only {
                Some(protocol) => all(&[&of_this_kind[..], &[not(2, 0)?, not(2, protocol)?]].concat())?,
                None => all(&of_this_kind)?,
            });
        }
    }
    for kind in [libc::SOCK_RDM, libc::SOCK_DCCP, SOCK_PACKET] {
        rules.push(all(&[masked(1, SOCKET_TYPE, kind as u64)?])?);
    }
    Ok(rules)
}

const UNIX: u64 = libc::AF_UNIX as u64;
const INET: u64 = libc::AF_INET as u64;
const INET6: u64 = libc::AF_INET6 as u64;
const NETLINK: u64 = libc::AF_NETLINK as u64;

/// The bits of the second argument of socket(2) that are the type; the others are flags.
const SOCKET_TYPE: u64 = 0xf;

fn each_bit(argument: u8, bits: &[u64]) -> Result<Vec<SeccompRule>, String> {
    bits.iter().map(|bit| all(&[masked(argument, *bit, *bit)?])).collect()
}

fn each_value(argument: u8, values: &[u64]) -> Result<Vec<SeccompRule>, String> {
    values.iter().map(|value| all(&[is(argument, *value)?])).collect()
}

fn all(conditions: &[SeccompCondition]) -> Result<SeccompRule, String> {
    SeccompRule::new(conditions.to_vec()).map_err(|error| error.to_string())
}

fn is(argument: u8, value: u64) -> Result<SeccompCondition, String> {
    condition(argument, SeccompCmpOp::Eq, value)
}

fn not(argument: u8, value: u64) -> Result<SeccompCondition, String> {
    condition(argument, SeccompCmpOp::Ne, value)
}

fn masked(argument: u8, mask: u64, value: u64) -> Result<SeccompCondition, String> {
    condition(argument, SeccompCmpOp::MaskedEq(mask), value)
}

/// The kernel reads these arguments as 32 bits, so only 32 are compared: set high bits change nothing.
fn condition(argument: u8, how: SeccompCmpOp, value: u64) -> Result<SeccompCondition, String> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, how, value).map_err(|error| error.to_string())
}

const NAMESPACE_FLAGS: &[u64] = &[
    libc::CLONE_NEWNS as u64,
    libc::CLONE_NEWCGROUP as u64,
    libc::CLONE_NEWUTS as u64,
    libc::CLONE_NEWIPC as u64,
    libc::CLONE_NEWUSER as u64,
    libc::CLONE_NEWPID as u64,
    libc::CLONE_NEWNET as u64,
];
/// Shares its bit with the exit signal of clone(2), so it is refused in unshare(2) alone; clone cannot make one.
const CLONE_NEWTIME: u64 = 0x80;
const TIOCLINUX: u64 = 0x541c;
const TIOCCONS: u64 = 0x541d;
const TIOCSETD: u64 = 0x5423;

/// The obsolete way to raw packets (packet(7)).
const SOCK_PACKET: libc::c_int = 10;

/// Refused whatever the arguments.
const NEVER: &[i64] = &[
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_adjtimex,
    libc::SYS_bpf,
    libc::SYS_chroot,
    libc::SYS_clock_adjtime,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_fanotify_init,
    libc::SYS_finit_module,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fsopen,
    libc::SYS_fspick,
    libc::SYS_init_module,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_io_uring_setup,
    libc::SYS_kcmp,
    libc::SYS_kexec_file_load,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_mount,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_name_to_handle_at,
    libc::SYS_nfsservctl,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    SYS_OPEN_TREE_ATTR,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_madvise,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_settimeofday,
    libc::SYS_swapoff,
    libc::SYS_swapon,
    libc::SYS_syslog,
    libc::SYS_umount2,
    libc::SYS_userfaultfd,
    libc::SYS_vhangup,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_uselib,
];

/// Linux 6.15; one number on every architecture, as all since 2019.
const SYS_OPEN_TREE_ATTR: i64 = 467;

#[cfg(test)]
mod tests;
