//! A blocking HTTPS client in a few lines: the demo's agent needs to see exactly what goes over each way.

use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub body: String,
}

/// How the connection is made.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    /// CONNECT to the proxy of `HTTPS_PROXY`.
    Proxy,
    /// Resolve the name and connect, as a program that knows of no proxy.
    Direct,
}

/// Nothing here takes longer, even on a loaded machine.
const TIMEOUT: Duration = Duration::from_secs(20);

/// More than any reply of the demo has.
const MAX_REPLY: u64 = 1 << 20;

/// One HTTPS request. A refused CONNECT is a reply as well.
pub fn https(way: Way, method: &str, host: &str, path: &str, token: Option<&str>) -> Result<Reply> {
    let stream = match way {
        Way::Direct => connect((host, 443))?,
        Way::Proxy => match tunnel(host)? {
            Tunnel::Open(stream) => stream,
            Tunnel::Refused(reply) => return Ok(reply),
        },
    };
    let name = ServerName::try_from(host.to_owned()).map_err(|e| Error::new(ErrorKind::InvalidInput, e))?;
    let session = ClientConnection::new(trust()?, name).map_err(Error::other)?;
    ask(StreamOwned::new(session, stream), method, host, path, token)
}

/// One request in clear, straight to an address.
pub fn http(address: SocketAddr, path: &str) -> Result<Reply> {
    ask(connect(address)?, "GET", &address.ip().to_string(), path, None)
}

enum Tunnel {
    Open(TcpStream),
    Refused(Reply),
}

fn tunnel(host: &str) -> Result<Tunnel> {
    let proxy = std::env::var("HTTPS_PROXY").map_err(Error::other)?;
    let mut stream = connect(proxy.trim_start_matches("http://"))?;
    write!(stream, "CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n")?;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    if status(&head)? == 200 {
        return Ok(Tunnel::Open(stream));
    }
    stream.take(MAX_REPLY).read_to_end(&mut head)?;
    parse(&head).map(Tunnel::Refused)
}

fn connect(to: impl ToSocketAddrs) -> Result<TcpStream> {
    let address = to.to_socket_addrs()?.next().ok_or(ErrorKind::AddrNotAvailable)?;
    let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn ask(mut stream: impl Read + Write, method: &str, host: &str, path: &str, token: Option<&str>) -> Result<Reply> {
    let authorization = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {host}\r\n{authorization}Content-Length: 0\r\nConnection: close\r\n\r\n"
    )?;
    stream.flush()?;
    let mut bytes = Vec::new();
    match stream.take(MAX_REPLY).read_to_end(&mut bytes) {
        // Some peers close without a TLS goodbye; the length tells whether all is there.
        Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(error),
        _ => {}
    }
    parse(&bytes)
}

fn parse(bytes: &[u8]) -> Result<Reply> {
    let text = String::from_utf8_lossy(bytes);
    let (_, body) = text.split_once("\r\n\r\n").ok_or(ErrorKind::UnexpectedEof)?;
    Ok(Reply { status: status(bytes)?, body: body.trim().to_owned() })
}

fn status(head: &[u8]) -> Result<u16> {
    let digits = head.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| ErrorKind::InvalidData.into())
}

fn trust() -> Result<Arc<ClientConfig>> {
    let path = std::env::var("SSL_CERT_FILE").map_err(Error::other)?;
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_file_iter(path).map_err(Error::other)?.flatten());
    Ok(Arc::new(ClientConfig::builder().with_root_certificates(roots).with_no_client_auth()))
}
