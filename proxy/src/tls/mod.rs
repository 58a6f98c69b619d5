//! TLS on both legs: leaves minted for the agent, verification of upstreams.

mod ca;
mod listener;
mod root;
mod suites;
mod trust;

pub use ca::{CaError, CertificateAuthority};
pub use listener::{ListenerTlsError, listener_config};
pub use root::{Root, RootError};
pub use trust::{SYSTEM_BUNDLES, TrustError, upstream_config};
