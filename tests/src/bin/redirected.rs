//! Runs a command in a network whose TCP connections are all redirected to a stand-alone proxy, as an operator's packet
//! filter would: `redirected TOLLGATE CONFIG COMMAND ARGS`.
//!
//! The supervisor's sandbox brings the network and the rule; the listener that the rule leads to is passed to the proxy
//! as a service manager passes one, under the name `captured`. Ends as COMMAND ends.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tollgate_supervisor::{Outcome, launch};
use tollgate_wire::cell::{Bounds, Cell, Files};

fn main() {
    tollgate_supervisor::enter_if_supervisor();
    let mut arguments = std::env::args().skip(1);
    let (tollgate, config) = (arguments.next().expect("TOLLGATE"), arguments.next().expect("CONFIG"));
    let mut confined = launch(&cell(arguments.collect())).expect("a sandbox");
    let listener = confined.take_sockets().transparent.into_iter().next().expect("a listener");
    fcntl(&listener, FcntlArg::F_SETFD(FdFlag::empty())).expect("inherited");
    let mut proxy = Command::new(tollgate)
        .args(["proxy", "--config", &config])
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDS_FIRST_FD", listener.as_raw_fd().to_string())
        .env("LISTEN_FDNAMES", "captured")
        .stderr(Stdio::piped())
        .spawn()
        .expect("a proxy");
    drop(listener);
    let mut said = BufReader::new(proxy.stderr.take().expect("piped"));
    wait_until_ready(&mut said);
    confined.start().expect("started");
    let outcome = confined.wait();
    end(proxy, said);
    match outcome {
        Outcome::Exited(code) => std::process::exit(code.into()),
        Outcome::Signalled(signal) => std::process::exit(128 + signal),
    }
}

fn cell(command: Vec<String>) -> Cell {
    let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect();
    let variables = ["PATH", "HOME", "CA"];
    Cell {
        hostname: "redirected".to_owned(),
        command,
        environment: variables
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), std::env::var(name).ok()?)))
            .collect(),
        workdir: PathBuf::from("/"),
        files: Files {
            read_only: paths(&["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc"]),
            home: PathBuf::from("/home/agent"),
            ..Files::default()
        },
        run_as: None,
        ports: Vec::new(),
        allow_degraded: Vec::new(),
        bounds: Bounds::default(),
        proof: None,
    }
}

fn wait_until_ready(said: &mut impl BufRead) {
    let mut all = String::new();
    while said.read_line(&mut all).expect("readable") > 0 {
        if all.lines().last().is_some_and(|line| line.contains("tollgate: ready")) {
            return;
        }
    }
    panic!("the proxy did not start: {all}");
}

fn end(mut proxy: Child, mut said: impl Read) {
    kill(Pid::from_raw(i32::try_from(proxy.id()).expect("a pid")), Signal::SIGTERM).expect("it runs");
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("readable");
    eprint!("{rest}");
    assert!(proxy.wait().expect("ended").success(), "the proxy failed");
}
