//! How a sandbox stands, from what is there: who holds its folder, who answers, what was noted at its end.

use serde::{Deserialize, Serialize};
use tollgate_supervisor::Outcome;
use tollgate_wire::policy::Shown;
use tollgate_wire::status::Status;

use crate::definition::Definition;
use crate::failure::{Failure, Kind};
use crate::home::{SandboxFolder, write_private};
use crate::operator::{ClientError, POLICY, STATUS, fetch};
use crate::revisions::now_ms;

/// How a sandbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// A process holds it and does not answer yet, or not any more.
    Starting,
    /// Everything is in force.
    Ready,
    /// It was stopped, and can be started again.
    Stopped,
    /// Its agent ended by itself.
    Ended,
    /// Its process ended without a word: killed, or the machine was.
    Dead,
}

/// How a sandbox that stays has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct End {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// True where an operator stopped it.
    pub stopped: bool,
    /// The agent's exit code, 128+n where signal n ended it.
    pub exit_code: u8,
}

/// A sandbox and how it stands.
pub struct Sandbox {
    pub folder: SandboxFolder,
    pub phase: Phase,
    /// What it says of itself, where it is ready.
    pub status: Option<Status>,
    /// The revision of its policy, where it is ready.
    pub policy: Option<Shown>,
    /// What it is made of, where it stays.
    pub definition: Option<Definition>,
    /// How it ended, where that was noted.
    pub end: Option<End>,
}

impl Phase {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Ready => "ready",
            Self::Stopped => "stopped",
            Self::Ended => "ended",
            Self::Dead => "dead",
        }
    }
}

impl End {
    /// An end at this moment.
    pub fn of(outcome: &Outcome, stopped: bool) -> Self {
        let exit_code = match outcome {
            Outcome::Exited(code) => *code,
            Outcome::Signalled(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        };
        Self { at_ms: now_ms(), stopped, exit_code }
    }

    /// Notes it.
    pub fn save(&self, folder: &SandboxFolder) -> Result<(), Failure> {
        let path = folder.end();
        let written =
            serde_json::to_vec(self).map_err(std::io::Error::from).and_then(|text| write_private(&path, &text));
        written.map_err(|e| Failure::new(Kind::State, format!("{} cannot be written: {e}", path.display())))
    }

    /// Forgets how it ended, as at a start.
    pub fn forget(folder: &SandboxFolder) -> Result<(), Failure> {
        let path = folder.end();
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::new(Kind::State, format!("{} cannot be removed: {e}", path.display())))
            }
            _ => Ok(()),
        }
    }

    /// What was noted; nothing where nothing was, or nothing that can be read.
    fn load(folder: &SandboxFolder) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(folder.end()).ok()?).ok()
    }
}

impl Sandbox {
    /// Looks at one. A definition that is damaged is a failure only where the sandbox is asked for by name.
    pub async fn look(folder: SandboxFolder) -> Result<Self, Failure> {
        let definition = Definition::load(&folder)?;
        let (status, policy) = match fetch::<Status>(&folder.socket(), STATUS).await {
            Ok(status) => (Some(status), fetch::<Shown>(&folder.socket(), POLICY).await.ok()),
            Err(ClientError::NotRunning | ClientError::TimedOut) => (None, None),
            Err(error) => {
                return Err(Failure::new(Kind::Other, format!("sandbox {}: {error}", folder.name)));
            }
        };
        let end = End::load(&folder);
        let phase = match (&status, &end) {
            (Some(_), _) => Phase::Ready,
            (None, _) if folder.is_held() => Phase::Starting,
            (None, Some(end)) if end.stopped => Phase::Stopped,
            (None, Some(_)) => Phase::Ended,
            (None, None) if definition.is_some() => Phase::Dead,
            // One that ran for as long as its command leaves its journal and no more.
            (None, None) => Phase::Ended,
        };
        Ok(Self { folder, phase, status, policy, definition, end })
    }

    /// True where it is more than a journal of one that ran once.
    pub fn is_there(&self) -> bool {
        self.definition.is_some() || matches!(self.phase, Phase::Ready | Phase::Starting)
    }
}
