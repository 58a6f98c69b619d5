//! Connections to upstreams, shared as far as their rules and credentials are the same.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use foldhash::HashMap;
use http::uri::PathAndQuery;
use http::{HeaderValue, Request, Response, Uri, Version, header};
use hyper::body::{Body, Incoming};
use tollgate_model::{Authority, Scheme};
use tollgate_policy::Reach;
use tollgate_secrets::Outbound;

use super::dial::DialError;
use super::line::{self, Line, Loan, Turn, Unsent};
use super::shelf::Shelf;
use super::{Dialer, Offer};
use crate::Limits;
use crate::exchange::Place;
use crate::limits::seconds;
use crate::upload::Upload;

/// Sends what may leave, over connections that it opens and keeps.
///
/// A connection is shared only by requests to the same scheme and authority that may reach the same addresses and carry the
/// same credentials of the same vault.
#[derive(Debug)]
pub struct Pool {
    dialer: Dialer,
    limits: Limits,
    shelves: Arc<Shelves>,
}

type Shelves = Mutex<HashMap<Key, Arc<Shelf>>>;

/// What the requests on one connection have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) place: Arc<Place>,
    pub(crate) reach: Reach,
    /// Names of the credentials that are put in.
    pub(crate) exchanged: Arc<[String]>,
    /// Which vault they are from: one that is replaced leaves no connection behind that its values opened.
    pub(crate) vault: u64,
}

/// Why no reply came.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum SendError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// Every connection that one upstream may have is in use, and none came free in time.
    #[error("the upstream {0} has as many requests as it gets connections")]
    Busy(Authority),
    /// gRPC needs HTTP/2 to the end (its status travels in trailers), and the upstream does not speak it.
    #[error("the upstream {0} speaks no HTTP/2, which gRPC needs")]
    NoHttp2(Authority),
    /// The client broke off in its body, or the body is wrong.
    #[error("the request's body could not be sent on: {0}")]
    Upload(String),
    /// The connection broke before a reply, or the reply is not HTTP.
    #[error("the upstream {authority} broke off: {reason}")]
    Broken {
        /// Where to.
        authority: Authority,
        /// What the HTTP library said.
        reason: String,
    },
}

/// Places with connections, or with someone who opens one; further ones get connections that are not kept.
const MAX_PLACES: usize = 4096;

/// Stale connections that are tried before giving up; each try removes one.
const MAX_TRIES: usize = 64;

/// How often connections that nobody uses are looked for.
pub(crate) const SWEEP_INTERVAL: Duration = Duration::from_secs(15);

impl Pool {
    /// An empty pool over a dialer.
    #[must_use]
    pub fn new(dialer: Dialer, limits: &Limits) -> Self {
        let shelves = Arc::<Shelves>::default();
        let kept = Arc::clone(&shelves);
        Self { dialer: dialer.making_room(move || close_idle(&kept, JUST_USED)), limits: limits.clone(), shelves }
    }

    /// Sends a request that was judged and injected, and waits for the head of its reply. The loan is the connection: it
    /// goes back when the reply's body has ended.
    pub(crate) async fn send(
        &self,
        key: &Key,
        outbound: Outbound,
        body: Upload,
    ) -> Result<(Response<Incoming>, Loan), SendError> {
        let shelf = self.shelf(key);
        let mut request = Request::from_parts(outbound.into_parts(), body);
        let mut repeated = false;
        for _ in 0..MAX_TRIES {
            let mut loan = shelf.borrow(&self.dialer, key).await?;
            prepare(&mut request, key, loan.is_http2())?;
            let again = if loan.is_proven() && !repeated { repeatable(&request) } else { None };
            match (loan.send(request).await, again) {
                (Ok(reply), _) => return Ok((reply, loan)),
                // Closed while idle: nothing was sent, so another connection may try.
                (Err(Unsent { request: Some(unsent), .. }), _) if loan.is_reused() => request = *unsent,
                // Closed as it was sent: a request that changes nothing may be sent again (RFC 9110, section 9.2.2).
                (Err(Unsent { fault, .. }), Some(parts)) if fault.is_closed_early() => {
                    (request, repeated) = (Request::from_parts(parts, Upload::none()), true);
                }
                (Err(Unsent { fault, .. }), _) => return Err(fault.into_error(key)),
            }
        }
        Err(SendError::Broken {
            authority: key.place.authority.clone(),
            reason: "it closes every connection".to_owned(),
        })
    }

    /// A connection on which a WebSocket can be opened: a stream of an HTTP/2 connection that is open and takes extended
    /// CONNECT (RFC 8441), to be held as long as it is open, else one over HTTP/1 of its own, else HTTP/2 where the upstream
    /// speaks nothing else.
    pub(crate) async fn open_for_websocket(&self, key: &Key) -> Result<(Line, Option<Turn>), SendError> {
        if let Some((line, turn)) = self.shelf(key).extended() {
            return Ok((line, Some(turn)));
        }
        let refused = match line::open(&self.dialer, key, Offer::Http1).await {
            Err(error @ SendError::Dial(DialError::Tls { .. })) => error,
            opened => return opened.map(|line| (line, None)),
        };
        let line = line::open(&self.dialer, key, Offer::Both).await.map_err(|_| refused)?;
        if line.takes_extended_connect().await {
            return Ok((line, None));
        }
        let reason = "it speaks neither HTTP/1 nor WebSocket over HTTP/2".to_owned();
        Err(SendError::Broken { authority: key.place.authority.clone(), reason })
    }

    /// For connections that no request is sent on.
    pub(crate) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Closes connections that nobody has used for a while.
    pub(crate) fn sweep(&self) {
        close_idle(&self.shelves, seconds(self.limits.upstream_idle_seconds));
    }

    fn shelf(&self, key: &Key) -> Arc<Shelf> {
        let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shelf) = shelves.get(key) {
            return Arc::clone(shelf);
        }
        let shelf = Arc::new(Shelf::new(&self.limits));
        if shelves.len() < MAX_PLACES {
            shelves.insert(key.clone(), Arc::clone(&shelf));
        }
        shelf
    }
}

/// Closes what nobody has used for so long.
fn close_idle(shelves: &Shelves, idle: Duration) {
    let now = Instant::now();
    let mut shelves = shelves.lock().unwrap_or_else(PoisonError::into_inner);
    shelves.retain(|_, shelf| shelf.sweep(now, idle) || Arc::strong_count(shelf) > 1);
}

/// A connection that was used so short a time ago may be in the hands of somebody who is about to send on it.
const JUST_USED: Duration = Duration::from_millis(20);

/// A copy of a request that may be sent twice: it has no body and changes nothing.
fn repeatable(request: &Request<Upload>) -> Option<http::request::Parts> {
    if !request.method().is_safe() || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(());
    (*copy.method_mut(), *copy.uri_mut()) = (request.method().clone(), request.uri().clone());
    (*copy.version_mut(), *copy.headers_mut()) = (request.version(), request.headers().clone());
    Some(copy.into_parts().0)
}

/// Gives the head the form of the protocol that it will travel by.
fn prepare(request: &mut Request<Upload>, key: &Key, http2: bool) -> Result<(), SendError> {
    if !http2 {
        if is_grpc(request.headers()) {
            return Err(SendError::NoHttp2(key.place.authority.clone()));
        }
        *request.version_mut() = Version::HTTP_11;
        *request.uri_mut() = request.uri().path_and_query().cloned().map(Uri::from).unwrap_or_default();
        request.headers_mut().remove(header::TE);
        // There is one at most (`check_authority`); to insert makes room for one more even where it replaces.
        match request.headers_mut().get_mut(header::HOST) {
            Some(host) => *host = key.place.host.clone(),
            None => drop(request.headers_mut().insert(header::HOST, key.place.host.clone())),
        }
        // For some methods the HTTP library would otherwise take a body of unknown length for none.
        if !request.body().is_end_stream() && request.body().size_hint().exact().is_none() {
            request.headers_mut().insert(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
        return Ok(());
    }
    *request.version_mut() = Version::HTTP_2;
    request.headers_mut().remove(header::HOST);
    request.headers_mut().remove(header::TRANSFER_ENCODING);
    *request.uri_mut() = absolute(key, request.uri());
    Ok(())
}

/// The target with scheme and authority, as HTTP/2 sends it.
pub(crate) fn absolute(key: &Key, target: &Uri) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(match key.place.scheme {
        Scheme::Https => http::uri::Scheme::HTTPS,
        Scheme::Http => http::uri::Scheme::HTTP,
    });
    parts.authority = Some(key.place.named.clone());
    parts.path_and_query = target.path_and_query().cloned().or(Some(PathAndQuery::from_static("/")));
    Uri::from_parts(parts).expect("a scheme, an authority and a path make a URI")
}

/// True for `application/grpc` and its subtypes, as `application/grpc+proto`.
pub(crate) fn is_grpc(headers: &http::HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let rest = kind.strip_prefix(b"application/grpc".as_slice());
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

pub(crate) fn broken(key: &Key, error: &hyper::Error) -> SendError {
    SendError::Broken { authority: key.place.authority.clone(), reason: in_words(error) }
}

/// The error and what lies behind it: the HTTP library's first line says little.
pub(super) fn in_words(error: &hyper::Error) -> String {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}
