//! The control process's side: starts the supervisor, takes its sockets, gives it orders.

use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use nix::unistd::Uid;
use tollgate_wire::cell::{Cell, Control};
use tollgate_wire::proof::Attempt;

use crate::door::Door;
use crate::error::{At, LaunchError};
use crate::group::{self, Group};
use crate::handover::{Answer, Channel, Order, Outcome};
use crate::sys;

/// The name under which the program starts itself again.
pub(crate) const SUPERVISOR: &str = "tollgate-supervisor";

/// A sandbox that stands; its agent runs after [`Confined::start`].
#[derive(Debug)]
pub struct Confined {
    channel: Arc<Channel>,
    child: Child,
    _keeper: Keeper,
    sockets: Option<Sockets>,
    run_as: Option<(u32, u32)>,
    /// Protections and how they stand.
    pub controls: Vec<Control>,
    /// Removed last, when no process is in it any more.
    group: Option<Group>,
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

/// The agent's standard streams, where they are not the caller's.
#[derive(Debug)]
pub struct Streams {
    /// Standard input.
    pub input: Stdio,
    /// Standard output.
    pub output: Stdio,
    /// Standard error.
    pub error: Stdio,
}

/// Building takes a few milliseconds; a machine under full load may take seconds.
const BUILD_TIMEOUT: Duration = Duration::from_secs(30);

/// Starts the supervisor and waits until the sandbox stands.
///
/// # Errors
/// [`LaunchError`]; nothing of the agent has run.
pub fn launch(cell: &Cell) -> Result<Confined, LaunchError> {
    launch_with(cell, Streams { input: Stdio::inherit(), output: Stdio::inherit(), error: Stdio::inherit() })
}

/// The same with other standard streams for the agent.
///
/// # Errors
/// As `launch`.
pub fn launch_with(cell: &Cell, streams: Streams) -> Result<Confined, LaunchError> {
    check_user(cell)?;
    let (ours, theirs) = UnixStream::pair().at("make the hand-over socket")?;
    ours.set_read_timeout(Some(BUILD_TIMEOUT)).at("bound the wait")?;
    let (child, keeper) = start_supervisor(theirs, streams).at("start the supervisor")?;
    let channel = Arc::new(Channel::new(ours));
    let confined = Confined {
        channel,
        child,
        _keeper: keeper,
        sockets: None,
        run_as: cell.run_as,
        controls: Vec::new(),
        group: None,
    };
    confined.build(cell)
}

/// Root's agent becomes somebody else; everybody else's stays who they are.
fn check_user(cell: &Cell) -> Result<(), LaunchError> {
    let refuse = |why: &str| Err(LaunchError::BadOrder(why.to_owned()));
    match (Uid::effective().is_root(), cell.run_as) {
        (true, None) => refuse("as root, name the user that the agent runs as: process.run_as_user in the policy"),
        (true, Some((0, _) | (_, 0))) => refuse("the agent cannot run as root; name another user and group"),
        (false, Some(_)) => refuse("only root can run the agent as another user; leave process.run_as_user out"),
        (true, Some(_)) | (false, None) => Ok(()),
    }
}

/// Keeps a thread alive for as long as it exists.
#[derive(Debug)]
struct Keeper {
    _until_dropped: Sender<()>,
}

/// Starts it from a thread of its own: the kernel ends it with the *thread* that started it, and the caller's may be one
/// of a pool that ends sooner.
fn start_supervisor(theirs: UnixStream, streams: Streams) -> std::io::Result<(Child, Keeper)> {
    let (until_dropped, dropped) = channel::<()>();
    let (started, child) = channel();
    thread::Builder::new().name("keeper".to_owned()).spawn(move || {
        // Nobody waits for the answer of a launch that has been given up.
        let _ = started.send(spawn(&theirs, streams));
        drop(theirs);
        let _ = dropped.recv();
    })?;
    let child = child.recv().map_err(std::io::Error::other)??;
    Ok((child, Keeper { _until_dropped: until_dropped }))
}

/// The program again, under another name, with an empty environment: ours may hold secrets.
fn spawn(theirs: &UnixStream, streams: Streams) -> std::io::Result<Child> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0(SUPERVISOR).arg(theirs.as_raw_fd().to_string()).env_clear();
    command.stdin(streams.input).stdout(streams.output).stderr(streams.error);
    sys::tie(&mut command, theirs.as_raw_fd());
    command.spawn()
}

impl Confined {
    fn build(mut self, cell: &Cell) -> Result<Self, LaunchError> {
        // Before it enters its namespaces, so that its group is the root of what it sees.
        let (group, bound) = group::confine(cell, self.child.id())?.unzip();
        self.group = group.flatten();
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
                    self.controls.extend(bound);
                    return Ok(self);
                }
                (Answer::Failed(error), _) => return Err(error),
                (Answer::Proved(_) | Answer::Started | Answer::Ended(_) | Answer::Socket, _) => {
                    return Err(unexpected());
                }
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

    /// Has the canary try what must fail, in the sandbox as the agent will find it. The sockets must be served meanwhile.
    ///
    /// # Errors
    /// When it cannot be asked; surprises are in the answer.
    pub fn prove(&self) -> Result<Vec<Attempt>, LaunchError> {
        self.channel.send(&Order::Prove, &[]).map_err(|error| lost(&error))?;
        match self.channel.receive::<Answer>().map_err(|error| lost(&error))? {
            (Answer::Proved(attempts), _) => Ok(attempts),
            (Answer::Failed(error), _) => Err(error),
            _ => Err(unexpected()),
        }
    }

    /// Starts the agent, or, where there is no COMMAND, lets the sandbox stand without one until it is told to end.
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

    /// The way to reach what runs inside.
    #[must_use]
    pub fn door(&self) -> Door {
        Door::new(Arc::clone(&self.channel), self.run_as)
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
