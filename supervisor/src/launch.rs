//! The control process's side: starts the supervisor, takes its sockets, gives it orders.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use tollgate_wire::cell::{Cell, Control};

use crate::error::{At, LaunchError};
use crate::handover::{Answer, Channel, Order, Outcome};

/// The name under which the program starts itself again.
pub(crate) const SUPERVISOR: &str = "tollgate-supervisor";

/// A sandbox that stands; its agent runs after [`Confined::start`].
#[derive(Debug)]
pub struct Confined {
    channel: Arc<Channel>,
    child: Child,
    sockets: Option<Sockets>,
    /// Protections and how they stand.
    pub controls: Vec<Control>,
}

/// What was made inside the sandbox and is used outside.
#[derive(Debug)]
pub struct Sockets {
    /// The root of the sandbox's `/proc`: lists its processes and no others.
    pub proc_root: OwnedFd,
    /// The root of the file tree as the agent sees it.
    pub root: OwnedFd,
    /// A `NETLINK_SOCK_DIAG` socket of the sandbox's network.
    pub sock_diag: OwnedFd,
    /// Where the proxy variables lead to: 127.0.0.1, [`EXPLICIT_PORT`](crate::EXPLICIT_PORT).
    pub explicit: TcpListener,
    /// Where captured connections end.
    pub transparent: Vec<TcpListener>,
    /// Port 53, UDP, with `IP_PKTINFO`.
    pub dns_udp: Vec<UdpSocket>,
    /// Port 53, TCP.
    pub dns_tcp: Vec<TcpListener>,
}

/// Passes signals to the agent, from any thread.
#[derive(Debug, Clone)]
pub struct Signaller(Arc<Channel>);

/// Building takes a few milliseconds; a machine under full load may take seconds.
const BUILD_TIMEOUT: Duration = Duration::from_secs(30);

/// Starts the supervisor and waits until the sandbox stands.
///
/// To be called from a thread that lives as long as the sandbox shall: the kernel ends the supervisor with it.
///
/// # Errors
/// [`LaunchError`]; nothing of the agent has run.
pub fn launch(cell: &Cell) -> Result<Confined, LaunchError> {
    let (ours, theirs) = UnixStream::pair().at("make the hand-over socket")?;
    ours.set_read_timeout(Some(BUILD_TIMEOUT)).at("bound the wait")?;
    let child = spawn(&theirs).at("start the supervisor")?;
    drop(theirs);
    let confined = Confined { channel: Arc::new(Channel::new(ours)), child, sockets: None, controls: Vec::new() };
    confined.build(cell)
}

/// The program again, under another name, with an empty environment: ours may hold secrets.
fn spawn(theirs: &UnixStream) -> std::io::Result<Child> {
    fcntl(theirs, FcntlArg::F_SETFD(FdFlag::empty()))?;
    Command::new("/proc/self/exe").arg0(SUPERVISOR).arg(theirs.as_raw_fd().to_string()).env_clear().spawn()
}

impl Confined {
    fn build(mut self, cell: &Cell) -> Result<Self, LaunchError> {
        let sent = self.channel.send(&Order::Build(Box::new(cell.clone())), &[]);
        sent.map_err(|error| lost(&error))?;
        loop {
            match self.channel.receive::<Answer>().map_err(|error| lost(&error))? {
                (Answer::Map, _) => {
                    let Some(run_as) = cell.run_as else { return Err(unexpected()) };
                    write_maps(self.child.id(), run_as)?;
                    self.channel.send(&Order::Mapped, &[]).map_err(|error| lost(&error))?;
                }
                (Answer::Ready { controls, counts }, descriptors) => {
                    self.sockets = Some(sort(descriptors, counts).ok_or_else(unexpected)?);
                    self.controls = controls;
                    return Ok(self);
                }
                (Answer::Failed(error), _) => return Err(error),
                (Answer::Started | Answer::Ended(_), _) => return Err(unexpected()),
            }
        }
    }

    /// The sandbox's sockets. They are given once.
    ///
    /// # Panics
    /// When they were taken before.
    pub fn take_sockets(&mut self) -> Sockets {
        self.sockets.take().expect("the sockets are taken once")
    }

    /// Starts the agent.
    ///
    /// # Errors
    /// When it cannot be executed; then nothing of it has run.
    pub fn start(&mut self) -> Result<(), LaunchError> {
        self.channel.send(&Order::Start, &[]).map_err(|error| lost(&error))?;
        let answer = self.channel.receive::<Answer>().map_err(|error| lost(&error))?;
        // From here on the agent may take as long as it likes.
        self.channel.stream().set_read_timeout(None).at("wait without bound")?;
        match answer {
            (Answer::Started, _) => Ok(()),
            (Answer::Failed(error), _) => Err(error),
            _ => Err(unexpected()),
        }
    }

    /// A handle for signals.
    #[must_use]
    pub fn signaller(&self) -> Signaller {
        Signaller(Arc::clone(&self.channel))
    }

    /// Waits for the agent's end. A supervisor that is gone has taken the agent with it.
    #[must_use]
    pub fn wait(mut self) -> Outcome {
        let outcome = match self.channel.receive::<Answer>() {
            Ok((Answer::Ended(outcome), _)) => outcome,
            _ => Outcome::Signalled(nix::libc::SIGKILL),
        };
        // It has said all it had to say and is on its way out.
        let _ = self.child.wait();
        outcome
    }
}

impl Drop for Confined {
    fn drop(&mut self) {
        // One that is not waited for must not outlive us; one that is has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Signaller {
    /// Passes a signal on to the agent.
    ///
    /// # Errors
    /// When the sandbox has ended.
    pub fn signal(&self, signal: i32) -> std::io::Result<()> {
        self.0.send(&Order::Signal(signal), &[])
    }
}

/// Inside, root and the agent's user are who they are outside; nobody else exists (user_namespaces(7)).
fn write_maps(supervisor: u32, (user, group): (u32, u32)) -> Result<(), LaunchError> {
    let write = |name: &str, id: u32| {
        fs::write(format!("/proc/{supervisor}/{name}"), format!("0 0 1\n{id} {id} 1\n")).at("write the user maps")
    };
    write("uid_map", user)?;
    write("gid_map", group)
}

fn sort(descriptors: Vec<OwnedFd>, counts: [usize; 3]) -> Option<Sockets> {
    let mut next = descriptors.into_iter();
    let (proc_root, root, sock_diag) = (next.next()?, next.next()?, next.next()?);
    let explicit = next.next()?.into();
    let [transparent, udp, tcp] = counts.map(|count| next.by_ref().take(count).collect::<Vec<_>>());
    let complete = [transparent.len(), udp.len(), tcp.len()] == counts;
    complete.then(|| Sockets {
        proc_root,
        root,
        sock_diag,
        explicit,
        transparent: transparent.into_iter().map(TcpListener::from).collect(),
        dns_udp: udp.into_iter().map(UdpSocket::from).collect(),
        dns_tcp: tcp.into_iter().map(TcpListener::from).collect(),
    })
}

fn lost(error: &std::io::Error) -> LaunchError {
    let what = match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => "gave no answer in time",
        _ => "ended without a word",
    };
    LaunchError::Lost(what.to_owned())
}

fn unexpected() -> LaunchError {
    LaunchError::Lost("gave an answer that makes no sense here".to_owned())
}
