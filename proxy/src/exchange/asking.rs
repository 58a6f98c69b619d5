//! What a request asks for, kept as long as it is open: judged when it comes, and again whenever the rules change.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, header};
use tollgate_model::{Ask, CanonicalPath, Method};
use tollgate_policy::{ConnectPermit, Decision, Payload, Permit, Reach};

use super::Place;
use crate::Generation;
use crate::live::check_reach;
use crate::origin::{Origin, connect};
use crate::refusal::Asked;
use crate::upload::Room;

/// A target that was read: canonical, and owned since the request's head is rebuilt from it.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) method: Method,
    pub(crate) path: CanonicalPath<'static>,
    pub(crate) query: Option<String>,
}

impl Target {
    /// Path and query, as they are sent.
    pub(super) fn text(&self) -> Cow<'_, str> {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path).into(),
            None => self.path.as_str().into(),
        }
    }
}

/// Who asks for what.
#[derive(Debug)]
pub(crate) struct Asking {
    pub(crate) origin: Arc<Origin>,
    pub(crate) place: Arc<Place>,
    pub(crate) target: Target,
    read: Option<Read>,
    granted: Option<Granted>,
}

/// What was granted beyond passing, to be held against other rules.
#[derive(Debug)]
pub(super) struct Granted {
    /// Which addresses it may go to.
    pub(super) reach: Reach,
    /// Whether the reply is searched for secrets.
    pub(super) is_searched: bool,
    /// For a WebSocket, whether its messages are judged.
    pub(super) judges_messages: Option<bool>,
    /// The credentials that it carries or may come to carry.
    pub(super) lent: Arc<[String]>,
}

/// A body that was read to be judged, and the headers that say how to read it.
#[derive(Debug)]
struct Read {
    body: Bytes,
    content_type: Option<HeaderValue>,
    content_encoding: Option<HeaderValue>,
    accept: Option<HeaderValue>,
    _room: Room,
}

fn text(value: Option<&HeaderValue>) -> Option<&str> {
    value.and_then(|value| value.to_str().ok())
}

impl Asking {
    pub(crate) fn new(origin: Arc<Origin>, place: Arc<Place>, target: Target) -> Self {
        Self { origin, place, target, read: None, granted: None }
    }

    /// Adds what was read of the body.
    pub(super) fn read(&mut self, parts: &Parts, body: Bytes, mut room: Room) {
        room.shrink(body.len());
        let header = |name| parts.headers.get(name).cloned();
        self.read = Some(Read {
            body,
            content_type: header(header::CONTENT_TYPE),
            content_encoding: header(header::CONTENT_ENCODING),
            accept: header(header::ACCEPT),
            _room: room,
        });
    }

    /// Adds what was granted.
    pub(super) fn grant(&mut self, granted: Granted) {
        self.granted = Some(granted);
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

    /// Judges the request, and what is in its body where that was read; it is what will be sent.
    pub(crate) fn decide(&self, rules: &Generation) -> Decision {
        let (ask, conditions) = (self.ask(), &*self.origin);
        match &self.read {
            None => rules.policy.decide_when(&ask, conditions),
            Some(read) => {
                let payload = Payload {
                    body: &read.body,
                    content_type: text(read.content_type.as_ref()),
                    content_encoding: text(read.content_encoding.as_ref()),
                    accept: text(read.accept.as_ref()),
                };
                rules.policy.decide_with_body_when(&ask, payload, conditions)
            }
        }
    }

    /// Whether it may live on under other rules.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn still_allowed(&self, rules: &Generation) -> Result<(), String> {
        let route = connect(rules, &self.origin, &self.place.authority).map_err(|denial| denial.to_string())?;
        match self.decide(rules) {
            Decision::Allow(permit) => self.still_granted(rules, &route, &permit),
            Decision::Deny(denial) => Err(denial.to_string()),
            Decision::NeedsBody(_) => {
                Err("the policy now judges bodies here, and this one has passed unread".to_owned())
            }
        }
    }

    fn still_granted(&self, rules: &Generation, route: &ConnectPermit, permit: &Permit) -> Result<(), String> {
        let Some(granted) = &self.granted else { return Ok(()) };
        check_reach(&granted.reach, route.reach())?;
        let lost = |why: &str| Err(why.to_owned());
        match (granted.judges_messages, permit.requires_upgrade()) {
            (None, true) => return lost("the policy now opens this endpoint for WebSocket alone"),
            (Some(false), true) => {
                return lost("the policy now judges messages here, and this socket passes them unread");
            }
            _ => {}
        }
        let destination = rules.broker.destination(&self.place.authority);
        if destination.needles().is_some() && !granted.is_searched {
            return lost("a credential is now bound here, and this reply is not searched for it");
        }
        granted.lent.iter().try_for_each(|name| destination.still_lends(name, &self.ask()))
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
