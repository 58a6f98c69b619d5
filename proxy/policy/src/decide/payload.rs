//! What a request carries besides its line, as far as a judgement may need it.

use tollgate_inspect::{graphql, query};

use super::reason::Unreadable;

/// The body and the headers that say how to read it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Payload<'a> {
    /// The whole body, not encoded.
    pub body: &'a [u8],
    /// `Content-Type`.
    pub content_type: Option<&'a str>,
    /// `Content-Encoding`.
    pub content_encoding: Option<&'a str>,
    /// `Accept`.
    pub accept: Option<&'a str>,
}

impl<'a> Payload<'a> {
    /// A body of `application/json`, as tests and `policy explain` ask.
    #[must_use]
    pub fn json(body: &'a [u8]) -> Self {
        Self { body, content_type: Some("application/json"), ..Self::default() }
    }

    /// The body, where it is plain JSON within the limit.
    pub(super) fn readable(&self, limit: u32) -> Result<&'a [u8], Unreadable> {
        if u32::try_from(self.body.len()).map_or(true, |len| len > limit) {
            return Err(Unreadable::TooLarge { limit });
        }
        if self.content_encoding.is_some_and(|encoding| !encoding.trim().eq_ignore_ascii_case("identity")) {
            return Err(Unreadable::ContentEncoding);
        }
        match self.content_type.is_some_and(is_json) {
            true => Ok(self.body),
            false => Err(Unreadable::ContentType),
        }
    }

    /// True for a GET that waits for events.
    pub(super) fn is_event_stream(&self) -> bool {
        let wants = |accept: &str| media_types(accept).any(|media| media.eq_ignore_ascii_case("text/event-stream"));
        self.body.is_empty() && self.accept.is_some_and(wants)
    }
}

/// Refuses URL parameters that a server might read instead of the body.
pub(super) fn refuse_parameters(text: &str) -> Result<(), Unreadable> {
    let alien = |pair: Result<query::Pair<'_>, _>| pair.is_ok_and(|(name, _)| graphql::is_parameter(&name));
    match query::pairs(text).any(alien) {
        true => Err(Unreadable::UrlParameters),
        false => Ok(()),
    }
}

fn media_types(accept: &str) -> impl Iterator<Item = &str> {
    accept.split(',').filter_map(|range| range.split(';').next()).map(str::trim)
}

/// `application/json` or a type that ends in `+json`, in UTF-8.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let media = parts.next().unwrap_or_default().to_ascii_lowercase();
    let json = media == "application/json" || (media.starts_with("application/") && media.ends_with("+json"));
    let utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    };
    json && parts.all(utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f10_content_types() {
        for (text, expected) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/graphql-response+json", true),
            ("application/json; charset=utf-16", false),
            ("text/plain", false),
            ("multipart/form-data; boundary=x", false),
            ("", false),
        ] {
            assert_eq!(is_json(text), expected, "{text}");
        }
    }
}
