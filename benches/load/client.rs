//! A client of whatever is measured: connections through CONNECT with TLS inside, or straight where a proxy takes TLS itself.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tollgate_benches::pieces::Pieces;

use crate::Result;

/// How a client reaches the service.
#[derive(Clone)]
pub struct Client {
    pub to: SocketAddr,
    /// Whether `to` is to be asked for a tunnel.
    pub tunnels: bool,
    /// Port of the service, as tunnels name it.
    pub port: u16,
    pub authorization: String,
    http1: TlsConnector,
    http2: TlsConnector,
}

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
pub enum Ask {
    Small,
    Down(u64),
    Up(u64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http1,
    Http2,
}

type Body = Either<Full<Bytes>, Pieces>;

/// An open connection.
pub enum Connection {
    Http1(http1::SendRequest<Body>, String),
    Http2(http2::SendRequest<Body>, String),
}

const WINDOWS: (u32, u32) = (4 * 1024 * 1024, 16 * 1024 * 1024);

impl Client {
    /// A client that trusts `ca` and resumes no session: every handshake is a whole one.
    pub fn new(to: SocketAddr, tunnels: bool, port: u16, authorization: &str, ca: &str) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes())?)?;
        let connector = |protocol: &str| {
            let mut tls = ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
            tls.alpn_protocols = vec![protocol.into()];
            tls.resumption = Resumption::disabled();
            TlsConnector::from(Arc::new(tls))
        };
        let (http1, http2) = (connector("http/1.1"), connector("h2"));
        Ok(Self { to, tunnels, port, authorization: authorization.to_owned(), http1, http2 })
    }

    /// Opens a connection to one of the names of the service.
    pub async fn open(&self, name: &str, protocol: Protocol) -> Result<Connection> {
        let authority = format!("{name}:{}", self.port);
        let stream = self.tls(name, protocol).await?;
        match protocol {
            Protocol::Http1 => {
                let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                Ok(Connection::Http1(sender, authority))
            }
            Protocol::Http2 => {
                let mut http = http2::Builder::new(TokioExecutor::new());
                http.initial_stream_window_size(WINDOWS.0).initial_connection_window_size(WINDOWS.1);
                let (sender, connection) = http.handshake(TokioIo::new(stream)).await?;
                tokio::spawn(connection);
                Ok(Connection::Http2(sender, authority))
            }
        }
    }

    async fn tls(&self, name: &str, protocol: Protocol) -> Result<TlsStream<TcpStream>> {
        let mut stream = TcpStream::connect(self.to).await?;
        stream.set_nodelay(true)?;
        if self.tunnels {
            tunnel(&mut stream, &format!("{name}:{}", self.port)).await?;
        }
        let connector = match protocol {
            Protocol::Http1 => &self.http1,
            Protocol::Http2 => &self.http2,
        };
        Ok(connector.connect(ServerName::try_from(name.to_owned())?, stream).await?)
    }
}

async fn tunnel(stream: &mut TcpStream, authority: &str) -> Result<()> {
    stream.write_all(format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n").as_bytes()).await?;
    let (mut answer, mut piece) = (Vec::new(), [0; 512]);
    while !answer.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut piece).await?;
        answer.extend_from_slice(&piece[..count]);
        if count == 0 || answer.len() > 8192 {
            return Err(format!("CONNECT got no answer: {}", String::from_utf8_lossy(&answer)).into());
        }
    }
    if !answer.starts_with(b"HTTP/1.1 200") && !answer.starts_with(b"HTTP/1.0 200") {
        return Err(format!("CONNECT was refused: {}", String::from_utf8_lossy(&answer)).into());
    }
    Ok(())
}

impl Connection {
    /// Another handle on the same connection, where its protocol has streams.
    pub fn another(&self) -> Option<Self> {
        match self {
            Self::Http1(..) => None,
            Self::Http2(sender, authority) => Some(Self::Http2(sender.clone(), authority.clone())),
        }
    }

    /// One request and its whole reply. Returns how many bytes of bodies went either way.
    pub async fn ask(&mut self, ask: Ask, authorization: &str) -> Result<u64> {
        let mut body = self.begin(ask.method(), &ask.path(), ask.body(), authorization).await?.into_body();
        let mut count = 0;
        while let Some(frame) = body.frame().await {
            count += frame?.data_ref().map_or(0, |data| data.len() as u64);
        }
        match ask {
            Ask::Small if count > 0 => Ok(0),
            Ask::Down(size) if count == size => Ok(size),
            Ask::Up(size) if count > 0 => Ok(size),
            _ => Err(format!("{ask:?} got a reply of {count} bytes").into()),
        }
    }

    /// The body of a reply, as text.
    pub async fn text(&mut self, path: &str, authorization: &str) -> Result<String> {
        let reply = self.begin(Method::GET, path, Ask::Small.body(), authorization).await?;
        Ok(String::from_utf8(reply.into_body().collect().await?.to_bytes().to_vec())?)
    }

    /// Sends a request and waits for the head of its reply, which must be a 200.
    pub async fn begin(
        &mut self,
        method: Method,
        path: &str,
        body: Body,
        authorization: &str,
    ) -> Result<Response<Incoming>> {
        let request = Request::builder().method(method);
        let request = match self {
            Self::Http1(_, authority) => request.uri(path).header(header::HOST, &*authority),
            Self::Http2(_, authority) => request.uri(format!("https://{authority}{path}")),
        };
        let request = request
            .header(header::USER_AGENT, "load/1.0 (an agent's client)")
            .header(header::ACCEPT, "application/json")
            .header(header::ACCEPT_ENCODING, "identity")
            .header("x-request-source", "bench")
            .header(header::AUTHORIZATION, authorization)
            .body(body)?;
        let reply = match self {
            Self::Http1(sender, _) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
            Self::Http2(sender, _) => {
                sender.ready().await?;
                sender.send_request(request).await?
            }
        };
        if reply.status() == StatusCode::OK {
            return Ok(reply);
        }
        let (head, body) = reply.into_parts();
        let text = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
        Err(format!("{path} was answered with {}: {}", head.status, String::from_utf8_lossy(&text)).into())
    }
}

impl Ask {
    fn method(self) -> Method {
        if matches!(self, Self::Up(_)) { Method::POST } else { Method::GET }
    }

    fn path(self) -> String {
        match self {
            Self::Small => "/v1/json".to_owned(),
            Self::Down(size) => format!("/v1/bytes/{size}"),
            Self::Up(_) => "/v1/sink".to_owned(),
        }
    }

    fn body(self) -> Body {
        match self {
            Self::Up(size) => Either::Right(Pieces(size)),
            Self::Small | Self::Down(_) => Either::Left(Full::default()),
        }
    }
}
