//! A stand-alone proxy on a bench, and clients for it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::bench::enterable;
use crate::{Bench, Finished, Started, finish, program};

/// What alice shows.
pub const ALICE: &str = "alice:alice-token-0123456789";

/// What bob shows.
pub const BOB: &str = "bob:bob-token-0123456789abc";

/// One listener, where the system likes.
pub const LISTENERS: &str = "listeners: [{ address: \"127.0.0.1:0\" }]";

/// Alice and bob, with a token and a policy each.
pub const AGENTS: &str = "agents:\n  - { name: alice, token_file: alice.token, policy: policy.yaml }\n  \
                          - { name: bob, token_file: bob.token, policy: bob.yaml }\n";

/// A policy that allows to get one path of `api.test`.
#[must_use]
pub fn policy_for(path: &str) -> String {
    format!(
        "version: 1\nnetwork_policies:\n  api:\n    endpoints:\n      - host: api.test\n        port: 443\n        \
         protocol: rest\n        rules:\n          - allow: {{ method: GET, path: {path} }}\n"
    )
}

/// A bench with a configuration of these listeners for alice, who may get `/a`, and bob, who may get `/b`.
#[must_use]
pub fn two_agents(listeners: &str) -> Bench {
    let bench = Bench::new(&policy_for("/a"));
    bench.write("bob.yaml", policy_for("/b"));
    for (name, credentials) in [("alice.token", ALICE), ("bob.token", BOB)] {
        let (_, token) = credentials.split_once(':').expect("a pair");
        bench.write_private(name, &format!("{token}\n"));
    }
    bench.configure(&format!("{listeners}\n{AGENTS}"));
    bench
}

/// A `tollgate proxy` that serves.
pub struct Proxy {
    started: Started,
    /// Where its listeners are, in the order of the configuration.
    pub addresses: Vec<SocketAddr>,
    /// What it said until it was ready.
    pub said: String,
}

/// What curl got.
#[derive(Debug, PartialEq, Eq)]
pub struct Got {
    /// Status of the CONNECT; 0 where there was none.
    pub connect: u16,
    /// Status of the reply; 0 where there was none.
    pub status: u16,
    /// The body.
    pub body: String,
}

impl Bench {
    /// Writes `tollgate.yaml`: these lines, and a pin for the origin.
    pub fn configure(&self, text: &str) {
        let pin = format!("resolve: [\"api.test:443:{0}\", \"other.test:443:{0}\"]", self.origin.address());
        self.write("tollgate.yaml", format!("version: 1\nupstream: {{ ca: [origin-ca.pem] }}\n{pin}\n{text}"));
    }

    /// Writes a file that only its owner may read.
    pub fn write_private(&self, name: &str, content: &str) -> PathBuf {
        let path = self.write(name, content);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).expect("set");
        path
    }

    /// `tollgate proxy` with the bench's configuration.
    #[must_use]
    pub fn proxy(&self) -> Command {
        let mut command = self.tollgate();
        command.arg("proxy").arg("--config").arg(self.path("tollgate.yaml"));
        command
    }

    /// Records of one kind in one journal of the proxy.
    #[must_use]
    pub fn proxy_events(&self, segment: u32, kind: &str) -> Vec<Value> {
        let path = self.path(&format!("home/proxies/proxy/journal/{segment:06}.jsonl"));
        let text = std::fs::read_to_string(path).expect("a journal");
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a record"));
        records.filter(|record| record["event"] == kind).collect()
    }

    /// The authority that clients of the proxy trust.
    #[must_use]
    pub fn proxy_ca(&self) -> PathBuf {
        self.path("home/proxies/proxy/ca/ca.pem")
    }

    /// Requests `url` with curl through `proxy`, an URL.
    #[must_use]
    pub fn curl(&self, proxy: &str, options: &[&str], url: &str) -> Got {
        let mut command = Command::new("curl");
        command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").current_dir(self.path("work"));
        command.args(["-sS", "--max-time", "30", "-w", "\n%{http_connect} %{http_code}", "--proxy", proxy, "--cacert"]);
        let said = finish(command.arg(self.proxy_ca()).args(options).arg(url)).stdout;
        let (body, codes) = said.rsplit_once('\n').expect("codes in the last line");
        let (connect, status) = codes.split_once(' ').expect("two codes");
        let number = |text: &str| text.parse().expect("a code");
        Got { connect: number(connect), status: number(status), body: body.to_owned() }
    }
}

impl Proxy {
    /// Starts the bench's proxy and waits until it is ready.
    #[must_use]
    pub fn start(bench: &Bench) -> Self {
        Self::start_as(&mut bench.proxy())
    }

    /// Starts a command that becomes a proxy.
    #[must_use]
    pub fn start_as(command: &mut Command) -> Self {
        let mut started = Started::new(command);
        let said = started.wait_for("tollgate: ready");
        let listeners = said.lines().filter_map(|line| line.rsplit_once(" at ")).map(|(_, address)| address);
        let addresses = listeners.filter_map(|address| address.parse().ok()).collect();
        Self { started, addresses, said }
    }

    /// The first listener as a proxy URL, with credentials where there are any.
    #[must_use]
    pub fn url(&self, credentials: &str) -> String {
        match credentials {
            "" => format!("http://{}", self.addresses[0]),
            credentials => format!("http://{credentials}@{}", self.addresses[0]),
        }
    }

    /// A bare connection to the first listener.
    #[must_use]
    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addresses[0]).expect("connected")
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.started.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.started.child.id()).expect("a pid");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    /// Waits until it says something on stderr.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) -> String {
        self.started.wait_for(text)
    }

    /// Waits for its end.
    #[must_use]
    pub fn end(self) -> Finished {
        self.started.end()
    }

    /// Ends it with SIGTERM.
    #[must_use]
    pub fn stop(self) -> Finished {
        self.signal(Signal::SIGTERM);
        self.end()
    }
}

/// A command in a network whose connections are redirected to the bench's proxy; see `src/bin/redirected.rs`.
#[must_use]
pub fn redirected(bench: &Bench, command: &[&str]) -> Command {
    let mut wrapped = bench.tollgate_as(&enterable("redirected"));
    wrapped.arg(program()).arg(bench.path("tollgate.yaml")).args(command);
    wrapped
}

/// Sends a request and reads until the head of its reply has come.
pub fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).expect("sent");
    let (mut read, mut byte) = (Vec::new(), [0]);
    while !read.ends_with(b"\r\n\r\n") && stream.read(&mut byte).expect("readable") == 1 {
        read.push(byte[0]);
    }
    String::from_utf8_lossy(&read).into_owned()
}
