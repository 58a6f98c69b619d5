//! A certificate authority that is kept in files: drawn once, or an organisation's own.

use std::time::Duration;

use rcgen::{Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use zeroize::Zeroizing;

use super::ca::self_signed;
use super::{CaError, CertificateAuthority};
use crate::Limits;

/// A root as it stands in files. The key is worth as much as every certificate that clients believe by it.
pub struct Root {
    /// PEM, for clients to trust.
    pub certificate: String,
    /// PKCS #8 PEM.
    pub key: Zeroizing<String>,
}

/// What is wrong with an authority that was given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Not PEM, or not what it should be.
    #[error("the {0} cannot be read: {1}")]
    Unreadable(&'static str, String),
    /// A certificate that may not sign others.
    #[error(
        "the certificate is not one of an authority (basicConstraints CA:TRUE, and keyCertSign where keyUsage stands)"
    )]
    NotAnAuthority,
    /// Outside its lifetime.
    #[error("the certificate is valid only from {0} to {1}")]
    NotValidNow(String, String),
    /// Two files that do not belong together.
    #[error("the key is not the certificate's")]
    OtherKey,
    /// Leaves would name their issuer in another way than it names itself, and no client would find it.
    #[error("the certificate's subject is written in a way that leaves cannot repeat")]
    Subject,
}

/// How long a root that is kept serves; a client has to be given the next one by hand.
const ROOT_LIFE: Duration = Duration::from_secs(5 * 365 * 24 * 3600);

impl Root {
    /// Draws a key and signs a root for the proxy called `name`, good for five years.
    ///
    /// # Errors
    /// [`CaError`] when the cryptographic library fails.
    pub fn draw(name: &str) -> Result<Self, CaError> {
        let (certificate, issuer) = self_signed(&format!("Tollgate proxy {name}"), ROOT_LIFE)?;
        Ok(Self { certificate: certificate.pem(), key: Zeroizing::new(issuer.key().serialize_pem()) })
    }
}

impl CertificateAuthority {
    /// Takes an authority from PEM. The first certificate is the one that signs; others lead from it to a root and are
    /// sent with every leaf.
    ///
    /// # Errors
    /// [`CaError::Root`] when it cannot sign leaves that clients believe.
    pub fn from_pem(certificate: &str, key: &str, limits: &Limits) -> Result<Self, CaError> {
        let chain = read_chain(certificate)?;
        let key = read_key(key)?;
        let first = chain.first().ok_or_else(|| unreadable("certificate", "it holds no PEM certificate"))?;
        let (_, parsed) = X509Certificate::from_der(first).map_err(|e| unreadable("certificate", e))?;
        check(&parsed, &key)?;
        let subject = parsed.subject().as_raw().to_vec();
        let authority =
            Self::signing(Issuer::from_ca_cert_der(first, key)?, chain.clone(), certificate.to_owned(), limits)?;
        let trial = authority.trial_leaf()?;
        let (_, leaf) = X509Certificate::from_der(&trial).map_err(|e| unreadable("certificate", e))?;
        match leaf.issuer().as_raw() == subject {
            true => Ok(authority),
            false => Err(RootError::Subject.into()),
        }
    }
}

fn check(certificate: &X509Certificate<'_>, key: &KeyPair) -> Result<(), RootError> {
    let usage = certificate.key_usage().ok().flatten();
    if !certificate.is_ca() || usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
        return Err(RootError::NotAnAuthority);
    }
    let life = certificate.validity();
    if !life.is_valid() {
        return Err(RootError::NotValidNow(life.not_before.to_string(), life.not_after.to_string()));
    }
    match *certificate.public_key().subject_public_key.data == *key.public_key_raw() {
        true => Ok(()),
        false => Err(RootError::OtherKey),
    }
}

fn read_chain(pem: &str) -> Result<Vec<CertificateDer<'static>>, RootError> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    certificates.collect::<Result<_, _>>().map_err(|e| unreadable("certificate", e))
}

fn read_key(pem: &str) -> Result<KeyPair, RootError> {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|e| unreadable("key", e))?;
    KeyPair::try_from(&key).map_err(|e| unreadable("key", e))
}

fn unreadable(what: &'static str, why: impl std::fmt::Display) -> RootError {
    RootError::Unreadable(what, why.to_string())
}

/// Keys do not print themselves.
impl std::fmt::Debug for Root {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Root")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tollgate_model::Host;

    fn refusal(certificate: &str, key: &str) -> String {
        CertificateAuthority::from_pem(certificate, key, &Limits::default()).expect_err("not usable").to_string()
    }

    #[test]
    fn a_drawn_root_is_read_back() {
        let root = Root::draw("gate").expect("drawn");
        let authority =
            CertificateAuthority::from_pem(&root.certificate, &root.key, &Limits::default()).expect("usable");
        assert_eq!(authority.certificate_pem(), root.certificate);
        authority.mint(&Host::parse("a.test").expect("a name")).expect("minted");
        assert_eq!(format!("{root:?}"), "Root");
    }

    #[test]
    fn what_cannot_sign_is_refused() {
        let root = Root::draw("gate").expect("drawn");
        let other = Root::draw("other").expect("drawn");
        let leaf_key = KeyPair::generate().expect("a key");
        let leaf = rcgen::CertificateParams::new(vec!["a.test".to_owned()]).expect("a name");
        let leaf = leaf.self_signed(&leaf_key).expect("signed").pem();
        let mut old = rcgen::CertificateParams::default();
        old.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        old.not_after = rcgen::date_time_ymd(2001, 1, 1);
        let old = old.self_signed(&leaf_key).expect("signed").pem();
        let leaf_key = leaf_key.serialize_pem();
        for (certificate, key, expected) in [
            ("", root.key.as_str(), "holds no PEM certificate"),
            ("nonsense", root.key.as_str(), "holds no PEM certificate"),
            (&*root.certificate, "", "the key cannot be read"),
            (&*root.certificate, root.certificate.as_str(), "the key cannot be read"),
            (&*root.certificate, other.key.as_str(), "not the certificate's"),
            (&*leaf, leaf_key.as_str(), "not one of an authority"),
            (&*old, leaf_key.as_str(), "valid only from"),
        ] {
            let said = refusal(certificate, key);
            assert!(said.contains(expected), "{expected:?} is not in {said:?}");
        }
    }
}
