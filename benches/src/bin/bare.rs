//! The floor of a TLS-terminating proxy on the libraries that the gate is built of: CONNECT, a minted and cached leaf, pooled
//! upstream connections (HTTP/1 to HTTP/1, HTTP/2 to HTTP/2), one header replaced. It judges nothing and records nothing.
//!
//! `bare CA.pem CA.key UPSTREAM-CA.pem UPSTREAM-ADDRESS AUTHORIZATION` says on its first line where it listens.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use http::{HeaderValue, Method, Request, Response, header};
use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{client, server};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

struct Bare {
    issuer: Issuer<'static, KeyPair>,
    key: KeyPair,
    leaves: Mutex<HashMap<String, TlsAcceptor>>,
    connectors: [TlsConnector; 2],
    upstream: SocketAddr,
    authorization: HeaderValue,
    idle: Mutex<HashMap<String, VecDeque<client::conn::http1::SendRequest<Incoming>>>>,
    shared: tokio::sync::Mutex<HashMap<String, client::conn::http2::SendRequest<Incoming>>>,
}

const WINDOWS: (u32, u32) = (1024 * 1024, 4 * 1024 * 1024);

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ca, key, upstream_ca, upstream, authorization] = arguments.as_slice() else {
        return Err("bare CA.pem CA.key UPSTREAM-CA.pem UPSTREAM-ADDRESS AUTHORIZATION".into());
    };
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(upstream_ca)?)?;
    let connector = |protocol: &str| {
        let mut tls = ClientConfig::builder().with_root_certificates(roots.clone()).with_no_client_auth();
        tls.alpn_protocols = vec![protocol.into()];
        TlsConnector::from(Arc::new(tls))
    };
    let signing = KeyPair::from_pem(&std::fs::read_to_string(key)?)?;
    let bare = Arc::new(Bare {
        issuer: Issuer::from_ca_cert_pem(&std::fs::read_to_string(ca)?, signing)?,
        key: KeyPair::generate()?,
        leaves: Mutex::default(),
        connectors: [connector("http/1.1"), connector("h2")],
        upstream: upstream.parse()?,
        authorization: HeaderValue::try_from(authorization)?,
        idle: Mutex::default(),
        shared: tokio::sync::Mutex::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let bare = Arc::clone(&bare);
        let service = service_fn(move |request| connect(Arc::clone(&bare), request));
        let http = server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(http.with_upgrades());
    }
}

async fn connect(bare: Arc<Bare>, mut request: Request<Incoming>) -> Result<Response<Empty<Bytes>>> {
    let authority = request.uri().authority().filter(|_| request.method() == Method::CONNECT);
    let authority = authority.ok_or("only CONNECT is served")?.to_string();
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move { serve(bare, authority, TokioIo::new(upgrade.await?)).await });
    Ok(Response::new(Empty::new()))
}

async fn serve(bare: Arc<Bare>, authority: String, stream: TokioIo<hyper::upgrade::Upgraded>) -> Result<()> {
    let stream = bare.acceptor(&authority)?.accept(stream).await?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let service = service_fn(move |request| forward(Arc::clone(&bare), authority.clone(), is_http2, request));
    if is_http2 {
        let mut http = server::conn::http2::Builder::new(TokioExecutor::new());
        http.initial_stream_window_size(WINDOWS.0).initial_connection_window_size(WINDOWS.1);
        return Ok(http.serve_connection(TokioIo::new(stream), service).await?);
    }
    Ok(server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await?)
}

type Reply = Response<Either<Incoming, Empty<Bytes>>>;

async fn forward(bare: Arc<Bare>, to: String, is_http2: bool, mut request: Request<Incoming>) -> Result<Reply> {
    request.headers_mut().insert(header::AUTHORIZATION, bare.authorization.clone());
    if is_http2 {
        let mut sender = bare.stream(&to).await?;
        return Ok(sender.send_request(request).await?.map(Either::Left));
    }
    let mut sender = bare.connection(&to).await?;
    let reply = sender.send_request(request).await?;
    bare.idle.lock().unwrap_or_else(PoisonError::into_inner).entry(to).or_default().push_back(sender);
    Ok(reply.map(Either::Left))
}

impl Bare {
    fn acceptor(&self, authority: &str) -> Result<TlsAcceptor> {
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(acceptor) = leaves.get(authority) {
            return Ok(acceptor.clone());
        }
        let leaf = CertificateParams::new([host(authority).to_owned()])?.signed_by(&self.key, &self.issuer)?;
        let key = PrivatePkcs8KeyDer::from(self.key.serialize_der());
        let tls = ServerConfig::builder().with_no_client_auth();
        let mut tls = tls.with_single_cert(vec![leaf.der().clone()], key.into())?;
        tls.alpn_protocols = vec!["h2".into(), "http/1.1".into()];
        Ok(leaves.entry(authority.to_owned()).or_insert(TlsAcceptor::from(Arc::new(tls))).clone())
    }

    /// An idle connection, the one that has been idle longest first: those whose replies are still read are behind it.
    async fn connection(&self, to: &str) -> Result<client::conn::http1::SendRequest<Incoming>> {
        if let Some(idle) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).get_mut(to) {
            idle.retain(|sender| !sender.is_closed());
            if let Some(ready) = idle.iter().position(|sender| sender.is_ready()) {
                return idle.swap_remove_back(ready).ok_or_else(|| "it was there".into());
            }
        }
        let (sender, connection) = client::conn::http1::handshake(self.dial(to, 0).await?).await?;
        tokio::spawn(connection);
        Ok(sender)
    }

    async fn stream(&self, to: &str) -> Result<client::conn::http2::SendRequest<Incoming>> {
        let mut shared = self.shared.lock().await;
        if let Some(sender) = shared.get(to).filter(|sender| !sender.is_closed()) {
            return Ok(sender.clone());
        }
        let mut http = client::conn::http2::Builder::new(TokioExecutor::new());
        http.initial_stream_window_size(WINDOWS.0).initial_connection_window_size(WINDOWS.1);
        let (sender, connection) = http.handshake(self.dial(to, 1).await?).await?;
        tokio::spawn(connection);
        shared.insert(to.to_owned(), sender.clone());
        Ok(sender)
    }

    async fn dial(&self, to: &str, protocol: usize) -> Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>> {
        let stream = TcpStream::connect(self.upstream).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(host(to).to_owned())?;
        Ok(TokioIo::new(self.connectors[protocol].connect(name, stream).await?))
    }
}

fn host(authority: &str) -> &str {
    authority.rsplit_once(':').map_or(authority, |(host, _)| host)
}
