//! What a decision can be. Permits have no public constructor: only the decision makes them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use tollgate_model::EncodedSlash;

use super::reason::Reason;
use crate::compile::EndpointId;
use crate::document::{Cidr, Protocol, Rewrites};

/// The answer to a request.
#[derive(Debug, Clone)]
pub enum Decision {
    /// It may pass.
    Allow(Permit),
    /// What it does lies in its body: read that and ask again.
    NeedsBody(BodyNeed),
    /// It may not pass.
    Deny(Denial),
}

/// A request that may pass.
#[derive(Debug, Clone)]
pub struct Permit {
    pub(super) policy: Arc<str>,
    pub(super) entry: Arc<str>,
    pub(super) rule: Arc<str>,
    pub(super) endpoint: EndpointId,
    pub(super) protocol: Option<Protocol>,
    pub(super) rewrites: Rewrites,
    pub(super) mode: Mode,
}

/// How a request passes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// A rule allows it.
    Enforce,
    /// It is refused, but its endpoint is in audit mode.
    Audit {
        /// The refusal that is only recorded.
        would: Box<Denial>,
    },
}

/// How much of a body is needed to judge it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BodyNeed {
    pub(super) limit: u32,
    pub(super) protocol: Protocol,
}

/// A connection that may be opened.
#[derive(Debug, Clone)]
pub struct ConnectPermit {
    pub(super) policy: Arc<str>,
    pub(super) inspection: Inspection,
    pub(super) encoded_slash: EncodedSlash,
    pub(super) reach: Reach,
}

/// What happens to the bytes of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inspection {
    /// TLS is opened where there is any, HTTP is read.
    Http,
    /// Bytes pass unread.
    Opaque,
}

/// Which addresses the destination may resolve to; loopback, link-local and metadata addresses are never among them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Only these.
    AllowedIps(Arc<[Cidr]>),
    /// This one, which the request names itself and the policy too.
    Literal(IpAddr),
    /// Public and private ones: the author named the host exactly.
    Declared,
    /// Public ones.
    PublicOnly,
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    pub(super) reason: Reason,
    pub(super) policy: Option<Arc<str>>,
}

/// Where a refusal was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// Host, port, program.
    L4,
    /// What the request does.
    L7,
}

impl Permit {
    /// The smallest key among the entries that match destination and program: what headers and logs carry.
    #[must_use]
    pub fn policy_key(&self) -> &str {
        &self.policy
    }

    /// The key of the entry that holds the rule.
    #[must_use]
    pub fn entry_key(&self) -> &str {
        &self.entry
    }

    /// The rule in words: `GET /v1/**`, `access: read-only`, or `connection` where nothing inside is judged.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// The endpoint that holds the rule.
    #[must_use]
    pub fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// How the request was read; nothing where only the connection was judged.
    #[must_use]
    pub fn protocol(&self) -> Option<Protocol> {
        self.protocol
    }

    /// True where it may pass only as a WebSocket upgrade (RFC 6455, section 4.1), whose text messages are then judged
    /// with [`decide_message`](crate::Policy::decide_message).
    #[must_use]
    pub fn requires_upgrade(&self) -> bool {
        self.protocol == Some(Protocol::Websocket)
    }

    /// Where every field is open for credentials.
    #[must_use]
    pub fn rewrites(&self) -> Rewrites {
        self.rewrites
    }

    /// Whether it passes by rule or only because its endpoint is in audit mode.
    #[must_use]
    pub fn mode(&self) -> &Mode {
        &self.mode
    }
}

impl BodyNeed {
    /// The most bytes that may be read; a longer body is refused.
    #[must_use]
    pub fn limit(&self) -> u32 {
        self.limit
    }

    /// Which reader the body is for.
    #[must_use]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }
}

impl ConnectPermit {
    /// The smallest key among the entries that match destination and program.
    #[must_use]
    pub fn policy_key(&self) -> &str {
        &self.policy
    }

    /// What happens to the bytes.
    #[must_use]
    pub fn inspection(&self) -> Inspection {
        self.inspection
    }

    /// How to make paths canonical before asking [`decide`](crate::Policy::decide): leniently where any endpoint accepts
    /// `%2F`, since `decide` judges the path again by the endpoint that speaks for it.
    #[must_use]
    pub fn encoded_slash(&self) -> EncodedSlash {
        self.encoded_slash
    }

    /// Which addresses may be dialled.
    #[must_use]
    pub fn reach(&self) -> &Reach {
        &self.reach
    }

    /// The same, when nothing else of the permit is needed.
    #[must_use]
    pub fn into_reach(self) -> Reach {
        self.reach
    }
}

impl Denial {
    /// Why.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The smallest key among the entries that match destination and program, if any do.
    #[must_use]
    pub fn policy_key(&self) -> Option<&str> {
        self.policy.as_deref()
    }

    /// Where it was decided.
    #[must_use]
    pub fn layer(&self) -> Layer {
        self.reason.layer()
    }
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason.fmt(f)
    }
}
