//! What users get wrong, and what machines do to them: one sentence, the right exit code, nothing changed.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use tollgate_tests::{ASKING, Bench, Finished, Started, built, finish, policy_for};

fn start(bench: &Bench) -> Started {
    let mut agent = Started::new(&mut bench.run(&["--name", "box"], &["sh", "-c", ASKING]));
    agent.wait_for("ready");
    agent
}

fn by(bench: &Bench, line: &str) -> Finished {
    let mut words = line.split(' ');
    let program = built(words.next().expect("a program"));
    finish(bench.tollgate_as(&program).args(words))
}

/// `PROGRAM ARGUMENTS`, its exit code, and a part of the one sentence that it says.
#[track_caller]
fn check(bench: &Bench, line: &str, code: i32, said: &str) {
    let finished = by(bench, line);
    assert_eq!(finished.code, code, "{line}: {finished:?}");
    assert!(finished.stderr.contains(said) && finished.stdout.is_empty(), "{line}: {finished:?}");
    assert!(!finished.stderr.contains("panicked"), "{line}: {finished:?}");
    let is_usage = finished.stderr.starts_with("error: ");
    assert!(is_usage || finished.stderr.trim_end().lines().count() == 1, "one sentence: {finished:?}");
}

#[test]
fn names_that_nothing_has() {
    let bench = Bench::new(&policy_for("/a"));
    let agent = start(&bench);
    for (line, code, said) in [
        ("tollgate stats", 2, "similar subcommand exists: 'status'"),
        ("tollgate policy st box", 2, "unrecognized subcommand 'st'"),
        ("tollgate status bx", 1, "there is no sandbox or proxy bx in "),
        ("tollgate status bx", 1, "did you mean `box`?"),
        ("tollgate sandbox get bx", 1, "did you mean `box`?"),
        ("tollgate sandbox get elsewhere", 1, "`tollgate sandbox list` shows those that are"),
        ("tollgate sandbox stop bx", 1, "did you mean `box`?"),
        ("tollgate sandbox exec bx -- true", 1, "did you mean `box`?"),
        ("tollgate policy get bx", 1, "did you mean `box`?"),
        ("tollgate policy get BOX", 2, "`BOX` is no sandbox name"),
        ("tollgate policy get ../box", 2, "`../box` is no sandbox name"),
        ("tollgate logs bx", 1, "did you mean `box`?"),
        ("tollgate audit verify bx", 1, "there is no sandbox or proxy bx"),
        ("tollgate audit verify ./", 1, "no journal is in ./: neither a segment, as 000001.jsonl, nor latest"),
        ("tollgate audit export ./", 1, "no journal is in ./"),
        ("tollgate provider get wrk", 2, "there is no provider wrk"),
        ("tollgate provider policy githb", 2, "did you mean `github`?"),
        ("tollgate credential revoke NOPE", 5, "NOPE is not kept here"),
        ("openshell sandbx list", 2, "unrecognized subcommand 'sandbx'; did you mean `sandbox`?"),
        ("openshell rul get", 2, "did you mean `rule`?"),
        ("openshell policy set bx --policy ../policy.yaml", 1, "did you mean `box`?"),
        ("openshell sandbox exec -n bx -- true", 1, "did you mean `box`?"),
        ("openshell gateway select cloud", 1, "`gateway cloud` is not here: there is one gateway, `local`"),
        ("openshell settings set --key a --value b", 1, "nothing is switched here"),
        ("nemoclaw bx status", 1, "did you mean `box`?"),
        ("nemoclaw credental list", 2, "unrecognized subcommand 'credental'"),
        ("nemoclaw bo", 2, "did you mean `box`?"),
    ] {
        check(&bench, line, code, said);
    }
    assert_eq!(agent.end().code, 0);
}

#[test]
fn files_that_cannot_be_used() {
    let bench = Bench::new(&policy_for("/a"));
    let agent = start(&bench);
    bench.write("work/bad.yaml", "version: 1\nnetwork_policies: [\n");
    bench.write("work/binary.yaml", [0xff, 0xfe, 0]);
    bench.write("work/preset.yaml", "preset: {name: other}\nnetwork_policies: {}\n");
    let closed = bench.write("work/closed.yaml", policy_for("/b"));
    std::fs::set_permissions(closed, Permissions::from_mode(0o000)).expect("set");
    for (line, code, said) in [
        ("openshell policy set box --policy nowhere.yaml", 1, "nowhere.yaml cannot be read: "),
        ("tollgate policy set box --policy nowhere.yaml", 3, "nowhere.yaml cannot be read: "),
        ("tollgate policy set box --policy .", 3, "cannot be read: "),
        ("tollgate policy set box --policy binary.yaml", 3, "cannot be read: "),
        ("tollgate policy set box --policy closed.yaml", 3, "closed.yaml cannot be read: Permission denied"),
        ("tollgate policy show nowhere.yaml", 3, "nowhere.yaml cannot be read: "),
        ("nemoclaw box policy-add --from-file nowhere.yaml", 1, "the preset nowhere.yaml cannot be used: "),
        ("nemoclaw box policy-add --from-file preset.yaml", 1, "its name is `other`"),
        ("nemoclaw box policy-add --from-dir nowhere", 1, "the folder nowhere cannot be read: "),
        ("tollgate sandbox create --policy nowhere.yaml -- true", 3, "nowhere.yaml cannot be read: "),
        ("tollgate credential set A --file nowhere", 5, "nowhere"),
    ] {
        check(&bench, line, code, said);
    }
    let malformed = by(&bench, "tollgate policy set box --policy bad.yaml");
    assert!(malformed.code == 3 && malformed.stderr.contains("\nbad.yaml:2:19: "), "{malformed:?}");
    let after = by(&bench, "openshell policy list box");
    assert_eq!(after.stdout.lines().count(), 2, "nothing changed: {after:?}");
    let names = by(&bench, "tollgate sandbox list --names").stdout;
    assert_eq!(names, "box\n", "nothing was made");
    assert_eq!(agent.end().code, 0);
}

const ASK_ALL: &[&str] = &[
    "tollgate policy get box",
    "tollgate status box",
    "openshell policy update box --remove-rule a",
    "tollgate sandbox exec box -- true",
    "nemoclaw box config get",
    "tollgate sandbox stop box",
];

/// A socket that others may use, or that is another's, is not spoken to.
#[test]
fn a_socket_that_is_not_to_be_trusted() {
    let bench = Bench::new(&policy_for("/a"));
    let agent = start(&bench);
    let sockets = ["control.sock", "exec.sock"].map(|name| bench.path("home/sandboxes/box").join(name));
    let set_mode = |mode: u32| {
        for socket in &sockets {
            std::fs::set_permissions(socket, Permissions::from_mode(mode)).expect("set");
        }
    };
    set_mode(0o666);
    for line in ASK_ALL {
        check(&bench, line, 1, "is not to be trusted: others may use it; it has to have mode 0600");
    }
    set_mode(0o600);
    // Only root can give a file away.
    if Uid::effective().is_root() {
        sockets.iter().for_each(|socket| std::os::unix::fs::chown(socket, Some(0), None).expect("given"));
        for line in ASK_ALL {
            check(&bench, line, 1, "is not to be trusted: it belongs to another user");
        }
        sockets.iter().for_each(|socket| bench.give(socket));
    }
    assert_eq!(by(&bench, "tollgate policy get box").code, 0, "it is trusted again");
    assert_eq!(agent.end().code, 0, "it was not ended");
}

/// A process that was killed leaves its sockets; one that is no proxy at all may stand in its place.
#[test]
fn a_proxy_that_is_dead() {
    let bench = Bench::new(&policy_for("/a"));
    let agent = start(&bench);
    kill(Pid::from_raw(i32::try_from(agent.child.id()).expect("a pid")), Signal::SIGKILL).expect("killed");
    let _ = agent.end();
    for (line, code, said) in [
        ("tollgate policy get box", 1, "sandbox box: it is not running"),
        ("tollgate policy set box --policy ../policy.yaml", 1, "sandbox box: it is not running"),
        ("openshell policy update box --remove-rule a", 1, "sandbox box: it is not running"),
        ("openshell policy list", 1, "no sandbox is running"),
        ("nemoclaw box policy-add slack", 1, "sandbox box: it is not running"),
        ("nemoclaw box config set --key a --value b", 1, "the sandbox box is not running"),
        ("tollgate sandbox exec box -- true", 1, "the sandbox box is not running"),
        ("tollgate sandbox stop box", 1, "the sandbox box does not run"),
        ("tollgate status box", 1, "it is not running"),
    ] {
        check(&bench, line, code, said);
    }
    let socket = bench.path("home/sandboxes/box/control.sock");
    silent(&bench, &socket);
    check(&bench, "tollgate policy get box", 1, "sandbox box: it gives no answer");
    let revisions = std::fs::read_dir(bench.path("home/sandboxes/box/revisions")).expect("readable").count();
    assert_eq!(revisions, 1, "nothing was added");
    assert!(by(&bench, "tollgate logs box").stdout.contains("APP:START"), "its journal can be read");
}

/// Something that takes connections and closes them.
fn silent(bench: &Bench, socket: &Path) {
    std::fs::remove_file(socket).expect("removed");
    let listener = UnixListener::bind(socket).expect("bound");
    std::fs::set_permissions(socket, Permissions::from_mode(0o600)).expect("set");
    bench.give(socket);
    std::thread::spawn(move || listener.incoming().for_each(drop));
}

/// As in `tollgate logs | head`.
#[test]
fn whoever_stops_reading_ends_the_command_without_a_word() {
    let bench = Bench::new(&policy_for("/a"));
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let policy = bench.path("policy.yaml");
    let output = bench.tollgate().args(["policy", "show"]).arg(policy).stdout(writer).output().expect("started");
    assert_eq!((output.status.code(), output.stderr), (Some(141), Vec::new()));
}
