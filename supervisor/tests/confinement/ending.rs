//! However it ends, nothing is left. The agents hold the test's pipe: it ends when the last of them does.

use std::io::{BufRead, BufReader, Read};
use std::process::Child;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::bench::{Bench, Ran, finish, is_root};

const SPREAD: &str = "sleep 1000 & setsid sleep 1000 & (setsid sleep 1000 &) ; echo up; exec sleep 1000";

/// Starts it and waits until the agent says `up`.
fn up(bench: &Bench) -> Child {
    let mut child = bench.start();
    let mut line = [0; 3];
    child.stdout.as_mut().expect("a pipe").read_exact(&mut line).expect("the agent's word");
    assert_eq!(&line, b"up\n");
    child
}

/// The child processes of a process, by what /proc says of all.
fn children(parent: Pid) -> Vec<Pid> {
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let after_name = stat.rfind(')').map_or("", |at| &stat[at + 1..]);
        after_name.split_ascii_whitespace().nth(1) == Some(parent.to_string().as_str())
    })
    .map(Pid::from_raw)
    .collect()
}

/// Kills the process that many generations below the launcher; all others must end by themselves.
fn kills(bench: &Bench, generation: usize) -> Ran {
    let child = up(bench);
    let mut pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid"));
    for _ in 0..generation {
        pid = children(pid)[0];
    }
    kill(pid, Signal::SIGKILL).expect("to kill");
    finish(child)
}

#[test]
fn killing_any_process_of_the_chain_ends_all() {
    for generation in 0..4 {
        let ran = kills(&Bench::shell(SPREAD), generation);
        assert!(!ran.status.success(), "{generation}: {ran:?}");
    }
}

#[test]
fn killing_any_process_of_roots_chain_ends_all() {
    if !is_root() {
        return;
    }
    for generation in 0..4 {
        let ran = kills(&Bench::shell(SPREAD).by_root(), generation);
        assert!(!ran.status.success(), "{generation}: {ran:?}");
    }
}

#[test]
fn the_agents_end_takes_its_children_with_it() {
    let child = up(&Bench::shell("sleep 1000 & setsid sleep 1000 & echo up; exit 7"));
    assert_eq!(finish(child).status.code(), Some(7));
}

#[test]
fn a_launcher_that_dies_before_the_start_leaves_nothing() {
    let bench = Bench::shell("echo ran").paused();
    let mut child = bench.start();
    // Held open to the end: its end is what starts the agent.
    let _input = child.stdin.take();
    let mut errors = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut line = String::new();
    errors.read_line(&mut line).expect("the controls");
    assert!(line.contains("controls"), "{line}");
    child.stderr = Some(errors.into_inner());
    kill(Pid::from_raw(i32::try_from(child.id()).expect("a pid")), Signal::SIGKILL).expect("to kill");
    assert_eq!(finish(child).output, "");
}

#[test]
fn the_terminal_goes_back_to_the_caller() {
    // The agent takes the terminal's foreground and ends without giving it back.
    let bench = Bench::command(&["/bin/bash", "-ic", "exit"]);
    let said = bench.in_terminal("cut -d ' ' -f 5,8 /proc/$$/stat");
    let groups: Vec<_> = said.split_ascii_whitespace().collect();
    assert!(groups.len() == 2 && groups[0] == groups[1], "process group and foreground: {said}");
}
