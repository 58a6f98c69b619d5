//! Headers: which must agree, which belong to one hop, which an agent may not set.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Uri};
use tollgate_model::{Authority, Port, Scheme};

use super::Place;

/// `Host`, an absolute-form target and the connection must name one authority.
///
/// # Errors
/// One sentence on what does not agree.
pub(super) fn check_authority(headers: &HeaderMap, uri: &Uri, place: &Place) -> Result<(), String> {
    let default = default_port(place.scheme);
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().ok_or("the request has no Host header")?;
    if hosts.next().is_some() {
        return Err("the request has more than one Host header".to_owned());
    }
    let host = host.to_str().map_err(|_| "the Host header is not text")?;
    let named = [Some(host), uri.authority().map(http::uri::Authority::as_str)];
    for text in named.into_iter().flatten() {
        let authority = Authority::parse_with_default(text, default)
            .map_err(|e| format!("the request's authority is wrong: {e}"))?;
        if authority != place.authority {
            return Err("the request names another authority than its connection".to_owned());
        }
    }
    Ok(())
}

/// Takes away what belongs to this hop (RFC 9110, section 7.6.1), what forges an origin and what overrides the method
/// that was judged; writes `Host` from what was judged. A reply that will be `searched` for secrets is asked for in plain form.
pub(super) fn clean_request(headers: &mut HeaderMap, place: &Place, searched: bool) {
    remove_hop_by_hop(headers);
    for name in FORGED {
        headers.remove(*name);
    }
    let omit_port = place.authority.port == default_port(place.scheme);
    let host = match (omit_port, place.authority.host.address()) {
        (true, Some(std::net::IpAddr::V6(address))) => format!("[{address}]"),
        (true, _) => place.authority.host.to_string(),
        (false, _) => place.authority.to_string(),
    };
    headers.insert(header::HOST, HeaderValue::try_from(host).expect("a canonical authority is visible ASCII"));
    if searched {
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
}

/// Takes away what belongs to the upstream's hop, and the hints that lead clients past the gate.
pub(super) fn clean_reply(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    headers.remove(header::ALT_SVC);
}

/// An encoding that hides the body.
pub(super) fn foreign_encoding(headers: &HeaderMap) -> Option<String> {
    headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .find(|value| !value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"))
        .map(|value| value.to_str().unwrap_or("?").chars().take(32).collect())
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // A client may not use Connection to take away what decides who it is and where it goes (RFC 9110, 7.6.1).
        .filter(|name| *name != header::HOST && *name != header::CONTENT_LENGTH)
        .collect();
    for name in named.iter().map(HeaderName::as_str).chain(HOP_BY_HOP.iter().copied()) {
        headers.remove(name);
    }
}

fn default_port(scheme: Scheme) -> Port {
    match scheme {
        Scheme::Http => Port::HTTP,
        Scheme::Https => Port::HTTPS,
    }
}

const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];

/// Headers that say who the client is or what the request really means: servers believe them, policies do not see them.
const FORGED: &[&str] = &[
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-proto",
    "x-forwarded-server",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];
