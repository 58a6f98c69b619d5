//! Why there are no namespaces, as an error.

use nix::errno::Errno;

use crate::error::LaunchError;
use crate::obstacle::{Facts, Missing, recognise};

/// unshare(2) was refused.
pub(crate) fn no_namespaces(error: Errno) -> LaunchError {
    let remedy = recognise(&Facts::gather(), Missing::Namespaces(error));
    LaunchError::NoUserNamespace { reason: error.desc().to_owned(), remedy }
}

/// The namespace exists, but may not be used.
pub(crate) fn no_maps(error: std::io::Error) -> LaunchError {
    let missing = Missing::Namespaces(error.raw_os_error().map_or(Errno::EPERM, Errno::from_raw));
    LaunchError::NoUserNamespace { reason: error.to_string(), remedy: recognise(&Facts::gather(), missing) }
}

/// The namespace exists and gives no capabilities: that is how AppArmor withholds it.
pub(crate) fn no_capabilities(error: Errno) -> LaunchError {
    match error {
        Errno::EPERM => no_namespaces(error),
        other => LaunchError::step("set the host name", other.desc()),
    }
}
