//! The certificate authority of a stand-alone proxy: an organisation's own, or one that is made once and kept.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use tollgate_proxy::{CertificateAuthority, Root};

use super::config::{Authority, KeyFiles};
use super::private;
use crate::failure::{Failure, Kind};
use crate::home::{SandboxFolder, write_private};
use crate::session::trust;

/// Takes the authority that the configuration names, making it first where there is none yet, and writes what clients
/// are to trust into the state folder.
pub fn open(authority: &Authority, folder: &SandboxFolder) -> Result<CertificateAuthority, Failure> {
    let authority = match authority {
        Authority::Given(files) => load(files)?,
        Authority::Made(place) => {
            let place = place.clone().unwrap_or_else(|| folder.path.join("ca"));
            let files = KeyFiles { certificate: place.join("ca.pem"), key: place.join("ca.key") };
            if !files.key.exists() {
                draw(&files, &place, &folder.name)?;
            }
            load(&files)?
        }
    };
    trust::write_authority(folder, &authority)?;
    Ok(authority)
}

fn load(files: &KeyFiles) -> Result<CertificateAuthority, Failure> {
    let refused = |message: String| Failure::new(Kind::Policy, format!("the certificate authority: {message}"));
    let certificate = std::fs::read_to_string(&files.certificate)
        .map_err(|e| refused(format!("{} cannot be read: {e}", files.certificate.display())))?;
    let key = private::read(&files.key).map_err(refused)?;
    CertificateAuthority::from_pem(&certificate, &key, &tollgate_proxy::Limits::default())
        .map_err(|e| refused(format!("{} and {}: {e}", files.certificate.display(), files.key.display())))
}

/// The certificate is written first: a key without it would never be replaced.
fn draw(files: &KeyFiles, place: &Path, name: &str) -> Result<(), Failure> {
    let unwritable = |e: std::io::Error| {
        Failure::new(Kind::State, format!("no certificate authority can be made in {}: {e}", place.display()))
    };
    let root = Root::draw(name).map_err(|e| Failure::new(Kind::Other, e.to_string()))?;
    DirBuilder::new().recursive(true).mode(0o700).create(place).map_err(unwritable)?;
    std::fs::write(&files.certificate, &root.certificate).map_err(unwritable)?;
    write_private(&files.key, root.key.as_bytes()).map_err(unwritable)
}
