//! The files that make the agent trust its gate: the authority, a bundle with it, and a resolver configuration.

use std::path::Path;

use tollgate_proxy::{CertificateAuthority, SYSTEM_BUNDLES};

use crate::failure::{Failure, Kind};
use crate::home::SandboxFolder;

/// Any server address ends at the gate; search domains would only add names that nobody meant.
const RESOLV_CONF: &str = "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n";

/// Writes the files into the sandbox's folder; the supervisor lays them over the agent's view.
pub fn write(folder: &SandboxFolder, authority: &CertificateAuthority) -> Result<(), Failure> {
    write_authority(folder, authority)?;
    put(&folder.path.join("ca/resolv.conf"), RESOLV_CONF)
}

/// Writes the authority alone, and the bundle with it.
pub fn write_authority(folder: &SandboxFolder, authority: &CertificateAuthority) -> Result<(), Failure> {
    let own = authority.certificate_pem();
    let system = SYSTEM_BUNDLES.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let ca = folder.path.join("ca");
    put(&ca.join("ca.pem"), &own)?;
    put(&ca.join("ca-bundle.pem"), &format!("{}\n{own}", system.trim_end()))
}

fn put(path: &Path, text: &str) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    // The agent, perhaps another user, reads these; nothing in them is secret and the folder above is private.
    std::fs::write(path, text)
        .and_then(|()| std::fs::set_permissions(path, PermissionsExt::from_mode(0o644)))
        .map_err(|e| Failure::new(Kind::State, format!("{} cannot be written: {e}", path.display())))
}
