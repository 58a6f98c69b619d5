//! The demo's agent. It runs inside the sandbox and tries things; it knows nothing of the outside.

use std::io::{Error, ErrorKind, Result};
use std::net::{SocketAddr, UdpSocket};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::ValueEnum;
use nix::errno::Errno;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use super::client::{Reply, Way, http, https};
use super::{API, FILES, TOKEN};
use crate::failure::{Failure, Kind};

/// The programs of the demo: one file under three names, since a policy tells programs by their path.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Role {
    /// Starts the other two. A program has the rights of those that started it, so neither may be the other's child.
    Launcher,
    /// The one that the policy names.
    Agent,
    /// The one that it does not.
    Impostor,
}

/// Plays a part inside the sandbox.
pub fn play(role: Role) -> std::result::Result<ExitCode, Failure> {
    match role {
        Role::Launcher => launch(),
        Role::Agent => agent(),
        Role::Impostor => impostor(),
    }
}

fn launch() -> std::result::Result<ExitCode, Failure> {
    let own = std::env::current_exe().map_err(|e| Failure::new(Kind::Other, e.to_string()))?;
    for role in ["agent", "impostor"] {
        let status = Command::new(own.with_file_name(role)).args(["demo-agent", role]).status();
        if !status.is_ok_and(|status| status.success()) {
            return Err(Failure::new(Kind::Other, format!("the demo's {role} was surprised")));
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Tries everything, prints a line each, and fails when one thing is not as it should be.
fn agent() -> std::result::Result<ExitCode, Failure> {
    let token = std::env::var(TOKEN).unwrap_or_default();
    println!("the agent, inside:");
    println!("  holds     {TOKEN}={token}");
    let mut surprises = 0;
    for (what, tried) in tries(&token) {
        match tried {
            Ok(line) => println!("  {line}"),
            Err(surprise) => {
                surprises += 1;
                println!("  SURPRISE  {what}: {surprise}");
            }
        }
    }
    if surprises > 0 {
        return Err(Failure::new(Kind::Other, format!("{surprises} things were not as they should be")));
    }
    Ok(ExitCode::SUCCESS)
}

type Try = (&'static str, Result<String>);

fn tries(token: &str) -> Vec<Try> {
    vec![
        ("proxy", hello(Way::Proxy, token)),
        ("direct", hello(Way::Direct, token)),
        ("path", refused(Way::Proxy, "GET", API, "/v1/admin", None, "policy_denied", "another path")),
        ("method", refused(Way::Direct, "DELETE", API, "/v1/hello", None, "policy_denied", "another method")),
        ("host", refused(Way::Proxy, "GET", "evil.demo.test", "/", None, "policy_denied", "another host")),
        ("token", misplaced_token(token)),
        ("raw", raw_socket()),
        ("tcp", address("93.184.215.14:80", "an address, past DNS")),
        ("metadata", address("169.254.169.254:80", "the cloud's metadata")),
        ("dns", direct_dns()),
        ("udp", udp()),
        ("reload", reload()),
    ]
}

fn hello(way: Way, token: &str) -> Result<String> {
    let reply = https(way, "GET", API, "/v1/hello", Some(token))?;
    let how = match way {
        Way::Proxy => "by the proxy variables",
        Way::Direct => "knowing of no proxy",
    };
    expect(reply.status == 200 && reply.body.contains(token), &reply)?;
    Ok(format!(
        "allowed   GET https://{API}/v1/hello  {how}\n  scrubbed  the service echoed its token; the reply says: {}",
        reply.body
    ))
}

fn refused(
    way: Way,
    method: &str,
    host: &str,
    path: &str,
    token: Option<&str>,
    error: &str,
    what: &str,
) -> Result<String> {
    let reply = https(way, method, host, path, token)?;
    expect(reply.status == 403 && field(&reply.body, "error") == error, &reply)?;
    Ok(format!("denied    {method} https://{host}{path}  {what}: {}", field(&reply.body, "detail")))
}

fn misplaced_token(token: &str) -> Result<String> {
    let error = "credential_endpoint_mismatch";
    refused(Way::Proxy, "GET", FILES, "/", Some(token), error, "the token at a service it is not for")
}

/// Tries what only the agent may.
fn impostor() -> std::result::Result<ExitCode, Failure> {
    let line = refused(Way::Proxy, "GET", API, "/v1/hello", None, "policy_denied", "another binary")
        .map_err(|e| Failure::new(Kind::Other, e.to_string()))?;
    println!("  {line}");
    Ok(ExitCode::SUCCESS)
}

fn raw_socket() -> Result<String> {
    match socket(AddressFamily::Packet, SockType::Raw, SockFlag::empty(), None) {
        Err(error @ (Errno::EPERM | Errno::EACCES | Errno::EAFNOSUPPORT)) => {
            Ok(format!("denied    a raw socket: {}", error.desc()))
        }
        Err(error) => Err(error.into()),
        Ok(_) => Err(Error::other("a raw socket was opened")),
    }
}

fn address(address: &str, what: &str) -> Result<String> {
    let address: SocketAddr = address.parse().map_err(Error::other)?;
    let reply = http(address, "/")?;
    expect(reply.status == 403, &reply)?;
    Ok(format!("denied    TCP {address}  {what}: {}", field(&reply.body, "reason")))
}

/// A question for a name that no policy entry covers, to a resolver of the agent's choice.
fn direct_dns() -> Result<String> {
    const QUESTION: &[u8] =
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x04evil\x04demo\x04test\x00\x00\x01\x00\x01";
    const NAME_DOES_NOT_EXIST: u8 = 3;
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.connect("8.8.8.8:53")?;
    socket.send(QUESTION)?;
    let mut reply = [0; 512];
    let read = socket.recv(&mut reply)?;
    if reply[..2] != QUESTION[..2] || reply[3] & 15 != NAME_DOES_NOT_EXIST || read < QUESTION.len() {
        return Err(Error::other("the name was answered"));
    }
    Ok("denied    DNS evil.demo.test at 8.8.8.8: the gate says there is no such name, no query left".to_owned())
}

fn udp() -> Result<String> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(Duration::from_secs(10)))?;
    socket.connect("1.1.1.1:443")?;
    socket.send(b"hello")?;
    match socket.recv(&mut [0; 16]) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            Ok("denied    UDP 1.1.1.1:443: refused at once".to_owned())
        }
        Err(error) => Err(error),
        Ok(_) => Err(Error::other("an answer came")),
    }
}

/// Asks the service to have the operator widen the policy, then tries until it is.
fn reload() -> Result<String> {
    refused(Way::Proxy, "GET", API, "/v1/drafts", None, "policy_denied", "not yet")?;
    let asked = https(Way::Proxy, "POST", API, "/v1/policy-please", None)?;
    expect(asked.status == 200, &asked)?;
    for _ in 0..RELOAD_TRIES {
        let reply = https(Way::Proxy, "GET", API, "/v1/drafts", None)?;
        if reply.status == 200 {
            return Ok(format!(
                "reloaded  GET https://{API}/v1/drafts  denied, then allowed: the policy file was edited meanwhile"
            ));
        }
        std::thread::sleep(RELOAD_PAUSE);
    }
    Err(Error::other("the edited policy never came into force"))
}

/// Ten seconds in all; a reload takes milliseconds.
const RELOAD_TRIES: u32 = 500;
const RELOAD_PAUSE: Duration = Duration::from_millis(20);

fn expect(as_it_should_be: bool, reply: &Reply) -> Result<()> {
    if as_it_should_be { Ok(()) } else { Err(Error::other(format!("HTTP {}: {}", reply.status, reply.body))) }
}

fn field(body: &str, name: &str) -> String {
    let problem: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    problem[name].as_str().unwrap_or_default().to_owned()
}
