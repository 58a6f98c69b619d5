//! The operator API on an address of this machine: for programs that cannot open a unix socket.
//!
//! Any process of this machine, and any page in a browser on it, can connect there. So each request needs the bearer token
//! (RFC 6750) that lies beside the socket for the owner alone, and has to name the address in its `Host`: a page that was
//! loaded under a name of its own, which then was made to lead here, does not.

use std::net::{SocketAddr, TcpListener};
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::task::{Context, Poll};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;

use super::policy::{Peer, answer};
use crate::failure::{Failure, Kind};
use crate::home::{SandboxFolder, random, write_private};

/// Where the token lies in the sandbox's folder.
pub const TOKEN_FILE: &str = "api.token";

/// An address of this machine's loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address(SocketAddr);

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address: SocketAddr = text.parse().map_err(|_| "it is ADDRESS:PORT, as in 127.0.0.1:9180".to_owned())?;
        if !address.ip().is_loopback() {
            return Err(
                "it has to be of the loopback, since the token passes in clear; put a TLS proxy in front of it"
                    .to_owned(),
            );
        }
        Ok(Self(address))
    }
}

/// The listener, whose requests are let through by token.
pub struct TokenOnly {
    listener: tokio::net::TcpListener,
    places: Arc<Semaphore>,
}

/// Connections at a time; further ones wait. Their descriptors are the gate's too, and anybody on this machine can connect.
const MAX_CONNECTIONS: usize = 64;

/// A connection that holds a place.
pub struct Held {
    stream: TcpStream,
    _place: OwnedSemaphorePermit,
}

impl axum::serve::Listener for TokenOnly {
    type Io = Held;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let place = Arc::clone(&self.places).acquire_owned().await.expect("nobody closes it");
        let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
        (Held { stream, _place: place }, address)
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

impl AsyncRead for Held {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Held {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What each request needs.
struct Door {
    address: SocketAddr,
    token: String,
}

/// Serves it with a token that is drawn anew, and written to `api.token` beside the socket.
pub fn serve(folder: &SandboxFolder, address: Address, router: Router) -> Result<JoinHandle<()>, Failure> {
    let failed =
        |e: std::io::Error| Failure::new(Kind::Other, format!("the API cannot be served on {}: {e}", address.0));
    let listener = TcpListener::bind(address.0).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let bytes: [u8; 32] = random()?;
    let token = tollgate_audit::digest::hex(&bytes);
    let place = folder.path.join(TOKEN_FILE);
    write_private(&place, token.as_bytes())
        .map_err(|e| Failure::new(Kind::State, format!("{} cannot be written: {e}", place.display())))?;
    let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
    let listener = TokenOnly { listener, places: Arc::new(Semaphore::new(MAX_CONNECTIONS)) };
    let router = router.layer(from_fn_with_state(Arc::new(Door { address, token }), check));
    let service = router.into_make_service_with_connect_info::<Peer>();
    Ok(tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, service).await {
            tracing::error!(%error, "the API is no longer served on its address");
        }
    }))
}

async fn check(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    if !door.is_named(request.headers()) {
        let message = format!("the request is for another host; this one is {}", door.address);
        return answer(StatusCode::MISDIRECTED_REQUEST, &message).into_response();
    }
    if !door.opens(request.headers()) {
        let message = "the request needs `Authorization: Bearer TOKEN`, with the token of the file api.token beside the control socket";
        let mut refused = answer(StatusCode::UNAUTHORIZED, message).into_response();
        refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        return refused;
    }
    next.run(request).await
}

impl Door {
    fn is_named(&self, headers: &HeaderMap) -> bool {
        let mut named = headers.get_all(header::HOST).iter();
        let (Some(name), None) = (named.next(), named.next()) else { return false };
        let own = [self.address.to_string(), format!("localhost:{}", self.address.port())];
        own.iter().any(|own| own.as_bytes() == name.as_bytes())
    }

    fn opens(&self, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(given), None) = (given.next(), given.next()) else { return false };
        let token = given.as_bytes().split_at_checked(7).filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"bearer "));
        token.is_some_and(|(_, token)| verify_slices_are_equal(token, self.token.as_bytes()).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn only_the_loopback() {
        for (text, is_address) in [
            ("127.0.0.1:0", true),
            ("[::1]:9180", true),
            ("0.0.0.0:1", false),
            ("10.0.0.1:1", false),
            ("localhost:1", false),
            ("127.0.0.1", false),
        ] {
            assert_eq!(text.parse::<Address>().is_ok(), is_address, "{text}");
        }
    }

    #[test]
    fn what_a_request_needs() {
        let door = Door { address: "127.0.0.1:9180".parse().expect("an address"), token: "secret".to_owned() };
        let headers = |name, values: &[&'static str]| {
            values
                .iter()
                .map(|value| (HeaderName::clone(&name), HeaderValue::from_static(value)))
                .collect::<HeaderMap>()
        };
        for (values, expected) in [
            (&["127.0.0.1:9180"][..], true),
            (&["localhost:9180"], true),
            (&["127.0.0.1"], false),
            (&["evil.test:9180"], false),
            (&["localhost:9180.evil.test"], false),
            (&["127.0.0.1:9180", "evil.test"], false),
            (&[], false),
        ] {
            assert_eq!(door.is_named(&headers(header::HOST, values)), expected, "{values:?}");
        }
        for (values, expected) in [
            (&["Bearer secret"][..], true),
            (&["bearer secret"], true),
            (&["Bearer secre"], false),
            (&["Bearer secrets"], false),
            (&["Basic secret"], false),
            (&["secret"], false),
            (&["Bearer"], false),
            (&["Bearer secret", "Bearer secret"], false),
            (&[], false),
        ] {
            assert_eq!(door.opens(&headers(header::AUTHORIZATION, values)), expected, "{values:?}");
        }
    }
}
