//! What of the host's files the agent sees, and what it must not see whatever the policy grants.

use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};
use tollgate_policy::{Compatibility, Policy};
use tollgate_proxy::SYSTEM_BUNDLES;
use tollgate_supervisor::in_image;
use tollgate_wire::cell::{Files, Image};

use crate::failure::{Failure, Kind};
use crate::home::{Home, SandboxFolder};
use crate::session::trust::java_stores;

/// Where the sandbox's certificate authority appears inside.
pub const CA_INSIDE: &str = "/run/tollgate/ca.pem";

/// Where everything that is to be trusted appears inside.
pub const BUNDLE_INSIDE: &str = "/run/tollgate/ca-bundle.pem";

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Enough for dynamic linking, shells and interpreters; granted whatever the policy says, where it exists.
const BASELINE: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc"];

/// What a policy without `filesystem_policy` grants beside the baseline and the working directory.
const DEFAULT_READ_ONLY: &[&str] = &["/app", "/var/log"];

/// Grants of the command line, beside the policy's.
#[derive(Debug, Clone, Default)]
pub struct Extra {
    /// `--rootfs`: an unpacked image, absolute and free of links.
    pub image: Option<PathBuf>,
    /// `--read-only`.
    pub read_only: Vec<PathBuf>,
    /// `--read-write`.
    pub read_write: Vec<PathBuf>,
}

/// Everything that decides what is visible.
pub struct Request<'a> {
    pub policy: &'a Policy,
    pub extra: &'a Extra,
    pub workdir: &'a Path,
    pub command: &'a str,
    pub policy_file: &'a Path,
    pub folder: &'a SandboxFolder,
}

/// The files of a sandbox, and whether the policy file lies where the agent writes.
pub fn files(request: &Request<'_>) -> Files {
    let mut files = granted(request);
    if files.image.is_none() {
        files.read_only.extend(executable(request.command, request.workdir));
    }
    files.home = std::env::var_os("HOME").map_or_else(|| PathBuf::from("/home/agent"), PathBuf::from);
    files.overlays = overlays(request.folder, request.extra.image.as_deref());
    // One that is gone is not followed, and cannot be laid over.
    if let Some(grant) = holder(&files.read_write, request.policy_file).filter(|_| request.policy_file.exists()) {
        let above = request.policy_file.ancestors().skip(1);
        files.pinned = above.take_while(|folder| *folder != grant).map(Path::to_owned).collect();
        files.overlays.push((request.policy_file.to_owned(), request.policy_file.to_owned()));
    }
    files
}

/// True when the agent may write below one of the grants that hold `path`.
pub fn writable(files: &Files, path: &Path) -> bool {
    holder(&files.read_write, path).is_some()
}

/// The grant that holds a path, both without links: a link's target is what becomes visible.
fn holder(grants: &[PathBuf], path: &Path) -> Option<PathBuf> {
    grants.iter().map(|grant| real(grant)).find(|grant| path.starts_with(grant))
}

fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// A granted name that is a link must not lie where an agent can lay links: it would choose what is granted next time.
fn check_links(files: &Files) -> Result<(), Failure> {
    let writable: Vec<_> = files.read_write.iter().map(|grant| real(grant)).collect();
    for grant in files.read_only.iter().chain(&files.read_write) {
        let place = grant.parent().map(real).unwrap_or_default();
        let movable = writable.iter().find(|folder| place.starts_with(folder));
        if let Some(folder) = movable
            && real(grant) != place.join(grant.file_name().unwrap_or_default())
        {
            let message = format!(
                "the granted path {} is a link in {}, where the agent could point it anywhere; grant {} itself, or remove the link",
                grant.display(),
                folder.display(),
                real(grant).display()
            );
            return Err(Failure::new(Kind::Policy, message));
        }
    }
    Ok(())
}

/// Secrets and state must not lie in what the agent sees.
pub fn check_hidden(files: &Files, home: &Home, secret_files: &[&Path]) -> Result<(), Failure> {
    check_links(files)?;
    let image = files.image.iter().map(|image| image.root.clone());
    let all: Vec<_> = files.read_only.iter().chain(&files.read_write).map(|grant| real(grant)).chain(image).collect();
    let grants = || all.iter();
    if let Some(grant) = grants().find(|grant| home.path().starts_with(grant) || grant.starts_with(home.path())) {
        let message = format!(
            "the agent would see {}, where Tollgate keeps its state {}; start it in a project folder below, or set TOLLGATE_HOME to a folder elsewhere",
            grant.display(),
            home.path().display()
        );
        return Err(Failure::new(Kind::Policy, message));
    }
    for file in secret_files {
        let file = real(file);
        if let Some(grant) = grants().find(|grant| file.starts_with(grant) && !is_private_inside(grant)) {
            let message = format!(
                "the agent would see the secret in {}, which lies in the granted folder {}; move the file elsewhere",
                file.display(),
                grant.display()
            );
            return Err(Failure::new(Kind::Credential, message));
        }
    }
    Ok(())
}

/// A policy file in an image cannot be fenced from an agent that may change the image.
pub fn check_policy_file(files: &Files, policy_file: &Path) -> Result<(), Failure> {
    match &files.image {
        Some(image) if policy_file.starts_with(&image.root) => {
            let message = format!(
                "the policy file {} lies in the image {}, which is the agent's; move it elsewhere",
                policy_file.display(),
                image.root.display()
            );
            Err(Failure::new(Kind::Policy, message))
        }
        _ => Ok(()),
    }
}

/// The user and group that the agent runs as, where the caller is root.
pub fn run_as(policy: &Policy) -> Result<Option<(u32, u32)>, Failure> {
    if !Uid::effective().is_root() {
        return Ok(None);
    }
    let from_sudo = |name| std::env::var(name).ok().and_then(|id| id.parse::<u32>().ok()).filter(|id| *id != 0);
    let sudo = from_sudo("SUDO_UID").zip(from_sudo("SUDO_GID"));
    let process = policy.process();
    let user = match process.and_then(|p| p.run_as_user.as_deref()) {
        None => return Ok(Some(sudo.unwrap_or(NOBODY))),
        Some(user) => account(user)?,
    };
    let group = process.and_then(|p| p.run_as_group.as_deref()).and_then(|g| g.parse().ok());
    Ok(Some((user.0, group.unwrap_or(user.1))))
}

fn account(user: &str) -> Result<(u32, u32), Failure> {
    if let Ok(id) = user.parse::<u32>() {
        return Ok((id, id));
    }
    match User::from_name(user) {
        Ok(Some(found)) if !found.uid.is_root() => Ok((found.uid.as_raw(), found.gid.as_raw())),
        // The name that policies of this field use; where no such account exists any unprivileged one will do.
        _ if user == "sandbox" => Ok(NOBODY),
        _ => Err(Failure::new(
            Kind::Policy,
            format!("process.run_as_user names `{user}`, which is no ordinary user here"),
        )),
    }
}

fn granted(request: &Request<'_>) -> Files {
    let paths = |paths: &[String]| paths.iter().map(PathBuf::from).collect::<Vec<_>>();
    let filesystem = request.policy.filesystem();
    let (mut read_only, read_write) = match (filesystem, &request.extra.image) {
        (Some(filesystem), _) => (paths(&filesystem.read_only), paths(&filesystem.read_write)),
        (None, None) => (DEFAULT_READ_ONLY.iter().map(PathBuf::from).collect(), Vec::new()),
        // Nothing in it is this machine's.
        (None, Some(_)) => (vec![PathBuf::from("/")], Vec::new()),
    };
    read_only.extend(BASELINE.iter().map(PathBuf::from));
    let hard_requirement = request.policy.landlock() == Compatibility::HardRequirement;
    let mut files = Files { hard_requirement, ..Files::default() };
    match &request.extra.image {
        Some(root) => files.image = Some(Image { root: root.clone(), read_only, read_write }),
        None => (files.read_only, files.read_write) = (read_only, read_write),
    }
    if filesystem.is_none_or(|filesystem| filesystem.include_workdir) {
        files.read_write.push(request.workdir.to_owned());
    }
    files.read_only.extend(request.extra.read_only.iter().cloned());
    files.read_write.extend(request.extra.read_write.iter().cloned());
    files
}

/// The file of COMMAND itself: naming it is granting it.
fn executable(command: &str, workdir: &Path) -> Vec<PathBuf> {
    let candidates: Vec<PathBuf> = if command.contains('/') {
        vec![workdir.join(command)]
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).map(|folder| folder.join(command)).collect()
    };
    let Some(found) = candidates.into_iter().find(|file| file.is_file()) else { return Vec::new() };
    let target = found.canonicalize().ok().filter(|target| *target != found);
    std::iter::once(found).chain(target).collect()
}

fn overlays(folder: &SandboxFolder, image: Option<&Path>) -> Vec<(PathBuf, PathBuf)> {
    let ca = folder.path.join("ca");
    let bundle = ca.join("ca-bundle.pem");
    let mut overlays =
        vec![(ca.join("ca.pem"), PathBuf::from(CA_INSIDE)), (bundle.clone(), PathBuf::from(BUNDLE_INSIDE))];
    let is_file = |path: &Path| {
        image.map_or(path.is_file(), |root| in_image(root, path).is_ok_and(|found| found.on_host.is_file()))
    };
    let resolver = Path::new(RESOLV_CONF);
    // Laid over what is there: a bound folder takes no new file. This machine's is often a link to what is not visible.
    if is_file(resolver) || image.is_none() && resolver.symlink_metadata().is_ok() {
        overlays.push((ca.join("resolv.conf"), resolver.to_owned()));
    }
    let stores = SYSTEM_BUNDLES.iter().map(PathBuf::from).filter(|path| is_file(path));
    overlays.extend(stores.map(|path| (bundle.clone(), path)));
    let java = java_stores(image.unwrap_or(Path::new("/")));
    overlays.extend(java.into_iter().map(|path| (ca.join("cacerts"), path)));
    overlays
}

/// `/tmp` inside is the sandbox's own, so what lies in the host's is not seen through that grant.
fn is_private_inside(grant: &Path) -> bool {
    grant == Path::new("/tmp") || grant == Path::new("/proc") || grant.starts_with("/dev")
}

/// `nobody` and `nogroup`.
const NOBODY: (u32, u32) = (65534, 65534);
