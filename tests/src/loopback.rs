//! A gate in the test's own process, without a sandbox: for tests that send and receive bytes of their own making.

use std::future::Future;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};
use tollgate_audit::SigningKey;
use tollgate_proxy::{
    Capacity, CertificateAuthority, Dialer, Gate, Journal, LimitSetting, Limits, Pin, Pool, Resolver, Rotation, Rules,
    Setup, Sockets, upstream_config,
};
use tollgate_secrets::{Secret, SecretName, Vault};

/// What requests of tests carry.
pub type Body = BoxBody<Bytes, std::convert::Infallible>;

/// A gate with an explicit listener on loopback. Callers are outside any sandbox, so its policies name no programs.
pub struct Loopback {
    /// The gate.
    pub gate: Arc<Gate>,
    /// What is in force.
    pub rules: Arc<Rules>,
    /// Where it takes CONNECT.
    pub address: SocketAddr,
    /// Where it takes DNS questions in datagrams.
    pub dns: SocketAddr,
    folder: TempDir,
    journal: Arc<Journal>,
    certificate: String,
}

/// A gate to be.
pub struct Plan {
    policy: String,
    pins: Vec<Pin>,
    limits: Vec<LimitSetting>,
    secrets: Vec<Secret>,
}

/// An authority of upstreams, and the servers that it vouches for.
pub struct Upstreams {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A server whose every connection runs one script.
pub struct Scripted {
    /// Where it listens.
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

/// No single step of a test takes so long.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Fails the test when something does not happen in time.
///
/// # Panics
/// Then.
pub async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}

impl Upstreams {
    /// A new authority.
    #[must_use]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a root");
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).expect("written");
        Self { folder, issuer }
    }

    /// Its certificate.
    #[must_use]
    pub fn file(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// TLS settings for a server of this name that speaks these protocols (ALPN).
    #[must_use]
    pub fn config(&self, name: &str, protocols: &[&str]) -> Arc<rustls::ServerConfig> {
        let (chain, key) = self.leaf(name);
        let config = rustls::ServerConfig::builder().with_no_client_auth();
        let mut config = config.with_single_cert(chain, key).expect("usable");
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }

    /// A certificate for a server of this name, and its key.
    #[must_use]
    pub fn leaf(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf");
        (vec![leaf.der().clone()], PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())))
    }

    /// Serves TLS as `name`; the script gets each connection after its handshake.
    pub fn serve<F, S>(&self, name: &str, protocols: &[&str], script: S) -> Scripted
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(server::TlsStream<TcpStream>) -> F + Send + Sync + 'static,
    {
        Scripted::serve_tls(self.config(name, protocols), script)
    }
}

impl Default for Upstreams {
    fn default() -> Self {
        Self::new()
    }
}

impl Scripted {
    /// Serves plain TCP.
    pub fn serve<F, S>(script: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(TcpStream) -> F + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        listener.set_nonblocking(true).expect("set");
        let address = listener.local_addr().expect("bound");
        let connections = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&connections);
        tokio::spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("inside a runtime");
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                stream.set_nodelay(true).expect("set");
                tokio::spawn(script(stream));
            }
        });
        Self { address, connections }
    }

    /// Serves TLS; the script gets each connection after its handshake.
    pub fn serve_tls<F, S>(config: Arc<rustls::ServerConfig>, script: S) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
        S: Fn(server::TlsStream<TcpStream>) -> F + Send + Sync + 'static,
    {
        let (acceptor, script) = (TlsAcceptor::from(config), Arc::new(script));
        Self::serve(move |stream| {
            let (acceptor, script) = (acceptor.clone(), Arc::clone(&script));
            async move {
                if let Ok(stream) = acceptor.accept(stream).await {
                    script(stream).await;
                }
            }
        })
    }

    /// TCP connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Plan {
    /// A gate with this policy.
    #[must_use]
    pub fn new(policy: &str) -> Self {
        Self { policy: policy.to_owned(), pins: Vec::new(), limits: Vec::new(), secrets: Vec::new() }
    }

    /// Pins `name:port` to a server of the test.
    #[must_use]
    pub fn pin(mut self, authority: &str, to: SocketAddr) -> Self {
        self.pins.push(format!("{authority}:{to}").parse().expect("a pin"));
        self
    }

    /// Sets a limit.
    #[must_use]
    pub fn limit(mut self, setting: &str) -> Self {
        self.limits.push(setting.parse().expect("a limit"));
        self
    }

    /// Holds a secret.
    #[must_use]
    pub fn secret(mut self, name: &str, value: &str, placeholder: &str) -> Self {
        let name = SecretName::parse(name).expect("a name");
        self.secrets.push(Secret::new(name, value.to_owned().into(), placeholder.to_owned()).expect("a secret"));
        self
    }

    /// Starts it; needs a runtime.
    #[must_use]
    pub fn start(self, upstreams: &Upstreams) -> Loopback {
        let folder = tempfile::tempdir().expect("a folder");
        let key = SigningKey::from_seed(&[1; 32]).expect("32 bytes");
        let journal = Arc::new(Journal::open(folder.path(), "test", key, Rotation::default()).expect("a journal"));
        let policy = tollgate_policy::load(&self.policy).unwrap_or_else(|found| panic!("{found}"));
        let rules = Arc::new(Rules::new(policy, Arc::new(Vault::new(self.secrets))));
        let limits = Limits::with(&self.limits);
        let authority = CertificateAuthority::new("test", &limits).expect("an authority");
        let certificate = authority.certificate_pem();
        let tls = upstream_config(&[upstreams.file()]).expect("trust");
        let pool = Pool::new(Dialer::new(Resolver::new(&self.pins, &limits), tls, &limits), &limits);
        let (shared_rules, shared_journal) = (Arc::clone(&rules), Arc::clone(&journal));
        let gate = Gate::new(Setup {
            rules: shared_rules,
            journal: shared_journal,
            authority,
            pool,
            identifier: None,
            capacity: Capacity::new(limits.connections),
            limits,
        });
        let explicit = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = explicit.local_addr().expect("bound");
        let questions = UdpSocket::bind("127.0.0.1:0").expect("a port on loopback");
        let dns = questions.local_addr().expect("bound");
        let sockets = Sockets { explicit, transparent: Vec::new(), dns_udp: vec![questions], dns_tcp: Vec::new() };
        gate.serve(sockets).expect("served");
        Loopback { gate, rules, address, dns, folder, journal, certificate }
    }
}

impl Loopback {
    /// Puts another policy in force.
    pub fn set_policy(&self, text: &str) {
        let policy = tollgate_policy::load(text).unwrap_or_else(|found| panic!("{found}"));
        self.rules.replace_policy(policy).expect("another policy");
    }

    /// Puts other secrets in force: `(name, value or why there is none, placeholder)`.
    pub fn set_secrets(&self, secrets: &[(&str, Result<&str, &str>, &str)]) {
        let secrets = secrets.iter().map(|(name, value, placeholder)| {
            let name = SecretName::parse(name).expect("a name");
            match value {
                Ok(value) => Secret::new(name, (*value).into(), (*placeholder).to_owned()).expect("a secret"),
                Err(reason) => Secret::unavailable(name, (*placeholder).to_owned(), reason),
            }
        });
        self.rules.replace_vault(Arc::new(Vault::new(secrets.collect())));
    }

    /// How a request ended, once the journal knows.
    pub async fn ending(&self, request: u64) -> Value {
        let ended = async {
            loop {
                if let Some(reply) = self.events("reply").into_iter().find(|reply| reply["request"] == request) {
                    return reply;
                }
                tokio::task::yield_now().await;
            }
        };
        soon("the record of the reply", ended).await
    }

    /// A CONNECT, and the head of its answer.
    pub async fn connect(&self, authority: &str) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(self.address).await.expect("the gate listens");
        let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("sent");
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\n") {
            let byte = soon("the answer to CONNECT", stream.read_u8()).await.expect("an answer");
            answer.push(byte);
        }
        (stream, String::from_utf8(answer).expect("text"))
    }

    /// An open tunnel.
    pub async fn tunnel(&self, authority: &str) -> TcpStream {
        let (stream, answer) = self.connect(authority).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        stream
    }

    /// TLS inside a tunnel, with the certificate checked.
    pub async fn tls(&self, name: &str, protocols: &[&str]) -> client::TlsStream<TcpStream> {
        let stream = self.tunnel(&format!("{name}:443")).await;
        self.connector(protocols).connect(server_name(name), stream).await.expect("a handshake")
    }

    /// TLS settings of a client that trusts this gate alone.
    #[must_use]
    pub fn connector(&self, protocols: &[&str]) -> TlsConnector {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.certificate.as_bytes()).expect("a certificate")).expect("added");
        let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        TlsConnector::from(Arc::new(config))
    }

    /// An HTTP/1 client inside TLS.
    pub async fn http1(&self, name: &str) -> http1::SendRequest<Body> {
        let stream = self.tls(name, &["http/1.1"]).await;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.expect("a client");
        tokio::spawn(connection.with_upgrades());
        sender
    }

    /// An HTTP/2 client inside TLS.
    pub async fn http2(&self, name: &str) -> http2::SendRequest<Body> {
        let stream = self.tls(name, &["h2"]).await;
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("a client");
        tokio::spawn(connection);
        sender
    }

    /// Sends bytes inside TLS and reads until the gate closes.
    pub async fn raw(&self, name: &str, bytes: &[u8]) -> String {
        let mut stream = self.tls(name, &["http/1.1"]).await;
        stream.write_all(bytes).await.expect("sent");
        let mut reply = Vec::new();
        // A gate that ends the connection without a close_notify has still said what it had to say.
        let _ = soon("the gate's last byte", stream.read_to_end(&mut reply)).await;
        String::from_utf8_lossy(&reply).into_owned()
    }

    /// The journal so far.
    #[must_use]
    pub fn events(&self, kind: &str) -> Vec<Value> {
        self.journal.sync().expect("written");
        let text = std::fs::read_to_string(self.folder.path().join("000001.jsonl")).expect("a journal");
        let records = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a record"));
        records.filter(|record| record["event"] == kind).collect()
    }
}

/// A server's name as TLS has it.
#[must_use]
pub fn server_name(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).expect("a name")
}
