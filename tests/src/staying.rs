//! Sandboxes that stay, for one test: what it leaves behind is removed when it ends.

use std::io::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::bench::{Bench, Finished, finish};

/// A bench whose sandboxes are deleted at its end, whatever the test came to.
pub struct Staying(pub Bench);

impl Drop for Staying {
    fn drop(&mut self) {
        let all = self.sandbox(&["list", "--names"]);
        let names: Vec<_> = all.stdout.lines().collect();
        if !names.is_empty() {
            // A test that has failed says so itself.
            let _ = self.sandbox(&[&["delete"], &names[..]].concat());
        }
    }
}

impl Staying {
    /// Sets up folders and server with this policy.
    #[must_use]
    pub fn new(policy: &str) -> Self {
        Self(Bench::new(policy))
    }

    /// `tollgate sandbox …`, to be started.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.0.tollgate();
        command.arg("sandbox").args(arguments);
        command
    }

    /// `tollgate sandbox …`, to its end.
    #[must_use]
    pub fn sandbox(&self, arguments: &[&str]) -> Finished {
        finish(&mut self.command(arguments))
    }

    /// `tollgate sandbox create` with the bench's policy and pins for its origin.
    #[must_use]
    pub fn create(&self, name: &str, options: &[&str], agent: &[&str]) -> Finished {
        let mut command = self.command(&["create", "--name", name, "--policy"]);
        command.arg(self.0.path("policy.yaml")).arg("--upstream-ca").arg(self.0.path("origin-ca.pem"));
        command.arg("--resolve").arg(format!("api.test:443:{}", self.0.origin.address()));
        finish(command.args(options).arg("--").args(agent))
    }

    /// What `get -o json` says.
    #[must_use]
    pub fn get(&self, name: &str) -> Value {
        let said = self.sandbox(&["get", name, "-o", "json"]).succeeded();
        serde_json::from_str(&said).expect("JSON")
    }

    /// A command in a sandbox, with this on its standard input.
    #[must_use]
    pub fn exec(&self, arguments: &[&str], input: &[u8]) -> (i32, Vec<u8>, String) {
        let mut command = self.command(&[&["exec"], arguments].concat());
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("started");
        let mut stdin = child.stdin.take().expect("piped");
        let input = input.to_vec();
        // One that reads nothing leaves nobody to write to.
        let feeding = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().expect("ended");
        feeding.join().expect("fed");
        (output.status.code().unwrap_or(-1), output.stdout, String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A process of this machine that runs (proc_pid_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    pid: u32,
    parent: u32,
    session: u32,
    /// Another process of the same number began at another time.
    begun: u64,
}

/// All of them but those that have ended and were not waited for.
fn running() -> Vec<Running> {
    let pids = std::fs::read_dir("/proc").expect("readable").flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(|pid| {
        let stat = std::fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?;
        // After the name, which may hold anything: state, parent, group, session.
        let fields: Vec<_> = stat.rsplit(") ").next()?.split(' ').collect();
        let number = |index: usize| fields.get(index)?.parse().ok();
        let begun = fields.get(19)?.parse().ok()?;
        (fields[0] != "Z").then_some(Running { pid, parent: number(1)?, session: number(3)?, begun })
    })
    .collect()
}

/// Processes of a session: what a sandbox's process has started, but what is in a session of its own.
#[must_use]
pub fn of_session(session: u32) -> Vec<Running> {
    running().into_iter().filter(|process| process.session == session).collect()
}

/// A process with all that it has started, and what that has.
#[must_use]
pub fn family(head: u32) -> Vec<Running> {
    let all = running();
    let mut family: Vec<_> = all.iter().copied().filter(|process| process.pid == head).collect();
    let mut next = 0;
    while let Some(parent) = family.get(next).map(|process| process.pid) {
        family.extend(all.iter().filter(|process| process.parent == parent));
        next += 1;
    }
    family
}

/// Which of these run still.
#[must_use]
pub fn left_of(family: &[Running]) -> Vec<Running> {
    let all = running();
    let is_left = |one: &Running| all.iter().any(|other| (other.pid, other.begun) == (one.pid, one.begun));
    family.iter().copied().filter(is_left).collect()
}

/// A port that is free and that nobody is given who asks for any: those begin at 32768 (ip(7)). Tests that run beside this one
/// look elsewhere, and no two calls get the same.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    static CALLS: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + (std::process::id() % 20_000) as u16;
    let ports = std::iter::repeat_with(|| first + CALLS.fetch_add(1, Ordering::Relaxed));
    ports.take(1000).find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port")
}

/// Looks again and again until it is so; fails the test after ten seconds.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(10), "in vain: {what}");
        std::thread::yield_now();
    }
}
