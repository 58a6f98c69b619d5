//! One request: read its target, judge it, exchange its placeholders, record, send, scrub the reply.

mod asking;
pub(crate) mod headers;
pub(crate) mod lending;
mod place;
pub(crate) mod reply;

use std::sync::Arc;
use std::time::Instant;

use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri, header};
use hyper::body::Incoming;
use tollgate_audit::{Event, Verdict};
use tollgate_model::{CanonicalPath, EncodedSlash, Method};
use tollgate_policy::document::Protocol;
use tollgate_policy::{ConnectPermit, Decision, Denial, Mode, Permit};
use tollgate_secrets::{Outbound, inject};

use asking::Granted;
pub(crate) use asking::{Asking, Target};
use lending::{Lent, lend, lendable};
pub(crate) use place::Place;

use crate::body::ReplyBody;
use crate::course::Course;
use crate::live::Subject;
use crate::origin::{Origin, connect};
use crate::refusal::{Code, Dialect, Refusal};
use crate::search::Search;
use crate::upload::{self, Payload, Upload, UploadError};
use crate::upstream::{Key, is_grpc};
use crate::websocket::{self, Upgrade};
use crate::{Gate, Generation};

/// Answers one request, with the upstream's reply or a refusal.
pub(crate) async fn exchange(
    gate: Arc<Gate>,
    origin: Arc<Origin>,
    place: Arc<Place>,
    request: Request<Incoming>,
) -> Response<ReplyBody> {
    // Its status travels in trailers, which only HTTP/2 is sure to pass on.
    let is_grpc = request.version() == http::Version::HTTP_2 && is_grpc(request.headers());
    let dialect = if is_grpc { Dialect::Grpc } else { Dialect::Http };
    let stage = Stage { number: gate.next_request(), rules: gate.rules.current(), gate, dialect };
    let answered = match stage.admit(origin, place, request).await {
        Ok(admitted) => stage.forward(admitted).await,
        Err(refusal) => Err(refusal),
    };
    answered.unwrap_or_else(|refusal| refusal.answer(dialect).map(ReplyBody::own))
}

/// One request and everything that judges it: one generation from beginning to end.
struct Stage {
    number: u64,
    gate: Arc<Gate>,
    rules: Arc<Generation>,
    dialect: Dialect,
}

/// A request that was allowed and recorded, with what sending it needs.
struct Admitted {
    asking: Arc<Asking>,
    permit: Permit,
    outbound: Outbound,
    upgrade: Option<Upgrade>,
    body: Upload,
    key: Key,
    search: Option<Search>,
    course: Arc<Course>,
}

impl Stage {
    /// Everything up to the record. What this returns may be sent; a refusal has been recorded.
    async fn admit(
        &self,
        origin: Arc<Origin>,
        place: Arc<Place>,
        request: Request<Incoming>,
    ) -> Result<Admitted, Refusal> {
        let begun = Instant::now();
        let (mut parts, body) = request.into_parts();
        // The connection is judged again with each request: the policy may have changed since it was opened.
        let route = connect(&self.rules, &origin, &place.authority);
        let slash = route.as_ref().map_or(EncodedSlash::Refuse, ConnectPermit::encoded_slash);
        let (target, upgrade) = self
            .read_target(&origin, &place, &mut parts, slash)
            .or_else(|refusal| self.refuse_unread(&origin, &place, refusal))?;
        let mut asking = Asking::new(origin, place, target);
        let judged = self.judge(&mut asking, route, &parts, body, upgrade.is_some()).await;
        let (permit, route, payload) = judged.or_else(|refusal| self.refuse(&asking, refusal))?;
        let outbound = self.fill(&permit, &asking, parts).or_else(|refusal| self.refuse(&asking, refusal))?;
        let lent = lend(&asking, &outbound, payload).await.or_else(|refusal| self.refuse(&asking, refusal))?;
        let Lent { payload, exchanged, rewriter } = lent;
        let exchanged: Arc<[String]> = outbound.exchanged().iter().cloned().chain(exchanged).collect();
        let lent_later = rewriter.is_some();
        self.record(&asking, allowed(&permit), &exchanged, outbound.inert())?;
        let search = outbound.scrub().map(|needles| Search::new(&self.gate.rules, &self.rules, needles));
        let key = self.key(&asking, &route, &exchanged);
        let judges_messages = upgrade.as_ref().map(|_| permit.requires_upgrade());
        let lent = lendable(&exchanged, &outbound, lent_later);
        asking.grant(Granted { reach: route.into_reach(), is_searched: search.is_some(), judges_messages, lent });
        let asking = Arc::new(asking);
        let subject = Subject::Request(Arc::clone(&asking));
        let hold = self.gate.live.hold(subject, &self.rules, &self.gate.rules);
        let course = Course::new(hold, &self.gate.journal, self.number, begun);
        let body = Upload::new(payload, rewriter, &course);
        Ok(Admitted { asking, permit, outbound, upgrade, body, key, search, course })
    }

    fn read_target(
        &self,
        origin: &Origin,
        place: &Place,
        parts: &mut Parts,
        slash: EncodedSlash,
    ) -> Result<(Target, Option<Upgrade>), Refusal> {
        let invalid = |code, detail: String| Refusal::request(code, detail, origin.asked(&place.authority));
        headers::check_authority(parts, place).map_err(|detail| invalid(Code::RequestAuthorityMismatch, detail))?;
        let upgrade = websocket::read_upgrade(parts)
            .map_err(|error| invalid(Code::InvalidWebsocketHandshake, error.to_string()))?;
        let method = if upgrade.is_some() { "GET" } else { parts.method.as_str() };
        if method == "CONNECT" {
            return Err(invalid(Code::InvalidRequest, "a tunnel inside a tunnel is not opened".to_owned()));
        }
        let method = Method::parse(method).map_err(|e| invalid(Code::InvalidRequest, e.to_string()))?;
        let path = CanonicalPath::parse(parts.uri.path(), slash)
            .map_err(|e| invalid(Code::InvalidRequestTarget, e.to_string()))?;
        let query = parts.uri.query().map(str::to_owned);
        Ok((Target { method, path: path.into_owned(), query }, upgrade))
    }

    /// Judges the connection and the request, and its body where the policy asks for it.
    async fn judge(
        &self,
        asking: &mut Asking,
        route: Result<ConnectPermit, Denial>,
        parts: &Parts,
        body: Incoming,
        upgrades: bool,
    ) -> Result<(Permit, ConnectPermit, Payload), Refusal> {
        let route = route.map_err(|denial| denied(asking, &denial))?;
        let (decision, body) = match asking.decide(&self.rules) {
            Decision::NeedsBody(need) => {
                one_reading(asking, parts)?;
                let room = self.gate.bodies.room(need.limit()).map_err(|error| unreadable(asking, &error))?;
                let whole = upload::read(body, need.limit()).await.map_err(|error| unreadable(asking, &error))?;
                asking.read(parts, whole.clone(), room);
                (asking.decide(&self.rules), Payload::Read(whole))
            }
            decision => (decision, Payload::Streamed(body)),
        };
        let unsupported = |detail| Err(Refusal::request(Code::UnsupportedL7Protocol, detail, asking.asked()));
        match decision {
            Decision::Allow(permit) if permit.requires_upgrade() && !upgrades => {
                unsupported("this endpoint is for WebSocket, and the request asks for no upgrade")
            }
            // Messages would carry operations that nobody judges.
            Decision::Allow(permit) if upgrades && is_judged_by_body(&permit) => {
                unsupported("this endpoint is judged by its operations, and a WebSocket would carry others unread")
            }
            Decision::Allow(permit) => Ok((permit, route, body)),
            Decision::Deny(denial) => Err(denied(asking, &denial)),
            Decision::NeedsBody(_) => {
                unsupported("this endpoint is judged by what is in the body, which could not be read")
            }
        }
    }

    /// The head that goes up: the canonical target, nothing that belongs to this hop, and the credentials that are due.
    fn fill(&self, permit: &Permit, asking: &Asking, mut parts: Parts) -> Result<Outbound, Refusal> {
        let text = asking.target.text();
        // Nearly every target is canonical as it comes.
        let target = match parts.uri.path_and_query().filter(|target| target.as_str() == text) {
            Some(target) => Ok(target.clone()),
            None => PathAndQuery::try_from(&*text),
        };
        let target = target.map_err(|e| Refusal::request(Code::InvalidRequestTarget, e.to_string(), asking.asked()))?;
        parts.uri = Uri::from(target);
        parts.extensions = http::Extensions::new();
        let destination = self.rules.broker.destination(&asking.place.authority);
        headers::clean_request(&mut parts.headers, destination.is_bound());
        inject(permit, &asking.ask(), &destination, parts).map_err(|error| lending::refuse(asking, &error))
    }

    fn key(&self, asking: &Asking, route: &ConnectPermit, exchanged: &Arc<[String]>) -> Key {
        Key {
            place: Arc::clone(&asking.place),
            reach: route.reach().clone(),
            exchanged: Arc::clone(exchanged),
            vault: self.rules.vault_number,
        }
    }

    /// Records a refusal and passes it on.
    fn refuse<T>(&self, asking: &Asking, refusal: Refusal) -> Result<T, Refusal> {
        self.record(asking, refusal.verdict(), &[], &[])?;
        Err(refusal)
    }

    fn record(
        &self,
        asking: &Asking,
        verdict: Verdict<'_>,
        put_in: &[String],
        inert: &[String],
    ) -> Result<(), Refusal> {
        let line = Line { number: self.number, generation: self.rules.number, exchanged: put_in, inert, verdict };
        let target = Some((asking.target.method.as_str(), asking.target.path.as_str()));
        line.write(&self.gate, &asking.origin, &asking.place, target)
    }

    /// Records the refusal of a request whose target could not be read.
    fn refuse_unread<T>(&self, origin: &Origin, place: &Place, refusal: Refusal) -> Result<T, Refusal> {
        let verdict = refusal.verdict();
        let line = Line { number: self.number, generation: self.rules.number, exchanged: &[], inert: &[], verdict };
        line.write(&self.gate, origin, place, None)?;
        Err(refusal)
    }
}

/// Judges a text message of a socket by the rules in force now, and records the judgement.
///
/// # Errors
/// The refusal.
pub(crate) fn record_message(gate: &Gate, asking: &Asking, number: u64, text: &str) -> Result<(), Refusal> {
    let rules = gate.rules.current();
    let decision = rules.policy.decide_message_when(&asking.ask(), text, &*asking.origin);
    let record = |verdict| {
        let line = Line { number, generation: rules.number, exchanged: &[], inert: &[], verdict };
        line.write(gate, &asking.origin, &asking.place, Some((TEXT_MESSAGE, asking.target.path.as_str())))
    };
    let refusal = match decision {
        Decision::Allow(permit) => return record(allowed(&permit)),
        Decision::Deny(denial) => denied(asking, &denial),
        Decision::NeedsBody(_) => {
            Refusal::request(Code::UnsupportedL7Protocol, "the message cannot be judged here", asking.asked())
        }
    };
    record(refusal.verdict())?;
    Err(refusal)
}

/// What stands for the method of a text message, in rules as in the journal.
const TEXT_MESSAGE: &str = "WEBSOCKET_TEXT";

/// What the journal says of one judgement.
struct Line<'a> {
    number: u64,
    generation: u64,
    exchanged: &'a [String],
    inert: &'a [String],
    verdict: Verdict<'a>,
}

impl Line<'_> {
    /// Queues it; `target` is method and path, where they could be read.
    fn write(&self, gate: &Gate, origin: &Origin, place: &Place, target: Option<(&str, &str)>) -> Result<(), Refusal> {
        let (method, path) = target.unwrap_or_default();
        let event = Event::Request {
            connection: origin.connection,
            request: self.number,
            method,
            scheme: place.scheme.as_str(),
            authority: &place.text,
            path,
            caller: origin.program(),
            generation: self.generation,
            verdict: self.verdict,
            exchanged: self.exchanged,
            inert: self.inert,
        };
        gate.journal.record(&event).map_err(|error| {
            Refusal::request(Code::JournalUnavailable, error.to_string(), origin.asked(&place.authority))
        })
    }
}

fn allowed(permit: &Permit) -> Verdict<'_> {
    let (policy, rule) = (permit.policy_key(), permit.rule());
    match permit.mode() {
        Mode::Enforce => Verdict { decision: "allowed", policy, rule, error: "", reason: "" },
        Mode::Audit { .. } => Verdict {
            decision: "audit",
            policy,
            rule,
            error: "policy_denied",
            reason: "the policy denies this and the endpoint only audits",
        },
    }
}

fn is_judged_by_body(permit: &Permit) -> bool {
    matches!(permit.protocol(), Some(Protocol::Graphql | Protocol::JsonRpc | Protocol::Mcp))
}

/// Of two headers that say how to read a body, the upstream may take the other one.
fn one_reading(asking: &Asking, parts: &Parts) -> Result<(), Refusal> {
    for name in [header::CONTENT_TYPE, header::CONTENT_ENCODING] {
        if parts.headers.get_all(&name).iter().count() > 1 {
            let detail = format!("the request has more than one {name} header");
            return Err(Refusal::request(Code::InvalidRequest, detail, asking.asked()));
        }
    }
    Ok(())
}

fn denied(asking: &Asking, denial: &Denial) -> Refusal {
    let (method, path) = (&asking.target.method, &asking.target.path);
    let detail = format!("{method} {path} not permitted by policy");
    Refusal::request(Code::PolicyDenied, detail, asking.asked()).because(
        denial.reason().to_string(),
        denial.policy_key().unwrap_or_default(),
        format!("{method} {path}"),
    )
}

fn unreadable(asking: &Asking, error: &UploadError) -> Refusal {
    let code = match error {
        UploadError::TooLarge(_) => Code::RequestTooLarge,
        UploadError::NoRoom => Code::TooManyBodies,
        UploadError::TooSlow | UploadError::Broken(_) => Code::InvalidRequest,
    };
    Refusal::request(code, error.to_string(), asking.asked())
}
