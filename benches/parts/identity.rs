//! Who asks: from a connection to its program and ancestors, alone and among many processes.
//!
//! Targets: under 100 µs for a process that was seen before, under 1 ms with 500 processes. Runs in process and user namespaces
//! of its own, so that it sees as few processes as the gate sees of a sandbox.

use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};

use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use tollgate_model::Caller;
use tollgate_proxy::Identifier;

use crate::part::{Part, Run, repeat};

/// Has files open beside the usual three, says when that is so, and sleeps.
const IDLE: &str = "exec 3</dev/null 4</dev/null; echo; read line";

pub fn parts() -> Vec<Part> {
    vec![
        Part::new("identity/alone", || identify(0)).counted(20).alone(),
        Part::new("identity/among 100", || identify(100)).counted(10).alone(),
        // What a large build or test run has at once.
        Part::new("identity/among 500", || identify(500)).alone(),
    ]
}

fn identify(others: usize) -> Run {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let server = listener.local_addr().expect("bound");
    // A child of a child, as most programs of an agent are.
    let hold = format!("exec 5<>/dev/tcp/127.0.0.1/{}; read line", server.port());
    let holder = Idle::start("bash", &["-c", &format!("bash -c '{hold}'; true")]);
    let (accepted, client) = listener.accept().expect("the child connects");
    let mut others: Vec<_> = (0..others).map(|_| Idle::start("sh", &["-c", IDLE])).collect();
    others.iter_mut().for_each(Idle::settle);
    let identifier = Identifier::new(sock_diag(), File::open("/proc").expect("readable").into());
    assert_known(&identifier, client, server);
    let alive = (holder, others, accepted, listener);
    repeat(move || {
        black_box(&alive);
        identifier.identify(client, server)
    })
}

/// A process that waits for a line that never comes.
struct Idle(Child);

impl Idle {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        Self(command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("started"))
    }

    /// Waits until it has said something.
    fn settle(&mut self) {
        let output = self.0.stdout.as_mut().expect("a pipe");
        output.read_exact(&mut [0]).expect("it speaks");
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // One that has ended needs no killing.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn sock_diag() -> OwnedFd {
    let protocol = SockProtocol::NetlinkSockDiag;
    socket(AddressFamily::Netlink, SockType::Datagram, SockFlag::SOCK_CLOEXEC, protocol).expect("a netlink socket")
}

fn assert_known(identifier: &Identifier, client: SocketAddr, server: SocketAddr) {
    let caller = identifier.identify(client, server);
    let Caller::Known { program, ancestors, .. } = &caller else { panic!("{caller:?}") };
    assert!(program.path.ends_with("/bash") && ancestors.len() == 1, "{caller:?}");
    drop(TcpStream::connect(server));
}
