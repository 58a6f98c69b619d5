//! The explicit proxy: CONNECT and absolute-form requests on one port (RFC 9110, section 9.3.6; RFC 9112, section 3.2.2).

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tollgate_audit::Verdict;
use tollgate_inspect::framing::Wrong;
use tollgate_model::{Authority, Caller, Port, Scheme, Unidentified};

use super::accept::{Accepted, Slot};
use super::front::{Front, Visitor};
use crate::body::ReplyBody;
use crate::exchange::{Place, exchange};
use crate::framing::{self, Framed};
use crate::limits::seconds;
use crate::origin::{Origin, judge_connection, record_connection};
use crate::refusal::{Asked, Code, Dialect, Refusal};
use crate::stalling::Stalling;
use crate::tunnel::{Tunnel, http1};
use crate::{Capacity, Gate, Limits};

/// Whose the requests of a connection are.
enum Whose {
    /// A sandbox's: the program behind the connection decides.
    Sandbox { gate: Arc<Gate>, connection: u64, client: SocketAddr, server: SocketAddr },
    /// One of several agents': what each request shows decides.
    Agents { front: Arc<Front>, visitor: Visitor },
}

/// Serves a connection from inside a sandbox.
pub(super) async fn serve(gate: Arc<Gate>, accepted: Accepted) {
    let Accepted { stream, client, slot } = accepted;
    let Ok(server) = stream.local_addr() else { return };
    let connection = gate.next_connection();
    let capacity = Arc::clone(&gate.capacity);
    let limits = gate.limits.clone();
    let whose = Whose::Sandbox { gate, connection, client, server };
    serve_requests(whose, slot, &capacity, &limits, stream).await;
}

/// Serves a connection from outside any sandbox.
pub(super) async fn serve_agents<S>(front: Arc<Front>, visitor: Visitor, slot: Arc<Slot>, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let capacity = Arc::clone(&front.capacity);
    let limits = front.limits.clone();
    serve_requests(Whose::Agents { front, visitor }, slot, &capacity, &limits, stream).await;
}

async fn serve_requests<S>(whose: Whose, slot: Arc<Slot>, capacity: &Capacity, limits: &Limits, stream: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asked = AtomicBool::new(false);
    let (stream, heads) = Framed::new(Stalling::new(stream, seconds(limits.stall_seconds)), limits);
    let service = service_fn(|request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let (whose, slot, heads, method) = (&whose, Arc::clone(&slot), &heads, request.method().clone());
        async move {
            let serve = async move {
                // Asked with each request and not once at accept: a socket may have got more holders meanwhile.
                match whose.admit(&slot, &request).await {
                    Ok((gate, origin)) => answer(gate, origin, request).await,
                    Err(refusal) => refusal.answer(Dialect::Http).map(ReplyBody::own),
                }
            };
            Ok::<_, Infallible>(heads.answer(&method, pin!(serve), |wrong| whose.refuse(wrong)).await)
        }
    });
    let served = http1(limits).serve_connection(TokioIo::new(stream), service).with_upgrades();
    if let Err(error) = capacity.serve(served, |c| c.graceful_shutdown()).await {
        tracing::debug!(%error, "explicit connection ended");
    }
    if !asked.into_inner() {
        whose.record_silence();
    }
}

impl Whose {
    async fn admit(&self, slot: &Arc<Slot>, request: &Request<Incoming>) -> Result<(Arc<Gate>, Arc<Origin>), Refusal> {
        match self {
            Self::Sandbox { gate, connection, client, server } => {
                let caller = gate.identify(*client, *server).await;
                Ok((Arc::clone(gate), Arc::new(Origin::new(*connection, "explicit", caller).holding(slot))))
            }
            Self::Agents { front, visitor } => {
                front.refuse_own(visitor, &shown_target(request.uri()))?;
                let roster = front.roster();
                let known = roster.by_request(visitor.source(), request.headers());
                let shown = || shown_target(request.uri());
                let agent = known.map_err(|stranger| front.turn_away(visitor, &shown(), stranger, roster.showing()))?;
                front.take_in(visitor, agent, slot)?;
                Ok((Arc::clone(&agent.gate), Arc::new(visitor.origin(&agent.name).holding(slot))))
            }
        }
    }

    /// Refuses a request that cannot be read, and records it.
    async fn refuse(&self, wrong: Wrong) -> Refusal {
        let refusal = framing::refusal(wrong, Asked::default());
        match self {
            Self::Sandbox { gate, connection, client, server } => {
                let origin = Origin::new(*connection, "explicit", gate.identify(*client, *server).await);
                let recorded = record_connection(gate, &gate.rules.current(), &origin, "-", refusal.verdict());
                recorded.err().unwrap_or(refusal)
            }
            Self::Agents { front, visitor } => front.refuse(visitor, "", "-", refusal),
        }
    }

    /// A connection on which no request could be read leaves a record as well.
    fn record_silence(&self) {
        let reason = "no request came, or none that could be read";
        let recorded = match self {
            Self::Sandbox { gate, connection, .. } => {
                let origin = Origin::new(*connection, "explicit", Caller::Unknown(Unidentified::Gone));
                let error = Code::InvalidRequest.name();
                let verdict = Verdict { decision: "denied", policy: "", rule: "", error, reason };
                record_connection(gate, &gate.rules.current(), &origin, "-", verdict)
            }
            Self::Agents { front, visitor } => front.record_silence(visitor, reason),
        };
        if let Err(refusal) = recorded {
            tracing::debug!(detail = refusal.problem().detail, "a silent connection could not be recorded");
        }
    }
}

async fn answer(gate: Arc<Gate>, origin: Arc<Origin>, request: Request<Incoming>) -> Response<ReplyBody> {
    let answered = if request.method() == Method::CONNECT {
        connect(&gate, &origin, request).await.map(|()| Response::new(ReplyBody::empty()))
    } else {
        match absolute_form(&request, &origin) {
            Ok(place) => match judge_connection(&gate, &gate.rules.current(), &origin, &place.authority) {
                Ok(_) => return exchange(gate, origin, place, request).await,
                Err(refusal) => Err(refusal),
            },
            Err(refusal) => refuse_unjudged(&gate, &origin, request.uri(), refusal),
        }
    };
    answered.unwrap_or_else(|refusal| refusal.answer(Dialect::Http).map(ReplyBody::own))
}

/// Judges a CONNECT and, if it may, leaves a task behind that takes over the connection once the 200 is out.
async fn connect(gate: &Arc<Gate>, origin: &Arc<Origin>, mut request: Request<Incoming>) -> Result<(), Refusal> {
    let authority = match connect_target(&request) {
        Ok(authority) => gate.names.recall(authority),
        Err(refusal) => return refuse_unjudged(gate, origin, request.uri(), refusal),
    };
    let rules = gate.rules.current();
    let permit = judge_connection(gate, &rules, origin, &authority)?;
    let tunnel = Tunnel::open(Arc::clone(gate), Arc::clone(origin), authority, &permit, &rules).await?;
    let capacity = Arc::clone(&gate.capacity);
    // Without the request, which holds the whole buffer that its head was read into.
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::spawn(async move {
        let serving = async {
            match upgrade.await {
                Ok(upgraded) => tunnel.run(upgraded.into()).await,
                Err(error) => tracing::debug!(%error, "the client left before its tunnel was open"),
            }
        };
        capacity.unless_cut(Box::pin(serving)).await;
    });
    Ok(())
}

fn connect_target(request: &Request<Incoming>) -> Result<Authority, Refusal> {
    let invalid = |detail: String| Refusal::connection(Code::InvalidRequest, detail, Asked::default());
    let target = request.uri().authority().map_or("", http::uri::Authority::as_str);
    if *request.uri() != *target {
        return Err(invalid("the CONNECT target is wrong: it is more than HOST:PORT".to_owned()));
    }
    let authority = Authority::parse(target).map_err(|e| invalid(format!("the CONNECT target is wrong: {e}")))?;
    let mut hosts = request.headers().get_all(http::header::HOST).iter();
    let host = hosts.next().map(|host| host.to_str().unwrap_or_default());
    // RFC 9110 wants a Host header and some clients leave the port out of it; what it says must not differ.
    let same = host.is_none_or(|host| Authority::parse_with_default(host, authority.port).as_ref() == Ok(&authority));
    let length = request.headers().get(http::header::CONTENT_LENGTH);
    if request.headers().contains_key(http::header::TRANSFER_ENCODING) || length.is_some_and(|length| length != "0") {
        return Err(invalid("CONNECT has no body (RFC 9110, section 9.3.6)".to_owned()));
    }
    if hosts.next().is_some() || !same {
        return Err(invalid("CONNECT target and Host header differ".to_owned()));
    }
    Ok(authority)
}

fn absolute_form(request: &Request<Incoming>, origin: &Origin) -> Result<Arc<Place>, Refusal> {
    let invalid = |detail: &str| Err(Refusal::request(Code::InvalidRequest, detail, Asked::default()));
    let uri = request.uri();
    match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(authority)) => Authority::parse_with_default(authority.as_str(), Port::HTTP)
            .map(|authority| Place::new(Scheme::Http, authority))
            .map_err(|e| Refusal::request(Code::InvalidRequestTarget, e.to_string(), Asked::default())),
        (Some("https"), _) => invalid("use CONNECT for https: a proxy does not speak TLS in the client's name"),
        (Some(_), _) => invalid("only http and https go through this proxy"),
        _ => {
            tracing::debug!(connection = origin.connection, "origin-form request on the proxy port");
            invalid("this is a proxy: send CONNECT host:port or an absolute http:// URL")
        }
    }
}

/// Records a request that could not even be judged.
pub(super) fn refuse_unjudged<T>(
    gate: &Gate,
    origin: &Origin,
    uri: &http::Uri,
    refusal: Refusal,
) -> Result<T, Refusal> {
    let target = shown_target(uri);
    let verdict = Verdict { reason: &refusal.problem().detail, ..refusal.verdict() };
    record_connection(gate, &gate.rules.current(), origin, &target, verdict)?;
    Err(refusal)
}

fn shown_target(uri: &http::Uri) -> String {
    uri.authority().map_or("-", |a| a.as_str()).chars().take(MAX_SHOWN_TARGET).collect()
}

/// A hostile target is shown in the journal, but not at any length.
const MAX_SHOWN_TARGET: usize = 300;

/// The refusal of a request that a client may read before its connection ends.
pub(super) async fn refuse_all<S>(limits: &Limits, stream: S, refusal: Refusal)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |_: Request<Incoming>| {
        let response: Response<Full<Bytes>> = refusal.answer(Dialect::Http);
        async move { Ok::<_, Infallible>(response) }
    });
    if let Err(error) = http1(limits).serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, status = %StatusCode::FORBIDDEN, "a refused connection ended");
    }
}
