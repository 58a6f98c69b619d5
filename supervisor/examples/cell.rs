//! Runs one command in a sandbox whose only outside is this program: what the tests of the supervisor drive.
//!
//! ```text
//! cell '{"cell": {..}, "without": ["landlock"], "pause": false}'
//! ```
//!
//! Standard error gets one line per fact, `cell: {"controls": ..}` or `cell: {"error": ..}`. With `pause`, the agent
//! starts when standard input ends. Connections get one line back: where they were going.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::thread;

use nix::fcntl::{OFlag, openat, readlinkat};
use nix::libc;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::sockopt::{Ip6tOriginalDst, OriginalDst};
use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, SockaddrStorage, getsockopt, recvmsg, sendmsg};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};
use serde::Deserialize;
use tollgate_supervisor::{Outcome, Sockets};
use tollgate_wire::cell::Cell;

#[derive(Deserialize)]
struct Scenario {
    cell: Cell,
    /// What the machine is made to lack.
    without: Vec<String>,
    pause: bool,
}

type Problem = Box<dyn std::error::Error>;

fn main() -> Result<(), Problem> {
    tollgate_supervisor::enter_if_supervisor();
    let scenario: Scenario = serde_json::from_str(&std::env::args().nth(1).ok_or("a scenario")?)?;
    take_away(&scenario.without)?;
    let mut confined = tollgate_supervisor::launch(&scenario.cell).unwrap_or_else(|error| fail(&error));
    report(&serde_json::json!({ "controls": confined.controls }));
    serve(confined.take_sockets());
    if scenario.pause {
        std::io::stdin().read_to_end(&mut Vec::new())?;
    }
    confined.start().unwrap_or_else(|error| fail(&error));
    let door = confined.door();
    if let Some(number) = scenario.without.iter().find_map(|what| what.strip_prefix("signal-")) {
        door.signal(number.parse()?)?;
    }
    match confined.wait() {
        Outcome::Exited(code) => std::process::exit(code.into()),
        Outcome::Signalled(signal) => std::process::exit(128 + signal),
    }
}

fn fail(error: &tollgate_supervisor::LaunchError) -> ! {
    report(&serde_json::json!({ "error": error.to_string() }));
    std::process::exit(error.exit_code().into())
}

fn report(fact: &serde_json::Value) {
    eprintln!("cell: {fact}");
}

/// Makes this process, and so the supervisor, lack something.
fn take_away(features: &[String]) -> Result<(), Problem> {
    let mut rules = BTreeMap::new();
    for feature in features {
        match feature.as_str() {
            "landlock" => drop(rules.insert(libc::SYS_landlock_create_ruleset, vec![])),
            "seccomp" => drop(rules.insert(libc::SYS_seccomp, vec![])),
            "userns" => drop(rules.insert(libc::SYS_unshare, vec![])),
            "nftables" => drop(rules.insert(libc::SYS_socket, vec![netfilter()?])),
            "second-network" => drop(rules.insert(libc::SYS_unshare, vec![network_alone()?])),
            "tproxy" => drop(rules.insert(libc::SYS_setsockopt, vec![transparent()?])),
            "userns-quota" => {
                own_namespace()?;
                std::fs::write("/proc/sys/user/max_user_namespaces", "0")?;
            }
            "proc" => {
                own_namespace()?;
                // A namespace in which a part of /proc is hidden gets no new one (proc(5)).
                mount(Some("tmpfs"), "/proc/sys", Some("tmpfs"), MsFlags::empty(), None::<&str>)?;
            }
            _ => {}
        }
    }
    if rules.is_empty() {
        return Ok(());
    }
    let errno = SeccompAction::Errno(u32::try_from(libc::EPERM)?);
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, errno, arch)?;
    Ok(apply_filter(&BpfProgram::try_from(filter)?)?)
}

fn netfilter() -> Result<SeccompRule, Problem> {
    let is = |argument, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
    Ok(SeccompRule::new(vec![is(0, libc::AF_NETLINK as u64)?, is(2, libc::NETLINK_NETFILTER as u64)?])?)
}

/// The sandbox's own comes with all other namespaces.
fn network_alone() -> Result<SeccompRule, Problem> {
    let alone = libc::CLONE_NEWNET as u64;
    Ok(SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, alone)?])?)
}

fn transparent() -> Result<SeccompRule, Problem> {
    let is = |argument, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
    Ok(SeccompRule::new(vec![is(1, libc::SOL_IP as u64)?, is(2, libc::IP_TRANSPARENT as u64)?])?)
}

/// A user namespace around this process, in which some things can be changed as root could outside.
fn own_namespace() -> Result<(), Problem> {
    let (user, group) = (Uid::current(), Gid::current());
    unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("{group} {group} 1"))?;
    Ok(())
}

fn serve(sockets: Sockets) {
    let proc_root = Arc::new(sockets.proc_root);
    answer_each(sockets.explicit, move |_| processes(&proc_root));
    for listener in sockets.transparent {
        answer_each(listener, |stream| format!("captured {}", destination(stream)));
    }
    for listener in sockets.dns_tcp {
        answer_each(listener, |stream| {
            format!("dns {}", stream.local_addr().map_or_else(|e| e.to_string(), |a| a.to_string()))
        });
    }
    for socket in sockets.dns_udp {
        thread::spawn(move || while answer_datagram(&socket).is_ok() {});
    }
}

fn answer_each(listener: TcpListener, answer: impl Fn(&TcpStream) -> String + Send + 'static) {
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            // A client that is gone needs no answer.
            let _ = writeln!(stream, "{}", answer(&stream));
        }
    });
}

/// Before redirection, or where the connection arrived when there is none.
fn destination(stream: &TcpStream) -> String {
    if let Ok(address) = getsockopt(stream, OriginalDst) {
        return format!(
            "{}:{}",
            std::net::Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr)),
            u16::from_be(address.sin_port)
        );
    }
    if let Ok(address) = getsockopt(stream, Ip6tOriginalDst) {
        return format!(
            "[{}]:{}",
            std::net::Ipv6Addr::from(address.sin6_addr.s6_addr),
            u16::from_be(address.sin6_port)
        );
    }
    stream.local_addr().map_or_else(|error| error.to_string(), |address| address.to_string())
}

fn tell(socket: &UdpSocket, text: &str, from: ControlMessage<'_>, to: Option<&SockaddrStorage>) -> nix::Result<usize> {
    sendmsg(socket.as_raw_fd(), &[IoSlice::new(text.as_bytes())], &[from], MsgFlags::empty(), to)
}

/// Answers from the very address that was asked.
fn answer_datagram(socket: &UdpSocket) -> nix::Result<()> {
    let mut buffer = [0; 512];
    let mut space = nix::cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty())?;
    let from = message.address;
    for control in message.cmsgs()? {
        match control {
            ControlMessageOwned::Ipv4PacketInfo(mut info) => {
                let text = format!("asked {}\n", std::net::Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr)));
                info.ipi_spec_dst = info.ipi_addr;
                tell(socket, &text, ControlMessage::Ipv4PacketInfo(&info), from.as_ref())?;
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                let text = format!("asked {}\n", std::net::Ipv6Addr::from(info.ipi6_addr.s6_addr));
                tell(socket, &text, ControlMessage::Ipv6PacketInfo(&info), from.as_ref())?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What can be learned of the sandbox's processes from here: per process, its program, how many descriptors, its name.
fn processes(root: &OwnedFd) -> String {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let list = |folder: &OwnedFd, path: &str| -> nix::Result<Vec<String>> {
        let folder = openat(folder, path, flags, Mode::empty())?;
        let mut folder = nix::dir::Dir::from_fd(folder)?;
        Ok(folder.iter().flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect())
    };
    let mut text = String::new();
    let mut pids: Vec<u32> = list(root, ".").unwrap_or_default().iter().filter_map(|name| name.parse().ok()).collect();
    pids.sort_unstable();
    for pid in pids {
        let program = readlinkat(root, format!("{pid}/exe").as_str()).map(|path| path.to_string_lossy().into_owned());
        let open = list(root, &format!("{pid}/fd")).map(|names| names.len() - 2);
        let stat = openat(root, format!("{pid}/stat").as_str(), OFlag::O_RDONLY, Mode::empty()).is_ok();
        let _ = write!(text, "{pid} {program:?} {open:?} {stat};");
    }
    text
}
