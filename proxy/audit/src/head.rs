//! The signed head: where a journal ends.
//!
//! A head is one JSON object in a file of its own beside the journal. It is rewritten as the journal grows, always after
//! the records it names, so a crash leaves it behind the journal, never ahead of it.

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use serde::{Deserialize, Serialize};

use crate::Chain;
use crate::digest::{hex, unhex};

/// The end of a journal under a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The session the journal belongs to.
    pub session: String,
    /// Sequence number of the last record that is signed for.
    pub seq: u64,
    /// Its hash, 64 hexadecimal digits.
    pub hash: String,
    /// True when the session ended in order and no record may follow.
    pub closed: bool,
    /// Ed25519 (RFC 8032) over the other fields, 128 hexadecimal digits.
    pub signature: String,
}

/// Why a head is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Not the JSON of a head.
    #[error("the head file is not a journal head: {0}")]
    Malformed(String),
    /// The signature does not fit the fields and the key.
    #[error("the signature of the head does not fit: it was changed, or signed with another key")]
    BadSignature,
}

/// The key that signs heads.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// Makes a key from 32 random bytes.
    ///
    /// # Errors
    /// When the bytes are not a seed of 32 bytes.
    pub fn from_seed(seed: &[u8]) -> Result<Self, HeadError> {
        Ed25519KeyPair::from_seed_unchecked(seed)
            .map(Self)
            .map_err(|_| HeadError::Malformed("the journal key must be 32 bytes".to_owned()))
    }

    /// The public half, 32 bytes.
    #[must_use]
    pub fn public(&self) -> Vec<u8> {
        self.0.public_key().as_ref().to_vec()
    }

    /// Signs for everything that is in `chain`.
    #[must_use]
    pub fn sign(&self, chain: &Chain, closed: bool) -> Head {
        let hash = hex(&chain.last_hash());
        let signature = self.0.sign(&message(chain.session(), chain.last_seq(), &hash, closed));
        Head {
            session: chain.session().to_owned(),
            seq: chain.last_seq(),
            hash,
            closed,
            signature: hex(signature.as_ref()),
        }
    }
}

/// Keys do not print themselves.
impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

impl Head {
    /// Reads a head and believes it for now.
    ///
    /// # Errors
    /// [`HeadError::Malformed`].
    pub fn parse(text: &[u8]) -> Result<Self, HeadError> {
        serde_json::from_slice(text).map_err(|e| HeadError::Malformed(e.to_string()))
    }

    /// Reads a head and checks its signature with the 32-byte public key.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn verify(text: &[u8], public_key: &[u8]) -> Result<Self, HeadError> {
        let head = Self::parse(text)?;
        head.check(public_key)?;
        Ok(head)
    }

    /// Checks the signature with the 32-byte public key.
    ///
    /// # Errors
    /// [`HeadError::BadSignature`].
    pub fn check(&self, public_key: &[u8]) -> Result<(), HeadError> {
        let signature = unhex(&self.signature).ok_or(HeadError::BadSignature)?;
        UnparsedPublicKey::new(&ED25519, public_key)
            .verify(&message(&self.session, self.seq, &self.hash, self.closed), &signature)
            .map_err(|_| HeadError::BadSignature)
    }

    /// The file's content.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = serde_json::to_string(self).expect("a head is text and numbers");
        text.push('\n');
        text
    }
}

/// Fields with their lengths, so that no two heads share a message.
fn message(session: &str, seq: u64, hash: &str, closed: bool) -> Vec<u8> {
    format!("tollgate journal head 1\n{}:{session}\n{seq}\n{hash}\n{closed}\n", session.len()).into_bytes()
}
