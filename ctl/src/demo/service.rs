//! The demo's service: HTTPS on loopback, echoing the token it was sent, remembering what it saw.

use std::convert::Infallible;
use std::error::Error;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A service that is bound and not served yet.
pub struct Service {
    listener: TcpListener,
    address: SocketAddr,
    acceptor: TlsAcceptor,
}

/// One request that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    pub line: String,
    pub authorization: String,
}

/// Everything that arrived.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<Mutex<Vec<Arrived>>>);

/// What a request to `/v1/policy-please` does: the operator's hand on the policy file.
#[derive(Debug)]
pub struct Edit {
    pub file: PathBuf,
    pub text: String,
}

impl Service {
    /// Draws an authority and a certificate, writes the authority to `ca`, and binds a port on loopback.
    pub fn bind(ca: &Path, names: &[&str]) -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let acceptor = TlsAcceptor::from(Arc::new(certificate(ca, names)?));
        Ok(Self { listener, address, acceptor })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until the runtime ends; makes the edit when it is asked for a wider policy.
    pub fn serve(self, edit: Option<Edit>) -> Result<Seen> {
        let listener = tokio::net::TcpListener::from_std(self.listener)?;
        let seen = Seen::default();
        let (acceptor, edit, all) = (self.acceptor, Arc::new(edit), seen.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, edit, seen) = (acceptor.clone(), Arc::clone(&edit), all.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(move |request| {
                        let reply = answer(&request, &seen, &edit);
                        async move { Ok::<_, Infallible>(reply) }
                    });
                    // The agent's side says what is wrong with a connection that broke.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Ok(seen)
    }
}

impl Seen {
    /// In the order of arrival.
    pub fn all(&self) -> Vec<Arrived> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, arrived: Arrived) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(arrived);
    }
}

fn answer(request: &Request<Incoming>, seen: &Seen, edit: &Option<Edit>) -> Response<Full<Bytes>> {
    let authorization = request.headers().get(header::AUTHORIZATION);
    let authorization = authorization.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let authorization = authorization.unwrap_or_default();
    let line = format!("{} {}", request.method(), request.uri());
    let body = format!("{{\"you_sent\":\"{authorization}\"}}\n");
    seen.add(Arrived { line, authorization });
    let mut response = Response::new(Full::from(body));
    if request.uri().path() == "/v1/policy-please"
        && let Some(edit) = edit
        && let Err(error) = std::fs::write(&edit.file, &edit.text)
    {
        *response.body_mut() = Full::from(error.to_string());
        *response.status_mut() = http::StatusCode::INTERNAL_SERVER_ERROR;
    }
    response
}

fn certificate(ca: &Path, names: &[&str]) -> Result<rustls::ServerConfig> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    std::fs::write(ca, issuer.pem())?;
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())?
        .signed_by(&key, &issuer)?;
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok(rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(vec![leaf.der().clone()], key)?)
}
