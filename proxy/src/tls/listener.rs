//! TLS of a stand-alone proxy's own listeners.

use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::suites;

/// Why a listener's certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListenerTlsError {
    /// Not PEM, or nothing in it.
    #[error("the {0} cannot be read: {1}")]
    Unreadable(&'static str, String),
    /// The two do not go together, or are of a kind that TLS does not take.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// The settings of a listener: TLS 1.2 and 1.3, HTTP/1.1 inside.
///
/// `certificate` is PEM, the listener's own first and the chain to its root after it; `key` is its private key in PEM.
///
/// # Errors
/// [`ListenerTlsError`] when the files are not PEM or do not belong together.
pub fn listener_config(certificate: &str, key: &str) -> Result<Arc<ServerConfig>, ListenerTlsError> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(certificate.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| ListenerTlsError::Unreadable("certificate", e.to_string()))?;
    if chain.is_empty() {
        return Err(ListenerTlsError::Unreadable("certificate", "it holds no PEM certificate".to_owned()));
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())
        .map_err(|e| ListenerTlsError::Unreadable("key", e.to_string()))?;
    let mut config = suites::server(suites::certified(chain, key)?);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}
