//! How often each thing was recorded, for who watches from outside.

use std::sync::atomic::{AtomicU64, Ordering};

use tollgate_audit::Event;

/// Counters since the start; they only grow.
#[derive(Debug, Default)]
pub struct Tally {
    connections: Decisions,
    requests: Decisions,
    replies: AtomicU64,
    failed_replies: AtomicU64,
    received: AtomicU64,
    sent: AtomicU64,
    scrubbed: AtomicU64,
    exchanged: AtomicU64,
    names: AtomicU64,
    refused_names: AtomicU64,
}

/// One counter for each decision.
#[derive(Debug, Default)]
struct Decisions {
    allowed: AtomicU64,
    denied: AtomicU64,
    audited: AtomicU64,
}

impl Decisions {
    fn count(&self, decision: &str) {
        let counter = match decision {
            "allowed" => &self.allowed,
            "audit" => &self.audited,
            _ => &self.denied,
        };
        add(counter, 1);
    }
}

/// A counter of a [`Tally`]: its name, what it is about, and how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// As Prometheus names it, without the suffix `_total`.
    pub name: &'static str,
    /// In words.
    pub help: &'static str,
    /// A label and its value, where several counters have one name.
    pub label: Option<(&'static str, &'static str)>,
    /// How far it is.
    pub value: u64,
}

impl Tally {
    pub(crate) fn count(&self, event: &Event<'_>) {
        match event {
            Event::Connection { verdict, .. } => self.connections.count(verdict.decision),
            Event::Request { verdict, exchanged, .. } => {
                self.requests.count(verdict.decision);
                add(&self.exchanged, exchanged.len() as u64);
            }
            Event::Reply { status, bytes, sent, scrubbed, exchanged, .. } => {
                add(if *status == 0 { &self.failed_replies } else { &self.replies }, 1);
                add(&self.received, *bytes);
                add(&self.sent, *sent);
                add(&self.scrubbed, *scrubbed);
                add(&self.exchanged, exchanged.len() as u64);
            }
            Event::Tunnel { up, down, .. } => {
                add(&self.received, *down);
                add(&self.sent, *up);
            }
            Event::Dns { outcome, .. } => {
                add(if *outcome == "refused" { &self.refused_names } else { &self.names }, 1);
            }
            _ => {}
        }
    }

    /// All of them, those of one name together.
    #[must_use]
    pub fn all(&self) -> Vec<Count> {
        let one = |name, help, label, counter: &AtomicU64| Count {
            name,
            help,
            label,
            value: counter.load(Ordering::Relaxed),
        };
        let decisions = |name, help, of: &Decisions| {
            let label = |decision| Some(("decision", decision));
            [
                one(name, help, label("allowed"), &of.allowed),
                one(name, help, label("denied"), &of.denied),
                one(name, help, label("audit"), &of.audited),
            ]
        };
        let outcome = |outcome| Some(("outcome", outcome));
        let replies = "Replies of upstreams, or requests that got none";
        let names = "Names that the agent asked for";
        let mut all = Vec::new();
        all.extend(decisions("tollgate_connections", "Connections, by what was decided", &self.connections));
        all.extend(decisions("tollgate_requests", "Requests, by what was decided", &self.requests));
        all.extend([
            one("tollgate_replies", replies, outcome("answered"), &self.replies),
            one("tollgate_replies", replies, outcome("failed"), &self.failed_replies),
            one("tollgate_names", names, outcome("answered"), &self.names),
            one("tollgate_names", names, outcome("refused"), &self.refused_names),
            one("tollgate_received_bytes", "Bytes of bodies and tunnels passed to agents", None, &self.received),
            one("tollgate_sent_bytes", "Bytes of bodies and tunnels passed to upstreams", None, &self.sent),
            one("tollgate_exchanged", "Placeholders exchanged for credentials", None, &self.exchanged),
            one("tollgate_scrubbed", "Secrets replaced in replies", None, &self.scrubbed),
        ]);
        all
    }
}

fn add(counter: &AtomicU64, number: u64) {
    counter.fetch_add(number, Ordering::Relaxed);
}
