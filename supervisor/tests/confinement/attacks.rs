//! What an agent must not be able to do. Perl makes the system calls: `syscall` of perlfunc(1).

use nix::libc;

use crate::bench::Bench;

/// Makes one system call in a sandbox. Gives its result, or `errno`, or how it ended.
fn attempt(number: i64, arguments: &[u64]) -> String {
    let list: String = arguments.iter().map(|argument| format!(", {argument}")).collect();
    let script = format!("$r = syscall({number}{list}); print $r == -1 ? 'errno ' . ($! + 0) : \"done $r\"");
    let ran = Bench::command(&["/usr/bin/perl", "-e", &script]).run();
    if ran.status.success() { ran.output } else { format!("ended {:?}", ran.status.code()) }
}

fn check(number: i64, arguments: &[u64], errno: i32) {
    assert_eq!(attempt(number, arguments), format!("errno {errno}"), "call {number} with {arguments:x?}");
}

#[test]
fn namespaces_and_mounts() {
    for flag in [libc::CLONE_NEWUSER, libc::CLONE_NEWNET, libc::CLONE_NEWNS, libc::CLONE_NEWPID] {
        check(libc::SYS_unshare, &[flag as u64], libc::EPERM);
    }
    check(libc::SYS_clone, &[libc::CLONE_NEWUSER as u64 | libc::SIGCHLD as u64, 0], libc::EPERM);
    check(libc::SYS_clone3, &[0, 0], libc::ENOSYS);
    for number in [libc::SYS_setns, libc::SYS_mount, libc::SYS_umount2, libc::SYS_chroot, libc::SYS_fsopen] {
        check(number, &[0, 0, 0], libc::EPERM);
    }
}

#[test]
fn kernel_interfaces() {
    for number in [
        libc::SYS_bpf,
        libc::SYS_io_uring_setup,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_pidfd_getfd,
        libc::SYS_open_by_handle_at,
        libc::SYS_kexec_load,
        libc::SYS_finit_module,
    ] {
        check(number, &[0, 0, 0], libc::EPERM);
    }
    check(libc::SYS_personality, &[0x0004_0000], libc::EPERM);
    check(libc::SYS_ioctl, &[0, libc::TIOCSTI, 0], libc::EPERM);
}

#[test]
fn odd_sockets() {
    let raw = libc::SOCK_RAW as u64;
    for family in [libc::AF_PACKET, libc::AF_VSOCK, libc::AF_ALG, libc::AF_BLUETOOTH, libc::AF_XDP, libc::AF_KEY] {
        check(libc::SYS_socket, &[family as u64, raw, 0], libc::EAFNOSUPPORT);
    }
    check(libc::SYS_socket, &[libc::AF_NETLINK as u64, raw, libc::NETLINK_NETFILTER as u64], libc::EAFNOSUPPORT);
    check(libc::SYS_socket, &[libc::AF_INET as u64, raw, libc::IPPROTO_ICMP as u64], libc::EPROTONOSUPPORT);
    check(
        libc::SYS_socket,
        &[libc::AF_INET as u64, libc::SOCK_DGRAM as u64, libc::IPPROTO_ICMP as u64],
        libc::EPROTONOSUPPORT,
    );
}

#[test]
#[cfg(target_arch = "x86_64")]
fn foreign_system_call_numbers_kill() {
    assert_eq!(attempt(libc::SYS_getpid, &[]), "done 2");
    assert_eq!(attempt(libc::SYS_getpid | 0x4000_0000, &[]), format!("ended Some({})", 128 + libc::SIGSYS));
}

#[test]
fn capabilities_and_set_user_id_programs() {
    let says = Bench::shell("grep -hE '^(CapEff|CapPrm|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status /proc/1/status | tr -d '\\t ' | sort -u").says();
    assert_eq!(
        says,
        "CapAmb:0000000000000000\nCapBnd:0000000000000000\nCapEff:0000000000000000\nCapPrm:0000000000000000\nNoNewPrivs:1\nSeccomp:2"
    );
    let says = Bench::shell("grep -vE ' (proc|devpts) ' /proc/self/mountinfo | grep -v nosuid; mknod /tmp/n c 1 3 2>/dev/null && echo device; true").says();
    assert_eq!(says, "");
}

#[test]
fn process_1_cannot_be_touched() {
    let says = Bench::shell(
        "kill -KILL 1 2>/dev/null; kill -STOP 1 2>/dev/null; kill -TERM 1; \
         for f in mem environ fd/3 maps; do head -c 1 /proc/1/$f > /dev/null 2>&1 && echo read $f; done; \
         echo x 2>/dev/null > /proc/1/mem && echo wrote; ls /proc/1/fd/ 2>/dev/null; echo alive",
    );
    assert_eq!(says.says(), "alive");
}

#[test]
fn a_fork_bomb_ends_at_the_limit() {
    let script = "$n = 0; while (defined($p = fork)) { if (!$p) { sleep 1000; exit } $n++ } print $n; kill 9, -$$ if 0";
    let count: u32 = Bench::command(&["/usr/bin/perl", "-e", script]).says().parse().expect("a number");
    assert!((500..512).contains(&count), "{count}");
}

#[test]
fn limits_cannot_be_raised() {
    let says = Bench::shell(
        "ulimit -Hc; ulimit -Hu; ulimit -u 100000 2>/dev/null || echo refused; ulimit -c unlimited 2>/dev/null || echo refused",
    );
    assert_eq!(says.says(), "0\n512\nrefused\nrefused");
}

#[test]
fn processes_cannot_hide_from_identification() {
    check(libc::SYS_prctl, &[libc::PR_SET_DUMPABLE as u64, 0, 0, 0, 0], libc::EPERM);
}

#[test]
fn processes_of_the_sandbox_may_do_what_processes_do() {
    let says = Bench::shell(
        "sleep 1000 & kill $! && wait $!; echo $?; (setsid sleep 0; echo session); mkfifo /tmp/f; (echo through > /tmp/f &); cat /tmp/f; \
         perl -MSocket -e 'socketpair($a, $b, AF_UNIX, SOCK_STREAM, 0) && socket($s, AF_UNIX, SOCK_STREAM, 0) && bind($s, pack_sockaddr_un(\"\\0x\")) \
         && listen($s, 1) && socket($c, AF_UNIX, SOCK_STREAM, 0) && connect($c, pack_sockaddr_un(\"\\0x\")) && print \"connected\\n\"'; \
         echo 'int main(void) { return 0; }' > /tmp/m.c; if command -v cc > /dev/null; then cc /tmp/m.c -o /tmp/m && /tmp/m && echo compiled; else echo compiled; fi",
    );
    assert_eq!(says.says(), "143\nsession\nthrough\nconnected\ncompiled");
}

#[test]
fn usual_programs_work() {
    for script in [
        "command -v python3 > /dev/null || exit 0; python3 -c 'import subprocess, threading, socket, multiprocessing as m; \
         t = threading.Thread(target=print); t.start(); t.join(); print(m.Pool(2).map(abs, [-1]))' | grep -q '\\[1\\]'",
        "[ -x /usr/bin/node ] || exit 0; /usr/bin/node -e 'require(\"child_process\").execSync(\"true\"); new Worker'  2>&1 | grep -q Worker",
        "command -v git > /dev/null || exit 0; cd /tmp && git init -q r && cd r && git -c user.name=a -c user.email=a@a commit -qm x --allow-empty && git log | grep -q x",
        "command -v curl > /dev/null || exit 0; curl -s --http0.9 http://93.184.216.34/ | grep -q 'captured 93.184.216.34:80'",
    ] {
        let ran = Bench::shell(script).run();
        assert!(ran.status.success(), "{script}: {ran:?}");
    }
}
