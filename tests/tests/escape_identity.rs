//! Attacks on process identity, class L, from inside: one test for each row. The policy lets one program through; every
//! trick is played by another, or on it. None may reach the service, and each is recorded as denied.

use tollgate_tests::{Bench, Finished};

/// A policy that lets these programs through, and those that they start.
fn policy(binaries: &str) -> String {
    format!(
        "
version: 1
network_policies:
  api:
    endpoints:
      - {{ host: api.test, port: 443, protocol: rest, access: read-only }}
    binaries: [{binaries}]
"
    )
}

fn bench() -> Bench {
    Bench::new(&policy("{path: /usr/bin/curl}"))
}

/// What the tricks ask with: prints the status of a tunnel, or why there is none.
const ASK: &str = "
import os, socket, sys
def ask(s=None):
    s = s or socket.create_connection(('127.0.0.1', 3128))
    s.settimeout(20)
    s.send(b'CONNECT api.test:443 HTTP/1.1\\r\\nHost: api.test:443\\r\\n\\r\\n')
    print(s.recv(4096).split()[1].decode(), flush=True)
";

/// Nothing arrived, and every connection that named the service was denied.
#[track_caller]
fn check_denied(bench: &Bench, finished: &Finished, printed: &str) {
    assert_eq!(finished.stdout, printed, "{finished:?}");
    assert_eq!(bench.origin.arrived(), [], "{finished:?}");
    let connections = bench.events("connection");
    assert!(!connections.is_empty(), "it is recorded");
    assert!(connections.iter().all(|connection| connection["decision"] == "denied"), "{connections:?}");
}

/// Runs a shell script that plays a trick; `ask.py` lies beside it.
fn play(bench: &Bench, script: &str) -> Finished {
    bench.write("work/ask.py", format!("{ASK}\nask()\n"));
    bench.write("work/asking.py", ASK);
    bench.shell(&[], script)
}

#[test]
fn l1_names_that_a_process_gives_itself() {
    let bench = bench();
    let rename = "import ctypes\nctypes.CDLL(None).prctl(15, b'curl', 0, 0, 0)\nfrom asking import ask\nask()\n";
    bench.write("work/rename.py", rename);
    let script = "bash -c 'exec -a /usr/bin/curl python3 ask.py'; python3 rename.py";
    check_denied(&bench, &play(&bench, script), "403\n403\n");
}

#[test]
fn l2_copies_and_links() {
    let bench = bench();
    let script = "cp /usr/bin/curl own; ./own -sS -o /dev/null -w '%{http_connect}\\n' https://api.test/; mkdir -p usr/bin; \
                  ln -s /usr/bin/python3 usr/bin/curl; usr/bin/curl ask.py; cp /usr/bin/python3 /tmp/curl; /tmp/curl ask.py; \
                  ln /usr/bin/curl hard 2>/dev/null || echo no-link; true";
    check_denied(&bench, &play(&bench, script), "403\n403\n403\nno-link\n");
}

/// What is permitted by its path in a read-only tree cannot be replaced. In a folder that the agent writes to it can be, and is
/// not permitted any more; the record names what ran, by its hash, and not what lay there before.
#[test]
fn l3_a_program_that_is_replaced() {
    let first = bench();
    let script = "cp /usr/bin/python3 new; mv new /usr/bin/curl 2>/dev/null || echo kept; cp -f ask.py /usr/bin/curl 2>/dev/null || echo kept; \
                  python3 ask.py";
    check_denied(&first, &play(&first, script), "kept\nkept\n403\n");
    let bench = Bench::new("version: 1\nnetwork_policies: {}\n");
    let tool = bench.path("work/tool").display().to_string();
    bench.write("work/tool", std::fs::read("/usr/bin/curl").expect("there"));
    bench.set_policy(&policy(&format!("{{path: {tool}}}")));
    let script = "chmod 755 tool; ./tool -sS -o /dev/null https://api.test/; (cat tool; echo x) > new; chmod 755 new; mv new tool; \
                  ./tool -sS -o /dev/null https://api.test/; sha256sum < tool";
    let printed = play(&bench, script).succeeded();
    let hashes: Vec<_> = bench.events("connection").iter().map(|c| c["binary_sha256"].to_string()).collect();
    assert_eq!(hashes.len(), 2, "{hashes:?}");
    assert_ne!(hashes[0], hashes[1]);
    let last = printed.split_whitespace().next().expect("a hash");
    assert!(hashes[1].contains(last), "{hashes:?} {printed}");
    let decisions: Vec<_> = bench.events("connection").iter().map(|c| c["decision"].to_string()).collect();
    assert_eq!(decisions, ["\"allowed\"", "\"denied\""]);
}

/// It is gone, or is a permitted program, by the time that it is looked for.
#[test]
fn l4_gone_before_it_is_looked_at() {
    let bench = bench();
    let script = "import os, socket\n\
         for n in range(20):\n  \
           if os.fork() == 0:\n    \
             s = socket.create_connection(('127.0.0.1', 3128)); s.send(b'CONNECT api.test:443 HTTP/1.1\\r\\nHost: api.test:443\\r\\n\\r\\n')\n    \
             os._exit(0)\n  \
           os.wait()\n\
         print('gone', flush=True)\n\
         from asking import ask\n\
         ask()\n";
    bench.write("work/gone.py", script);
    check_denied(&bench, &play(&bench, "python3 gone.py"), "gone\n403\n");
}

/// The variables by which code is loaded into others are not passed from the caller; those that the agent sets itself make
/// its own programs do what it wants anyway, and one that is not permitted does not become so.
#[test]
fn l5_variables_that_load_code() {
    let bench = bench();
    let names = "LD_PRELOAD LD_AUDIT LD_LIBRARY_PATH GCONV_PATH NODE_OPTIONS PYTHONPATH PYTHONSTARTUP RUBYOPT PERL5OPT GIT_SSH_COMMAND GIT_EXEC_PATH";
    bench.write("work/ask.py", format!("{ASK}\nask()\n"));
    let mut run = bench.run(
        &[],
        &[
            "sh",
            "-c",
            "env | cut -d= -f1 > /tmp/names; for name in $NAMES; do grep -x \"$name\" /tmp/names; done; python3 ask.py",
        ],
    );
    for name in names.split(' ').filter(|name| !name.starts_with("LD_")) {
        run.env(name, "/tmp/evil");
    }
    run.env("LD_LIBRARY_PATH", "/tmp/evil");
    check_denied(&bench, &tollgate_tests::finish(&mut run), "403\n");
}

/// A script is not its interpreter's neighbour: a permitted script path does not permit the interpreter.
#[test]
fn l6_interpreters() {
    let bench = Bench::new("version: 1\nnetwork_policies: {}\n");
    let script = bench.path("work/honest.py").display().to_string();
    bench.set_policy(&policy(&format!("{{path: {script}}}")));
    let tricks = "printf '#!/usr/bin/python3\\n' > evil.py; cat ask.py >> evil.py; chmod 755 evil.py; ./evil.py; env python3 ask.py; \
                  python3 - < ask.py; sh -c 'python3 ask.py'; perl -e 'exec q(python3), q(ask.py)'; bash -c 'exec -a honest.py python3 ask.py'";
    check_denied(&bench, &play(&bench, tricks), "403\n403\n403\n403\n403\n403\n");
}

/// Into a permitted program that runs: by tracing, by its memory, by its descriptors.
#[cfg(target_arch = "x86_64")]
#[test]
fn l7_reaching_into_a_permitted_process() {
    let bench = bench();
    let program = "import subprocess, time\n\
         os.mkfifo('pipe')\n\
         held = subprocess.Popen(['/usr/bin/curl', '-sS', 'file:///proc/self/cwd/pipe'])\n\
         while 'curl' not in os.readlink('/proc/%d/exe' % held.pid): time.sleep(0)\n\
         call('attach', 101, 16, held.pid, 0, 0)\n\
         call('seize', 101, 0x4206, held.pid, 0, 0)\n\
         call('writev', 311, held.pid, None, 0, None, 0, 0)\n\
         call('readv', 310, held.pid, None, 0, None, 0, 0)\n\
         call('getfd', 438, os.pidfd_open(held.pid), 0, 0)\n\
         tried('memory', lambda: open('/proc/%d/mem' % held.pid, 'r+b'), 'EACCES')\n\
         call('kcmp', 312, os.getpid(), held.pid, 0, 0, 0)\n\
         held.kill()\n";
    tollgate_tests::check_stopped(&bench, 7, program);
}

/// A permitted program hands its connection to another, which speaks on it alone.
#[test]
fn l8_a_socket_that_is_handed_over() {
    let bench = Bench::new("version: 1\nnetwork_policies: {}\n");
    bench.set_policy(&policy(&format!("{{path: {}}}", bench.path("work/courier").display())));
    bench.write(
        "work/courier.py",
        "import socket, sys\n\
         s = socket.create_connection(('127.0.0.1', 3128)); to = socket.socket(socket.AF_UNIX); to.connect('door')\n\
         socket.send_fds(to, [b'x'], [s.fileno()]); s.close(); to.recv(1)\n",
    );
    bench.write(
        "work/thief.py",
        "import socket, subprocess\nfrom asking import ask\n\
         door = socket.socket(socket.AF_UNIX); door.bind('door'); door.listen()\n\
         courier = subprocess.Popen(['./courier', 'courier.py'])\n\
         from_courier, _ = door.accept(); _, fds, _, _ = socket.recv_fds(from_courier, 1, 1)\n\
         ask(socket.socket(fileno=fds[0])); from_courier.send(b'x'); courier.wait()\n",
    );
    let finished = play(&bench, "cp /usr/bin/python3 courier; python3 thief.py");
    check_denied(&bench, &finished, "403\n");
}

/// What a permitted program starts is permitted; by leaving it, a process can lose that and never gain it.
#[test]
fn l9_shedding_ancestors() {
    let bench = bench();
    bench.write(
        "work/shed.py",
        "import os\n\
         if os.fork() == 0:\n  \
           os.setsid()\n  \
           if os.fork() == 0:\n    \
             while os.getppid() != 1: pass\n    \
             os.execvp('python3', ['curl', 'ask.py'])\n  \
           os._exit(0)\n\
         os.wait()\n\
         while not os.path.exists('done'): pass\n",
    );
    let script = "printf 'import os\\nopen(\"done\", \"w\")\\n' > done.py; sed -i '$r done.py' ask.py; setsid -w python3 ask.py; rm done; python3 shed.py";
    check_denied(&bench, &play(&bench, script), "403\n403\n");
}

/// Two programs hold one socket: the weaker of them decides.
#[test]
fn l10_a_socket_of_two_programs() {
    let bench = bench();
    bench.write(
        "work/share.py",
        "import os, socket, subprocess\nfrom asking import ask\n\
         os.mkfifo('pipe')\n\
         s = socket.create_connection(('127.0.0.1', 3128))\n\
         held = subprocess.Popen(['/usr/bin/curl', '-sS', 'file:///proc/self/cwd/pipe'], pass_fds=[s.fileno()])\n\
         while 'curl' not in os.readlink('/proc/%d/exe' % held.pid): pass\n\
         ask(s); held.kill()\n",
    );
    check_denied(&bench, &play(&bench, "python3 share.py"), "403\n");
}

/// A program that is in no folder: in memory, or deleted while it runs.
#[test]
fn l11_programs_without_a_file() {
    let bench = Bench::new("version: 1\nnetwork_policies: {}\n");
    bench.set_policy(&policy(&format!("{{path: /usr/bin/curl}}, {{path: {}}}", bench.path("work/tool").display())));
    bench.write(
        "work/memory.py",
        "import os\n\
         fd = os.memfd_create('/usr/bin/curl', 0); os.write(fd, open('/usr/bin/curl', 'rb').read())\n\
         os.execve(fd, ['/usr/bin/curl', '-sS', '-o', '/dev/null', '-w', '%{http_connect}\\\\n', 'https://api.test/'], os.environ)\n",
    );
    let script = "python3 memory.py; cp /usr/bin/python3 tool; \
                  ./tool -c 'import os; os.unlink(\"tool\"); from asking import ask; ask()'";
    check_denied(&bench, &play(&bench, script), "403\n403\n");
}

/// A link to a permitted program is that program, and the record says which.
#[test]
fn l12_shims() {
    let bench = bench();
    let script = "mkdir bin; ln -s /usr/bin/curl bin/shim; printf '#!/bin/sh\\nexec /usr/bin/curl \"$@\"\\n' > bin/script; chmod 755 bin/script; \
                  for shim in bin/shim bin/script; do $shim -sS -o /dev/null -w '%{http_code}\\n' https://api.test/; done";
    let finished = play(&bench, script);
    assert_eq!(finished.stdout, "200\n200\n", "{finished:?}");
    assert!(bench.events("connection").iter().all(|connection| connection["binary"] == "/usr/bin/curl"));
}
