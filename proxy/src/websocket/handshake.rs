//! The two opening handshakes (RFC 6455, section 4; RFC 8441, section 5). Neither key nor extension of one leg is the other's.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    CONNECTION, CONTENT_LENGTH, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version, response};
use hyper::body::Incoming;
use hyper::ext::Protocol;
use hyper::upgrade::{OnUpgrade, Upgraded};
use tollgate_inspect::websocket::Deflate;

use crate::body::scrub_headers;
use crate::course::Course;
use crate::exchange::headers::clean_reply;
use crate::search::Search;
use crate::tunnel::Turn as Requested;
use crate::upload::Upload;
use crate::upstream::{Key, Line, Pool, SendError, Turn};

/// A client's wish to switch.
pub(crate) struct Upgrade {
    stream: OnUpgrade,
    /// What the client's key must be answered with; nothing over HTTP/2.
    accept: Option<HeaderValue>,
    protocols: Vec<String>,
    offers_extensions: bool,
    /// The compression among them that the gate can take part in.
    deflate: Option<Deflate>,
    /// What keeps the client's connection from being taken for unused.
    pub(super) turn: Option<Arc<Requested>>,
}

/// Why a request that wants to switch is no opening handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("a WebSocket handshake is a GET without a body (RFC 6455, section 4.1)")]
    NotAGet,
    #[error("the WebSocket handshake does not say version 13")]
    Version,
    #[error("the WebSocket handshake has no key of 16 bytes, or more than one")]
    Key,
    #[error("the connection cannot be switched")]
    NotSwitchable,
}

/// Reads the client's opening handshake; nothing where the request does not ask for a WebSocket. Other protocols are
/// never switched to: their `Upgrade` is ignored, as RFC 9110, section 7.8, allows.
///
/// # Errors
/// [`HandshakeError`] for a handshake that is none.
pub(crate) fn read_upgrade(parts: &mut Parts) -> Result<Option<Upgrade>, HandshakeError> {
    let extended = parts.extensions.get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket");
    let switches =
        has_token(&parts.headers, &UPGRADE, "websocket") && has_token(&parts.headers, &CONNECTION, "upgrade");
    let accept = match parts.version {
        Version::HTTP_2 if parts.method == Method::CONNECT && extended => None,
        Version::HTTP_2 => return Ok(None),
        _ if !switches => return Ok(None),
        _ => {
            let has_body = parts.headers.contains_key(TRANSFER_ENCODING)
                || parts.headers.get(CONTENT_LENGTH).is_some_and(|length| length != "0");
            if parts.method != Method::GET || has_body || parts.version != Version::HTTP_11 {
                return Err(HandshakeError::NotAGet);
            }
            let key = one(&parts.headers, &SEC_WEBSOCKET_KEY).ok_or(HandshakeError::Key)?;
            let is_key = STANDARD.decode(key.as_bytes()).is_ok_and(|bytes| bytes.len() == KEY_BYTES);
            Some(is_key.then(|| accept_of(key.as_bytes())).ok_or(HandshakeError::Key)?)
        }
    };
    if one(&parts.headers, &SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        return Err(HandshakeError::Version);
    }
    let stream = parts.extensions.remove::<OnUpgrade>().ok_or(HandshakeError::NotSwitchable)?;
    let turn = parts.extensions.remove();
    let offered = parts.headers.get_all(SEC_WEBSOCKET_EXTENSIONS);
    let deflate = Deflate::offered(offered.iter().filter_map(|value| value.to_str().ok()));
    let offers_extensions = parts.headers.contains_key(SEC_WEBSOCKET_EXTENSIONS);
    let protocols = tokens(&parts.headers, &SEC_WEBSOCKET_PROTOCOL);
    Ok(Some(Upgrade { stream, accept, protocols, offers_extensions, deflate, turn }))
}

impl Upgrade {
    /// Whether a reply of this status would open the socket in the client's eyes.
    pub(super) fn is_opened_by(&self, status: StatusCode) -> bool {
        self.accept.is_none() && status.is_success()
    }

    /// The client's side of the socket, once the answer is out.
    pub(super) async fn into_stream(self) -> hyper::Result<Upgraded> {
        self.stream.await
    }
}

/// What an upstream said to a handshake.
pub(super) enum Opened {
    /// It switches; what of a shared connection the socket takes.
    Switched(Box<Response<Incoming>>, Option<Turn>),
    /// An ordinary reply.
    Refused(Box<Response<Incoming>>),
}

/// Asks the upstream to switch, over HTTP/2 where a connection that can is at hand, else over HTTP/1. Where frames are to be
/// `read`, only the compression that the gate takes part in is offered, if the client wants one.
pub(super) async fn open(
    pool: &Pool,
    key: &Key,
    mut parts: Parts,
    upgrade: &Upgrade,
    read: bool,
) -> Result<Opened, SendError> {
    if read {
        parts.headers.remove(SEC_WEBSOCKET_EXTENSIONS);
        if upgrade.deflate.is_some() {
            parts.headers.insert(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static(Deflate::OFFER));
        }
    }
    parts.headers.remove(SEC_WEBSOCKET_KEY);
    let broken = |reason: &str| SendError::Broken { authority: key.place.authority.clone(), reason: reason.to_owned() };
    let (mut line, turn) = pool.open_for_websocket(key).await?;
    let expected = match &line {
        Line::Http1(_) => {
            let nonce = nonce().ok_or_else(|| broken("no random bytes for a key"))?;
            let expected = accept_of(nonce.as_bytes());
            prepare_http1(&mut parts, key, nonce);
            Some(expected)
        }
        Line::Http2(..) => {
            prepare_http2(&mut parts, key);
            None
        }
    };
    let reply = Box::new(line.ask(key, Request::from_parts(parts, Upload::none())).await?);
    let switched = if expected.is_some() { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::OK };
    if reply.status() != switched {
        return Ok(Opened::Refused(reply));
    }
    let agrees = expected.is_none_or(|expected| {
        one(reply.headers(), &SEC_WEBSOCKET_ACCEPT) == Some(&expected)
            && has_token(reply.headers(), &UPGRADE, "websocket")
            && has_token(reply.headers(), &CONNECTION, "upgrade")
    });
    match agrees {
        true => Ok(Opened::Switched(reply, turn)),
        false => Err(broken("its answer does not fit the handshake's key")),
    }
}

fn prepare_http1(parts: &mut Parts, key: &Key, nonce: HeaderValue) {
    parts.method = Method::GET;
    parts.version = Version::HTTP_11;
    parts.headers.insert(http::header::HOST, key.place.host.clone());
    parts.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    parts.headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    parts.headers.insert(SEC_WEBSOCKET_KEY, nonce);
}

fn prepare_http2(parts: &mut Parts, key: &Key) {
    parts.method = Method::CONNECT;
    parts.version = Version::HTTP_2;
    parts.uri = crate::upstream::absolute(key, &parts.uri);
    parts.headers.remove(http::header::HOST);
    parts.headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    parts.extensions.insert(Protocol::from_static("websocket"));
}

/// What was agreed on beside the socket itself.
pub(super) enum Extensions {
    /// Nothing: frames are plain.
    None,
    /// Compression, on both legs apart.
    Deflate(Deflate),
    /// Whatever both ends like: frames pass unread.
    Opaque,
}

/// The answer to the client, the upstream's side of the socket, and what was agreed on.
///
/// # Errors
/// What the upstream chose that nobody offered.
pub(super) fn answer(
    mut reply: Response<Incoming>,
    upgrade: &Upgrade,
    read: bool,
    search: Option<&mut Search>,
    course: &Course,
) -> Result<(response::Parts, OnUpgrade, Extensions), String> {
    let upstream = hyper::upgrade::on(&mut reply);
    let (mut head, _) = reply.into_parts();
    head.extensions = http::Extensions::new();
    let chosen = tokens(&head.headers, &SEC_WEBSOCKET_PROTOCOL);
    if chosen.len() > 1 || !chosen.iter().all(|name| upgrade.protocols.contains(name)) {
        return Err("it chose a subprotocol that was not offered".to_owned());
    }
    let extensions = agreed(&head.headers, upgrade, read)?;
    if let Extensions::Deflate(deflate) = extensions {
        let answer = HeaderValue::try_from(deflate.answer()).expect("names and a number");
        head.headers.insert(SEC_WEBSOCKET_EXTENSIONS, answer);
    }
    if let Some(search) = search {
        let scrubbed = scrub_headers(&mut head.headers, search);
        course.note(|notes| notes.scrubbed += scrubbed);
    }
    clean_reply(&mut head.headers);
    head.headers.remove(SEC_WEBSOCKET_ACCEPT);
    head.headers.remove(CONTENT_LENGTH);
    head.status = StatusCode::OK;
    if let Some(accept) = &upgrade.accept {
        head.status = StatusCode::SWITCHING_PROTOCOLS;
        head.headers.insert(SEC_WEBSOCKET_ACCEPT, accept.clone());
        head.headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    }
    course.note(|notes| notes.status = head.status.as_u16());
    Ok((head, upstream, extensions))
}

fn agreed(headers: &HeaderMap, upgrade: &Upgrade, read: bool) -> Result<Extensions, String> {
    if !headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) {
        return Ok(Extensions::None);
    }
    let chosen = one(headers, &SEC_WEBSOCKET_EXTENSIONS).and_then(|value| value.to_str().ok());
    let deflate = upgrade.deflate.zip(chosen).and_then(|(offered, chosen)| offered.accepted_by(chosen));
    match (read, deflate) {
        (false, _) if upgrade.offers_extensions => Ok(Extensions::Opaque),
        (true, Some(deflate)) => Ok(Extensions::Deflate(deflate)),
        _ => Err("it chose an extension that was not offered".to_owned()),
    }
}

const KEY_BYTES: usize = 16;

fn nonce() -> Option<HeaderValue> {
    let mut bytes = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).ok()?;
    HeaderValue::try_from(STANDARD.encode(bytes)).ok()
}

/// RFC 6455, section 4.2.2, step 5.
fn accept_of(key: &[u8]) -> HeaderValue {
    const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
    let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, GUID].concat());
    HeaderValue::try_from(STANDARD.encode(hash)).expect("base64 is visible ASCII")
}

fn one<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a HeaderValue> {
    let mut values = headers.get_all(name).iter();
    values.next().filter(|_| values.next().is_none())
}

fn tokens(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|token| token.trim().to_owned()).filter(|t| !t.is_empty()).collect()
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).iter().any(|known| known.eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn e3_the_accept_of_the_standard() {
        assert_eq!(accept_of(b"dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[track_caller]
    fn check(headers: &[(&'static str, &str)], expected: Result<bool, HandshakeError>) {
        let mut request = Request::get("/chat");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).expect("valid").into_parts();
        assert_eq!(read_upgrade(&mut parts).map(|upgrade| upgrade.is_some()), expected, "{headers:?}");
    }

    #[test]
    fn e1_what_is_a_handshake() {
        use HandshakeError::{Key, NotAGet, NotSwitchable, Version};
        const KEY: (&str, &str) = ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        const V13: (&str, &str) = ("sec-websocket-version", "13");
        const SWITCH: [(&str, &str); 2] = [("connection", "keep-alive, Upgrade"), ("upgrade", "WebSocket")];
        check(&[], Ok(false));
        check(&[("connection", "upgrade"), ("upgrade", "h2c")], Ok(false));
        check(&[("connection", "upgrade"), ("upgrade", "notwebsocket")], Ok(false));
        check(&[("connection", "close"), ("upgrade", "websocket")], Ok(false));
        check(&[SWITCH[0], SWITCH[1], V13], Err(Key));
        check(&[SWITCH[0], SWITCH[1], V13, KEY, KEY], Err(Key));
        check(&[SWITCH[0], SWITCH[1], V13, ("sec-websocket-key", "c2hvcnQ=")], Err(Key));
        check(&[SWITCH[0], SWITCH[1], KEY], Err(Version));
        check(&[SWITCH[0], SWITCH[1], KEY, ("sec-websocket-version", "8")], Err(Version));
        check(&[SWITCH[0], SWITCH[1], KEY, V13, ("content-length", "5")], Err(NotAGet));
        check(&[SWITCH[0], SWITCH[1], KEY, V13, ("transfer-encoding", "chunked")], Err(NotAGet));
        check(&[SWITCH[0], SWITCH[1], KEY, V13], Err(NotSwitchable));
    }
}
