//! One request: read its target, judge it, exchange its placeholders, record, send, scrub the reply.

mod headers;

use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri, header};
use http_body_util::Full;
use hyper::body::Incoming;
use tollgate_audit::{Event, Verdict};
use tollgate_model::{Ask, Authority, CanonicalPath, ConnectAsk, Method, Scheme};
use tollgate_policy::{ConnectPermit, Decision, Denial, Mode, Payload, Permit};
use tollgate_secrets::{InjectError, Needles, Outbound, inject};

use crate::body::{Record, ReplyBody, scrub_headers};
use crate::origin::{Origin, now};
use crate::refusal::{Asked, Code, Refusal};
use crate::upload::{self, Upload, UploadError};
use crate::upstream::{DialError, Key, ResolveError, SendError};
use crate::{Gate, Generation};

/// Where a connection's requests go.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
}

/// Answers one request, with the upstream's reply or a refusal.
pub(crate) async fn exchange(
    gate: Arc<Gate>,
    origin: Arc<Origin>,
    place: Place,
    request: Request<Incoming>,
) -> Response<ReplyBody> {
    let stage = Stage { number: gate.next_request(), rules: gate.rules.current(), gate, origin, place };
    let answered = match stage.admit(request).await {
        Ok((admitted, body)) => stage.forward(admitted, body).await,
        Err(refusal) => Err(refusal),
    };
    answered.unwrap_or_else(|refusal| refusal.to_response().map(ReplyBody::own))
}

/// One request and everything that judges it: one generation from beginning to end.
struct Stage {
    number: u64,
    gate: Arc<Gate>,
    rules: Arc<Generation>,
    origin: Arc<Origin>,
    place: Place,
}

/// A request that was allowed and recorded, with what sending it needs.
struct Admitted {
    outbound: Outbound,
    route: ConnectPermit,
    needles: Option<Arc<Needles>>,
    begun: Instant,
}

/// A target that was read: canonical, and owned since the request's head is rebuilt from it.
struct Target {
    method: Method,
    path: CanonicalPath<'static>,
    query: Option<String>,
}

impl Stage {
    /// Everything up to the record. What this returns may be sent; a refusal has been recorded.
    async fn admit(&self, request: Request<Incoming>) -> Result<(Admitted, Upload), Refusal> {
        let begun = Instant::now();
        let (parts, body) = request.into_parts();
        let target = self.read_target(&parts).or_else(|refusal| self.refuse(None, refusal))?;
        let (decision, route) = self.judge(&target).or_else(|r| self.refuse(Some(&target), r))?;
        let (decision, body) = match decision {
            Decision::NeedsBody(need) => {
                let whole = upload::read(body, need.limit()).await;
                let whole = whole
                    .map_err(|error| self.unreadable(&target, &error))
                    .or_else(|r| self.refuse(Some(&target), r))?;
                (self.judge_body(&target, &parts, &whole), Upload::Read(Full::new(whole)))
            }
            decision => (decision, Upload::Passed(body)),
        };
        let permit = self.permit(&target, decision).or_else(|r| self.refuse(Some(&target), r))?;
        let parts = self.rebuild(parts, &target).or_else(|r| self.refuse(Some(&target), r))?;
        let outbound = self.inject(&permit, &target, parts).or_else(|r| self.refuse(Some(&target), r))?;
        let verdict = match permit.mode() {
            Mode::Enforce => {
                Verdict { decision: "allowed", policy: permit.policy_key(), rule: permit.rule(), error: "", reason: "" }
            }
            Mode::Audit { .. } => Verdict {
                decision: "audit",
                policy: permit.policy_key(),
                rule: permit.rule(),
                error: "policy_denied",
                reason: "the policy denies this and the endpoint only audits",
            },
        };
        self.record(Some(&target), verdict, outbound.exchanged(), outbound.inert())?;
        let needles = outbound.scrub().cloned();
        Ok((Admitted { outbound, route, needles, begun }, body))
    }

    fn read_target(&self, parts: &Parts) -> Result<Target, Refusal> {
        let invalid = |code, detail: String| Refusal::request(code, detail, self.origin.asked(&self.place.authority));
        headers::check_authority(&parts.headers, &parts.uri, &self.place)
            .map_err(|detail| invalid(Code::RequestAuthorityMismatch, detail))?;
        let method = Method::parse(parts.method.as_str()).map_err(|e| invalid(Code::InvalidRequest, e.to_string()))?;
        let ask = ConnectAsk { caller: &self.origin.caller, authority: &self.place.authority };
        let path = CanonicalPath::parse(parts.uri.path(), self.rules.policy.encoded_slash_when(&ask, &now()))
            .map_err(|e| invalid(Code::InvalidRequestTarget, e.to_string()))?;
        Ok(Target { method, path: path.into_owned(), query: parts.uri.query().map(str::to_owned) })
    }

    fn ask<'a>(&'a self, target: &'a Target) -> Ask<'a> {
        Ask {
            caller: &self.origin.caller,
            authority: &self.place.authority,
            scheme: self.place.scheme,
            method: &target.method,
            path: &target.path,
            query: target.query.as_deref(),
        }
    }

    /// The connection is judged again with each request: the policy may have changed since it was opened.
    fn judge(&self, target: &Target) -> Result<(Decision, ConnectPermit), Refusal> {
        let ask = self.ask(target);
        let connect = ConnectAsk { caller: ask.caller, authority: ask.authority };
        let route = self.rules.policy.connect_when(&connect, &now()).map_err(|denial| self.denied(target, &denial))?;
        Ok((self.rules.policy.decide_when(&ask, &now()), route))
    }

    /// Judges what is in the body; it is what will be sent.
    fn judge_body(&self, target: &Target, parts: &Parts, body: &[u8]) -> Decision {
        let text = |name| parts.headers.get(name).and_then(|value: &http::HeaderValue| value.to_str().ok());
        let payload = Payload {
            body,
            content_type: text(header::CONTENT_TYPE),
            content_encoding: text(header::CONTENT_ENCODING),
            accept: text(header::ACCEPT),
        };
        self.rules.policy.decide_with_body_when(&self.ask(target), payload, &now())
    }

    fn permit(&self, target: &Target, decision: Decision) -> Result<Permit, Refusal> {
        let unsupported = |detail| Err(Refusal::request(Code::UnsupportedL7Protocol, detail, self.asked(target)));
        match decision {
            Decision::Allow(permit) if permit.requires_upgrade() => {
                unsupported("this endpoint is for WebSocket, which this version does not pass on")
            }
            Decision::Allow(permit) => Ok(permit),
            Decision::Deny(denial) => Err(self.denied(target, &denial)),
            Decision::NeedsBody(_) => {
                unsupported("this endpoint is judged by what is in the body, which could not be read")
            }
        }
    }

    fn unreadable(&self, target: &Target, error: &UploadError) -> Refusal {
        let code = match error {
            UploadError::TooLarge(_) => Code::RequestTooLarge,
            UploadError::TooSlow | UploadError::Broken(_) => Code::InvalidRequest,
        };
        Refusal::request(code, error.to_string(), self.asked(target))
    }

    fn denied(&self, target: &Target, denial: &Denial) -> Refusal {
        let detail = format!("{} {} not permitted by policy", target.method, target.path);
        Refusal::request(Code::PolicyDenied, detail, self.asked(target)).because(
            denial.reason().to_string(),
            denial.policy_key().unwrap_or_default(),
            format!("{} {}", target.method, target.path),
        )
    }

    fn asked(&self, target: &Target) -> Asked {
        Asked {
            method: target.method.to_string(),
            path: target.path.to_string(),
            ..self.origin.asked(&self.place.authority)
        }
    }

    fn inject(&self, permit: &Permit, target: &Target, parts: Parts) -> Result<Outbound, Refusal> {
        let destination = self.rules.broker.destination(&self.place.authority);
        inject(permit, &self.ask(target), &destination, parts).map_err(|error| {
            let code = match error {
                InjectError::Unbound { .. } => Code::CredentialEndpointMismatch,
                InjectError::Misplaced { .. } | InjectError::Foreign { .. } => Code::InvalidCredentialPlaceholder,
                InjectError::Cleartext { .. } => Code::CredentialCleartext,
                InjectError::Unknown { .. } | InjectError::Unfit { .. } | InjectError::Unavailable { .. } => {
                    Code::CredentialUnavailable
                }
            };
            Refusal::request(code, error.to_string(), self.asked(target))
        })
    }

    /// Records a refusal and passes it on.
    fn refuse<T>(&self, target: Option<&Target>, refusal: Refusal) -> Result<T, Refusal> {
        self.record(target, refusal.verdict(), &[], &[])?;
        Err(refusal)
    }

    fn record(
        &self,
        target: Option<&Target>,
        verdict: Verdict<'_>,
        exchanged: &[String],
        inert: &[String],
    ) -> Result<(), Refusal> {
        let event = Event::Request {
            connection: self.origin.connection,
            request: self.number,
            method: target.map_or("", |t| t.method.as_str()),
            scheme: self.place.scheme.as_str(),
            authority: &self.place.authority.to_string(),
            path: target.map_or("", |t| t.path.as_str()),
            caller: self.origin.program(),
            generation: self.rules.number,
            verdict,
            exchanged,
            inert,
        };
        self.gate.journal.record(&event).map_err(|error| {
            Refusal::request(Code::JournalUnavailable, error.to_string(), self.origin.asked(&self.place.authority))
        })
    }

    async fn forward(&self, admitted: Admitted, body: Upload) -> Result<Response<ReplyBody>, Refusal> {
        let Admitted { outbound, route, needles, begun } = admitted;
        let journal = Arc::clone(&self.gate.journal);
        let outcome = String::new();
        let mut record = Record { journal, request: self.number, begun, status: 0, bytes: 0, scrubbed: 0, outcome };
        let key =
            Key { scheme: self.place.scheme, authority: self.place.authority.clone(), generation: self.rules.number };
        let reply = match self.gate.pool.send(key, route.reach(), outbound, body).await {
            Ok(reply) => reply,
            Err(error) => {
                let refusal = self.unsent(&error, needles.as_deref());
                record.outcome = format!("{}: {}", refusal.problem().error.name(), refusal.problem().detail);
                return Err(refusal);
            }
        };
        let (mut parts, body) = reply.into_parts();
        record.status = parts.status.as_u16();
        // The HTTP library keeps the upstream's reason phrase there and would write it out again, unsearched.
        parts.extensions = http::Extensions::new();
        if let Some(needles) = &needles {
            // Before the headers of the hop go: one of them may name what hides the body.
            if let Err(why) = headers::check_readable(parts.status, &parts.headers) {
                why.clone_into(&mut record.outcome);
                return Err(Refusal::request(Code::ReplyNotReadable, why, self.origin.asked(&self.place.authority)));
            }
            parts.headers = scrub_headers(parts.headers, needles, &mut record.scrubbed);
            if !needles.keeps_length() {
                parts.headers.remove(header::CONTENT_LENGTH);
            }
        }
        headers::clean_reply(&mut parts.headers);
        Ok(Response::from_parts(parts, ReplyBody::passed(body, needles, record)))
    }

    /// What an upstream did wrong, in words that may be its own and so are searched like any reply.
    fn unsent(&self, error: &SendError, needles: Option<&Needles>) -> Refusal {
        let code = match error {
            SendError::Dial(DialError::Resolve(ResolveError::Forbidden { .. })) => Code::SsrfDenied,
            SendError::Dial(DialError::Resolve(ResolveError::NoAddress(..)) | DialError::Connect { .. }) => {
                Code::UpstreamUnreachable
            }
            SendError::Dial(DialError::Tls { .. }) => Code::UpstreamTlsFailed,
            SendError::Broken { .. } => Code::UpstreamBroken,
        };
        let detail = error.to_string();
        let clean = needles.and_then(|needles| needles.scrub_whole(detail.as_bytes()));
        let detail = clean.map_or(detail, |clean| String::from_utf8_lossy(&clean).into_owned());
        Refusal::request(code, detail, self.origin.asked(&self.place.authority))
    }

    /// The head that goes up: the canonical target and nothing that belongs to this hop.
    fn rebuild(&self, mut parts: Parts, target: &Target) -> Result<Parts, Refusal> {
        let text = match &target.query {
            Some(query) => format!("{}?{query}", target.path),
            None => target.path.to_string(),
        };
        let uri = PathAndQuery::try_from(text).map(Uri::from);
        parts.uri = uri.map_err(|e| Refusal::request(Code::InvalidRequestTarget, e.to_string(), self.asked(target)))?;
        parts.version = http::Version::HTTP_11;
        parts.extensions = http::Extensions::new();
        let searched = self.rules.broker.destination(&self.place.authority).is_bound();
        headers::clean_request(&mut parts.headers, &self.place, searched);
        Ok(parts)
    }
}
