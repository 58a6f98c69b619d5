//! The way to token endpoints: the operator's pins and authorities, as the gate has them.

use std::path::PathBuf;
use std::sync::Arc;

use http::Uri;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tollgate_model::Authority;
use tollgate_policy::Reach;
use tollgate_proxy::{Limits, Pin, Resolver, upstream_config};

use crate::failure::{Failure, Kind};

/// Which authorities are believed and where pinned names live.
#[derive(Clone)]
pub struct Network {
    resolver: Arc<Resolver>,
    tls: Arc<ClientConfig>,
}

/// Either kind of stream.
pub trait Io: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Io for T {}

impl Network {
    /// With the operator's pins and further authorities.
    pub fn new(pins: &[Pin], upstream_cas: &[PathBuf]) -> Result<Self, Failure> {
        let tls = upstream_config(upstream_cas).map_err(|e| Failure::new(Kind::Usage, e.to_string()))?;
        Ok(Self::of(pins, tls))
    }

    /// With trust that was read already.
    pub fn of(pins: &[Pin], tls: ClientConfig) -> Self {
        Self { resolver: Arc::new(Resolver::new(pins, &Limits::default())), tls: Arc::new(tls) }
    }

    /// Connects to the server of a URL, and for https verifies its certificate.
    ///
    /// # Errors
    /// What happened, to follow the server's name in a sentence.
    pub async fn connect(&self, url: &Uri) -> Result<Box<dyn Io>, String> {
        let is_tls = url.scheme_str() == Some("https");
        let port = url.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
        let host = url.host().unwrap_or_default();
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = self.dial(host, bare, port).await.map_err(|e| format!("cannot be reached: {e}"))?;
        if !is_tls {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(bare.to_owned()).map_err(|e| e.to_string())?;
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await;
        Ok(Box::new(stream.map_err(|e| format!("has no acceptable TLS: {e}"))?))
    }

    async fn dial(&self, host: &str, bare: &str, port: u16) -> Result<TcpStream, String> {
        // Named by the operator; a policy could not open it.
        if LOOPBACK.contains(&host) {
            return TcpStream::connect((bare, port)).await.map_err(|e| e.to_string());
        }
        let authority = Authority::parse(&format!("{host}:{port}")).map_err(|e| e.to_string())?;
        let addresses = self.resolver.resolve(&authority, &Reach::Declared).await.map_err(|e| e.to_string())?;
        TcpStream::connect(&*addresses).await.map_err(|e| e.to_string())
    }
}

/// Hosts of a URL at which nobody else can listen.
pub const LOOPBACK: &[&str] = &["localhost", "127.0.0.1", "[::1]"];
