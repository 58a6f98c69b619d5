//! The gate from inside: connections, names and datagrams that it must refuse whatever the policy says.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use tollgate_wire::proof::{Attempt, Proof};

use super::{hello, stopped, surprise};
use crate::net::EXPLICIT_PORT;

const GATE: &str = "gate";
const CAPTURE: &str = "network-namespace";

/// The gate answers in milliseconds; a machine under full load may take seconds.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) fn attempts(proof: &Proof) -> Vec<Attempt> {
    let name = &proof.name;
    let connect = |target: &str| format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
    let explicit = |row, what: &str, request: &str| refused(row, what, GATE, exchange(proxy(), request.as_bytes()));
    let mut attempts = vec![
        explicit("A1", "CONNECT to an address written as one number", &connect("2130706433:443")),
        explicit("A2", "CONNECT to a mapped metadata address", &connect("[::ffff:169.254.169.254]:80")),
        explicit("A14", "CONNECT to an address", &connect("192.0.2.1:443")),
        explicit("H1", "CONNECT to port 25", &connect(&format!("{name}:25"))),
        explicit("S2", "CONNECT to the gate through the gate", &connect(&format!("127.0.0.1:{EXPLICIT_PORT}"))),
        explicit(
            "C1",
            "a request with two lengths",
            &format!(
                "POST http://{name}/ HTTP/1.1\r\nHost: {name}\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
            ),
        ),
        explicit(
            "K1",
            "a placeholder sent elsewhere",
            &format!(
                "GET http://{name}/ HTTP/1.1\r\nHost: {name}\r\nAuthorization: Bearer openshell:resolve:env:DECOY\r\n\r\n"
            ),
        ),
    ];
    attempts.extend(proof.tunnel.as_deref().map(|target| false_name(target, name)));
    attempts.extend([
        direct("J2", "the metadata service", METADATA, 80),
        direct("I4", "a public resolver over TLS", RESOLVER, 853),
        datagram(),
        question("I1", "a name that nobody may ask for", Ipv4Addr::LOCALHOST, name),
        question("I4", "the same at a public resolver", RESOLVER, name),
    ]);
    attempts
}

const METADATA: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
const RESOLVER: Ipv4Addr = Ipv4Addr::new(8, 8, 8, 8);

fn proxy() -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), EXPLICIT_PORT)
}

fn open(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Sends a request and reads the beginning of the reply.
fn exchange(to: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = open(to)?;
    stream.write_all(request)?;
    beginning(&mut stream)
}

/// The status line at least, or all there is.
fn beginning(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut reply = Vec::new();
    let mut part = [0; 4096];
    while reply.len() < STATUS_LINE {
        match stream.read(&mut part)? {
            0 => break,
            read => reply.extend_from_slice(&part[..read]),
        }
    }
    Ok(reply)
}

/// `HTTP/1.1 403`.
const STATUS_LINE: usize = 12;

/// A refusal has a status of 400 to 499; an end without a word, and a connection that is refused, are none either way.
fn refused(row: &str, what: &str, control: &str, reply: io::Result<Vec<u8>>) -> Attempt {
    let reply = match reply {
        Ok(reply) => reply,
        Err(error) if is_silence(&error) => {
            return surprise(row, what, control, format!("no answer within {} s", PATIENCE.as_secs()));
        }
        Err(error) => return stopped(row, what, control, error.kind().to_string()),
    };
    let status = reply.get(..STATUS_LINE).map(String::from_utf8_lossy).unwrap_or_default();
    match status.strip_prefix("HTTP/1.1 ") {
        None if reply.is_empty() => stopped(row, what, control, "closed"),
        Some(status) if status.starts_with('4') => stopped(row, what, control, status),
        _ => surprise(row, what, control, format!("it was answered {}", status.escape_debug())),
    }
}

fn is_silence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}

/// An allowed tunnel and another name in its TLS.
fn false_name(target: &str, name: &str) -> Attempt {
    const WHAT: &str = "another name in the TLS of a tunnel";
    let reply = open(proxy()).and_then(|mut stream| {
        stream.write_all(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n").as_bytes())?;
        let reply = beginning(&mut stream)?;
        if !reply.starts_with(b"HTTP/1.1 2") {
            return Ok(Err(reply));
        }
        stream.write_all(&hello::client_hello(name))?;
        beginning(&mut stream).map(Ok)
    });
    match reply {
        // The canary may be none of the programs that the policy lets through there.
        Ok(Err(reply)) => refused("B1", WHAT, GATE, Ok(reply)),
        Ok(Ok(reply)) if reply.first() == Some(&hello::HANDSHAKE) => {
            surprise("B1", WHAT, GATE, "the handshake went on")
        }
        Ok(Ok(_)) => stopped("B1", WHAT, GATE, "alert"),
        Err(error) => refused("B1", WHAT, GATE, Err(error)),
    }
}

/// A connection that knows of no proxy.
fn direct(row: &str, what: &str, address: Ipv4Addr, port: u16) -> Attempt {
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\n\r\n");
    refused(row, what, GATE, exchange(SocketAddr::new(IpAddr::V4(address), port), request.as_bytes()))
}

/// UDP besides DNS: refused by the kernel at once, since nothing listens.
fn datagram() -> Attempt {
    const WHAT: &str = "a datagram to a public address";
    let sent = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect((RESOLVER, 443))?;
        socket.send(&[0; 16])?;
        socket.recv(&mut [0; 16])
    });
    match sent {
        Err(error) if !is_silence(&error) => stopped("I4", WHAT, CAPTURE, error.kind().to_string()),
        Err(_) => surprise("I4", WHAT, CAPTURE, "nobody refused it"),
        Ok(_) => surprise("I4", WHAT, CAPTURE, "it was answered"),
    }
}

/// A question (RFC 1035, section 4) for a name's addresses; the gate must answer it, with none.
fn question(row: &str, what: &str, resolver: Ipv4Addr, name: &str) -> Attempt {
    let asked = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).and_then(|socket| {
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.connect((resolver, 53))?;
        socket.send(&query(name))?;
        let mut reply = [0; 512];
        let length = socket.recv(&mut reply)?;
        Ok(reply[..length].to_vec())
    });
    match asked {
        Ok(reply) if reply.get(..2) == Some(&QUERY_ID) && reply.get(6..8) == Some(&[0, 0]) => {
            stopped(row, what, "dns", format!("code {}", reply[3] & 0xf))
        }
        Ok(_) => surprise(row, what, "dns", "it was answered"),
        Err(error) => surprise(row, what, "dns", format!("the gate does not answer names: {error}")),
    }
}

const QUERY_ID: [u8; 2] = [0x54, 0x47];

fn query(name: &str) -> Vec<u8> {
    let mut query = [&QUERY_ID[..], &[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]].concat();
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).unwrap_or(u8::MAX));
        query.extend_from_slice(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    query
}
