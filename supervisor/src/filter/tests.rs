//! The programs are run here as the kernel would run them, for every call of interest.

use super::*;

/// `struct seccomp_data`, with the architecture that this is.
struct Call {
    number: i64,
    arch: u32,
    arguments: [u64; 6],
}

#[cfg(target_arch = "x86_64")]
const HERE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const HERE: u32 = 0xc000_00b7;
const I386: u32 = 0x4000_0003;

/// What the kernel would do: the strictest answer of all programs.
fn answer(call: &Call) -> u32 {
    let programs = programs().expect("programs");
    let strictness = |answer: &u32| match answer & libc::SECCOMP_RET_ACTION_FULL {
        libc::SECCOMP_RET_KILL_PROCESS => 0,
        libc::SECCOMP_RET_ERRNO => 1,
        libc::SECCOMP_RET_ALLOW => 2,
        other => panic!("unexpected action {other:#x}"),
    };
    programs.iter().map(|program| run(program, call)).min_by_key(strictness).expect("an answer")
}

/// The classic BPF of seccomp(2): loads of 32 bits, jumps, `and`, returns.
fn run(program: &[sock_filter], call: &Call) -> u32 {
    let word = |offset: u32| match offset {
        0 => call.number as u32,
        4 => call.arch,
        offset => {
            let argument = call.arguments[(offset as usize - 16) / 8];
            if offset % 8 == 0 { argument as u32 } else { (argument >> 32) as u32 }
        }
    };
    let (mut accumulator, mut at) = (0u32, 0usize);
    loop {
        let instruction = &program[at];
        let jump = |taken: bool| usize::from(if taken { instruction.jt } else { instruction.jf });
        at += 1;
        match instruction.code {
            0x20 => accumulator = word(instruction.k),
            0x54 => accumulator &= instruction.k,
            0x05 => at += instruction.k as usize,
            0x15 => at += jump(accumulator == instruction.k),
            0x25 => at += jump(accumulator > instruction.k),
            0x35 => at += jump(accumulator >= instruction.k),
            0x06 => return instruction.k,
            code => panic!("unexpected instruction {code:#x}"),
        }
    }
}

fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number as u32
}

fn check(number: i64, arguments: &[u64], expected: u32) {
    let mut all = [0; 6];
    all[..arguments.len()].copy_from_slice(arguments);
    let actual = answer(&Call { number, arch: HERE, arguments: all });
    assert_eq!(actual, expected, "call {number} with {arguments:x?}");
}

#[test]
fn what_is_never_needed_is_refused() {
    for number in NEVER {
        check(*number, &[], errno(libc::EPERM));
    }
    check(libc::SYS_clone3, &[], errno(libc::ENOSYS));
}

#[test]
fn what_programs_need_is_allowed() {
    let threads = libc::CLONE_VM | libc::CLONE_FS | libc::CLONE_FILES | libc::CLONE_SIGHAND | libc::CLONE_THREAD;
    for (number, arguments) in [
        (libc::SYS_read, &[][..]),
        (libc::SYS_execve, &[]),
        (libc::SYS_openat, &[]),
        (libc::SYS_memfd_create, &[]),
        (libc::SYS_seccomp, &[]),
        (libc::SYS_clone, &[threads as u64]),
        (libc::SYS_clone, &[libc::SIGCHLD as u64]),
        (libc::SYS_unshare, &[libc::CLONE_FS as u64]),
        (libc::SYS_clone, &[(libc::CLONE_THREAD | libc::CLONE_FILES) as u64]),
        (libc::SYS_close_range, &[3, 9, 0]),
        (libc::SYS_personality, &[0]),
        (libc::SYS_personality, &[0xffff_ffff]),
        (libc::SYS_ioctl, &[0, libc::TIOCGWINSZ]),
        (libc::SYS_prctl, &[libc::PR_SET_DUMPABLE as u64, 1]),
        (libc::SYS_prctl, &[libc::PR_SET_NO_NEW_PRIVS as u64, 1]),
        (libc::SYS_socketpair, &[UNIX, libc::SOCK_SEQPACKET as u64]),
    ] {
        check(number, arguments, libc::SECCOMP_RET_ALLOW);
    }
}

#[test]
fn arguments_that_reach_further_are_refused() {
    for flag in NAMESPACE_FLAGS {
        check(libc::SYS_clone, &[flag | libc::SIGCHLD as u64], errno(libc::EPERM));
        check(libc::SYS_unshare, &[*flag], errno(libc::EPERM));
        // The kernel looks at 32 bits only, or at these; either way the flag is seen.
        check(libc::SYS_unshare, &[flag | 1 << 40], errno(libc::EPERM));
    }
    for (number, arguments) in [
        (libc::SYS_unshare, &[CLONE_NEWTIME][..]),
        (libc::SYS_unshare, &[libc::CLONE_FILES as u64]),
        (libc::SYS_clone, &[libc::CLONE_THREAD as u64]),
        (libc::SYS_close_range, &[3, 9, libc::CLOSE_RANGE_UNSHARE as u64]),
        (libc::SYS_ioctl, &[0, libc::TIOCSTI]),
        (libc::SYS_ioctl, &[0, libc::TIOCSTI | 1 << 32]),
        (libc::SYS_ioctl, &[0, TIOCLINUX]),
        (libc::SYS_personality, &[0x0004_0000]),
        (libc::SYS_prctl, &[libc::PR_SET_DUMPABLE as u64, 0]),
    ] {
        check(number, arguments, errno(libc::EPERM));
    }
}

#[test]
fn sockets_are_tcp_udp_unix_and_routes() {
    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    let (stream, datagram, raw) = (libc::SOCK_STREAM as u64, libc::SOCK_DGRAM as u64, libc::SOCK_RAW as u64);
    let (packets, flags) = (libc::SOCK_SEQPACKET as u64, (libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK) as u64);
    let (family, protocol) = (errno(libc::EAFNOSUPPORT), errno(libc::EPROTONOSUPPORT));
    let (tcp, udp) = (libc::IPPROTO_TCP as u64, libc::IPPROTO_UDP as u64);
    for (arguments, expected) in [
        ([INET, stream | flags, 0], ALLOW),
        ([INET, stream, tcp], ALLOW),
        ([INET6, datagram | flags, udp], ALLOW),
        ([UNIX, packets | flags, 0], ALLOW),
        ([NETLINK, raw | flags, libc::NETLINK_ROUTE as u64], ALLOW),
        ([INET, raw, libc::IPPROTO_ICMP as u64], protocol),
        ([INET6, raw | flags, libc::IPPROTO_RAW as u64], protocol),
        ([INET, datagram, libc::IPPROTO_ICMP as u64], protocol),
        ([INET6, datagram, libc::IPPROTO_ICMPV6 as u64], protocol),
        ([INET, datagram, libc::IPPROTO_UDPLITE as u64], protocol),
        ([INET, stream, libc::IPPROTO_MPTCP as u64], protocol),
        ([INET, stream, libc::IPPROTO_SCTP as u64], protocol),
        ([INET, packets, 0], protocol),
        ([INET, SOCK_PACKET as u64, 3], protocol),
        ([libc::AF_PACKET as u64, raw, 3], family),
        ([libc::AF_VSOCK as u64, stream, 0], family),
        ([libc::AF_ALG as u64, packets, 0], family),
        ([libc::AF_BLUETOOTH as u64, raw, 1], family),
        ([libc::AF_XDP as u64, raw, 0], family),
        ([libc::AF_TIPC as u64, stream, 0], family),
        ([libc::AF_KEY as u64, raw, 2], family),
        ([NETLINK, raw, libc::NETLINK_NETFILTER as u64], family),
        ([NETLINK, raw, libc::NETLINK_SOCK_DIAG as u64], family),
        ([libc::AF_ALG as u64 | 1 << 32, packets, 0], family),
    ] {
        check(libc::SYS_socket, &arguments, expected);
    }
    check(libc::SYS_socketpair, &[libc::AF_TIPC as u64, stream, 0], family);
}

#[test]
fn foreign_numbers_and_architectures_are_killed() {
    let call = |number, arch| answer(&Call { number, arch, arguments: [0; 6] });
    assert_eq!(call(libc::SYS_getpid, HERE), libc::SECCOMP_RET_ALLOW);
    assert_eq!(call(libc::SYS_getpid, I386), libc::SECCOMP_RET_KILL_PROCESS);
    assert_eq!(call(libc::SYS_getpid | 0x4000_0000, HERE), libc::SECCOMP_RET_KILL_PROCESS);
    assert_eq!(call(-1, HERE), libc::SECCOMP_RET_KILL_PROCESS);
}
