//! A workbench for one test: folders, an origin, a policy, and `tollgate` to run.

use std::fs::Permissions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use serde_json::Value;
use tempfile::TempDir;

use crate::Origin;

/// Folders of one test, and the server that its agent talks to.
///
/// `work` is the agent's working directory, `home` is `TOLLGATE_HOME`, `files` is served below `/files/`. The policy is
/// `policy.yaml` beside them. The origin answers for `api.test` and `other.test`.
pub struct Bench {
    folder: TempDir,
    /// The server.
    pub origin: Origin,
}

/// A `tollgate` that has ended.
#[derive(Debug)]
pub struct Finished {
    /// Its exit code; -1 when a signal ended it.
    pub code: i32,
    /// What it printed.
    pub stdout: String,
    /// What it said on stderr.
    pub stderr: String,
}

/// A `tollgate` that runs, with its stdin held open.
pub struct Started {
    /// The process.
    pub child: Child,
    stderr: BufReader<ChildStderr>,
}

/// What the gate records of a canary.
const CAUSED: &[&str] = &["connection", "request", "reply", "tunnel", "dns", "notice"];

/// The user that tests run as when they are started by root: `nobody`.
const ORDINARY: u32 = 65534;

impl Bench {
    /// Sets up folders and server with this policy.
    #[must_use]
    pub fn new(policy: &str) -> Self {
        let folder = tempfile::Builder::new().prefix("tollgate-test-").tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).expect("set");
        for name in ["work", "home", "files"] {
            std::fs::create_dir(folder.path().join(name)).expect("made");
        }
        let origin = Origin::start(
            &["api.test", "other.test"],
            &folder.path().join("origin-ca.pem"),
            &folder.path().join("files"),
        );
        let bench = Self { folder, origin };
        bench.set_policy(policy);
        std::fs::set_permissions(bench.path("home"), Permissions::from_mode(0o700)).expect("set");
        for name in ["", "work", "home", "policy.yaml"] {
            bench.give(&bench.path(name));
        }
        bench
    }

    /// A path of this bench.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the policy in place, as `cat > policy.yaml` does.
    pub fn set_policy(&self, text: &str) {
        std::fs::write(self.path("policy.yaml"), text).expect("the policy is written");
    }

    /// Writes a file that the ordinary user owns.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).expect("written");
        self.give(&path);
        path
    }

    /// `tollgate` with the bench's home and working directory and nothing else in its environment.
    #[must_use]
    pub fn tollgate(&self) -> Command {
        self.tollgate_as(program())
    }

    /// The same with another program.
    #[must_use]
    pub fn tollgate_as(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("HOME", self.path("work"))
            .env("TOLLGATE_HOME", self.path("home"))
            .current_dir(self.path("work"));
        if Uid::effective().is_root() {
            command.uid(ORDINARY).gid(ORDINARY);
        }
        command
    }

    /// `tollgate run` with the bench's policy, pins for its origin, and these further options.
    #[must_use]
    pub fn run(&self, options: &[&str], agent: &[&str]) -> Command {
        self.run_with(&self.path("policy.yaml"), options, agent)
    }

    /// The same with another policy file.
    #[must_use]
    pub fn run_with(&self, policy: &Path, options: &[&str], agent: &[&str]) -> Command {
        let mut command = self.tollgate();
        command.arg("run").arg("--quiet").arg("--policy").arg(policy);
        command.arg("--upstream-ca").arg(self.path("origin-ca.pem"));
        for name in ["api.test", "other.test"] {
            command.arg("--resolve").arg(format!("{name}:443:{}", self.origin.address()));
        }
        command.args(options).arg("--").args(agent);
        command
    }

    /// Runs an agent to its end.
    #[must_use]
    pub fn agent(&self, options: &[&str], agent: &[&str]) -> Finished {
        finish(&mut self.run(options, agent))
    }

    /// Runs a shell script as the agent.
    #[must_use]
    pub fn shell(&self, options: &[&str], script: &str) -> Finished {
        self.agent(options, &["sh", "-c", script])
    }

    /// Every record of the one journal there is, without those that the self-proof caused before the agent started.
    #[must_use]
    pub fn journal(&self) -> Vec<Value> {
        let whole = self.whole_journal();
        let proof = whole.iter().position(|record| record["event"] == "self-proof").unwrap_or(0);
        let (before, after) = whole.split_at(proof);
        let of_ours = |record: &&Value| !CAUSED.iter().any(|kind| record["event"] == *kind);
        before.iter().filter(of_ours).chain(after).cloned().collect()
    }

    /// Every record of the one journal there is.
    #[must_use]
    pub fn whole_journal(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.journal_file()).expect("a journal");
        text.lines().map(|line| serde_json::from_str(line).expect("a record")).collect()
    }

    /// The file of the one journal there is.
    #[must_use]
    pub fn journal_file(&self) -> PathBuf {
        let sandboxes: Vec<_> = std::fs::read_dir(self.path("home/sandboxes")).expect("sandboxes").collect();
        assert_eq!(sandboxes.len(), 1, "one sandbox was started");
        let sandbox = sandboxes.into_iter().flatten().next().expect("one");
        sandbox.path().join("journal/000001.jsonl")
    }

    /// Records of one kind.
    #[must_use]
    pub fn events(&self, kind: &str) -> Vec<Value> {
        self.journal().into_iter().filter(|record| record["event"] == kind).collect()
    }

    /// Makes a file the ordinary user's.
    pub fn give(&self, path: &Path) {
        if Uid::effective().is_root() {
            chown(path, Some(ORDINARY), Some(ORDINARY)).expect("given to the ordinary user");
        }
    }
}

impl Finished {
    /// Fails the test unless it ended with 0, and gives what it printed.
    #[track_caller]
    #[must_use]
    pub fn succeeded(self) -> String {
        assert_eq!(self.code, 0, "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self.stdout
    }

    /// Fails the test unless it ended with 0 and printed nothing on stdout.
    #[track_caller]
    pub fn succeeded_quietly(self) {
        assert_eq!(self.succeeded(), "");
    }
}

/// Runs a command to its end.
#[must_use]
pub fn finish(command: &mut Command) -> Finished {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
    end_after(PATIENCE, Pid::from_raw(i32::try_from(child.id()).expect("a pid")));
    let output = child.wait_with_output().expect("ended");
    Finished {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// An agent for `sh -c`: it makes one request for each line it is sent, and prints the status.
pub const ASKING: &str = r#"echo ready >&2; while read path; do curl -sS -o /dev/null -w '%{http_code}\n' "https://api.test$path" 2>&1; echo done >&2; done"#;

impl Started {
    /// Has an [`ASKING`] agent make one request.
    #[track_caller]
    pub fn ask(&mut self, path: &str) {
        writeln!(self.child.stdin.as_mut().expect("piped"), "{path}").expect("asked");
        self.wait_for("done");
    }

    /// Starts a command whose stdout the caller reads.
    #[must_use]
    pub fn new(command: &mut Command) -> Self {
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        end_after(PATIENCE, Pid::from_raw(i32::try_from(child.id()).expect("a pid")));
        Self { child, stderr }
    }

    /// Reads stderr up to a line that holds `text`.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        let mut all = String::new();
        while self.stderr.read_line(&mut all).expect("readable") > 0 {
            if all.lines().last().is_some_and(|line| line.contains(text)) {
                return all;
            }
        }
        panic!("it ended without saying {text:?}: {all}");
    }

    /// Closes its stdin and waits for its end.
    #[must_use]
    pub fn end(mut self) -> Finished {
        drop(self.child.stdin.take());
        let mut stdout = String::new();
        if let Some(mut pipe) = self.child.stdout.take() {
            pipe.read_to_string(&mut stdout).expect("readable");
        }
        let mut stderr = String::new();
        self.stderr.read_to_string(&mut stderr).expect("readable");
        let status = self.child.wait().expect("ended");
        Finished { code: status.code().unwrap_or(-1), stdout, stderr }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // One that has ended already is reaped, and nobody else is killed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// No run of any test takes so long; one that hangs is ended, and its test fails with what it said.
const PATIENCE: Duration = Duration::from_secs(60);

fn end_after(patience: Duration, pid: Pid) {
    std::thread::spawn(move || {
        std::thread::park_timeout(patience);
        // It ended long ago, or it hangs.
        let _ = kill(pid, Signal::SIGKILL);
    });
}

/// The `tollgate` under test, in a place that every user may enter.
#[must_use]
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| enterable("tollgate"))
}

/// The `openshell` under test.
#[must_use]
pub fn front_door() -> PathBuf {
    enterable("openshell")
}

/// Any program that the build makes, by its name.
#[must_use]
pub fn built(name: &str) -> PathBuf {
    enterable(name)
}

/// Makes a command run on a kernel that seems to lack `feature`; see `src/bin/without.rs`.
#[must_use]
pub fn without(feature: &str, command: &Command) -> Command {
    through(&[&enterable("without").display().to_string(), feature], command)
}

/// Makes a command run through another, as in `prlimit --nofile=400 COMMAND`.
#[must_use]
pub fn through(wrapper: &[&str], command: &Command) -> Command {
    let mut wrapped = Command::new(wrapper[0]);
    wrapped.args(&wrapper[1..]).arg(command.get_program()).args(command.get_args()).env_clear();
    wrapped.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    wrapped.current_dir(command.get_current_dir().expect("every command of a bench has one"));
    if Uid::effective().is_root() {
        wrapped.uid(ORDINARY).gid(ORDINARY);
    }
    wrapped
}

/// A copy of a built program below a folder that every user may enter, made once for each build.
pub(crate) fn enterable(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let built = test.ancestors().nth(2).expect("target/PROFILE/deps").join(name);
    let metadata = std::fs::metadata(&built)
        .unwrap_or_else(|_| panic!("{} is missing; run: cargo build --workspace --bins", built.display()));
    let stamp = metadata.modified().ok().and_then(|t| t.duration_since(std::time::UNIX_EPOCH).ok());
    let stamp = stamp.unwrap_or_default().as_nanos();
    let folder = Path::new("/var/tmp").join(format!("tollgate-tests-{}-{stamp}", metadata.len()));
    let copy = folder.join(name);
    if !copy.exists() {
        std::fs::create_dir_all(&folder).expect("a folder");
        let draft = folder.join(format!("draft-{}", std::process::id()));
        std::fs::copy(&built, &draft).expect("copied");
        std::fs::set_permissions(&draft, Permissions::from_mode(0o755)).expect("set");
        std::fs::rename(&draft, &copy).expect("in place");
    }
    copy
}
