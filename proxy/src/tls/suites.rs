//! What is spoken on either leg: TLS 1.2 and 1.3 with the library's suites, AES-128 before AES-256 as browsers have it: its keys
//! are derived by SHA-256, for which processors have instructions, and a record takes ten rounds in place of fourteen.

use std::sync::{Arc, LazyLock};

use rustls::CipherSuite;
use rustls::client::WantsClientCert;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, ServerConfig};

static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| {
    let mut provider = aws_lc_rs::default_provider();
    provider.cipher_suites.sort_by_key(|suite| !PREFERRED.contains(&suite.suite()));
    Arc::new(provider)
});

const PREFERRED: &[CipherSuite] = &[
    CipherSuite::TLS13_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
];

/// A server with this certificate, that decides by the order of the suites which one it is.
pub(super) fn server(certified: CertifiedKey) -> ServerConfig {
    let builder = ServerConfig::builder_with_provider(Arc::clone(&PROVIDER)).with_safe_default_protocol_versions();
    let builder = builder.expect("the library's own suites and versions go together").with_no_client_auth();
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
    config.ignore_client_order = true;
    config
}

pub(super) fn client(roots: RootCertStore) -> ConfigBuilder<ClientConfig, WantsClientCert> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER)).with_safe_default_protocol_versions();
    builder.expect("the library's own suites and versions go together").with_root_certificates(roots)
}

/// A key as the library signs with it.
pub(super) fn signing_key(key: PrivateKeyDer<'static>) -> Result<Arc<dyn SigningKey>, rustls::Error> {
    PROVIDER.key_provider.load_private_key(key)
}

/// A certificate and its key, which must belong together.
pub(super) fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<CertifiedKey, rustls::Error> {
    CertifiedKey::from_der(chain, key, &PROVIDER)
}
