//! One request and its reply until both have ended: whether they may go on, and what the journal will say of them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tollgate_audit::Event;
use tollgate_secrets::InjectError;

use crate::Journal;
use crate::live::Hold;

/// Shared by the body that goes up and the one that comes down. The journal is told when the last of them is dropped, so
/// that nothing goes on unrecorded.
#[derive(Debug)]
pub(crate) struct Course {
    pub(crate) hold: Hold,
    journal: Arc<Journal>,
    request: u64,
    begun: Instant,
    notes: Mutex<Notes>,
}

/// What has been seen so far.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    /// HTTP status; 0 until there is one.
    pub(crate) status: u16,
    /// Bytes passed to the client.
    pub(crate) bytes: u64,
    /// Bytes passed to the upstream.
    pub(crate) sent: u64,
    /// Secrets that were replaced in the reply.
    pub(crate) scrubbed: u64,
    /// Credentials that were put in after the head had gone.
    pub(crate) exchanged: Vec<String>,
    /// Why the request's body broke off, where a credential was the reason.
    pub(crate) unexchanged: Option<InjectError>,
    outcome: String,
}

impl Course {
    pub(crate) fn new(hold: Hold, journal: &Arc<Journal>, request: u64, begun: Instant) -> Arc<Self> {
        Arc::new(Self { hold, journal: Arc::clone(journal), request, begun, notes: Mutex::default() })
    }

    pub(crate) fn note<T>(&self, change: impl FnOnce(&mut Notes) -> T) -> T {
        change(&mut self.notes.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How it ended. Of several ends the first is the cause of the others.
    pub(crate) fn end(&self, outcome: impl Into<String>) {
        self.note(|notes| {
            if notes.outcome.is_empty() {
                notes.outcome = outcome.into();
            }
        });
    }
}

impl Drop for Course {
    fn drop(&mut self) {
        let notes = self.notes.get_mut().unwrap_or_else(PoisonError::into_inner);
        let event = Event::Reply {
            request: self.request,
            status: notes.status,
            bytes: notes.bytes,
            sent: notes.sent,
            scrubbed: notes.scrubbed,
            exchanged: &notes.exchanged,
            milliseconds: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            outcome: if notes.outcome.is_empty() { "aborted" } else { &notes.outcome },
        };
        if let Err(error) = self.journal.record(&event) {
            tracing::warn!(%error, request = self.request, "a reply could not be recorded");
        }
    }
}
