//! Attacks on the kernel and the sandbox, class M, from inside: one test for each row. Each tries the real thing.

use std::process::Stdio;

use tollgate_tests::{Bench, Started, check_stopped, finish};

const POLICY: &str = "
version: 1
network_policies:
  api:
    endpoints:
      - { host: api.test, port: 443, protocol: rest, access: read-only }
";

#[track_caller]
fn check(attempts: usize, program: &str) {
    check_stopped(&Bench::new(POLICY), attempts, program);
}

/// A C program, for what Python cannot say. It ends with 0 if it was stopped.
#[track_caller]
fn run_c(source: &str) -> tollgate_tests::Finished {
    let bench = Bench::new(POLICY);
    bench.write("work/try.c", source);
    bench.shell(&[], "cc -o try try.c && exec ./try")
}

#[cfg(target_arch = "x86_64")]
#[test]
fn m1_user_namespaces() {
    check(
        6,
        "call('unshare user', 272, 0x10000000)\n\
         call('unshare network', 272, 0x40000000)\n\
         call('unshare all', 272, 0x7e020000)\n\
         call('clone', 56, 0x10000011, 0, 0, 0, 0)\n\
         call('clone3', 435, ctypes.create_string_buffer((0x10000000).to_bytes(8, 'little') + bytes(80)), 88, errors=('ENOSYS',))\n\
         tried('map', lambda: open('/proc/self/uid_map', 'w').write('0 0 1'), 'EACCES', 'EPERM')\n",
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn m2_mounts_and_roots() {
    check(
        10,
        "call('mount', 165, b'x', b'/tmp', b'tmpfs', 0, 0)\n\
         call('bind', 165, b'/', b'/tmp', None, 0x1000, 0)\n\
         call('remount', 165, None, b'/usr', None, 0x20, 0)\n\
         call('umount2', 166, b'/proc', 2)\n\
         call('pivot_root', 155, b'/tmp', b'/tmp')\n\
         call('chroot', 161, b'/tmp')\n\
         call('setns', 308, os.open('/proc/self/ns/mnt', 0), 0)\n\
         call('fsopen', 430, b'tmpfs', 0)\n\
         call('open_tree', 428, -100, b'/', 1)\n\
         call('move_mount', 429, -100, b'/usr', -100, b'/tmp', 0)\n",
    );
}

#[test]
fn m3_socket_families() {
    check(
        14,
        "for family, kind, protocol in [(17, 3, 768), (40, 1, 0), (38, 5, 0), (15, 3, 2), (44, 3, 0), (31, 3, 1), (30, 1, 0), (16, 3, 12),\n\
         (16, 3, 4), (16, 3, 16), (2, 3, 1), (2, 2, 1), (2, 1, 132), (2, 1, 262)]:\n  \
           tried((family, kind, protocol), lambda: socket.socket(family, kind, protocol), 'EAFNOSUPPORT', 'EPROTONOSUPPORT')\n",
    );
}

/// Datagrams with an address of their own, which no connect(2) announces.
#[test]
fn m4_datagrams_with_addresses() {
    check(
        4,
        "def lost(send):\n  \
           s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(5); s.setsockopt(0, 11, 1)\n  \
           send(s); s.recv(1)\n\
         tried('sendto', lambda: lost(lambda s: s.sendto(b'x', ('1.1.1.1', 443))), 'ECONNREFUSED')\n\
         tried('sendmsg', lambda: lost(lambda s: s.sendmsg([b'x'], [], 0, ('9.9.9.9', 4433))), 'ECONNREFUSED')\n\
         d = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n\
         tried('log', lambda: d.sendto(b'<1>x', '/dev/log'), 'ENOENT')\n\
         tried('journal', lambda: d.sendto(b'MESSAGE=x', '/run/systemd/journal/socket'), 'ENOENT')\n",
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn m5_io_uring() {
    check(
        3,
        "call('setup', 425, 8, ctypes.create_string_buffer(120))\n\
         call('enter', 426, 0, 1, 1, 0, None, 0)\n\
         call('register', 427, -1, 0, None, 0)\n",
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn m6_kernel_interfaces() {
    check(
        12,
        "call('bpf', 321, 0, ctypes.create_string_buffer(128), 128)\n\
         call('perf', 298, ctypes.create_string_buffer(128), 0, -1, -1, 0)\n\
         call('userfaultfd', 323, 1)\n\
         call('keyctl', 250, 0, -3, 1)\n\
         call('add_key', 248, b'user', b'a', b'b', 1, -3)\n\
         call('request_key', 249, b'user', b'a', None, -3)\n\
         call('kexec', 246, 0, 0, None, 0)\n\
         call('init_module', 175, b'', 0, b'')\n\
         call('finit_module', 313, 0, b'', 0)\n\
         call('traceme', 101, 0, 0, 0, 0)\n\
         call('madvise', 440, 0, None, 0, 0, 0)\n\
         call('vm_readv', 310, os.getpid(), None, 0, None, 0, 0)\n",
    );
}

#[cfg(target_arch = "x86_64")]
#[test]
fn m7_the_numbers_of_32_bits() {
    const KILLED: i32 = 128 + 31;
    // getpid by the numbers of x32, and by those of i386, which int 0x80 reaches from 64-bit code too.
    let x32 =
        run_c("#include <unistd.h>\n#include <sys/syscall.h>\nint main() { syscall(0x40000000 + 39); return 0; }");
    assert_eq!(x32.code, KILLED, "{x32:?}");
    let i386 =
        run_c("int main() { long r; __asm__ volatile(\"int $0x80\" : \"=a\"(r) : \"a\"(20) : \"memory\"); return 0; }");
    // A kernel without IA32 emulation has no such gate and ends the program by itself.
    assert!(matches!(i386.code, KILLED | 139), "{i386:?}");
}

/// Numbers that no kernel knows today are not let through to the one that will.
#[test]
fn m8_numbers_of_the_future() {
    check(2, "call('future', 600, 0, errors=('ENOSYS',))\ncall('far future', 4000, 0, errors=('ENOSYS',))\n");
}

#[test]
fn m9_levers_of_the_kernel() {
    check(
        9,
        "for path in ['/proc/sys/kernel/core_pattern', '/proc/sys/kernel/modprobe', '/proc/sysrq-trigger', '/sys/kernel/uevent_helper',\n\
         '/sys/fs/cgroup/release_agent', '/proc/1/mem', '/proc/self/mem']:\n  \
           tried(path, lambda: open(path, 'r+b', 0).write(b'x'), 'EACCES', 'EROFS', 'ENOENT', 'EPERM', 'EINVAL')\n\
         tried('kcore', lambda: open('/proc/kcore', 'rb').read(1)[0], 'EACCES', 'EPERM', 'ENOENT', empty=IndexError)\n\
         tried('sys', lambda: os.listdir('/sys'), 'ENOENT')\n",
    );
}

#[test]
fn m10_the_fence_holds_whatever_the_road() {
    check(
        6,
        "tried('truncate', lambda: os.truncate('/etc/hostname', 0), 'EACCES', 'EROFS', 'EPERM')\n\
         tried('rename out', lambda: os.rename('try.py', '/etc/try.py'), 'EACCES', 'EXDEV', 'EROFS')\n\
         tried('link in', lambda: os.link('/etc/hostname', 'linked'), 'EACCES', 'EXDEV', 'EPERM')\n\
         fd = os.open('/usr', os.O_PATH)\n\
         tried('by a path descriptor', lambda: os.open('x', os.O_CREAT | os.O_WRONLY, dir_fd=fd), 'EACCES', 'EROFS')\n\
         tried('by the magic link', lambda: os.open('/proc/self/fd/%d/x' % fd, os.O_CREAT | os.O_WRONLY), 'EACCES', 'EROFS')\n\
         tried('device ioctl', lambda: __import__('fcntl').ioctl(os.open('/dev/null', 0), 0x5412, b'x'), 'EPERM')\n",
    );
}

#[test]
fn m11_no_way_back_to_privileges() {
    check(
        6,
        "tried('setuid', lambda: os.setuid(0), 'EPERM', 'EINVAL')\n\
         tried('setgid', lambda: os.setgid(0), 'EPERM', 'EINVAL')\n\
         tried('mknod', lambda: os.mknod('disk', 0o60666, os.makedev(8, 0)), 'EPERM', 'EACCES')\n\
         tried('chown', lambda: os.chown('try.py', 0, 0), 'EPERM', 'EINVAL')\n\
         status = open('/proc/self/status').read()\n\
         print('stopped' if 'NoNewPrivs:\\t1' in status and 'CapBnd:\\t0000000000000000' in status else 'ESCAPED', 'privileges')\n\
         import subprocess\n\
         su = subprocess.run(['su', '-c', 'id -u'], stdin=subprocess.DEVNULL, capture_output=True)\n\
         print('ESCAPED' if su.stdout.strip() == b'0' else 'stopped', 'su')\n",
    );
}

#[test]
fn m12_exhaustion() {
    let bench = Bench::new(POLICY);
    let program = "import resource\n\
         def forks():\n  \
           for n in range(2000):\n    \
             if os.fork() == 0: import signal; signal.pause()\n\
         def files():\n  \
           kept = [open('/dev/null') for n in range(200000)]\n\
         def disk():\n  \
           with open('/tmp/big', 'wb', 0) as f:\n    \
             for n in range(3000): os.posix_fallocate(f.fileno(), n << 20, 1 << 20)\n\
         tried('descriptors', files, 'EMFILE')\n\
         tried('disk', disk, 'ENOSPC')\n\
         os.unlink('/tmp/big')\n\
         for limit in [resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE]:\n  \
           try: resource.setrlimit(limit, (10 ** 7, 10 ** 7)); print('ESCAPED', limit)\n  \
           except (ValueError, OSError): print('stopped', limit)\n\
         tried('processes', forks, 'EAGAIN')\n\
         sys.stdout.flush(); os._exit(0)\n";
    check_stopped(&bench, 5, program);
}

#[test]
fn m12_bounds_of_the_operators() {
    let bench = Bench::new(POLICY);
    bench.write(
        "work/try.py",
        "import resource as r\nprint(r.getrlimit(r.RLIMIT_NPROC), r.getrlimit(r.RLIMIT_FSIZE))\nbytearray(1 << 30)\n",
    );
    let options = ["--ulimit", "nproc=40", "--ulimit", "fsize=4096", "--ulimit", "as=400000000"];
    let finished = bench.agent(&options, &["/usr/bin/python3", "try.py"]);
    assert!(finished.stdout.starts_with("(40, 40) (4096, 4096)"), "{finished:?}");
    assert!(finished.stderr.contains("MemoryError"), "{finished:?}");
}

#[cfg(target_arch = "x86_64")]
#[test]
fn m13_address_randomisation_stays() {
    check(2, "call('personality', 135, 0x40000)\ncall('read implies exec', 135, 0x400000)\n");
}

/// With `setsid --ctty` the whole of `tollgate` has a terminal, and its agent none: redirected streams are not the keyboard.
#[test]
fn m14_the_callers_terminal() {
    check(
        2,
        "import fcntl\n\
         tried('push a key', lambda: fcntl.ioctl(0, 0x5412, b'x'), 'EPERM')\n\
         tried('open the terminal', lambda: os.open('/dev/tty', os.O_RDWR), 'ENXIO', 'ENOENT', 'EACCES')\n",
    );
    let bench = Bench::new(POLICY);
    let run = bench.run(&[], &["sh", "-c", "exec 2>/dev/null; true < /dev/tty && echo ESCAPED || echo stopped"]);
    let words = std::iter::once(run.get_program()).chain(run.get_args()).map(|word| word.to_string_lossy());
    let line: String = words.map(|word| format!("'{}' ", word.replace('\'', "'\\''"))).collect();
    let outer = "import pty, sys; sys.exit(pty.spawn(['sh', '-c', sys.argv[1]]) >> 8)";
    let inner = format!("{line} < /dev/null > out 2> /dev/null");
    let mut command = tollgate_tests::through(&["/usr/bin/python3", "-c", outer, &inner], &run);
    let _ = finish(command.stdin(Stdio::null()));
    assert_eq!(std::fs::read_to_string(bench.path("work/out")).expect("it ran"), "stopped\n");
}

#[test]
fn m15_process_1_and_orphans() {
    check(
        4,
        "import signal\n\
         def alive(sent):\n  \
           os.kill(1, sent)\n  \
           os.kill(1, 0)\n  \
           raise ProcessLookupError(3, 'nothing happened')\n\
         tried('kill', lambda: alive(signal.SIGKILL), 'ESRCH', 'EPERM')\n\
         tried('stop', lambda: alive(signal.SIGSTOP), 'ESRCH', 'EPERM')\n\
         print('stopped' if 'S' in open('/proc/1/stat').read().split()[2] else 'ESCAPED', 'it waits as before')\n\
         tried('a process of the host', lambda: os.kill(os.getppid() + 100000, 9), 'ESRCH')\n",
    );
}

/// The gate is killed while the agent lives on for a moment: nothing is let through, and the agent ends.
#[test]
fn m16_no_gate_no_traffic() {
    let bench = Bench::new(POLICY);
    let script = "curl -sS https://api.test/ >/dev/null; echo ready >&2; while :; do curl -sS -m 2 https://api.test/ >/dev/null; done";
    let mut running = Started::new(&mut bench.run(&[], &["sh", "-c", script]));
    running.wait_for("ready");
    running.child.kill().expect("killed");
    // Its output ends only when no process of the sandbox holds it any more: nobody is left who could ask.
    let ended = running.end();
    assert_eq!(ended.code, -1, "{ended:?}");
    let asked = bench.origin.arrived().len();
    assert!(asked > 0, "it could ask before");
    let dead = bench.shell(&["--name", "another"], "echo alive").succeeded();
    assert_eq!((dead.as_str(), bench.origin.arrived().len()), ("alive\n", asked), "and nobody did since");
}

#[test]
fn m17_no_neighbours() {
    check(
        4,
        "names = [name for index, name in socket.if_nameindex()]\n\
         gate = ['eth0', '00000000', '020000C0']\n\
         up = [n for n in names if n != 'lo' and any(n in l.split() and l.split()[:3] != gate for l in open('/proc/net/route'))]\n\
         print('ESCAPED' if up else 'stopped', 'other interfaces', up)\n\
         tried('frames', lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 3), 'EAFNOSUPPORT')\n\
         s = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)\n\
         link = bytes([32, 0, 0, 0, 16, 0, 5, 6, 1, 0, 0, 0, 0, 0, 0, 0]) + bytes(16)\n\
         s.sendto(link, (0, 0)); code = int.from_bytes(s.recv(4096)[16:20], 'little', signed=True)\n\
         print('stopped' if code == -errno.EPERM else 'ESCAPED', 'new link', code)\n\
         tried('bridge', lambda: __import__('fcntl').ioctl(socket.socket(), 0x89a0, b'br0'), 'EPERM', 'ENOPKG', 'ENOTTY', 'EINVAL')\n",
    );
}

#[test]
fn m18_other_peoples_daemons() {
    let bench = Bench::new(POLICY);
    let program = "import subprocess\n\
         def run(*words):\n  \
           try: done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=20)\n  \
           except FileNotFoundError: print('stopped', words[0], 'is not there'); return\n  \
           print('ESCAPED' if done.returncode == 0 else 'stopped', words[0], done.returncode)\n\
         run('systemd-run', '--user', 'true')\n\
         run('docker', 'ps')\n\
         run('unshare', '-r', 'true')\n\
         run('at', '-f', '/dev/null', 'now')\n\
         for port in [22, 2375, 6443, 631]:\n  \
           tried(port, lambda: socket.create_connection(('127.0.0.1', port), 5), 'ECONNREFUSED')\n";
    check_stopped(&bench, 8, program);
}
