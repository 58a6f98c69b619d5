//! Connections that the operator's packet filter redirected to a stand-alone proxy.
//!
//! Where they were going is in the socket, but only as an address, and there is no DNS of ours that could say for which
//! name it stands. So the name is what the client itself says: the server name of its TLS hello, or `Host`. That name is
//! judged and resolved here; the client's address is dialled only where it gave no name and the policy has that address.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::BytesMut;
use http::{Request, Response, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tollgate_model::{Authority, Host, Port, Scheme};

use super::accept::Slot;
use super::front::{Front, Visitor};
use super::roster::Showing;
use super::transparent::{original_destination, refuse};
use crate::Gate;
use crate::body::ReplyBody;
use crate::exchange::{Place, exchange};
use crate::framing::{self, Framed};
use crate::limits::seconds;
use crate::origin::{Origin, judge_connection, record_connection};
use crate::refusal::{Asked, Code, Dialect, Refusal, alert};
use crate::stalling::Stalling;
use crate::tunnel::opening::Prefixed;
use crate::tunnel::{Client, Tunnel, http1};

/// Serves one redirected connection; `own` is the listener's address.
pub(super) async fn serve(front: Arc<Front>, visitor: Visitor, slot: Arc<Slot>, own: SocketAddr, stream: TcpStream) {
    let admitted = match destination(&stream, own) {
        Ok((address, authority)) => admit(&front, &visitor, &slot, &authority).map(|found| (address, authority, found)),
        Err(refusal) => Err(front.refuse(&visitor, "", &own.to_string(), refusal)),
    };
    let (address, authority, (gate, origin)) = match admitted {
        Ok(admitted) => admitted,
        Err(refusal) => return refuse(&front.limits, stream, refusal).await,
    };
    let read = tokio::time::timeout(seconds(front.limits.handshake_seconds), read_opening(stream)).await;
    if front.refuse_own(&visitor, &authority.to_string()).is_err() {
        return;
    }
    match read.unwrap_or_else(|_| Err("nothing that names a server came in time".to_owned())) {
        Ok((Opening::Http, io)) => {
            if !serve_http(gate, &origin, address.port(), io).await {
                let why = "no request came, or none that could be read";
                let refusal = Refusal::connection(Code::InvalidRequest, why, Asked::default());
                front.refuse(&visitor, &origin.agent, &authority.to_string(), refusal);
            }
        }
        Ok((Opening::Named(name), io)) => run(gate, origin, Authority::new(name, authority.port), io).await,
        Ok((Opening::Nameless, io)) => run(gate, origin, authority, io).await,
        Err(why) => {
            let refusal = Refusal::connection(Code::UnsupportedL7Protocol, why, Asked::default());
            front.refuse(&visitor, &origin.agent, &authority.to_string(), refusal);
        }
    }
}

/// Where the connection was going. One that was made to the listener itself would come back for ever.
fn destination(stream: &TcpStream, own: SocketAddr) -> Result<(SocketAddr, Authority), Refusal> {
    let refused = |code, why: &str| Refusal::connection(code, why, Asked::default());
    let local = stream.local_addr().ok();
    let destination = original_destination(stream).filter(|address| !is_own(*address, own, local));
    let address = destination.ok_or_else(|| refused(Code::ProxyLoop, "the connection was made to the proxy itself"))?;
    let port = Port::try_from(address.port()).map_err(|e| refused(Code::InvalidRequest, &e.to_string()))?;
    Ok((address, Authority::new(Host::from(address.ip().to_canonical()), port)))
}

/// A listener for every address is met at whichever of them the socket has.
fn is_own(destination: SocketAddr, own: SocketAddr, local: Option<SocketAddr>) -> bool {
    let everywhere = own.ip().is_unspecified() && destination.port() == own.port() && Some(destination) == local;
    destination == own || everywhere
}

fn admit(
    front: &Front,
    visitor: &Visitor,
    slot: &Arc<Slot>,
    authority: &Authority,
) -> Result<(Arc<Gate>, Arc<Origin>), Refusal> {
    let roster = front.roster();
    let known = roster.by_source(visitor.source());
    let away = |stranger| front.turn_away(visitor, &authority.to_string(), stranger, Showing::Address);
    let agent = known.map_err(away)?;
    front.take_in(visitor, agent, slot)?;
    Ok((Arc::clone(&agent.gate), Arc::new(visitor.origin(&agent.name).holding(slot))))
}

/// How a client begins, as far as it says where it wants to go.
enum Opening {
    /// A TLS hello with the name of a server (RFC 6066, section 3).
    Named(Host),
    /// Bytes that name nothing: TLS without a name, or neither TLS nor HTTP.
    Nameless,
    /// HTTP: each request has a `Host`.
    Http,
}

/// The first record of a TLS client, and what goes with it; far above what clients send.
const MAX_HELLO_BYTES: usize = 64 * 1024;

/// Reads as much as it takes to know the opening, and gives it back in front of the stream.
async fn read_opening(mut stream: TcpStream) -> Result<(Opening, Prefixed<TcpStream>), String> {
    let mut bytes = BytesMut::new();
    let opening = opening(&mut stream, &mut bytes).await?;
    Ok((opening, Prefixed::new(bytes.freeze(), stream)))
}

async fn opening(stream: &mut TcpStream, bytes: &mut BytesMut) -> Result<Opening, String> {
    let mut acceptor = Acceptor::default();
    loop {
        let known = bytes.len();
        let read = stream.read_buf(bytes).await.map_err(|e| e.to_string())?;
        match bytes.first() {
            None => return Err("the client said nothing".to_owned()),
            Some(b'A'..=b'Z') => return Ok(Opening::Http),
            Some(22) => {}
            Some(_) => return Ok(Opening::Nameless),
        }
        if read == 0 || bytes.len() > MAX_HELLO_BYTES {
            return Err("the TLS client hello is not whole".to_owned());
        }
        let wrong = |e: &dyn std::fmt::Display| format!("the TLS client hello is wrong: {e}");
        let mut fresh = &bytes[known..];
        while !fresh.is_empty() {
            acceptor.read_tls(&mut fresh).map_err(|e| wrong(&e))?;
            match acceptor.accept() {
                Ok(None) => {}
                Ok(Some(hello)) => return named(hello.client_hello().server_name()),
                Err((error, _)) => return Err(wrong(&error)),
            }
        }
    }
}

fn named(name: Option<&str>) -> Result<Opening, String> {
    let Some(name) = name else { return Ok(Opening::Nameless) };
    Host::parse(name).map(Opening::Named).map_err(|e| format!("the TLS client hello names no server: {e}"))
}

async fn run(gate: Arc<Gate>, origin: Arc<Origin>, authority: Authority, io: Prefixed<TcpStream>) {
    let rules = gate.rules.current();
    let tunnel = match judge_connection(&gate, &rules, &origin, &authority) {
        Ok(permit) => Tunnel::open(Arc::clone(&gate), origin, authority, &permit, &rules).await,
        Err(refusal) => Err(refusal),
    };
    match tunnel {
        Ok(tunnel) => tunnel.run(Client::Socket(io)).await,
        // Nothing that the client understands can be said before its handshake, but why it ends can.
        Err(_) => alert(io).await,
    }
}

/// Serves requests in clear; false when not even one came.
async fn serve_http<S>(gate: Arc<Gate>, origin: &Arc<Origin>, port: u16, io: S) -> bool
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let asked = AtomicBool::new(false);
    let (io, heads) = Framed::new(Stalling::new(io, seconds(gate.limits.stall_seconds)), &gate.limits);
    let service = service_fn(|request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        let (heads, method) = (&heads, request.method().clone());
        let gate = &gate;
        async move {
            let serve = pin!(answer(Arc::clone(gate), Arc::clone(origin), port, request));
            let refuse = async |wrong| {
                let refusal = framing::refusal(wrong, Asked::default());
                let recorded = record_connection(gate, &gate.rules.current(), origin, "-", refusal.verdict());
                recorded.err().unwrap_or(refusal)
            };
            Ok::<_, Infallible>(heads.answer(&method, serve, refuse).await)
        }
    });
    let served = http1(&gate.limits).serve_connection(TokioIo::new(io), service).with_upgrades();
    if let Err(error) = gate.capacity.serve(served, |c| c.graceful_shutdown()).await {
        tracing::debug!(connection = origin.connection, %error, "redirected connection ended");
    }
    asked.into_inner()
}

/// One request that came in clear: its `Host` is where it goes, at the port that the connection was made to.
async fn answer(gate: Arc<Gate>, origin: Arc<Origin>, port: u16, request: Request<Incoming>) -> Response<ReplyBody> {
    let judged = match host(&request, port) {
        Ok(authority) => judge_connection(&gate, &gate.rules.current(), &origin, &authority).map(|_| authority),
        Err(refusal) => super::explicit::refuse_unjudged(&gate, &origin, request.uri(), refusal),
    };
    match judged {
        Ok(authority) => exchange(gate, origin, Place::new(Scheme::Http, authority), request).await,
        Err(refusal) => refusal.answer(Dialect::Http).map(ReplyBody::own),
    }
}

fn host(request: &Request<Incoming>, port: u16) -> Result<Authority, Refusal> {
    let refused = |code, why: String| Refusal::request(code, why, Asked::default());
    let invalid = |why: String| refused(Code::InvalidRequest, why);
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(invalid("the request must have exactly one Host header".to_owned()));
    };
    let host = host.to_str().map_err(|_| invalid("the Host header is not text".to_owned()))?;
    let authority = Authority::parse_with_default(host, Port::HTTP)
        .map_err(|e| invalid(format!("the request's authority is wrong: {e}")))?;
    match authority.port.get() == port {
        true => Ok(authority),
        false => Err(refused(
            Code::RequestAuthorityMismatch,
            format!("the request names port {}, its connection was made to port {port}", authority.port),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(destination: &str, own: &str, local: &str, expected: bool) {
        let address = |text: &str| text.parse::<SocketAddr>().expect("an address");
        let answer = is_own(address(destination), address(own), Some(address(local)));
        assert_eq!(answer, expected, "{destination} at {own}, {local}");
    }

    #[test]
    fn a_connection_to_the_listener_is_a_loop() {
        check("127.0.0.1:3130", "127.0.0.1:3130", "127.0.0.1:3130", true);
        check("10.0.0.5:3130", "0.0.0.0:3130", "10.0.0.5:3130", true);
        check("93.184.215.14:443", "127.0.0.1:3130", "127.0.0.1:3130", false);
        // The same port somewhere else, by redirect and by TPROXY.
        check("93.184.215.14:3130", "0.0.0.0:3130", "10.0.0.5:3130", false);
        check("93.184.215.14:443", "0.0.0.0:3130", "93.184.215.14:443", false);
    }
}
