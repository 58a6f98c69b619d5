//! The gate's certificate authority. A sandbox's own lives in this process's memory and dies with it; `root` has those
//! that are kept in files.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use quick_cache::sync::Cache;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use rustls::sign::{CertifiedKey, SigningKey};
use tollgate_model::Host;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::suites;
use crate::Limits;
use crate::upstream::{HTTP_1, HTTP_2};

/// Mints one leaf per name and keeps it for the next handshakes.
pub struct CertificateAuthority {
    issuer: Issuer<'static, KeyPair>,
    /// What leads from a leaf to a root: the signing certificate first. Roots are left out, since clients have them.
    chain: Vec<CertificateDer<'static>>,
    pem: String,
    /// All leaves share one key pair: it never leaves this process either, and drawing one costs more than signing.
    leaf_key: KeyPair,
    /// The same, as the TLS library signs with it.
    signing_key: Arc<dyn SigningKey>,
    /// Of all names; the library resumes a session only by the name that it was begun by.
    sessions: Arc<dyn StoresServerSessions>,
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
    /// The authority that was given.
    #[error(transparent)]
    Root(#[from] super::RootError),
}

#[derive(Clone)]
struct Leaf {
    config: Arc<ServerConfig>,
    renew_at: Instant,
}

/// Clocks inside and outside may differ a little.
const BACKDATED: Duration = Duration::from_secs(3600);

/// A leaf's whole life, [`BACKDATED`] included, stays within 24 hours.
const LEAF_LIFE: Duration = Duration::from_secs(22 * 3600);

/// A leaf is minted anew well before it ends, so that a long handshake never meets an expired one.
const LEAF_RENEWED_AFTER: Duration = Duration::from_secs(11 * 3600);

/// A sandbox may run for months; the authority dies with it at the latest.
const CA_LIFE: Duration = Duration::from_secs(397 * 24 * 3600);

/// TLS sessions that can be resumed.
const SESSIONS: usize = 1024;

/// Tickets for each session: whoever opens several connections at a time resumes with one of them.
const TICKETS: usize = 1;

impl CertificateAuthority {
    /// Draws a key and signs a root for the sandbox called `name`.
    ///
    /// # Errors
    /// [`CaError`] when the cryptographic library fails.
    pub fn new(name: &str, limits: &Limits) -> Result<Arc<Self>, CaError> {
        let (certificate, issuer) = self_signed(&format!("Tollgate sandbox {name}"), CA_LIFE)?;
        Self::signing(issuer, Vec::new(), certificate.pem(), limits).map(Arc::new)
    }

    /// An authority that signs with `issuer`.
    pub(super) fn signing(
        issuer: Issuer<'static, KeyPair>,
        mut chain: Vec<CertificateDer<'static>>,
        pem: String,
        limits: &Limits,
    ) -> Result<Self, CaError> {
        chain.retain(|certificate| !is_root(certificate));
        let leaves = Cache::new(usize::try_from(limits.leaves).unwrap_or(usize::MAX));
        let leaf_key = KeyPair::generate()?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf_key.serialize_der()));
        let (signing_key, sessions) = (suites::signing_key(key)?, ServerSessionMemoryCache::new(SESSIONS));
        Ok(Self { issuer, chain, pem, leaf_key, signing_key, sessions, leaves })
    }

    /// The root certificate, for the agent to trust. The key has no accessor.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        self.pem.clone()
    }

    /// The TLS settings for a name or address. Who asks first mints it; others wait for it.
    ///
    /// # Errors
    /// [`CaError`] when no leaf can be made.
    pub async fn server_config(self: &Arc<Self>, host: &Host) -> Result<Arc<ServerConfig>, CaError> {
        match self.leaves.get(host) {
            Some(leaf) if leaf.renew_at > Instant::now() => return Ok(leaf.config),
            Some(_) => drop(self.leaves.remove(host)),
            None => {}
        }
        let guard = match self.leaves.get_value_or_guard_async(host).await {
            Ok(leaf) => return Ok(leaf.config),
            Err(guard) => guard,
        };
        // A signature takes less than handing it to another thread and waking up again.
        let config = self.mint(host)?;
        let leaf = Leaf { config: Arc::clone(&config), renew_at: Instant::now() + LEAF_RENEWED_AFTER };
        // A leaf that was pushed out before it came is minted again by the next who asks.
        let _ = guard.insert(leaf);
        Ok(config)
    }

    /// Mints a leaf for a name or address, and does not keep it.
    ///
    /// # Errors
    /// [`CaError`] when no leaf can be made.
    pub fn mint(&self, host: &Host) -> Result<Arc<ServerConfig>, CaError> {
        let chain = std::iter::once(self.leaf(host)?).chain(self.chain.iter().cloned()).collect();
        Ok(Arc::new(self.config(chain)))
    }

    /// A leaf that nobody is served, to look at.
    pub(super) fn trial_leaf(&self) -> Result<CertificateDer<'static>, CaError> {
        self.leaf(&Host::Name("trial.invalid".into()))
    }

    fn leaf(&self, host: &Host) -> Result<CertificateDer<'static>, CaError> {
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
        Ok(params.signed_by(&self.leaf_key, &self.issuer)?.into())
    }

    fn config(&self, chain: Vec<CertificateDer<'static>>) -> ServerConfig {
        let mut config = suites::server(CertifiedKey::new(chain, Arc::clone(&self.signing_key)));
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1.to_vec()];
        config.session_storage = Arc::clone(&self.sessions);
        config.send_tls13_tickets = TICKETS;
        config
    }
}

/// Keys do not print themselves.
impl std::fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CertificateAuthority({} leaves)", self.leaves.len())
    }
}

/// True for a certificate that its own key has signed, as far as it says.
fn is_root(certificate: &CertificateDer<'_>) -> bool {
    X509Certificate::from_der(certificate).is_ok_and(|(_, parsed)| parsed.issuer() == parsed.subject())
}

/// A root that signs leaves and nothing else.
pub(super) fn self_signed(name: &str, life: Duration) -> Result<(Certificate, Issuer<'static, KeyPair>), CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, "Tollgate");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = lifetime(life);
    let key = KeyPair::generate()?;
    Ok((params.self_signed(&key)?, Issuer::new(params, key)))
}

/// RFC 5280 bounds a common name at 64 characters; the alternative name is what clients check.
fn common_name(host: &Host) -> String {
    host.to_string().chars().take(64).collect()
}

fn lifetime(life: Duration) -> (time::OffsetDateTime, time::OffsetDateTime) {
    let now = SystemTime::now();
    ((now - BACKDATED).into(), (now + life).into())
}
