//! A proxy on hudsucker that replaces one header.
//!
//! `hudsucker-peer CA.pem CA.key UPSTREAM-CA.pem UPSTREAM-ADDRESS AUTHORIZATION` says on its first line where it listens.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::net::SocketAddr;
use std::task::{Context, Poll};

use hudsucker::certificate_authority::RcgenAuthority;
use hudsucker::hyper::Request;
use hudsucker::hyper::header::{AUTHORIZATION, HeaderValue};
use hudsucker::rcgen::{Issuer, KeyPair};
use hudsucker::rustls::crypto::aws_lc_rs;
use hudsucker::rustls::pki_types::{CertificateDer, pem::PemObject};
use hudsucker::rustls::{ClientConfig, RootCertStore};
use hudsucker::{Body, HttpContext, HttpHandler, Proxy, RequestOrResponse};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use tokio::net::TcpListener;
use tower_service::Service;

#[derive(Clone)]
struct Replace(HeaderValue);

impl HttpHandler for Replace {
    async fn handle_request(&mut self, _: &HttpContext, mut request: Request<Body>) -> RequestOrResponse {
        request.headers_mut().insert(AUTHORIZATION, self.0.clone());
        request.into()
    }
}

/// Leads every name to the origin.
#[derive(Clone)]
struct Pinned(SocketAddr);

impl Service<Name> for Pinned {
    type Response = std::iter::Once<SocketAddr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(std::iter::once(self.0)))
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ca, key, upstream_ca, upstream, authorization] = arguments.as_slice() else {
        return Err("hudsucker-peer CA.pem CA.key UPSTREAM-CA.pem UPSTREAM-ADDRESS AUTHORIZATION".into());
    };
    // Two crates of its tree bring a provider each; one must be named.
    let provider = aws_lc_rs::default_provider();
    let key = KeyPair::from_pem(&std::fs::read_to_string(key)?)?;
    let issuer = Issuer::from_ca_cert_pem(&std::fs::read_to_string(ca)?, key)?;
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(upstream_ca)?)?;
    let tls = ClientConfig::builder_with_provider(provider.clone().into()).with_safe_default_protocol_versions()?;
    let tls = tls.with_root_certificates(roots).with_no_client_auth();
    let mut tcp = HttpConnector::new_with_resolver(Pinned(upstream.parse()?));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    let https = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
    let connector = https.enable_http1().enable_http2().wrap_connector(tcp);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let proxy = Proxy::builder().with_listener(listener).with_ca(RcgenAuthority::new(issuer, 10_000, provider));
    let proxy = proxy.with_http_connector(connector).with_http_handler(Replace(HeaderValue::try_from(authorization)?));
    Ok(proxy.build()?.start().await?)
}
