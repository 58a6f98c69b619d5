//! The policy that a sandbox which does not run starts with next: the newest that was accepted.

use nix::unistd::Uid;
use tollgate_policy::document::read;
use tollgate_policy::{Diagnostics, Document};
use tollgate_proxy::Digested;
use tollgate_wire::policy::Origin;

use super::{Content, PolicyFile};
use crate::failure::{Failure, Kind};
use crate::home::SandboxFolder;
use crate::revisions::{Archive, Entry, FolderError, Step, now_ms};

/// The newest policy that was accepted for a sandbox, and the hash of the newest that its file brought; nothing where none is
/// kept.
pub fn newest(folder: &SandboxFolder) -> Result<Option<(Content, String)>, Failure> {
    let (kept, _) = Archive::open(folder.revisions()?).map_err(unusable)?;
    let Some(newest) = kept.history().newest_first().next() else { return Ok(None) };
    let from_file = kept.history().newest_first().find(|entry| entry.origin == Origin::File);
    let brought = from_file.map(|entry| entry.sha256.clone()).unwrap_or_default();
    let text = kept.text(newest.number).map_err(unusable)?.unwrap_or_default();
    Ok(Some((Content { text, owner_uid: newest.author_uid }, brought)))
}

/// Changes it: a new revision, which comes into force at the start. The file is as at that start.
pub fn change_next(
    folder: &SandboxFolder,
    file: &PolicyFile,
    change: impl FnOnce(Document) -> Result<Document, Failure>,
) -> Result<(), Failure> {
    let name = &folder.name;
    let undecided = |why: &str| {
        let message = format!(
            "{name} does not run, and {why}, so the policy that it starts with cannot be changed yet; first run: tollgate sandbox start {name}"
        );
        Failure::new(Kind::Other, message)
    };
    let (content, brought) = newest(folder)?.ok_or_else(|| undecided("no policy was in force yet"))?;
    if file.path().exists() && Digested::from(file.load()?).sha256() != brought {
        return Err(undecided("its policy file was changed since"));
    }
    let invalid = |mistakes: Diagnostics| Failure::new(Kind::Policy, format!("the policy is not valid:\n{mistakes}"));
    let text = change(read(&content.text).map_err(invalid)?)?.canonical();
    let policy = Digested::from(file.compile(&text).map_err(invalid)?);
    keep(folder, &text, &policy)
}

fn keep(folder: &SandboxFolder, text: &str, policy: &Digested) -> Result<(), Failure> {
    let (kept, _) = Archive::open(folder.revisions()?).map_err(unusable)?;
    // Without an expectation there is no conflict.
    let Ok(Step::New(number)) = kept.history().plan(policy.sha256(), None) else { return Ok(()) };
    let entry = Entry {
        number,
        sha256: policy.sha256().to_owned(),
        origin: Origin::Set,
        restores: None,
        author_uid: Uid::effective().as_raw(),
        created_at_ms: now_ms(),
        loaded_at_ms: None,
    };
    kept.keep(&entry, text).map_err(unusable)
}

fn unusable(error: FolderError) -> Failure {
    Failure::new(Kind::State, error.to_string())
}
