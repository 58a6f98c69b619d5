//! TLS on both legs: leaves minted for the agent, verification of upstreams.

mod ca;
mod trust;

pub use ca::{CaError, CertificateAuthority};
pub use trust::{TrustError, upstream_config};
