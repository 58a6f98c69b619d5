//! System calls that the filter must answer, with the answer that only the filter gives.
//!
//! The arguments are numbers and null: a call that gets through finds nothing to work on, and its answer differs. Those
//! that would succeed without the filter change the canary alone.

use nix::errno::Errno;
use nix::libc;
use tollgate_wire::cell::Feature;
use tollgate_wire::proof::Attempt;

use super::{left_out, stopped, surprise};
use crate::sys;

/// One call: row, name, number, arguments, the filter's answer.
type Call = (&'static str, &'static str, i64, [u64; 6], Errno);

/// Tries them all, or none where the filter is not in force.
pub(super) fn attempts(in_force: bool) -> Vec<Attempt> {
    let control = Feature::Seccomp.name();
    let attempt = |(row, what, number, arguments, expected): &Call| {
        if !in_force {
            return left_out(row, *what, control);
        }
        match sys::call_with_numbers(*number, *arguments) {
            Err(error) if error == *expected => stopped(row, *what, control, format!("{error:?}")),
            Err(error) => surprise(row, *what, control, format!("{error:?} where the filter answers {expected:?}")),
            Ok(_) => surprise(row, *what, control, "it succeeded"),
        }
    };
    CALLS.iter().chain(SOCKETS).map(attempt).collect()
}

const fn number(value: libc::c_int) -> u64 {
    value as u64
}

/// -3 is the process's session keyring (keyctl(2)).
const SESSION_KEYRING: u64 = -3_i64 as u64;

const CALLS: &[Call] = &[
    (
        "M1",
        "unshare(2) of the user namespace",
        libc::SYS_unshare,
        [number(libc::CLONE_NEWUSER), 0, 0, 0, 0, 0],
        Errno::EPERM,
    ),
    ("M1", "unshare(2) of the network", libc::SYS_unshare, [number(libc::CLONE_NEWNET), 0, 0, 0, 0, 0], Errno::EPERM),
    ("M1", "clone3(2)", libc::SYS_clone3, [0; 6], Errno::ENOSYS),
    ("M2", "mount(2)", libc::SYS_mount, [0; 6], Errno::EPERM),
    ("M2", "fsopen(2)", libc::SYS_fsopen, [0; 6], Errno::EPERM),
    ("M2", "move_mount(2)", libc::SYS_move_mount, [0; 6], Errno::EPERM),
    ("M2", "open_tree(2)", libc::SYS_open_tree, [0; 6], Errno::EPERM),
    ("M2", "pivot_root(2)", libc::SYS_pivot_root, [0; 6], Errno::EPERM),
    ("M2", "chroot(2)", libc::SYS_chroot, [0; 6], Errno::EPERM),
    ("M2", "setns(2)", libc::SYS_setns, [0; 6], Errno::EPERM),
    ("M5", "io_uring_setup(2)", libc::SYS_io_uring_setup, [0; 6], Errno::EPERM),
    ("M6", "bpf(2)", libc::SYS_bpf, [0; 6], Errno::EPERM),
    ("M6", "perf_event_open(2)", libc::SYS_perf_event_open, [0; 6], Errno::EPERM),
    ("M6", "userfaultfd(2)", libc::SYS_userfaultfd, [0; 6], Errno::EPERM),
    ("M6", "keyctl(2)", libc::SYS_keyctl, [0, SESSION_KEYRING, 0, 0, 0, 0], Errno::EPERM),
    ("M6", "add_key(2)", libc::SYS_add_key, [0; 6], Errno::EPERM),
    ("M6", "kexec_load(2)", libc::SYS_kexec_load, [0; 6], Errno::EPERM),
    ("M6", "init_module(2)", libc::SYS_init_module, [0; 6], Errno::EPERM),
    ("M6", "ptrace(2)", libc::SYS_ptrace, [0; 6], Errno::EPERM),
    ("M6", "process_vm_readv(2)", libc::SYS_process_vm_readv, [0; 6], Errno::EPERM),
    ("M6", "pidfd_getfd(2)", libc::SYS_pidfd_getfd, [0; 6], Errno::EPERM),
    ("M13", "personality(2)", libc::SYS_personality, [0x0004_0000, 0, 0, 0, 0, 0], Errno::EPERM),
    ("M14", "ioctl(2) TIOCSTI", libc::SYS_ioctl, [0, libc::TIOCSTI, 0, 0, 0, 0], Errno::EPERM),
];

const fn socket(family: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> [u64; 6] {
    [number(family), number(kind), number(protocol), 0, 0, 0]
}

const SOCKETS: &[Call] = &[
    ("M3", "a packet socket", libc::SYS_socket, socket(libc::AF_PACKET, libc::SOCK_RAW, 0), Errno::EAFNOSUPPORT),
    ("M3", "a VM socket", libc::SYS_socket, socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0), Errno::EAFNOSUPPORT),
    (
        "M3",
        "a kernel crypto socket",
        libc::SYS_socket,
        socket(libc::AF_ALG, libc::SOCK_SEQPACKET, 0),
        Errno::EAFNOSUPPORT,
    ),
    (
        "M3",
        "a generic netlink socket",
        libc::SYS_socket,
        socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_GENERIC),
        Errno::EAFNOSUPPORT,
    ),
    (
        "X1",
        "a raw IPv4 socket",
        libc::SYS_socket,
        socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP),
        Errno::EPROTONOSUPPORT,
    ),
    (
        "X1",
        "a ping socket",
        libc::SYS_socket,
        socket(libc::AF_INET6, libc::SOCK_DGRAM, libc::IPPROTO_ICMPV6),
        Errno::EPROTONOSUPPORT,
    ),
];
