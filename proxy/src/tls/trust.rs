//! Which upstream certificates are believed: the system's store, and what the operator adds.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::suites;

/// Where systems keep the bundle of what they trust.
pub const SYSTEM_BUNDLES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Why the trust store could not be built.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// A file of the operator's.
    #[error("the CA file {path} cannot be used: {reason}")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// TLS settings towards upstreams: TLS 1.2 and 1.3, certificates always verified against the name that was judged.
///
/// Trusts the system's store (`SSL_CERT_FILE` and `SSL_CERT_DIR`, where they are set), or the Mozilla roots built in where the
/// system has none, and `extra` PEM files.
///
/// # Errors
/// [`TrustError`] for a file that cannot be read or holds no certificate.
pub fn upstream_config(extra: &[PathBuf]) -> Result<ClientConfig, TrustError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system_certificates());
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    for path in extra {
        add_file(&mut roots, path)?;
    }
    Ok(suites::client(roots).with_no_client_auth())
}

/// The bundle alone where there is one: the folder beside it holds the same certificates again, each in a file.
fn system_certificates() -> Vec<CertificateDer<'static>> {
    let is_told = ["SSL_CERT_FILE", "SSL_CERT_DIR"].iter().any(|name| std::env::var_os(name).is_some());
    let bundle = SYSTEM_BUNDLES.iter().map(Path::new).find(|path| path.is_file()).filter(|_| !is_told);
    let found = bundle.map(|path| rustls_native_certs::load_certs_from_paths(Some(path), None).certs);
    found.filter(|found| !found.is_empty()).unwrap_or_else(|| rustls_native_certs::load_native_certs().certs)
}

fn add_file(roots: &mut RootCertStore, path: &PathBuf) -> Result<(), TrustError> {
    let refused = |reason: String| TrustError::File { path: path.clone(), reason };
    let mut count = 0;
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| refused(e.to_string()))? {
        let certificate = certificate.map_err(|e| refused(e.to_string()))?;
        roots.add(certificate).map_err(|e| refused(e.to_string()))?;
        count += 1;
    }
    if count == 0 {
        return Err(refused("it holds no PEM certificate".to_owned()));
    }
    Ok(())
}
