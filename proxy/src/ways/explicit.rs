//! The explicit proxy: CONNECT and absolute-form requests on one port (RFC 9110, section 9.3.6; RFC 9112, section 3.2.2).

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;
use tollgate_audit::Verdict;
use tollgate_model::{Authority, Caller, Port, Scheme, Unidentified};

use super::accept::Accepted;
use crate::Gate;
use crate::body::ReplyBody;
use crate::exchange::{Place, exchange};
use crate::origin::{Origin, judge_connection, record_connection};
use crate::refusal::{Asked, Code, Dialect, Refusal};
use crate::tunnel::{Tunnel, http1};

/// The connection's place, which a tunnel takes over.
type Slot = Arc<OwnedSemaphorePermit>;

pub(super) async fn serve(gate: Arc<Gate>, accepted: Accepted) {
    let Accepted { stream, client, slot } = accepted;
    let Ok(server) = stream.local_addr() else { return };
    let connection = gate.next_connection();
    let asked = AtomicBool::new(false);
    let service = service_fn(|request| {
        let (gate, slot) = (Arc::clone(&gate), Arc::clone(&slot));
        asked.store(true, Ordering::Relaxed);
        async move {
            // Asked with each request and not once at accept: a socket may have got more holders meanwhile.
            let caller = gate.identify(client, server).await;
            let origin = Arc::new(Origin::new(connection, "explicit", caller));
            Ok::<_, Infallible>(answer(gate, origin, slot, request).await)
        }
    });
    let served = http1(&gate.limits).serve_connection(TokioIo::new(stream), service).with_upgrades().await;
    if let Err(error) = served {
        tracing::debug!(connection, %error, "explicit connection ended");
    }
    if !asked.into_inner() {
        record_silence(&gate, connection);
    }
}

/// A connection on which no request could be read leaves a record as well.
fn record_silence(gate: &Gate, connection: u64) {
    let origin = Origin::new(connection, "explicit", Caller::Unknown(Unidentified::Gone));
    let reason = "no request came, or none that could be read";
    let verdict = Verdict { decision: "denied", policy: "", rule: "", error: Code::InvalidRequest.name(), reason };
    if let Err(refusal) = record_connection(gate, &gate.rules.current(), &origin, "-", verdict) {
        tracing::debug!(detail = refusal.problem().detail, "a silent connection could not be recorded");
    }
}

async fn answer(gate: Arc<Gate>, origin: Arc<Origin>, slot: Slot, request: Request<Incoming>) -> Response<ReplyBody> {
    let answered = if request.method() == Method::CONNECT {
        connect(&gate, &origin, slot, request).await.map(|()| Response::new(ReplyBody::empty()))
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
async fn connect(
    gate: &Arc<Gate>,
    origin: &Arc<Origin>,
    slot: Slot,
    mut request: Request<Incoming>,
) -> Result<(), Refusal> {
    let authority = match connect_target(&request) {
        Ok(authority) => gate.names.recall(authority),
        Err(refusal) => return refuse_unjudged(gate, origin, request.uri(), refusal),
    };
    let rules = gate.rules.current();
    let permit = judge_connection(gate, &rules, origin, &authority)?;
    let tunnel = Tunnel::open(Arc::clone(gate), Arc::clone(origin), authority, &permit, &rules).await?;
    tokio::spawn(async move {
        match hyper::upgrade::on(&mut request).await {
            Ok(upgraded) => tunnel.run(TokioIo::new(upgraded)).await,
            Err(error) => tracing::debug!(%error, "the client left before its tunnel was open"),
        }
        drop(slot);
    });
    Ok(())
}

fn connect_target(request: &Request<Incoming>) -> Result<Authority, Refusal> {
    let invalid = |detail: String| Refusal::connection(Code::InvalidRequest, detail, Asked::default());
    let target = request.uri().authority().map_or("", http::uri::Authority::as_str);
    let authority = Authority::parse(target).map_err(|e| invalid(format!("the CONNECT target is wrong: {e}")))?;
    let mut hosts = request.headers().get_all(http::header::HOST).iter();
    let host = hosts.next().map(|host| host.to_str().unwrap_or_default());
    // RFC 9110 wants a Host header and some clients leave the port out of it; what it says must not differ.
    let same = host.is_none_or(|host| Authority::parse_with_default(host, authority.port).as_ref() == Ok(&authority));
    if hosts.next().is_some() || !same {
        return Err(invalid("CONNECT target and Host header differ".to_owned()));
    }
    Ok(authority)
}

fn absolute_form(request: &Request<Incoming>, origin: &Origin) -> Result<Place, Refusal> {
    let invalid = |detail: &str| Err(Refusal::request(Code::InvalidRequest, detail, Asked::default()));
    let uri = request.uri();
    match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(authority)) => Authority::parse_with_default(authority.as_str(), Port::HTTP)
            .map(|authority| Place { scheme: Scheme::Http, authority })
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
fn refuse_unjudged<T>(gate: &Gate, origin: &Origin, uri: &http::Uri, refusal: Refusal) -> Result<T, Refusal> {
    let target: String = uri.authority().map_or("-", |a| a.as_str()).chars().take(MAX_SHOWN_TARGET).collect();
    let verdict = Verdict { reason: &refusal.problem().detail, ..refusal.verdict() };
    record_connection(gate, &gate.rules.current(), origin, &target, verdict)?;
    Err(refusal)
}

/// A hostile target is shown in the journal, but not at any length.
const MAX_SHOWN_TARGET: usize = 300;

/// The refusal of a request that a client may read before its connection ends.
pub(super) async fn refuse_all<S>(gate: &Gate, stream: S, refusal: Refusal)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |_: Request<Incoming>| {
        let response: Response<Full<Bytes>> = refusal.answer(Dialect::Http);
        async move { Ok::<_, Infallible>(response) }
    });
    if let Err(error) = http1(&gate.limits).serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, status = %StatusCode::FORBIDDEN, "a refused connection ended");
    }
}
