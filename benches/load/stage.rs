//! What every proxy of a run has in common: certificates, secrets, policies, the origin behind them.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;
use tollgate_benches::job::{AUTHORIZATION, MANY, SERVICE};

use crate::Result;

/// How many names below [`MANY`] there are.
pub const NAMES: usize = 5000;

/// A folder, a certificate authority for the proxies and one for the origin, and the origin.
pub struct Stage {
    folder: TempDir,
    origin: Child,
    pub address: SocketAddr,
    pub ca_pem: String,
}

impl Stage {
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("tollgate-load-").tempdir()?;
        let at = |name: &str| folder.path().join(name);
        let ca = authority("Load bench")?;
        write(&at("ca.pem"), &ca.pem())?;
        write(&at("ca.key"), &ca.key().serialize_pem())?;
        leaf(&ca, &at("proxy"))?;
        let upstream = authority("Load bench origin")?;
        write(&at("origin-ca.pem"), &upstream.pem())?;
        leaf(&upstream, &at("origin"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_origin"));
        command.arg(at("origin.pem")).arg(at("origin.key")).arg(AUTHORIZATION);
        let (origin, address) = start_announced(&mut command)?;
        Ok(Self { origin, address, ca_pem: ca.pem(), folder })
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        write(&self.path(name), text)?;
        Ok(self.path(name))
    }

    /// Every name that the origin serves.
    pub fn names(&self) -> impl Iterator<Item = String> {
        std::iter::once(SERVICE.to_owned()).chain((0..NAMES).map(name))
    }

    /// `NAME:PORT` of the service, or of one of its many names.
    pub fn authority(&self, name: &str) -> String {
        format!("{name}:{}", self.address.port())
    }
}

/// One of the many names.
pub fn name(number: usize) -> String {
    format!("n{number}.{MANY}")
}

impl Drop for Stage {
    fn drop(&mut self) {
        end(&mut self.origin);
    }
}

/// Kills a child and waits for its end.
pub fn end(child: &mut Child) {
    // One that has ended already needs no killing.
    let _ = child.kill();
    let _ = child.wait();
}

/// Starts a program of ours that says on its first line where it listens.
pub fn start_announced(command: &mut Command) -> Result<(Child, SocketAddr)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    let output = child.stdout.take().ok_or("its output is piped")?;
    BufReader::new(output).read_line(&mut line)?;
    let address = line.trim().parse().map_err(|_| format!("{command:?} did not say where it listens: {line:?}"))?;
    Ok((child, address))
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// Writes `PATH.pem` and `PATH.key` for the service and all its names.
fn leaf(issuer: &CertifiedIssuer<'static, KeyPair>, path: &Path) -> Result<()> {
    let key = KeyPair::generate()?;
    let leaf = CertificateParams::new([SERVICE.to_owned(), format!("*.{MANY}")])?.signed_by(&key, issuer)?;
    write(&path.with_extension("pem"), &leaf.pem())?;
    write(&path.with_extension("key"), &key.serialize_pem())
}

fn write(path: &Path, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    Ok(file.write_all(text.as_bytes())?)
}
