//! TLS towards the client: its own words about where it goes must agree, then the gate answers in the destination's name.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;
use tollgate_model::{Authority, Host, Scheme};

use super::refuse;
use super::serve::{self, Protocol};
use crate::Gate;
use crate::exchange::Place;
use crate::limits::seconds;
use crate::live::Hold;
use crate::origin::Origin;
use crate::refusal::alert;
use crate::upstream::HTTP_2;

/// Terminates TLS and serves what is inside.
pub(super) async fn run<S>(gate: Arc<Gate>, origin: Arc<Origin>, authority: Authority, hold: Hold, io: S)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    // In a place of its own: what a handshake needs is given back before the connection idles.
    let Some(stream) = Box::pin(accept(&gate, &origin, &authority, io)).await else { return };
    let protocol = match stream.get_ref().1.alpn_protocol() {
        Some(HTTP_2) => Protocol::Http2,
        _ => Protocol::Http1,
    };
    serve::serve(gate, origin, Place::new(Scheme::Https, authority), protocol, hold, stream).await;
}

/// The handshake; nothing where it fails, which is recorded. The stream has a place of its own, since every future that it passes
/// through would keep room for it as long as the connection lives.
async fn accept<S>(gate: &Gate, origin: &Origin, authority: &Authority, io: S) -> Option<Box<TlsStream<S>>>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let refuse = |why: &str| refuse(gate, origin, authority, why);
    let patience = seconds(gate.limits.handshake_seconds);
    let acceptor = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), io);
    let hello = match tokio::time::timeout(patience, acceptor).await {
        Ok(Ok(hello)) => hello,
        Ok(Err(error)) => {
            refuse(&format!("the TLS client hello is wrong: {error}"));
            return None;
        }
        Err(_) => {
            refuse("the TLS client hello did not come in time");
            return None;
        }
    };
    if let Err(why) = check_server_name(hello.client_hello().server_name(), &authority.host) {
        refuse(why);
        alert(hello.io).await;
        return None;
    }
    let config =
        gate.authority.server_config(&authority.host).await.map_err(|error| refuse(&error.to_string())).ok()?;
    match tokio::time::timeout(patience, hello.into_stream(config)).await {
        Ok(Ok(stream)) => return Some(Box::new(stream)),
        Ok(Err(error)) => refuse(&format!("the TLS handshake failed: {error}")),
        Err(_) => refuse("the TLS handshake did not end in time"),
    }
    None
}

/// The name in the handshake must be the one that was judged; an address has none (RFC 6066, section 3).
pub(super) fn check_server_name(name: Option<&str>, host: &Host) -> Result<(), &'static str> {
    match (name, host) {
        (None, Host::Address(_)) => Ok(()),
        (None, Host::Name(_)) => Err("the TLS client hello names no server"),
        (Some(name), host) if Host::parse(name).as_ref() == Ok(host) => Ok(()),
        (Some(_), _) => Err("the TLS client hello names another server than the connection"),
    }
}
