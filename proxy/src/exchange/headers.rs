//! Headers: which must agree, which belong to one hop, which an agent may not set.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, StatusCode, Uri};
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
    let forged: Vec<_> = headers.keys().filter(|name| is_forged(name)).cloned().collect();
    for name in forged {
        headers.remove(name);
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
        for name in [header::RANGE, header::IF_RANGE, header::ACCEPT_CHARSET] {
            headers.remove(name);
        }
    }
}

/// Takes away what belongs to the upstream's hop, and the hints that lead clients past the gate.
pub(super) fn clean_reply(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
    headers.remove(header::ALT_SVC);
}

/// A reply that is to be searched must be whole and plain: no content coding, no transfer coding but `chunked`, no part of
/// a larger thing, since a secret that is cut in two is found in neither half.
///
/// # Errors
/// One sentence in our own words: what the upstream wrote may be the secret.
pub(super) fn check_readable(status: StatusCode, headers: &HeaderMap) -> Result<(), &'static str> {
    let only = |name: HeaderName, plain: &[u8]| {
        headers.get_all(name).iter().all(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(plain))
    };
    if !only(header::CONTENT_ENCODING, b"identity") {
        return Err("the reply has a content coding and cannot be searched for secrets");
    }
    if !only(header::TRANSFER_ENCODING, b"chunked") {
        return Err("the reply has a transfer coding and cannot be searched for secrets");
    }
    if status == StatusCode::PARTIAL_CONTENT || headers.contains_key(header::CONTENT_RANGE) {
        return Err("the reply is a part of a larger one and cannot be searched for secrets");
    }
    Ok(())
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        // A client may not use Connection to take away what decides who it is and where it goes (RFC 9110, 7.6.1).
        .filter(|name: &HeaderName| *name != header::HOST && !name.as_str().starts_with("content-"))
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
/// Some servers take `_` for `-`.
fn is_forged(name: &HeaderName) -> bool {
    let name = name.as_str().replace('_', "-");
    FORGED.contains(&name.as_str()) || FORGED_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

const FORGED: &[&str] =
    &["forwarded", "x-method-override", "x-real-ip", "x-rewrite-url", "x-client-ip", "true-client-ip"];
const FORGED_PREFIXES: &[&str] = &["x-forwarded-", "x-http-method", "x-original-"];
