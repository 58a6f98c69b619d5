//! What a request asks for, kept as long as it is open: judged when it comes, and again whenever the rules change.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, header};
use tollgate_model::{Ask, CanonicalPath, Method};
use tollgate_policy::{ConnectPermit, Decision, Denial, Payload};

use super::Place;
use crate::Generation;
use crate::origin::{self, Origin};
use crate::refusal::Asked;

/// A target that was read: canonical, and owned since the request's head is rebuilt from it.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) method: Method,
    pub(crate) path: CanonicalPath<'static>,
    pub(crate) query: Option<String>,
}

/// Who asks for what.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) origin: Arc<Origin>,
    pub(crate) place: Place,
    pub(crate) target: Target,
    read: Option<Read>,
}

/// A body that was read to be judged, and the headers that say how to read it.
#[derive(Debug)]
struct Read {
    body: Bytes,
    content_type: Option<HeaderValue>,
    content_encoding: Option<HeaderValue>,
    accept: Option<HeaderValue>,
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value.and_then(|value| value.to_str().ok())
}

impl Asking {
    pub(crate) fn new(origin: Arc<Origin>, place: Place, target: Target) -> Self {
        Self { origin, place, target, read: None }
    }

    /// Adds what was read of the body.
    pub(super) fn read(&mut self, parts: &Parts, body: Bytes) {
        let header = |name| parts.headers.get(name).cloned();
        self.read = Some(Read {
            body,
            content_type: header(header::CONTENT_TYPE),
            content_encoding: header(header::CONTENT_ENCODING),
            accept: header(header::ACCEPT),
        });
    }

    pub(crate) fn ask(&self) -> Ask<'_> {
        Ask {
            caller: &self.origin.caller,
            authority: &self.place.authority,
            scheme: self.place.scheme,
            method: &self.target.method,
            path: &self.target.path,
            query: self.target.query.as_deref(),
        }
    }

    /// The connection is judged again with each request: the policy may have changed since it was opened.
    pub(super) fn connect(&self, rules: &Generation) -> Result<ConnectPermit, Denial> {
        origin::connect(rules, &self.origin, &self.place.authority)
    }

    /// Judges the request, and what is in its body where that was read; it is what will be sent.
    pub(super) fn decide(&self, rules: &Generation) -> Decision {
        let (ask, circumstances) = (self.ask(), self.origin.circumstances());
        match &self.read {
            None => rules.policy.decide_when(&ask, &circumstances),
            Some(read) => {
                let payload = Payload {
                    body: &read.body,
                    content_type: text(read.content_type.as_ref()),
                    content_encoding: text(read.content_encoding.as_ref()),
                    accept: text(read.accept.as_ref()),
                };
                rules.policy.decide_with_body_when(&ask, payload, &circumstances)
            }
        }
    }

    /// Whether it may live on under other rules.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn still_allowed(&self, rules: &Generation) -> Result<(), String> {
        self.connect(rules).map_err(|denial| denial.to_string())?;
        match self.decide(rules) {
            Decision::Allow(_) => Ok(()),
            Decision::Deny(denial) => Err(denial.to_string()),
            Decision::NeedsBody(_) => {
                Err("the policy now judges bodies here, and this one has passed unread".to_owned())
            }
        }
    }

    /// What a refusal says about it.
    pub(crate) fn asked(&self) -> Asked {
        Asked {
            method: self.target.method.to_string(),
            path: self.target.path.to_string(),
            ..self.origin.asked(&self.place.authority)
        }
    }
}
