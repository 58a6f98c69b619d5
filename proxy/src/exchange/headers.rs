//! Headers: which must agree, which belong to one hop, which an agent may not set.

use http::header::{self, HeaderName, HeaderValue};
use http::request::Parts;
use http::{HeaderMap, StatusCode, Version};
use tollgate_model::Authority;
use tollgate_secrets::{Coding, DecodeError};

use super::Place;

/// `Host` or `:authority`, an absolute-form target and the connection must name one authority.
///
/// # Errors
/// One sentence on what does not agree.
pub(super) fn check_authority(parts: &Parts, place: &Place) -> Result<(), String> {
    let mut hosts = parts.headers.get_all(header::HOST).iter();
    let host = hosts.next().map(|host| host.to_str().map_err(|_| "the Host header is not text")).transpose()?;
    if hosts.next().is_some() {
        return Err("the request has more than one Host header".to_owned());
    }
    let named = parts.uri.authority().map(http::uri::Authority::as_str);
    // In HTTP/2 `:authority` takes the place of Host (RFC 9113, section 8.3.1).
    match parts.version {
        Version::HTTP_2 if host.or(named).is_none() => return Err("the request has no :authority".to_owned()),
        Version::HTTP_2 => {}
        _ if host.is_none() => return Err("the request has no Host header".to_owned()),
        _ => {}
    }
    for text in [host, named].into_iter().flatten().filter(|text| !place.is_written(text)) {
        let authority = Authority::parse_with_default(text, place.scheme.default_port())
            .map_err(|e| format!("the request's authority is wrong: {e}"))?;
        if authority != place.authority {
            return Err("the request names another authority than its connection".to_owned());
        }
    }
    match parts.uri.scheme_str() {
        Some(scheme) if scheme != place.scheme.as_str() => {
            Err("the request names another scheme than its connection".to_owned())
        }
        _ => Ok(()),
    }
}

/// Takes away what belongs to this hop (RFC 9110, section 7.6.1), what forges an origin and what overrides the method
/// that was judged. A reply that will be `searched` for secrets is asked for in plain form.
pub(super) fn clean_request(headers: &mut HeaderMap, searched: bool) {
    let wants_trailers = headers.get_all(header::TE).iter().any(|te| te.as_bytes() == b"trailers");
    remove(headers, |name| {
        // Servers behind CGI take `_` for `-`: one name would be judged and another one read. None is passed on.
        let is_alias = name.contains('_');
        // Answered here, once the request has been judged: the HTTP library says 100 when it reads the body.
        let is_answered = name == "expect";
        let hides = searched && matches!(name, "range" | "if-range" | "accept-charset");
        is_alias || is_answered || hides || is_forged(name)
    });
    if wants_trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
    join_cookies(headers);
    if searched {
        // First removed: to insert makes room for one more even where it replaces.
        headers.remove(header::ACCEPT_ENCODING);
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }
}

/// HTTP/2 may cut a cookie header into crumbs; HTTP/1 knows one (RFC 9113, section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let crumbs: Vec<_> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if crumbs.len() > 1 {
        let joined = HeaderValue::from_bytes(&crumbs.join(b"; ".as_slice()));
        headers.insert(header::COOKIE, joined.expect("valid values and two valid characters"));
    }
}

/// Trailers without what a receiver could take for a part of the head: framing, routing, credentials and the like
/// (RFC 9110, section 6.5.1).
pub(crate) fn clean_trailers(trailers: &mut HeaderMap) {
    remove(trailers, |name| !may_trail(name));
}

fn may_trail(name: &str) -> bool {
    const NEVER: &[&str] = &[
        "age",
        "authorization",
        "cache-control",
        "cookie",
        "date",
        "expect",
        "expires",
        "host",
        "location",
        "max-forwards",
        "pragma",
        "range",
        "retry-after",
        "set-cookie",
        "trailer",
        "vary",
        "warning",
        "www-authenticate",
    ];
    !NEVER.contains(&name)
        && !["content-", "if-", "proxy-", "access-control-"].iter().any(|prefix| name.starts_with(prefix))
        && !is_forged(&name.replace('_', "-"))
}

/// Takes away what belongs to the upstream's hop, and the hints that lead clients past the gate.
pub(crate) fn clean_reply(headers: &mut HeaderMap) {
    remove(headers, |name| name == "alt-svc");
}

/// The end of a reply must be where every reader finds it (RFC 9112, section 6.3), and it must not change the protocol.
///
/// # Errors
/// One sentence in our own words.
pub(super) fn check_framing(status: StatusCode, headers: &HeaderMap) -> Result<(), &'static str> {
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    let length = lengths.next();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let coding = codings.next();
    if status == StatusCode::SWITCHING_PROTOCOLS {
        return Err("it switches protocols unasked");
    }
    if lengths.next().is_some() || length.is_some_and(|length| !length.as_bytes().iter().all(u8::is_ascii_digit)) {
        return Err("the reply has more than one Content-Length");
    }
    if codings.next().is_some() || coding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"chunked")) {
        return Err("the reply has another transfer coding than `chunked`");
    }
    if length.is_some() && coding.is_some() {
        return Err("the reply has both a Content-Length and a Transfer-Encoding");
    }
    Ok(())
}

/// A reply that is to be searched must be whole: at most one content coding that can be taken off, no part of a larger thing,
/// since a secret that is cut in two is found in neither half. Its transfer coding is [`check_framing`]'s to see.
///
/// # Errors
/// One sentence in our own words: what the upstream wrote may be the secret.
pub(super) fn check_readable(status: StatusCode, headers: &HeaderMap) -> Result<Option<Coding>, String> {
    if status == StatusCode::PARTIAL_CONTENT || headers.contains_key(header::CONTENT_RANGE) {
        return Err("the reply is a part of a larger one and cannot be searched for secrets".to_owned());
    }
    let unread = |error: DecodeError| format!("{error}, and so it cannot be searched for secrets");
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let coding = codings.next().map_or(Ok(None), |value| Coding::parse(value.as_bytes())).map_err(unread)?;
    match codings.next() {
        Some(_) => Err(unread(DecodeError::Unknown)),
        None => Ok(coding),
    }
}

/// Takes away what was said of the coded form of a reply that goes on in plain form (RFC 9110, section 7.7).
pub(super) fn mark_decoded(headers: &mut HeaderMap) {
    for name in [header::CONTENT_ENCODING, header::CONTENT_LENGTH, header::ETAG, header::ACCEPT_RANGES] {
        headers.remove(name);
    }
    for name in ["content-md5", "digest", "content-digest"] {
        headers.remove(name);
    }
}

/// Takes away what belongs to one hop (RFC 9110, section 7.6.1), and what `is_unwanted`.
fn remove(headers: &mut HeaderMap, is_unwanted: impl Fn(&str) -> bool) {
    // Most heads have none of them: looking through what is there is cheaper than asking for each.
    let is_to_go = |name: &&HeaderName| is_of_hop(name.as_str()) || is_unwanted(name.as_str());
    let mut gone: Vec<_> = headers.keys().filter(is_to_go).cloned().collect();
    if gone.contains(&header::CONNECTION) {
        gone.extend(named_by_connection(headers));
    }
    for name in gone {
        headers.remove(name);
    }
}

fn named_by_connection(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let names = values.flat_map(|value| value.split(',')).filter_map(|name| name.trim().parse().ok());
    // A client may not use Connection to take away what decides who it is and where it goes (RFC 9110, 7.6.1).
    names.filter(|name: &HeaderName| *name != header::HOST && !name.as_str().starts_with("content-"))
}

fn is_of_hop(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "proxy-connection"
            | "te"
            | "transfer-encoding"
            | "upgrade"
            | "http2-settings"
    )
}

/// Headers that say who the client is or what the request really means: servers believe them, policies do not see them.
fn is_forged(name: &str) -> bool {
    match name.strip_prefix("x-") {
        Some(rest) => {
            matches!(rest, "method-override" | "real-ip" | "rewrite-url" | "client-ip")
                || ["forwarded-", "http-method", "original-"].iter().any(|prefix| rest.starts_with(prefix))
        }
        None => matches!(name, "forwarded" | "true-client-ip"),
    }
}
