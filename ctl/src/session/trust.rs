//! The files that make the agent trust its gate: the authority, a bundle with it, and a resolver configuration.

use std::path::{Path, PathBuf};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tollgate_proxy::{CertificateAuthority, SYSTEM_BUNDLES};

use super::java_store;
use crate::failure::{Failure, Kind};
use crate::home::SandboxFolder;

/// Any server address ends at the gate; search domains would only add names that nobody meant.
const RESOLV_CONF: &str = "nameserver 127.0.0.1\noptions timeout:2 attempts:2\n";

/// Where Java's store is, if not in the folder of a JDK.
const JAVA_STORES: &[&str] = &["/etc/ssl/certs/java/cacerts", "/etc/pki/java/cacerts"];

/// Where systems keep their JDKs, each with a store or a link to the common one.
const JDKS: &str = "/usr/lib/jvm";

/// Every store of Java's below a root, by its path inside: where that is a link, what it leads to is another of them.
pub fn java_stores(root: &Path) -> Vec<PathBuf> {
    let below = |path: &Path| root.join(path.strip_prefix("/").unwrap_or(path));
    let jdks = std::fs::read_dir(below(Path::new(JDKS))).into_iter().flatten().flatten();
    let own = jdks.map(|jdk| Path::new(JDKS).join(jdk.file_name()).join("lib/security/cacerts"));
    let all = JAVA_STORES.iter().map(PathBuf::from).chain(own);
    all.filter(|path| below(path).symlink_metadata().is_ok_and(|metadata| metadata.is_file())).collect()
}

/// Writes the files into the sandbox's folder; the supervisor lays them over the agent's view.
pub fn write(folder: &SandboxFolder, authority: &CertificateAuthority, with_java: bool) -> Result<(), Failure> {
    let bundle = write_authority(folder, authority)?;
    if with_java {
        let certificates: Vec<_> = CertificateDer::pem_slice_iter(bundle.as_bytes()).filter_map(Result::ok).collect();
        put(&folder.path.join("ca/cacerts"), &java_store::encode(certificates.iter().map(AsRef::as_ref)))?;
    }
    put(&folder.path.join("ca/resolv.conf"), RESOLV_CONF.as_bytes())
}

/// Writes the authority alone, and the bundle with it, which it gives.
pub fn write_authority(folder: &SandboxFolder, authority: &CertificateAuthority) -> Result<String, Failure> {
    let own = authority.certificate_pem();
    let system = SYSTEM_BUNDLES.iter().find_map(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
    let ca = folder.path.join("ca");
    let bundle = format!("{}\n{own}", system.trim_end());
    put(&ca.join("ca.pem"), own.as_bytes())?;
    put(&ca.join("ca-bundle.pem"), bundle.as_bytes())?;
    Ok(bundle)
}

fn put(path: &Path, content: &[u8]) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    // The agent, perhaps another user, reads these; nothing in them is secret and the folder above is private.
    std::fs::write(path, content)
        .and_then(|()| std::fs::set_permissions(path, PermissionsExt::from_mode(0o644)))
        .map_err(|e| Failure::new(Kind::State, format!("{} cannot be written: {e}", path.display())))
}
