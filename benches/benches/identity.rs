//! Who asks: from a connection to its program and ancestors, alone and among many processes.
//!
//! `cargo bench -p tollgate-benches --bench identity`. Targets: under 100 µs for a process that was seen before, under 1 ms
//! with 500 processes. Runs itself again in user and process namespaces of its own, so that it sees as few processes as
//! the gate sees of a sandbox; that takes unshare(1) and user namespaces.
#![allow(missing_docs, reason = "criterion's macros make public items")]

use std::fs::File;
use std::hint::black_box;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use criterion::{Criterion, criterion_group};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};
use tollgate_model::Caller;
use tollgate_proxy::Identifier;

/// Set for the run inside.
const INSIDE: &str = "TOLLGATE_BENCH_INSIDE";

/// What a large build or test run has at once.
const PROCESSES: usize = 500;

/// Names a file that the idle processes have open beside the usual three.
const IDLE: &str = "exec 3</dev/null 4</dev/null; read line";

fn identify(c: &mut Criterion) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let server = listener.local_addr().expect("bound");
    // A child of a child, as most programs of an agent are.
    let hold = format!("exec 5<>/dev/tcp/127.0.0.1/{}; read line", server.port());
    let mut holder = idle("bash", &["-c", &format!("bash -c '{hold}'; true")]);
    let (_accepted, client) = listener.accept().expect("the child connects");
    let identifier = Identifier::new(sock_diag(), File::open("/proc").expect("readable").into());
    assert_known(&identifier, client, server);
    let mut others = Vec::new();
    for (name, count) in [("alone", 0), ("among 100", 100), ("among 500", PROCESSES)] {
        others.extend((others.len()..count).map(|_| idle("sh", &["-c", IDLE])));
        c.bench_function(&format!("identity/{name}"), |b| b.iter(|| black_box(identifier.identify(client, server))));
        assert_known(&identifier, client, server);
    }
    for child in others.iter_mut().chain([&mut holder]) {
        child.kill().expect("running");
        child.wait().expect("killed");
    }
}

/// Waits for a line that never comes.
fn idle(program: &str, arguments: &[&str]) -> Child {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("started")
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

criterion_group!(benches, identify);

fn main() {
    if std::env::var_os(INSIDE).is_some() {
        benches();
        return Criterion::default().configure_from_args().final_summary();
    }
    let mut again = Command::new("unshare");
    again.args(["--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--"]);
    again.arg(std::env::current_exe().expect("this program")).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    panic!("unshare: {}", again.exec());
}
