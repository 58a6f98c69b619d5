//! The policies of a running sandbox: what its file says, what an operator sets, and what was in force before.
//!
//! The newest accepted one is in force, wherever it came from. Each is kept as a revision before it comes into force; one
//! that is refused changes nothing. What a file or an operator brings passes through the same few lines.

mod file;
mod next;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tollgate_audit::Event;
use tollgate_policy::document::read;
use tollgate_policy::{Diagnostics, Policy};
use tollgate_proxy::{Digested, Journal, JournalError, Rules};
use tollgate_wire::policy::{Applied, Origin, Revisions, Shown};

pub use file::{Content, Fence, Follower, Following, MAX_POLICY_BYTES, PolicyFile};
pub use next::{change_next, newest};

use crate::failure::{Failure, Kind};
use crate::home::SandboxFolder;
use crate::revisions::{Archive, Conflict, Entry, FolderError, Step, fixed, now_ms};

/// The policies of one sandbox.
pub struct Policies {
    /// Knows the attached providers, so it compiles every text.
    file: PolicyFile,
    /// What the sandbox was built by.
    start: Policy,
    rules: Arc<Rules>,
    journal: Arc<Journal>,
    kept: Mutex<Archive>,
}

/// Why a policy did not come into force.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It has mistakes.
    #[error("the policy is not valid:\n{0}")]
    Invalid(Diagnostics),
    /// It changes what was applied when the sandbox started.
    #[error("the policy changes what a running sandbox cannot:\n{}", .0.join("\n"))]
    Fixed(Vec<String>),
    /// It is larger than a policy may be.
    #[error("the policy has {bytes} bytes, more than {MAX_POLICY_BYTES}; nothing changed")]
    Large { bytes: usize },
    /// It is not kept, or never was.
    #[error("there is no revision {number}; `policy list` shows those that are kept")]
    NoRevision { number: u64 },
    /// The writer did not know what is in force.
    #[error(transparent)]
    Conflict(#[from] Conflict),
    /// It could not be kept, so it was not put in force.
    #[error("{0}; nothing changed")]
    Unkept(FolderError),
    /// A revision that should be there cannot be read.
    #[error(transparent)]
    Unreadable(FolderError),
    /// It is in force, and nothing more is let through.
    #[error("the policy is in force, but every request is refused: {0}")]
    Unrecorded(#[from] JournalError),
}

/// Which text of a revision is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Text {
    /// With what providers bring.
    Effective,
    /// As it was accepted.
    Base,
}

/// A policy that somebody brings.
struct Change<'a> {
    text: &'a str,
    policy: Digested,
    origin: Origin,
    restores: Option<u64>,
    author_uid: u32,
    expected: Option<&'a str>,
}

impl Policies {
    /// Takes up the revisions of a sandbox, and makes the policy that it starts with the newest.
    pub fn open(
        file: PolicyFile,
        content: &Content,
        rules: &Arc<Rules>,
        journal: &Arc<Journal>,
        folder: &SandboxFolder,
    ) -> Result<Self, Failure> {
        let unusable = |error: FolderError| Failure::new(Kind::State, error.to_string());
        let (mut kept, damaged) = Archive::open(folder.revisions()?).map_err(unusable)?;
        damaged.iter().for_each(|error| eprintln!("tollgate: warning: {error}; it cannot be gone back to"));
        let first = rules.current();
        kept.begin(&content.text, &first.policy_sha256, content.owner_uid).map_err(unusable)?;
        let start = first.policy.clone();
        Ok(Self { file, start, rules: Arc::clone(rules), journal: Arc::clone(journal), kept: Mutex::new(kept) })
    }

    /// The policy file.
    pub fn file(&self) -> &PolicyFile {
        &self.file
    }

    /// Puts what the policy file says in force, and gives the generation; nothing where it is in force already.
    pub fn follow(&self, content: &Content, policy: Digested) -> Result<Option<u64>, Refused> {
        let change = Change {
            text: &content.text,
            policy,
            origin: Origin::File,
            restores: None,
            author_uid: content.owner_uid,
            expected: None,
        };
        let applied = self.accept(change)?;
        Ok(applied.is_new.then_some(applied.generation))
    }

    /// Puts a policy of an operator in force. It stays until another one comes, from an operator or from the policy file when
    /// that is edited to say something else than it did.
    pub fn set(&self, text: &str, expected: Option<&str>, author_uid: u32) -> Result<Applied, Refused> {
        self.change(text, (Origin::Set, None), expected, author_uid)
    }

    /// Puts an earlier revision in force again, as a new one.
    pub fn roll_back(&self, number: u64, expected: Option<&str>, author_uid: u32) -> Result<Applied, Refused> {
        let text = text_of(&self.kept(), number)?;
        self.change(&text, (Origin::Rollback, Some(number)), expected, author_uid)
    }

    /// One revision, or the one in force.
    pub fn show(&self, number: Option<u64>, text: Option<Text>) -> Result<Shown, Refused> {
        let (shown, written) = {
            let kept = self.kept();
            let active = kept.history().active().unwrap_or_default();
            let number = number.unwrap_or(active);
            let entry = kept.history().get(number).ok_or(Refused::NoRevision { number })?;
            let revision = kept.history().describe(entry);
            let written = text.map(|_| text_of(&kept, number)).transpose()?;
            let generation = self.rules.current().number;
            (Shown { revision, active, generation, text: None }, written)
        };
        let canonical = |written: String| match text {
            Some(Text::Base) => read(&written).map(|document| document.canonical()),
            _ => self.file.compile(&written).map(|policy| policy.canonical()),
        };
        let text = written.map(canonical).transpose().map_err(Refused::Invalid)?;
        Ok(Shown { text, ..shown })
    }

    /// All revisions that are kept, newest first.
    pub fn revisions(&self) -> Revisions {
        let kept = self.kept();
        let revisions = kept.history().newest_first().map(|entry| kept.history().describe(entry)).collect();
        Revisions { active: kept.history().active().unwrap_or_default(), revisions }
    }

    fn change(
        &self,
        text: &str,
        (origin, restores): (Origin, Option<u64>),
        expected: Option<&str>,
        author_uid: u32,
    ) -> Result<Applied, Refused> {
        let policy =
            self.check(text).inspect_err(|refused| self.record_refused(&format!("of user {author_uid}: {refused}")))?;
        let policy = policy.into();
        let applied = self.accept(Change { text, policy, origin, restores, author_uid, expected })?;
        if applied.is_new {
            let (number, generation) = (applied.revision.number, applied.generation);
            eprintln!("tollgate: policy revision {number} of user {author_uid}: generation {generation} is in force");
        }
        Ok(applied)
    }

    fn check(&self, text: &str) -> Result<Policy, Refused> {
        if text.len() as u64 > MAX_POLICY_BYTES {
            return Err(Refused::Large { bytes: text.len() });
        }
        let policy = self.file.compile(text).map_err(Refused::Invalid)?;
        let changes = fixed::changes(self.start.document(), policy.document());
        match changes.is_empty() {
            true => Ok(policy),
            false => Err(Refused::Fixed(changes)),
        }
    }

    /// Records a policy that did not come into force, and why.
    pub fn record_refused(&self, detail: &str) {
        let current = self.rules.current();
        let event = Event::Policy {
            agent: "",
            generation: current.number,
            outcome: "refused",
            policy_sha256: &current.policy_sha256,
            detail,
        };
        if let Err(error) = self.journal.record(&event) {
            eprintln!("tollgate: {error}");
        }
    }

    /// Keeps a policy and puts it in force, unless it is in force already. One at a time, so that what a writer expects to
    /// replace is what it replaces.
    fn accept(&self, change: Change<'_>) -> Result<Applied, Refused> {
        let mut kept = self.kept();
        let number = match kept.history().plan(change.policy.sha256(), change.expected)? {
            Step::Unchanged(number) => return applied(&kept, number, (false, self.rules.current().number)),
            Step::New(number) => number,
        };
        let entry = Entry {
            number,
            sha256: change.policy.sha256().to_owned(),
            origin: change.origin,
            restores: change.restores,
            author_uid: change.author_uid,
            created_at_ms: now_ms(),
            loaded_at_ms: None,
        };
        kept.keep(&entry, change.text).map_err(Refused::Unkept)?;
        let before = self.rules.current();
        let now = self.rules.replace_policy(change.policy).unwrap_or_else(|| self.rules.current());
        let event = Event::Policy {
            agent: "",
            generation: now.number,
            outcome: "in-force",
            policy_sha256: &now.policy_sha256,
            detail: &describe(&entry),
        };
        let recorded = self.journal.record(&event);
        kept.loaded(entry, change.text, before);
        recorded?;
        applied(&kept, number, (true, now.number))
    }

    fn kept(&self) -> MutexGuard<'_, Archive> {
        // What is guarded is whole between any two of its steps.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn text_of(kept: &Archive, number: u64) -> Result<String, Refused> {
    kept.text(number).map_err(Refused::Unreadable)?.ok_or(Refused::NoRevision { number })
}

fn applied(kept: &Archive, number: u64, (is_new, generation): (bool, u64)) -> Result<Applied, Refused> {
    let entry = kept.history().get(number).ok_or(Refused::NoRevision { number })?;
    Ok(Applied { is_new, revision: kept.history().describe(entry), generation })
}

fn describe(entry: &Entry) -> String {
    let Entry { number, author_uid, .. } = entry;
    match (entry.origin, entry.restores) {
        (Origin::File, _) => format!("revision {number}, from the policy file"),
        (_, Some(earlier)) => format!("revision {number}, back to {earlier}, by user {author_uid}"),
        (_, None) => format!("revision {number}, set by user {author_uid}"),
    }
}
