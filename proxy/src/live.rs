//! What is open now, so that a change of the rules ends exactly what has lost its permission.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;
use foldhash::HashMap;
use tollgate_model::Authority;
use tollgate_policy::{ConnectPermit, Inspection, Reach};

use crate::exchange::Asking;
use crate::origin::{self, Origin};
use crate::{Generation, Rules};

/// Every open connection and request of a gate. Bounded by the connections that a gate takes and the streams on each.
#[derive(Debug, Default)]
pub(crate) struct Live(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    next: u64,
    leases: HashMap<u64, Arc<Lease>>,
}

/// What was allowed, as it is asked for again when the rules change.
#[derive(Debug)]
pub(crate) enum Subject {
    /// A connection.
    Connection {
        /// Whose.
        origin: Arc<Origin>,
        /// Where to.
        authority: Authority,
        /// Which addresses it may have, where its bytes pass unread.
        unread: Option<Reach>,
    },
    /// A request, until its reply has ended.
    Request(Arc<Asking>),
}

#[derive(Debug)]
struct Lease {
    subject: Subject,
    lost: OnceLock<String>,
    /// By [`Side`].
    wakers: [AtomicWaker; 2],
}

/// Who waits for the loss of a hold: one task on each side.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Side {
    /// What goes to the upstream.
    Up,
    /// What goes to the client, and everything else.
    Down,
}

/// One entry among what is open; it goes when this is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    live: Arc<Live>,
    number: u64,
    lease: Arc<Lease>,
}

impl Live {
    /// Enters something that `judged_by` allowed. Where other rules are in force once it has been entered, they judge it at
    /// once: a change that came between judgement and entry is not missed, one after the entry finds it.
    pub(crate) fn hold(self: &Arc<Self>, subject: Subject, judged_by: &Generation, rules: &Rules) -> Hold {
        let lease = Arc::new(Lease { subject, lost: OnceLock::new(), wakers: Default::default() });
        let number = {
            let mut held = self.held();
            held.next += 1;
            let number = held.next;
            held.leases.insert(number, Arc::clone(&lease));
            number
        };
        let current = rules.current();
        if judged_by.number != current.number {
            lease.judge(&current);
        }
        Hold { live: Arc::clone(self), number, lease }
    }

    /// Judges everything that is open by new rules; what they do not allow is told to end. Returns how many that are.
    pub(crate) fn rejudge(&self, rules: &Generation) -> usize {
        self.leases().iter().filter(|lease| !lease.judge(rules)).count()
    }

    /// Ends everything that is open.
    pub(crate) fn lose_all(&self, reason: &str) {
        self.leases().iter().for_each(|lease| lease.lose(reason.to_owned()));
    }

    /// What is open now; judged without holding up what comes and goes meanwhile.
    fn leases(&self) -> Vec<Arc<Lease>> {
        self.held().leases.values().map(Arc::clone).collect()
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many connections and requests are open.
    pub(crate) fn len(&self) -> usize {
        self.held().leases.len()
    }
}

impl Lease {
    /// True where it may live on.
    fn judge(&self, rules: &Generation) -> bool {
        let judged = match &self.subject {
            Subject::Connection { origin, authority, unread } => {
                let permit = origin::connect(rules, origin, authority).map_err(|denial| denial.to_string());
                permit.and_then(|permit| passes_unread(unread.as_ref(), &permit))
            }
            Subject::Request(asking) => asking.still_allowed(rules),
        };
        let Err(reason) = judged else { return true };
        self.lose(reason);
        false
    }

    fn lose(&self, reason: String) {
        // Lost once is lost for good, even if later rules would allow it again.
        let _ = self.lost.set(reason);
        self.wakers.iter().for_each(AtomicWaker::wake);
    }
}

/// A connection that passes unread may go on only where that is still so, to the addresses that it could have had.
fn passes_unread(unread: Option<&Reach>, permit: &ConnectPermit) -> Result<(), String> {
    let Some(reach) = unread else { return Ok(()) };
    if permit.inspection() != Inspection::Opaque {
        return Err("the policy now has what passes here read, and this connection passes unread".to_owned());
    }
    check_reach(reach, permit.reach())
}

/// # Errors
/// Where `now` may leave out an address that `before` opened.
pub(crate) fn check_reach(before: &Reach, now: &Reach) -> Result<(), String> {
    match (before, now) {
        (Reach::PublicOnly, Reach::Declared) => Ok(()),
        (before, now) if before == now => Ok(()),
        _ => Err("the policy now opens other addresses for this destination".to_owned()),
    }
}

impl Hold {
    /// Why it must end, when it must.
    pub(crate) fn poll_lost(&self, side: Side, cx: &mut Context<'_>) -> Poll<&str> {
        self.lease.wakers[side as usize].register(cx.waker());
        match self.lease.lost.get() {
            Some(reason) => Poll::Ready(reason),
            None => Poll::Pending,
        }
    }

    /// Waits until it must end.
    pub(crate) async fn lost(&self) -> &str {
        std::future::poll_fn(|cx| match self.poll_lost(Side::Down, cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        })
        .await;
        self.lease.lost.get().map_or("", String::as_str)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.live.held().leases.remove(&self.number);
    }
}
