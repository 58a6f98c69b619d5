//! Programs beside the agent: `sandbox exec` and `sandbox connect`, with pipes and with a terminal.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tollgate_supervisor::set_window_size;
use tollgate_tests::{AtTerminal, Finished, Started, Staying, until};
use tollgate_wire::exec::WindowSize;

/// A sandbox without an agent, named `box`.
fn idle() -> Staying {
    let bench = Staying::new("version: 1\n");
    assert_eq!(bench.create("box", &[], &[]).succeeded(), "box\n");
    bench
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a pid")), signal).expect("it runs");
}

#[test]
fn streams_and_exit_codes() {
    let bench = idle();
    #[track_caller]
    fn check(bench: &Staying, arguments: &[&str], input: &str, expected: (i32, &str, &str)) {
        let (code, stdout, stderr) = bench.exec(&[&["box"], arguments].concat(), input.as_bytes());
        assert_eq!((code, &*String::from_utf8_lossy(&stdout)), (expected.0, expected.1), "{arguments:?}: {stderr}");
        assert!(stderr.contains(expected.2) && (stderr.is_empty() == expected.2.is_empty()), "{arguments:?}: {stderr}");
    }
    check(&bench, &["true"], "", (0, "", ""));
    check(&bench, &["--", "sh", "-c", "echo out; echo err >&2; exit 3"], "", (3, "out\n", "err\n"));
    check(&bench, &["sh", "-c", "kill -TERM $$"], "", (143, "", ""));
    check(&bench, &["sh", "-c", "kill -KILL $$"], "", (137, "", ""));
    check(&bench, &["cat"], "as it is\n", (0, "as it is\n", ""));
    check(&bench, &["sh", "-c", "cat >/dev/null; echo end seen"], "x", (0, "end seen\n", ""));
    check(&bench, &["true"], &"nobody reads this\n".repeat(100_000), (0, "", ""));
    check(&bench, &["no-such-program"], "", (127, "", "COMMAND `no-such-program` does not exist"));
    check(&bench, &["/etc/passwd"], "", (126, "", "cannot be executed"));
    check(&bench, &["--workdir", "/usr", "pwd"], "", (0, "/usr\n", ""));
    check(&bench, &["--workdir", "/not/there", "pwd"], "", (126, "", "its working directory /not/there"));
    check(&bench, &["--env", "A=b=c", "sh", "-c", "echo $A"], "", (0, "b=c\n", ""));
    check(&bench, &["--env", "=x", "true"], "", (2, "", "has no name"));
    check(&bench, &["--env", "https_proxy=x", "true"], "", (2, "", "https_proxy leads through the gate"));
    check(&bench, &["--timeout", "1", "sleep", "1000"], "", (124, "", "longer than 1 seconds"));
    // What is left behind in the background holds nobody up.
    check(&bench, &["sh", "-c", "sleep 1000 & echo done"], "", (0, "done\n", ""));
    let notices = bench.0.events("notice");
    assert!(
        notices.iter().any(|one| one["detail"].as_str().is_some_and(|text| text.contains(r#"["cat"]"#))),
        "{notices:?}"
    );
}

#[test]
fn bytes_are_passed_as_they_are() {
    let bench = idle();
    let bytes: Vec<u8> = (0..9_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    let (code, stdout, _) = bench.exec(&["box", "cat"], &bytes);
    assert!(code == 0 && stdout == bytes, "{} of {}", stdout.len(), bytes.len());
    // Whoever stops reading ends the writer, as a pipe does.
    let mut head = bench.command(&["exec", "box", "yes"]);
    let mut child = head.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("started");
    let mut some = [0; 1000];
    child.stdout.take().expect("piped").read_exact(&mut some).expect("read");
    assert_eq!(child.wait().expect("ended").code(), Some(128 + 13));
}

/// What a process is restricted by, as it sees it itself.
const RESTRICTIONS: &str = r#"
for name in user mnt net pid ipc uts cgroup; do readlink /proc/self/ns/$name; done
grep -E '^(Uid|Gid|Groups|Cap...|NoNewPrivs|Seccomp|Seccomp_filters|SigBlk|SigIgn):' /proc/self/status
cat /proc/self/limits; umask; pwd; ls /proc/self/fd | wc -l
env | grep -v '^_=' | sort
touch /etc/x 2>&1; unshare -r true 2>&1; readlink /proc/self/root; ls /proc/1/fd 2>&1
mount -t tmpfs x /mnt 2>&1; cat /proc/1/environ 2>&1; kill -0 1 2>&1
"#;

#[test]
fn the_same_restrictions_as_the_agent() {
    let bench = Staying::new("version: 1\n");
    let options = ["--env", "MINE=1", "--read-only", "/usr/share"];
    assert_eq!(
        bench.create("box", &options, &["sh", "-c", &format!("{RESTRICTIONS} echo END; exec sleep 1000")]).code,
        0
    );
    let mut agent = String::new();
    until("the agent has looked", || {
        agent = bench.sandbox(&["logs", "box"]).succeeded();
        agent.ends_with("END\n")
    });
    let (_, stdout, stderr) = bench.exec(&["box", "sh", "-c", &format!("{RESTRICTIONS} echo END")], b"");
    assert_eq!(stderr, "");
    assert_eq!(String::from_utf8_lossy(&stdout), agent);
    assert!(
        agent.contains("NoNewPrivs:\t1") && agent.contains("Seccomp:\t2") && agent.contains("HTTPS_PROXY="),
        "{agent}"
    );
    assert!(agent.contains("CapEff:\t0000000000000000"), "{agent}");
}

#[test]
fn a_client_that_dies_takes_its_program_along() {
    let bench = idle();
    let fifo = bench.0.path("work/fifo");
    let made = bench.sandbox(&["exec", "box", "mkfifo", "fifo"]);
    assert_eq!(made.code, 0, "{made:?}");
    let kill_client = |script: &str| -> String {
        let mut client = Started::new(&mut bench.command(&["exec", "box", "sh", "-c", script]));
        // Opens when the program does.
        let mut reader = File::open(&fifo).expect("opened");
        client.wait_for("ready");
        signal(&client.child, Signal::SIGKILL);
        let mut said = String::new();
        // Its end is the program's: it is the one that holds the other side.
        reader.read_to_string(&mut said).expect("read");
        said
    };
    let hears = "exec 9>fifo; trap 'echo hung up >&9; exit' HUP; echo ready >&2; sleep 1000 & wait";
    assert_eq!(kill_client(hears), "hung up\n");
    let deaf = "exec 9>fifo; trap '' HUP; echo ready >&2; sleep 1000 & wait";
    assert_eq!(kill_client(deaf), "");
    let stopped = "exec 9>fifo; echo ready >&2; kill -STOP $$";
    assert_eq!(kill_client(stopped), "");
}

#[test]
fn signals_are_passed_on() {
    let bench = idle();
    for (name, number) in
        [("INT", Signal::SIGINT), ("TERM", Signal::SIGTERM), ("USR1", Signal::SIGUSR1), ("HUP", Signal::SIGHUP)]
    {
        let script = format!("trap 'echo got {name}; exit 7' {name}; echo ready >&2; sleep 1000 & wait");
        let mut client = Started::new(&mut bench.command(&["exec", "box", "sh", "-c", &script]));
        client.wait_for("ready");
        signal(&client.child, number);
        let Finished { code, stdout, .. } = client.end();
        assert_eq!((code, stdout), (7, format!("got {name}\n")));
    }
}

#[test]
fn there_is_a_bound() {
    let bench = idle();
    let mut all: Vec<_> = (0..64)
        .map(|_| {
            let mut one = Started::new(&mut bench.command(&["exec", "box", "sh", "-c", "echo in >&2; exec cat"]));
            one.wait_for("in");
            one
        })
        .collect();
    let refused = bench.sandbox(&["exec", "box", "true"]);
    assert!(refused.code == 2 && refused.stderr.contains("64 programs run beside the agent"), "{refused:?}");
    assert_eq!(all.pop().expect("one").end().code, 0);
    assert_eq!(bench.sandbox(&["exec", "box", "true"]).code, 0);
}

#[test]
fn o_a_full_sandbox_says_so() {
    let bench = Staying::new("version: 1\n");
    // Others of the same user end and make room, so it goes on.
    let fill = "import os, select, signal\nwhile True:\n try:\n  if os.fork() == 0: signal.pause()\n \
                except OSError: select.select([], [], [], 0.01)";
    assert_eq!(bench.create("box", &[], &["/usr/bin/python3", "-c", fill]).code, 0);
    until("no process can be started", || {
        let said = bench.sandbox(&["exec", "box", "true"]);
        said.code == 126 && said.stderr.contains("COMMAND `true` cannot be executed: ")
    });
    assert_eq!(bench.sandbox(&["stop", "box"]).code, 0, "it can be ended all the same");
}

#[test]
fn a_terminal_where_there_is_one() {
    let bench = idle();
    let script = "stty size; tty; echo $TERM; test -t 0 && test -t 1 && test -t 2 && echo all three; \
                  trap 'echo now $(stty size)' WINCH; trap 'echo interrupted' INT; echo ready; \
                  until [ \"$line\" = last ]; do read -r line && echo got $line; done; cat; exit 9";
    let mut at = AtTerminal::start(bench.command(&["exec", "box", "sh", "-c", script]));
    assert_eq!(at.line("33"), "33 111");
    assert_eq!(at.line("/dev"), "/dev/pts/0");
    assert_eq!(at.line("vt100"), "vt100");
    at.line("all three");
    at.line("ready");
    assert!(at.is_raw(), "keys go to the program");
    at.press("a line\r");
    assert_eq!(at.line("got"), "got a line");
    at.press("\x03");
    at.line("interrupted");
    set_window_size(at.terminal.as_fd(), WindowSize { rows: 20, columns: 50 }).expect("set");
    // The test's terminal controls nobody, so nobody hears of it by itself.
    signal(&at.child, Signal::SIGWINCH);
    assert_eq!(at.line("now"), "now 20 50");
    at.press("last\r");
    at.line("got last");
    at.press("\x04");
    assert_eq!(at.end(), 9);
}

#[test]
fn the_terminal_is_given_back() {
    let bench = idle();
    let ways: &[(&[&str], Option<Signal>, i32)] = &[
        (&["exec", "box", "sh", "-c", "echo ready; read x; exit 2"], Some(Signal::SIGTERM), 143),
        (&["exec", "box", "sh", "-c", "echo ready; kill -KILL $$"], None, 137),
        (&["exec", "--timeout", "1", "box", "sh", "-c", "echo ready; read x"], None, 124),
    ];
    for (arguments, by, code) in ways {
        let mut at = AtTerminal::start(bench.command(arguments));
        at.line("ready");
        by.iter().for_each(|by| signal(&at.child, *by));
        assert_eq!(at.end(), *code, "{arguments:?}");
    }
    let mut at = AtTerminal::start(bench.command(&["exec", "box", "sh", "-c", "echo ready; read x"]));
    at.line("ready");
    assert_eq!(bench.sandbox(&["stop", "box"]).code, 0);
    assert_eq!(at.end(), 137, "the sandbox has ended");
}

#[test]
fn connect_is_a_shell() {
    let bench = idle();
    let mut at = AtTerminal::start(bench.command(&["connect", "box"]));
    at.press("echo $((40 + 2)) $(hostname)\r");
    assert!(at.line("42 box").contains("42 box"));
    at.press("exit 6\r");
    assert_eq!(at.end(), 6);
    // The program can do what a terminal of its own can, and no more: typing for others is refused (TIOCSTI).
    let typing = "import fcntl, termios\ntry:\n fcntl.ioctl(0, termios.TIOCSTI, b'x')\nexcept OSError as e: print(e)";
    let mut at = AtTerminal::start(bench.command(&["exec", "box", "/usr/bin/python3", "-c", typing]));
    at.line("Operation not permitted");
    assert_eq!(at.end(), 0);
}
