//! What the tests start and what comes of it.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::unistd::{Gid, Uid, chown};
use tempfile::TempDir;
use tollgate_wire::cell::{Bounds, Cell, Control, Feature, Files};

/// Nobody has this id, on any machine.
pub(crate) const USER: u32 = 61_234;

/// Far more than any test takes; what is still running then hangs.
const DEADLINE: Duration = Duration::from_secs(60);

/// A sandbox to be.
pub(crate) struct Bench {
    pub(crate) cell: Cell,
    without: Vec<String>,
    pause: bool,
    as_root: bool,
    folder: TempDir,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) output: String,
    /// Standard error without what `cell` says.
    pub(crate) errors: String,
    pub(crate) controls: Vec<Control>,
    pub(crate) refusal: Option<String>,
}

impl Bench {
    /// A sandbox for a shell script.
    pub(crate) fn shell(script: &str) -> Self {
        Self::command(&["/bin/bash", "-c", script])
    }

    /// A sandbox for a command.
    pub(crate) fn command(command: &[&str]) -> Self {
        let paths = |names: &[&str]| names.iter().map(PathBuf::from).collect();
        let files = Files {
            read_only: paths(&["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/does/not/exist"]),
            home: PathBuf::from("/home/agent"),
            ..Files::default()
        };
        let environment = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/home/agent")];
        let cell = Cell {
            hostname: "cell".to_owned(),
            command: command.iter().map(|&word| word.to_owned()).collect(),
            environment: environment.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            workdir: PathBuf::from("/tmp"),
            files,
            run_as: None,
            ports: Vec::new(),
            allow_degraded: Vec::new(),
            bounds: Bounds::default(),
            proof: None,
        };
        let folder = TempDir::new_in("/tmp").expect("a folder");
        let bench = Self { cell, without: Vec::new(), pause: false, as_root: false, folder };
        bench.give_away(bench.folder.path());
        bench
    }

    /// Starts it on a machine that lacks something.
    pub(crate) fn without(mut self, feature: &str) -> Self {
        self.without.push(feature.to_owned());
        self
    }

    /// Does not mind when it is missing.
    pub(crate) fn allowing(mut self, feature: Feature) -> Self {
        self.cell.allow_degraded.push(feature);
        self
    }

    /// Holds the agent back until standard input ends.
    pub(crate) fn paused(mut self) -> Self {
        self.pause = true;
        self
    }

    /// Started by root, for an ordinary user.
    pub(crate) fn by_root(mut self) -> Self {
        self.as_root = true;
        self.cell.run_as = Some((USER, USER));
        self
    }

    /// A folder on the host that the ordinary user owns.
    pub(crate) fn host_folder(&self, name: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir(&path).expect("a folder");
        self.give_away(&path);
        path
    }

    /// A file on the host that the ordinary user owns.
    pub(crate) fn host_file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("a file");
        self.give_away(&path);
        path
    }

    fn give_away(&self, path: &Path) {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
        if Uid::effective().is_root() {
            chown(path, Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER))).expect("a new owner");
        }
    }

    /// Starts it; what it says can be read while it runs.
    pub(crate) fn start(&self) -> Child {
        self.launcher()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the launcher")
    }

    /// The launcher's command line, from a place that the ordinary user can read.
    pub(crate) fn launcher(&self) -> Command {
        let scenario =
            serde_json::json!({ "cell": self.cell, "without": self.without, "pause": self.pause }).to_string();
        let program = self.folder.path().join("cell");
        if !program.exists() {
            // Not by this process: a child of another test would hold the file open for writing.
            let copied = Command::new("cp").arg(launcher()).arg(&program).status();
            assert!(copied.is_ok_and(|status| status.success()), "a copy of the launcher");
        }
        let mut command = Command::new(program);
        command.arg(scenario).current_dir("/").env("SECRET_OF_THE_CONTROL_PROCESS", "1");
        as_user(&mut command, self.as_root);
        command
    }

    /// Runs it from a shell script that has a terminal, by script(1), and then more of that script: what that says.
    pub(crate) fn in_terminal(&self, after: &str) -> String {
        let launcher = self.launcher();
        let mut words = std::iter::once(launcher.get_program()).chain(launcher.get_args());
        let mut word = || words.next().expect("a program and a scenario").to_owned();
        let shell = self.host_file("shell", &format!("\"$CELL\" \"$SCENARIO\" > /dev/null 2>&1 < /dev/tty\n{after}\n"));
        let mut script = Command::new("script");
        script.args(["-qec", &format!("bash {}", shell.display()), "/dev/null"]);
        script.env("CELL", word()).env("SCENARIO", word()).stdin(Stdio::null());
        as_user(&mut script, self.as_root);
        let output = script.output().expect("script(1)");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Runs it to its end, with nothing to read.
    pub(crate) fn run(&self) -> Ran {
        let mut child = self.start();
        drop(child.stdin.take());
        finish(child)
    }

    /// Runs it and gives what it wrote, if it ended well.
    pub(crate) fn says(&self) -> String {
        let ran = self.run();
        assert!(ran.status.success(), "{ran:?}");
        ran.output.trim_end().to_owned()
    }
}

/// Lets an ordinary user run it.
fn as_user(command: &mut Command, as_root: bool) {
    if Uid::effective().is_root() && !as_root {
        command.uid(USER).gid(USER);
    }
}

/// Waits for the end of everything that holds the standard streams, not of the launcher alone.
pub(crate) fn finish(mut child: Child) -> Ran {
    let output = collect(child.stdout.take().expect("a pipe"));
    let errors = collect(child.stderr.take().expect("a pipe"));
    let end = |receiver: mpsc::Receiver<String>, child: &mut Child| {
        receiver.recv_timeout(DEADLINE).unwrap_or_else(|_| {
            let _ = child.kill();
            panic!("something still runs")
        })
    };
    let (output, said) = (end(output, &mut child), end(errors, &mut child));
    let status = child.wait().expect("the launcher's end");
    let facts = || said.lines().filter_map(|line| line.strip_prefix("cell: "));
    let fact = |name: &str| {
        let values = facts().map(|line| serde_json::from_str::<serde_json::Value>(line).expect("a fact"));
        values.filter_map(|value| value.get(name).cloned()).next()
    };
    Ran {
        status,
        output,
        controls: fact("controls").map_or_else(Vec::new, |value| serde_json::from_value(value).expect("controls")),
        refusal: fact("error").map(|text| text.as_str().expect("a sentence").to_owned()),
        errors: said.lines().filter(|line| !line.starts_with("cell: ")).collect::<Vec<_>>().join("\n"),
    }
}

fn collect(mut stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        sender.send(String::from_utf8_lossy(&bytes).into_owned())
    });
    receiver
}

/// Examples are built beside the tests.
fn launcher() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let built = test.parent().and_then(Path::parent).expect("the folder of the build");
    built.join("examples/cell")
}

/// What root's sandboxes do can be tested by root only.
pub(crate) fn is_root() -> bool {
    Uid::effective().is_root()
}
