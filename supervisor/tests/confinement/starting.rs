//! Which program starts, as whom, with what, and why one does not.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::Stdio;

use crate::bench::{Bench, USER, is_root};

/// The exit code of a sandbox that does not start, and a part of the reason.
fn refused(bench: &Bench, code: i32, reason: &str) {
    let ran = bench.run();
    assert_eq!(ran.status.code(), Some(code), "{ran:?}");
    assert!(ran.refusal.as_deref().is_some_and(|text| text.contains(reason)), "{ran:?}");
    assert_eq!(ran.output, "", "something ran");
}

#[test]
fn exit_codes_pass_through() {
    for code in [0, 1, 42, 255] {
        assert_eq!(Bench::shell(&format!("exit {code}")).run().status.code(), Some(code));
    }
}

#[test]
fn signals_pass_through() {
    assert_eq!(Bench::shell("kill -TERM $$").run().status.code(), Some(128 + 15));
    assert_eq!(Bench::shell("kill -KILL $$").run().status.code(), Some(128 + 9));
}

#[test]
fn forwarded_signals_reach_the_agent() {
    let bench = Bench::command(&["/bin/sleep", "1000"]).without("signal-15");
    assert_eq!(bench.run().status.code(), Some(128 + 15));
    assert_eq!(bench.run().status.signal(), None);
}

#[test]
fn the_agent_is_the_user_who_started_it() {
    let expected = if is_root() { USER } else { nix::unistd::getuid().as_raw() };
    assert_eq!(Bench::shell("id -u").says(), expected.to_string());
}

#[test]
fn roots_agent_is_somebody_else_for_good() {
    if !is_root() {
        return;
    }
    let bench =
        Bench::shell("id -u; id -g; id -G; grep -E '^Cap(Eff|Prm|Bnd|Inh|Amb)' /proc/self/status | sort -u").by_root();
    let says = bench.says();
    assert!(says.starts_with(&format!("{USER}\n{USER}\n{USER}\n")), "{says}");
    assert_eq!(says.matches("0000000000000000").count(), 5, "{says}");
    let again = Bench::command(&["/usr/bin/perl", "-e", "$< = 0; $> = 0; print \"$< $>\""]).by_root();
    assert_eq!(again.says(), format!("{USER} {USER}"));
}

#[test]
fn root_must_name_another_user() {
    if !is_root() {
        return;
    }
    let mut bench = Bench::shell("true").by_root();
    bench.cell.run_as = None;
    refused(&bench, 2, "name the user");
    for run_as in [(0, USER), (USER, 0)] {
        bench.cell.run_as = Some(run_as);
        refused(&bench, 2, "cannot run as root");
    }
}

#[test]
fn the_environment_is_the_given_one_alone() {
    let mut bench = Bench::command(&["/usr/bin/env"]);
    bench.cell.environment = vec![("TOKEN".to_owned(), "placeholder".to_owned())];
    assert_eq!(bench.says(), "TOKEN=placeholder");
}

#[test]
fn no_process_of_the_sandbox_holds_the_control_processs_environment() {
    let says = Bench::shell("cat /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n' | grep -c SECRET_OF; true").says();
    assert_eq!(says, "0");
}

#[test]
fn the_agent_gets_three_descriptors() {
    let script = "opendir $d, '/proc/self/fd'; @n = grep { /\\d/ && readlink(\"/proc/self/fd/$_\") !~ m{^/proc/} } readdir $d; print \"@n\"";
    let bench = Bench::command(&["/usr/bin/perl", "-e", script]);
    assert_eq!(bench.says(), "0 1 2");
}

#[test]
fn a_folder_as_standard_input_is_refused() {
    let bench = Bench::shell("ls /proc/self/fd/0/");
    let folder = std::fs::File::open("/").expect("the root");
    let mut launcher = bench.launcher();
    let child = launcher.stdin(folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the launcher");
    let ran = crate::bench::finish(child);
    assert_eq!(ran.status.code(), Some(2), "{ran:?}");
}

#[test]
fn unknown_commands_are_told_apart() {
    refused(&Bench::command(&["no-such-program"]), 127, "does not exist");
    refused(&Bench::command(&["/no/such/program"]), 127, "does not exist");
    refused(&Bench::command(&["/etc/passwd"]), 126, "no execute permission");
    refused(&Bench::command(&["/usr"]), 126, "it is a folder");
    let mut hidden = Bench::command(&[""]);
    let program = hidden.host_file("hidden", "#!/bin/sh\n");
    hidden.cell.command = vec![program.display().to_string()];
    refused(&hidden, 127, "not visible in the sandbox; grant its folder");
}

#[test]
fn what_the_kernel_does_not_execute_is_explained() {
    for (content, reason) in [("#!/no/such/interpreter\n", "interpreter"), ("\u{1}\u{2}", "neither a program")] {
        let mut bench = Bench::command(&[""]);
        let program = bench.host_file("program", content);
        bench.cell.files.read_only.push(program.clone());
        bench.cell.command = vec![program.display().to_string()];
        refused(&bench, 126, reason);
    }
}

#[test]
fn an_invisible_working_directory_is_refused() {
    let mut bench = Bench::shell("true");
    bench.cell.workdir = PathBuf::from("/root");
    refused(&bench, 2, "/root is not visible");
}

#[test]
fn every_control_is_reported() {
    let ran = Bench::shell("true").run();
    let names: Vec<_> = ran.controls.iter().map(|control| control.name.as_str()).collect();
    assert_eq!(
        names,
        ["network-namespace", "nftables", "namespaces", "files", "privileges", "landlock", "seccomp", "terminal"],
        "{ran:?}"
    );
    assert!(ran.controls.iter().all(|control| control.enforced), "{ran:?}");
}
