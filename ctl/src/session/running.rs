//! A sandbox whose agent runs: signals, the operator's wish to end it, and its end.

use std::sync::Arc;
use std::time::Duration;

use nix::libc;
use tokio::sync::Notify;
use tollgate_proxy::{Gate, Journal, Workers};
use tollgate_supervisor::{Door, Outcome};
use tollgate_wire::cell::Control;

use super::visitors::Visitors;
use crate::credentials::Keeping;
use crate::failure::Failure;
use crate::home::{Claim, SandboxFolder};
use crate::operator;
use crate::policies::Follower;

/// A sandbox whose agent runs.
pub struct Running {
    /// Ends with the agent.
    pub(super) waiter: tokio::task::JoinHandle<Outcome>,
    pub(super) door: Door,
    /// An operator wants it to end.
    pub(super) stop: Arc<Notify>,
    /// When what was asked to end is ended.
    pub(super) deadline: Option<tokio::time::Instant>,
    pub(super) journal: Arc<Journal>,
    pub(super) gate: Arc<Gate>,
    /// They end with the sandbox.
    pub(super) _workers: Workers,
    pub(super) claim: Claim,
    pub(super) controls: Vec<Control>,
    pub(super) _follower: Option<Follower>,
    pub(super) _visitors: Visitors,
    pub(super) keeping: Keeping,
    pub(super) operator: operator::Server,
}

/// What is asked to end has this long to do it.
pub const STOP_GRACE: Duration = Duration::from_secs(10);

impl Running {
    /// Protections and how they stand.
    pub fn controls(&self) -> &[Control] {
        &self.controls
    }

    /// Passes a signal on to the agent.
    pub fn signal(&self, signal: i32) {
        if let Err(error) = self.door.signal(signal) {
            tracing::debug!(%error, signal, "a signal could not be passed on");
        }
    }

    /// Makes it end, as an operator does.
    pub fn stop(&self) {
        self.stop.notify_one();
    }

    /// True once it was told to end.
    pub fn was_stopped(&self) -> bool {
        self.deadline.is_some()
    }

    /// Its folder.
    pub fn folder(&self) -> &SandboxFolder {
        &self.claim.folder
    }

    /// Waits for the agent's end, and sees to it when an operator wants it; may be dropped and called again.
    pub async fn ended(&mut self) -> Outcome {
        loop {
            let overdue = self.deadline.unwrap_or_else(|| tokio::time::Instant::now() + STOP_GRACE);
            tokio::select! {
                // The task only waits for a child: it cannot panic, and nobody aborts it.
                outcome = &mut self.waiter => return outcome.unwrap_or(Outcome::Signalled(libc::SIGKILL)),
                () = self.stop.notified(), if self.deadline.is_none() => {
                    self.deadline = Some(overdue);
                    self.signal(libc::SIGTERM);
                }
                () = tokio::time::sleep_until(overdue), if self.deadline.is_some() => {
                    self.door.slam();
                    return (&mut self.waiter).await.unwrap_or(Outcome::Signalled(libc::SIGKILL));
                }
            }
        }
    }

    /// Lets the last connections be recorded, and signs the journal's end.
    pub async fn close(self, outcome: &Outcome) -> Result<(), Failure> {
        let stopped = self.was_stopped();
        let Self { journal, gate, operator, claim, keeping, _visitors: visitors, .. } = self;
        drop((keeping, visitors));
        gate.drain().await;
        drop(operator);
        let token = claim.folder.path.join(operator::TOKEN_FILE);
        for way_in in [claim.folder.socket(), claim.folder.visitors_socket(), token] {
            // One that was never there need not be removed.
            let _ = std::fs::remove_file(way_in);
        }
        let why = if stopped { "an operator stopped the sandbox, and " } else { "" };
        let reason = match outcome {
            Outcome::Exited(code) => format!("{why}the agent exited with {code}"),
            Outcome::Signalled(signal) => format!("{why}the agent was ended by signal {signal}"),
        };
        journal.close(&reason).map_err(Failure::of_journal)
    }
}
