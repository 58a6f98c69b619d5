//! The policy file: read at the start, and again whenever it changes.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::fstat;
use tollgate_policy::document::{self, Attachment};
use tollgate_policy::{Diagnostic, Diagnostics, Policy};
use tollgate_proxy::{Digested, Rules};
use tollgate_supervisor::in_image;

use crate::failure::{Failure, Kind};
use crate::watch::Watch;

use super::Policies;

/// A policy file on the host.
#[derive(Debug, Clone)]
pub struct PolicyFile {
    path: PathBuf,
    /// As the operator wrote it, for messages.
    shown: PathBuf,
    /// Providers whose credentials it may bind.
    attachments: Vec<Attachment>,
    /// The unpacked image that the agent's programs are of.
    image: Option<PathBuf>,
    links: Arc<Links>,
}

/// Where the links led that policies name programs by, when each was first followed: an agent that can set a link anew must not
/// choose by it who is let through.
type Links = Mutex<HashMap<String, String>>;

/// Names that are remembered; links beyond are not followed.
const MAX_LINKS: usize = 4096;

/// What a policy file held when it was read.
#[derive(Debug, Clone)]
pub struct Content {
    /// Its text.
    pub text: String,
    /// User id of its owner.
    pub owner_uid: u32,
}

/// Larger documents are refused before they are read.
pub const MAX_POLICY_BYTES: u64 = 1 << 20;

impl PolicyFile {
    /// Finds the file.
    pub fn new(shown: &Path) -> Result<Self, Failure> {
        let path = shown.canonicalize().map_err(|e| {
            let message = format!("the policy {} cannot be read: {e}", shown.display());
            Failure::new(Kind::Policy, message)
        })?;
        Ok(Self::at(path, shown))
    }

    /// Where the file is, or was: one that is gone is not followed.
    pub fn or_gone(shown: &Path) -> Self {
        let path = shown.canonicalize().unwrap_or_else(|_| shown.to_owned());
        Self::at(path, shown)
    }

    fn at(path: PathBuf, shown: &Path) -> Self {
        Self { path, shown: shown.to_owned(), attachments: Vec::new(), image: None, links: Arc::default() }
    }

    /// The same for a sandbox that shows this image in place of this machine's tree.
    pub fn of_image(self, image: Option<PathBuf>) -> Self {
        Self { image, ..self }
    }

    /// The same with these providers attached.
    pub fn attaching(self, attachments: Vec<Attachment>) -> Self {
        Self { attachments, ..self }
    }

    /// Absolute, without links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads and compiles it.
    ///
    /// # Errors
    /// All its errors at once, one a line, each as `file:line:column: message`.
    pub fn load(&self) -> Result<Policy, Failure> {
        self.parse(&self.read()?)
    }

    /// Reads it.
    pub fn read(&self) -> Result<Content, Failure> {
        let unreadable = |e: &dyn std::fmt::Display| {
            Failure::new(Kind::Policy, format!("the policy {} cannot be read: {e}", self.shown.display()))
        };
        let file = File::open(&self.path).map_err(|e| unreadable(&e))?;
        let metadata = file.metadata().map_err(|e| unreadable(&e))?;
        let mut text = String::new();
        file.take(MAX_POLICY_BYTES + 1).read_to_string(&mut text).map_err(|e| unreadable(&e))?;
        if text.len() as u64 > MAX_POLICY_BYTES {
            return Err(unreadable(&format!("it has more than {MAX_POLICY_BYTES} bytes")));
        }
        Ok(Content { text, owner_uid: metadata.uid() })
    }

    /// Compiles what was read.
    ///
    /// # Errors
    /// As `load`.
    pub fn parse(&self, content: &Content) -> Result<Policy, Failure> {
        self.compile(&content.text).map_err(|diagnostics| {
            let lines: Vec<_> = diagnostics.iter().map(|d| format!("{}:{d}", self.shown.display())).collect();
            Failure::new(Kind::Policy, format!("the policy is not valid:\n{}", lines.join("\n")))
        })
    }

    /// Compiles a text as if it were the file's.
    ///
    /// # Errors
    /// All its mistakes at once.
    pub fn compile(&self, text: &str) -> Result<Policy, Diagnostics> {
        let mut document = document::read(text)?;
        document.attach(&self.attachments)?;
        let policy = Policy::compile(document)?.following(&|name, upgrades| self.follow(name, upgrades));
        let endpoints = || policy.document().network_policies.values().flat_map(|entry| &entry.endpoints);
        match endpoints().find(|endpoint| endpoint.credential_signing.is_some()) {
            None => Ok(policy),
            Some(endpoint) => {
                // Passed on unsigned, its requests would not be what the policy says they are.
                let described = endpoint.describe();
                let message =
                    format!("the endpoint {described} asks for signed requests, which this version does not make");
                Err(Diagnostic::error(endpoint.at, message).into())
            }
        }
    }

    /// The program that a name leads to: the one of the first time, unless it may be upgraded.
    fn follow(&self, name: &str, upgrades: bool) -> Option<String> {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(first) = links.get(name).filter(|_| !upgrades) {
            return Some(first.clone());
        }
        let now = real_path(name, self.image.as_deref()).filter(|_| links.len() < MAX_LINKS)?;
        links.insert(name.to_owned(), now.clone());
        Some(now)
    }

    /// Credentials of the attached providers that the policy lets go nowhere, one line each.
    pub fn idle_credentials(&self, policy: &Policy) -> Vec<String> {
        let all = self.attachments.iter().flat_map(|one| one.credentials.iter().map(move |name| (one, name)));
        let idle = all.filter(|(_, name)| !policy.document().binds(name)).map(|(one, name)| (one, &**name));
        let line = |(one, name): (&Attachment, &str)| {
            let Attachment { provider, profile, .. } = one;
            format!(
                "{}: no endpoint leads to where {name} of the provider {provider} is for, so every request with it is refused; \
                 `tollgate provider policy {}` prints endpoints that would",
                self.shown.display(),
                profile.id
            )
        };
        idle.map(line).collect()
    }
}

/// Where a path leads inside: what the sandbox shows of the host's files has the same names there.
fn real_path(path: &str, image: Option<&Path>) -> Option<String> {
    let host = || Path::new(path).canonicalize().ok();
    let inside = |root: &Path| in_image(root, Path::new(path)).ok().map(|found| found.inside);
    // What the image has not may be of a folder of the host's that is shown beside it.
    let real = image.and_then(inside).or_else(host)?;
    real.into_os_string().into_string().ok()
}

/// Keeps the rules in step with the file, until it is dropped.
pub struct Follower(tokio::task::JoinHandle<()>);

/// What following a file needs.
pub struct Following {
    pub file: PolicyFile,
    pub rules: Arc<Rules>,
    pub policies: Arc<Policies>,
    /// Set when the file lies where the agent writes.
    pub fence: Option<Fence>,
    /// Hash of the last policy that the file brought: only a file that says something else may undo what an operator set.
    pub brought: String,
    /// What was said last, so that one mistake is told once.
    pub refused: Option<Failure>,
}

impl Follower {
    /// Watches the file and reads it again when it has changed.
    pub fn start(following: Following) -> Result<Self, Failure> {
        let watch = Watch::start(std::slice::from_ref(&following.file.path))?;
        // An edit between the first reading and this moment was seen by nobody.
        watch.touch();
        Ok(Self(tokio::spawn(async move {
            let mut following = following;
            loop {
                watch.changed().await;
                following.reload();
            }
        })))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Following {
    /// Puts the file's policy in force, or says why the one in force stays.
    fn reload(&mut self) {
        let loaded = self.load();
        let current = self.rules.current();
        let refused_before = self.refused.take();
        match loaded {
            Ok((content, policy)) => self.bring(&content, policy),
            Err(failure) if refused_before.as_ref() == Some(&failure) => self.refused = refused_before,
            Err(failure) => {
                self.policies.record_refused(failure.message());
                eprintln!("tollgate: generation {} stays in force: {}", current.number, failure.message());
                self.refused = Some(failure);
            }
        }
    }

    fn load(&self) -> Result<(Content, Policy), Failure> {
        if let Some(fence) = &self.fence
            && !fence.stands(&self.file.path)
        {
            let message = format!(
                "{} was replaced in a folder that the agent may write to, so it is not trusted any more; edit it in place, or keep it outside the agent's folders",
                self.file.shown.display()
            );
            return Err(Failure::new(Kind::Policy, message));
        }
        let content = self.file.read()?;
        let policy = self.file.parse(&content)?;
        Ok((content, policy))
    }

    /// Puts a policy in force that says something else than the file did before.
    fn bring(&mut self, content: &Content, policy: Policy) {
        let policy = Digested::from(policy);
        if policy.sha256() == self.brought {
            return;
        }
        let sha256 = policy.sha256().to_owned();
        match self.policies.follow(content, policy) {
            Ok(Some(generation)) => eprintln!("tollgate: policy reloaded: generation {generation} is in force"),
            Ok(None) => {}
            Err(refused) => {
                self.policies.record_refused(&refused.to_string());
                eprintln!("tollgate: generation {} stays in force: {refused}", self.rules.current().number);
                return;
            }
        }
        self.brought = sha256;
    }
}

/// The read-only mount over a policy file that lies in a folder the agent may write to.
///
/// A file that is replaced on the host takes the mount away with it, and what then lies there may be the agent's. So
/// before each reload the sandbox's own view is looked at: the mount must still be there, on the file that will be read.
#[derive(Debug)]
pub struct Fence {
    /// The root of the sandbox's file tree.
    root: OwnedFd,
}

impl Fence {
    /// Takes a descriptor of the root of the sandbox's file tree.
    pub fn new(root: OwnedFd) -> Self {
        Self { root }
    }

    /// True when the agent still cannot write to the file.
    fn stands(&self, path: &Path) -> bool {
        let inside = path.strip_prefix("/").unwrap_or(path);
        let open = |access: OFlag| {
            let how = OpenHow::new().flags(access | OFlag::O_CLOEXEC).resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
            openat2(&self.root, inside, how)
        };
        let read_only = open(OFlag::O_WRONLY).err() == Some(nix::errno::Errno::EROFS);
        let seen = open(OFlag::O_RDONLY).ok().and_then(|file| fstat(&file).ok());
        let host = std::fs::symlink_metadata(path).ok();
        let same = seen.zip(host).is_some_and(|(seen, host)| {
            // A second name for the file may lie where it can be written.
            (seen.st_dev, seen.st_ino) == (host.dev(), host.ino()) && host.nlink() == 1
        });
        read_only && same
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent that sets a link anew changes nothing, but where upgrades are meant.
    #[test]
    fn a_link_leads_where_it_first_did() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().canonicalize().expect("there").join(name);
        let text = |name: &str| path(name).display().to_string();
        for name in ["policy.yaml", "one", "two"] {
            std::fs::write(path(name), "version: 1\n").expect("written");
        }
        let link = |target: &str| {
            let _ = std::fs::remove_file(path("link"));
            std::os::unix::fs::symlink(target, path("link")).expect("linked");
        };
        let file = PolicyFile::new(&path("policy.yaml")).expect("there");
        assert_eq!(file.follow(&text("link"), false), None);
        link("one");
        assert_eq!(file.follow(&text("link"), false), Some(text("one")));
        link("two");
        assert_eq!(file.clone().follow(&text("link"), false), Some(text("one")));
        assert_eq!(file.follow(&text("link"), true), Some(text("two")));
    }
}
