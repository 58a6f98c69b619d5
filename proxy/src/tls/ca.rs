//! The sandbox's own certificate authority. Its key lives in this process's memory and dies with it.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use quick_cache::sync::Cache;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ServerSessionMemoryCache;
use tollgate_model::Host;

/// Mints one leaf per name and keeps it for the next handshakes.
pub struct CertificateAuthority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// All leaves share one key pair: it never leaves this process either, and drawing one costs more than signing.
    leaf_key: KeyPair,
    leaves: Cache<Host, Leaf>,
}

/// Why no certificate could be made.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// The certificate library refused.
    #[error("a certificate could not be made: {0}")]
    Mint(#[from] rcgen::Error),
    /// The TLS library refused the certificate.
    #[error("a certificate could not be used: {0}")]
    Use(#[from] rustls::Error),
}

#[derive(Clone)]
struct Leaf {
    config: Arc<ServerConfig>,
    renew_at: Instant,
}

/// Names with a leaf at hand; the least used goes first.
const LEAF_CACHE_NAMES: usize = 1024;

/// Clocks inside and outside may differ a little.
const BACKDATED: Duration = Duration::from_secs(3600);

/// A leaf's whole life, [`BACKDATED`] included, stays within 24 hours.
const LEAF_LIFE: Duration = Duration::from_secs(22 * 3600);

/// A leaf is minted anew well before it ends, so that a long handshake never meets an expired one.
const LEAF_RENEWED_AFTER: Duration = Duration::from_secs(11 * 3600);

/// A sandbox may run for months; the authority dies with it at the latest.
const CA_LIFE: Duration = Duration::from_secs(397 * 24 * 3600);

/// TLS sessions that can be resumed, per name.
const SESSIONS_PER_NAME: usize = 64;

impl CertificateAuthority {
    /// Draws a key and signs a root for the sandbox called `name`.
    ///
    /// # Errors
    /// [`CaError`] when the cryptographic library fails.
    pub fn new(name: &str) -> Result<Self, CaError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, format!("Tollgate sandbox {name}"));
        params.distinguished_name.push(DnType::OrganizationName, "Tollgate");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = lifetime(CA_LIFE);
        Ok(Self {
            issuer: CertifiedIssuer::self_signed(params, KeyPair::generate()?)?,
            leaf_key: KeyPair::generate()?,
            leaves: Cache::new(LEAF_CACHE_NAMES),
        })
    }

    /// The root certificate, for the agent to trust. The key has no accessor.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.issuer.pem()
    }

    /// The TLS settings for a name or address; minted once, by one caller at a time.
    ///
    /// # Errors
    /// [`CaError`] when no leaf can be made.
    pub fn server_config(&self, host: &Host) -> Result<Arc<ServerConfig>, CaError> {
        if let Some(leaf) = self.leaves.get(host).filter(|leaf| leaf.renew_at <= Instant::now()) {
            drop(leaf);
            self.leaves.remove(host);
        }
        self.leaves.get_or_insert_with(host, || self.mint(host)).map(|leaf| leaf.config)
    }

    fn mint(&self, host: &Host) -> Result<Leaf, CaError> {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, common_name(host));
        params.subject_alt_names = vec![match host {
            Host::Name(name) => SanType::DnsName(name.as_ref().try_into()?),
            Host::Address(address) => SanType::IpAddress(*address),
        }];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = lifetime(LEAF_LIFE);
        let leaf = params.signed_by(&self.leaf_key, &self.issuer)?;
        let config = self.config(vec![leaf.der().clone(), self.issuer.der().clone()])?;
        Ok(Leaf { config: Arc::new(config), renew_at: Instant::now() + LEAF_RENEWED_AFTER })
    }

    fn config(&self, chain: Vec<CertificateDer<'static>>) -> Result<ServerConfig, CaError> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.leaf_key.serialize_der()));
        let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        config.session_storage = ServerSessionMemoryCache::new(SESSIONS_PER_NAME);
        Ok(config)
    }
}

/// Keys do not print themselves.
impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CertificateAuthority({} leaves)", self.leaves.len())
    }
}

/// RFC 5280 bounds a common name at 64 characters; the alternative name is what clients check.
fn common_name(host: &Host) -> String {
    host.to_string().chars().take(64).collect()
}

fn lifetime(life: Duration) -> (time::OffsetDateTime, time::OffsetDateTime) {
    let now = SystemTime::now();
    ((now - BACKDATED).into(), (now + life).into())
}
