//! The host from inside: its files, sockets and processes, and what is left of privileges.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::unistd::Uid;
use tollgate_wire::cell::Feature;
use tollgate_wire::proof::Attempt;

use super::{Canary, left_out, stopped, surprise};
use crate::net;

const FILES: &str = "files";
const PRIVILEGES: &str = "privileges";
const NETWORK: &str = "network-namespace";

pub(super) fn attempts(canary: &Canary) -> Vec<Attempt> {
    let mut attempts = state_folder(canary);
    attempts.extend(trees(canary));
    attempts.extend(daemons());
    attempts.extend([process_1(), settings(), interfaces(), status(canary.in_force(Feature::Seccomp))]);
    attempts.push(abstract_socket(canary));
    attempts
}

/// What must fail, with the error as the answer.
fn must_fail<T>(row: &str, what: String, control: &str, result: io::Result<T>) -> Attempt {
    match result {
        Ok(_) => surprise(row, what, control, "it succeeded"),
        Err(error) => stopped(row, what, control, error.kind().to_string()),
    }
}

/// A credential that lies outside, and the folder of those that are real.
fn state_folder(canary: &Canary) -> Vec<Attempt> {
    let decoy = &canary.proof.decoy;
    let mut places = vec![decoy.clone()];
    // The roads that other processes' views of the tree would be.
    places.extend(
        ["/proc/1/root", "/proc/1/cwd"].map(|road| Path::new(road).join(decoy.strip_prefix("/").unwrap_or(decoy))),
    );
    let read = places
        .iter()
        .map(|place| must_fail("K1", format!("read the decoy credential {}", place.display()), FILES, fs::read(place)));
    let listed = canary.proof.hidden.iter();
    let listed =
        listed.map(|folder| must_fail("K12", format!("list {}", folder.display()), FILES, fs::read_dir(folder)));
    read.chain(listed).collect()
}

/// Trees that are granted for reading take no new file.
fn trees(canary: &Canary) -> Vec<Attempt> {
    let real = |path: &PathBuf| path.canonicalize().ok();
    let writable: Vec<_> = canary.read_write.iter().filter_map(real).chain([PathBuf::from("/tmp")]).collect();
    let mut folders: Vec<_> = canary.read_only.iter().filter_map(real).filter(|folder| folder.is_dir()).collect();
    folders.extend([PathBuf::from("/"), PathBuf::from("/run/tollgate")]);
    folders.sort();
    folders.dedup();
    folders.retain(|folder| !writable.iter().any(|writable| folder.starts_with(writable)) && folder.is_dir());
    folders.iter().map(|folder| write_into(folder, &canary.proof.name)).collect()
}

fn write_into(folder: &Path, name: &str) -> Attempt {
    let path = folder.join(format!(".{name}"));
    let made = OpenOptions::new().write(true).create_new(true).open(&path);
    if made.is_ok() {
        // The surprise is told; nothing of it stays.
        let _ = fs::remove_file(&path);
    }
    must_fail("M9", format!("write into {}", folder.display()), FILES, made)
}

/// Daemons of the host that would do what their callers may not.
fn daemons() -> Vec<Attempt> {
    const N1: &[&str] = &[
        "/run/docker.sock",
        "/var/run/docker.sock",
        "/run/podman/podman.sock",
        "/run/containerd/containerd.sock",
        "/run/crio/crio.sock",
        "/run/libvirt/libvirt-sock",
    ];
    const N2: &[&str] = &["/run/dbus/system_bus_socket", "/run/systemd/private"];
    let own = Uid::current();
    let own = [
        format!("/run/user/{own}/bus"),
        format!("/run/user/{own}/systemd/private"),
        format!("/run/user/{own}/podman/podman.sock"),
    ];
    let n1 = N1.iter().map(|path| ("N1", PathBuf::from(path)));
    let n2 = N2.iter().map(PathBuf::from).chain(own.iter().map(PathBuf::from)).map(|path| ("N2", path));
    n1.chain(n2)
        .map(|(row, path)| must_fail(row, format!("reach {}", path.display()), FILES, UnixStream::connect(&path)))
        .collect()
}

fn process_1() -> Attempt {
    let read = fs::read("/proc/1/environ")
        .and_then(|bytes| if bytes.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(()) });
    let read = read.or_else(|_| OpenOptions::new().write(true).open("/proc/1/mem").map(drop));
    must_fail("K11", "read the environment or the memory of process 1".to_owned(), PRIVILEGES, read)
}

fn settings() -> Attempt {
    let opened = OpenOptions::new().write(true).open("/proc/sys/kernel/core_pattern");
    must_fail("M9", "write to the kernel's settings".to_owned(), FILES, opened)
}

/// With the loopback alone, and a device whose other end is the gate's, nothing leaves, whether the gate lives or not.
fn interfaces() -> Attempt {
    let what = "find a way out besides the gate";
    let read = |table: &str| fs::read_to_string(table).map_err(|error| format!("{table} cannot be read: {error}"));
    let tables = read("/proc/net/dev").and_then(|devices| {
        // A kernel without IPv6 has no table of its routes.
        Ok((devices, read("/proc/net/route")?, read("/proc/net/ipv6_route").unwrap_or_default()))
    });
    let ways = tables.map(|(devices, v4, v6)| ways_out(&devices, &v4, &v6));
    match ways {
        Ok(ways) if ways.is_empty() => stopped("M16", what, NETWORK, "what is up leads to the gate"),
        Ok(ways) => surprise("M16", what, NETWORK, format!("there is {}", ways.join(", "))),
        Err(why) => surprise("M16", what, NETWORK, why),
    }
}

/// Interfaces that have routes to something else than the gate. Tunnels that some kernels make in every namespace are down, and
/// have none.
fn ways_out(devices: &str, v4: &str, v6: &str) -> Vec<String> {
    let gate = net::gate_in_routes();
    let is_way = |name: &&str| {
        let of_it = |line: &&str| line.split_whitespace().next() == Some(name);
        let leads_to_gate = |line: &str| line.split_whitespace().skip(1).take(2).eq(["00000000", gate.as_str()]);
        let mut routes = v4.lines().filter(of_it).peekable();
        match routes.peek() {
            Some(_) => *name != net::AGENTS_END || !routes.all(leads_to_gate),
            None => v6.lines().any(|line| line.split_whitespace().next_back() == Some(name)),
        }
    };
    let names = devices.lines().filter_map(|line| Some(line.split_once(':')?.0.trim()));
    names.filter(|name| *name != "lo").filter(is_way).map(str::to_owned).collect()
}

/// What the kernel says of this process (proc_pid_status(5)).
fn status(filtered: bool) -> Attempt {
    let what = "find a privilege that is left";
    let status = match fs::read_to_string("/proc/self/status") {
        Ok(status) => status,
        Err(error) => return surprise("M11", what, PRIVILEGES, format!("/proc/self/status cannot be read: {error}")),
    };
    match privilege_left(&status, filtered) {
        None => stopped("M11", what, PRIVILEGES, "no capability, no new privileges"),
        Some(line) => surprise("M11", what, PRIVILEGES, line),
    }
}

/// The first line that is not as it must be.
fn privilege_left(status: &str, filtered: bool) -> Option<String> {
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim);
    let capabilities = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|name| (name, "0000000000000000"));
    let mut wanted = capabilities.to_vec();
    wanted.push(("NoNewPrivs", "1"));
    if filtered {
        wanted.push(("Seccomp", "2"));
    }
    let wrong = wanted.iter().find(|(name, value)| field(name) != Some(value))?;
    Some(format!("{} is {}", wrong.0, field(wrong.0).unwrap_or("not there")))
}

/// A socket of the same network namespace, from before Landlock: only its scope stands between.
fn abstract_socket(canary: &Canary) -> Attempt {
    let (row, what, control) = ("N3", "reach an abstract socket beyond the fence", Feature::Landlock.name());
    let Some(beyond) = &canary.beyond else { return left_out(row, what, control) };
    let connected = SocketAddr::from_abstract_name(&beyond.name).and_then(|address| UnixStream::connect_addr(&address));
    must_fail(row, what.to_owned(), control, connected)
}

pub(super) fn listen_abstract(name: &[u8]) -> io::Result<UnixListener> {
    UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLEAN: &str = "Name:\tx\nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\n\
                         CapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\nNoNewPrivs:\t1\nSeccomp:\t2\n";

    #[track_caller]
    fn check(from: &str, to: &str, filtered: bool, expected: Option<&str>) {
        assert_eq!(privilege_left(&CLEAN.replace(from, to), filtered).as_deref(), expected);
    }

    #[test]
    fn what_is_left_of_privileges_is_named() {
        check("", "", true, None);
        check("Seccomp:\t2", "Seccomp:\t0", false, None);
        check("Seccomp:\t2", "Seccomp:\t0", true, Some("Seccomp is 0"));
        check("NoNewPrivs:\t1", "NoNewPrivs:\t0", true, Some("NoNewPrivs is 0"));
        check("CapBnd:\t0000000000000000", "CapBnd:\t0000000000200000", true, Some("CapBnd is 0000000000200000"));
        check("CapAmb", "Other", true, Some("CapAmb is not there"));
    }

    #[test]
    fn ways_besides_the_gate_are_named() {
        const DEVICES: &str = "Inter-| Receive\n face |bytes\n    lo: 0\n  eth0: 0\n tunl0: 0\n";
        const TO_GATE: &str = "Iface\tDestination\tGateway\neth0\t00000000\tGATE\t0003\n";
        #[track_caller]
        fn check(v4: &str, v6: &str, expected: &[&str]) {
            assert_eq!(ways_out(DEVICES, &v4.replace("GATE", &net::gate_in_routes()), v6), expected);
        }
        let v6 = |name: &str| format!("00 00 00 00 00 00 00 00 00 {name}\n");
        check("", "", &[]);
        check("", &v6("lo"), &[]);
        check(TO_GATE, &v6("eth0"), &[]);
        check(&format!("{TO_GATE}eth0\t0000A8C0\t00000000\t0001\n"), "", &["eth0"]);
        check(&TO_GATE.replace("GATE", "0100A8C0"), "", &["eth0"]);
        check(&format!("{TO_GATE}tunl0\t00000000\tGATE\t0003\n"), "", &["tunl0"]);
        check(TO_GATE, &v6("tunl0"), &["tunl0"]);
        check("", &v6("eth0"), &["eth0"]);
    }
}
