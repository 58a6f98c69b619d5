//! A TLS server on loopback that says what it was sent and remembers it.

use std::convert::Infallible;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

/// A server that runs until it is dropped.
pub struct Origin {
    address: SocketAddr,
    arrived: Arc<Mutex<Vec<Arrived>>>,
    connections: Arc<Mutex<usize>>,
    _runtime: tokio::runtime::Runtime,
}

/// One request that reached the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// `METHOD target`.
    pub line: String,
    /// Names and values, as they came.
    pub headers: Vec<(String, String)>,
    /// The whole body.
    pub body: Vec<u8>,
}

impl Arrived {
    /// The first value of a header, or nothing.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Origin {
    /// Serves `names` with a certificate of an authority of its own, which is written to `ca`. Files below `files` are
    /// served under `/files/`.
    ///
    /// Other targets: `/echo` says back the request's headers as JSON, `/encoded/KIND` the same in some encoding,
    /// `/coded/CODING` its authorization with a content coding, `/bytes/N` gives N bytes; all else is answered with 200 and `ok`.
    #[must_use]
    pub fn start(names: &[&str], ca: &Path, files: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        listener.set_nonblocking(true).expect("non-blocking");
        let address = listener.local_addr().expect("bound");
        let acceptor = TlsAcceptor::from(Arc::new(certificate(names, ca)));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (arrived, connections) = (Arc::default(), Arc::default());
        let state = State { arrived: Arc::clone(&arrived), files: files.to_owned() };
        runtime.spawn(serve(listener, acceptor, state, Arc::clone(&connections)));
        Self { address, arrived, connections, _runtime: runtime }
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every request so far.
    #[must_use]
    pub fn arrived(&self) -> Vec<Arrived> {
        self.arrived.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The request lines so far.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.arrived().into_iter().map(|arrived| arrived.line).collect()
    }

    /// TCP connections so far: a request that was refused must not even have made one.
    #[must_use]
    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Clone)]
struct State {
    arrived: Arc<Mutex<Vec<Arrived>>>,
    files: PathBuf,
}

type Reply = Response<BoxBody<Bytes, Infallible>>;

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, state: State, connections: Arc<Mutex<usize>>) {
    let listener = tokio::net::TcpListener::from_std(listener).expect("inside a runtime");
    while let Ok((stream, _)) = listener.accept().await {
        *connections.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        let (acceptor, state) = (acceptor.clone(), state.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request| answer(request, state.clone()));
            // A client that breaks off is part of many tests.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, state: State) -> Result<Reply, Infallible> {
    let (parts, body) = request.into_parts();
    let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers: Vec<_> = parts.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    let arrived = Arrived { line: format!("{} {}", parts.method, parts.uri), headers, body };
    state.arrived.lock().unwrap_or_else(PoisonError::into_inner).push(arrived.clone());
    Ok(reply(parts.uri.path(), &arrived, &state.files))
}

fn reply(path: &str, arrived: &Arrived, files: &Path) -> Reply {
    let authorization = arrived.header("authorization").unwrap_or_default();
    match path.split('/').collect::<Vec<_>>().as_slice() {
        ["", "echo"] => {
            let headers: serde_json::Map<_, _> =
                arrived.headers.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
            let mut reply = whole(serde_json::Value::from(headers).to_string());
            if let Ok(value) = authorization.parse() {
                reply.headers_mut().insert("x-you-sent", value);
            }
            reply
        }
        ["", "hex"] => whole(authorization.bytes().map(|b| format!("{b:02x}")).collect::<String>()),
        ["", "coded", coding] => with(
            header::CONTENT_ENCODING,
            header::HeaderValue::try_from(*coding).expect("a token"),
            if *coding == "gzip" { gzip(authorization) } else { authorization.to_owned().into() },
        ),
        ["", "hostile", how] => hostile(how, arrived),
        ["", "bytes", count] => whole("x".repeat(count.parse().unwrap_or(0))),
        ["", "files", rest @ ..] => file(files.join(rest.join("/"))),
        _ => whole("ok"),
    }
}

/// A file, or the page of a folder.
fn file(path: PathBuf) -> Reply {
    if path.is_dir() {
        let page = std::fs::read(path.join("index.html"));
        return page.map_or_else(
            |_| status(StatusCode::NOT_FOUND),
            |page| with(header::CONTENT_TYPE, header::HeaderValue::from_static("text/html"), page),
        );
    }
    std::fs::read(path).map_or_else(|_| status(StatusCode::NOT_FOUND), whole)
}

/// Replies that hand the token back where few look for it. The token is the authorization's last word.
fn hostile(how: &str, arrived: &Arrived) -> Reply {
    let token =
        arrived.header("authorization").and_then(|value| value.rsplit(' ').next()).unwrap_or_default().to_owned();
    let value = || header::HeaderValue::try_from(token.clone()).expect("a token");
    match how {
        "reason" => {
            let mut reply = whole("ok");
            reply.extensions_mut().insert(hyper::ext::ReasonPhrase::try_from(token.into_bytes()).expect("a phrase"));
            reply
        }
        "coding" => with(header::CONTENT_ENCODING, value(), "ok"),
        "name" => with(header::HeaderName::try_from(format!("x-{token}")).expect("a name"), value(), "ok"),
        "case" => whole(format!("{} {}", token.to_lowercase(), token.to_uppercase())),
        "utf16" => whole(token.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()),
        "entities" => whole(token.chars().map(|c| format!("&#{};", u32::from(c))).collect::<String>()),
        "hidden" => {
            let mut reply = with(header::CONTENT_ENCODING, header::HeaderValue::from_static("gzip"), token);
            reply.headers_mut().insert(header::CONNECTION, header::HeaderValue::from_static("content-encoding"));
            reply
        }
        "part" => {
            let cut = token.len().min(10);
            let mut reply =
                with(header::CONTENT_RANGE, header::HeaderValue::from_static("bytes 0-9/40"), token[..cut].to_owned());
            *reply.status_mut() = StatusCode::PARTIAL_CONTENT;
            reply
        }
        _ => status(StatusCode::NOT_FOUND),
    }
}

fn gzip(text: &str) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish()).expect("a Vec takes everything")
}

fn with(name: header::HeaderName, value: header::HeaderValue, body: impl Into<Bytes>) -> Reply {
    let mut reply = whole(body);
    reply.headers_mut().insert(name, value);
    reply
}

fn whole(body: impl Into<Bytes>) -> Reply {
    Response::new(Full::new(body.into()).boxed())
}

fn status(code: StatusCode) -> Reply {
    let mut reply = whole("");
    *reply.status_mut() = code;
    reply
}

fn certificate(names: &[&str], ca: &Path) -> rustls::ServerConfig {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    let key = || KeyPair::generate().expect("a key");
    let issuer = CertifiedIssuer::self_signed(params, key()).expect("a root");
    std::fs::write(ca, issuer.pem()).expect("the authority's file");
    let leaf_key = key();
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let leaf = CertificateParams::new(names).expect("names").signed_by(&leaf_key, &issuer).expect("a leaf");
    let leaf_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
    rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], leaf_key)
        .expect("a usable certificate")
}
