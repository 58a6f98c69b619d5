//! What two ends agree on about compression (RFC 7692, section 7.1).

/// `permessage-deflate` as this program takes part in it: every message is compressed on its own, so that an idle socket
/// holds no window and nothing of one message can be found out by the length of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deflate {
    /// The largest window that a server may use towards this client, as a power of two, where the client bounds it.
    pub server_window_bits: Option<u8>,
    /// The server refers back to messages before, although it was asked not to: some answer whatever is asked.
    pub server_looks_back: bool,
}

/// The window of RFC 1951, as a power of two.
pub const MAX_WINDOW_BITS: u8 = 15;

const NAME: &str = "permessage-deflate";

impl Deflate {
    /// What a client in the middle offers.
    pub const OFFER: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    /// The first offer of a client that can be accepted, from the values of its `Sec-WebSocket-Extensions`.
    #[must_use]
    pub fn offered<'a>(values: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        values.into_iter().flat_map(|value| value.split(',')).find_map(|offer| {
            let parameters = Parameters::read(offer)?;
            let server_window_bits = match parameters.server_window {
                None => None,
                // Eight is a window that the library cannot use.
                Some(Some(bits @ 9..=MAX_WINDOW_BITS)) => Some(bits),
                Some(_) => return None,
            };
            Some(Self { server_window_bits, server_looks_back: false })
        })
    }

    /// The answer that accepts the offer.
    #[must_use]
    pub fn answer(self) -> String {
        match self.server_window_bits {
            Some(bits) => format!("{}; server_max_window_bits={bits}", Self::OFFER),
            None => Self::OFFER.to_owned(),
        }
    }

    /// What is agreed on once a server's `Sec-WebSocket-Extensions` has accepted [`OFFER`](Self::OFFER); nothing where it does
    /// not, or adds what was not offered.
    #[must_use]
    pub fn accepted_by(self, value: &str) -> Option<Self> {
        let parameters = Parameters::read(value)?;
        let is_offered =
            parameters.client_window.is_none() && parameters.server_window.is_none_or(|bits| bits.is_some());
        is_offered.then_some(Self { server_looks_back: !parameters.server_alone, ..self })
    }

    /// The window to compress with towards the client, as a power of two.
    #[must_use]
    pub fn window_bits(self) -> u8 {
        self.server_window_bits.unwrap_or(MAX_WINDOW_BITS)
    }
}

/// The parameters of one offer or answer; of windows, whether they are named and what they are.
#[derive(Default)]
struct Parameters {
    server_alone: bool,
    client_alone: bool,
    server_window: Option<Option<u8>>,
    client_window: Option<Option<u8>>,
}

impl Parameters {
    /// Nothing for other extensions, and for what section 7.1 has refused: unknown names, names twice, bad values.
    fn read(extension: &str) -> Option<Self> {
        let mut parts = extension.split(';').map(str::trim);
        if !parts.next()?.eq_ignore_ascii_case(NAME) {
            return None;
        }
        let mut all = Self::default();
        for part in parts {
            let (name, value) = part.split_once('=').map_or((part, None), |(name, value)| (name, Some(value.trim())));
            let is_new = match (name.trim(), value) {
                ("server_no_context_takeover", None) => !std::mem::replace(&mut all.server_alone, true),
                ("client_no_context_takeover", None) => !std::mem::replace(&mut all.client_alone, true),
                ("server_max_window_bits", value) => all.server_window.replace(window(value)?).is_none(),
                ("client_max_window_bits", value) => all.client_window.replace(window(value)?).is_none(),
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        Some(all)
    }
}

/// Nothing for what is no number of bits; a window may be named without one.
fn window(value: Option<&str>) -> Option<Option<u8>> {
    let Some(value) = value else { return Some(None) };
    let unquoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value);
    let is_plain = !unquoted.is_empty() && unquoted.bytes().all(|b| b.is_ascii_digit()) && !unquoted.starts_with('0');
    let bits = unquoted.parse().ok().filter(|bits| is_plain && (8..=MAX_WINDOW_BITS).contains(bits))?;
    Some(Some(bits))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_offer(values: &[&str], expected: Option<&str>) {
        let answer = Deflate::offered(values.iter().copied()).map(Deflate::answer);
        let expected = expected.map(|more| format!("{}{more}", Deflate::OFFER));
        assert_eq!(answer, expected, "{values:?}");
    }

    #[test]
    fn offers() {
        check_offer(&[], None);
        check_offer(&["permessage-deflate"], Some(""));
        check_offer(&["x-other, Permessage-Deflate ; client_max_window_bits"], Some(""));
        check_offer(&["permessage-deflate; server_max_window_bits=10"], Some("; server_max_window_bits=10"));
        check_offer(&["permessage-deflate; server_max_window_bits=\"12\""], Some("; server_max_window_bits=12"));
        // The second is the first that can be accepted.
        check_offer(&["permessage-deflate; server_max_window_bits=8, permessage-deflate"], Some(""));
        check_offer(&["permessage-deflate; server_max_window_bits=8", "permessage-deflate"], Some(""));
        for refused in [
            "permessage-bzip2",
            "permessage-deflate; server_max_window_bits",
            "permessage-deflate; server_max_window_bits=16",
            "permessage-deflate; server_max_window_bits=010",
            "permessage-deflate; server_no_context_takeover=1",
            "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
            "permessage-deflate; client_max_window_bits=7",
            "permessage-deflate; x",
        ] {
            check_offer(&[refused], None);
        }
    }

    #[test]
    fn answers() {
        for (value, expected) in [
            ("permessage-deflate; server_no_context_takeover", Some(false)),
            ("permessage-deflate; server_no_context_takeover; client_no_context_takeover", Some(false)),
            ("permessage-deflate; server_no_context_takeover; server_max_window_bits=9", Some(false)),
            // It holds on to what it sent.
            ("permessage-deflate", Some(true)),
            ("permessage-deflate; client_no_context_takeover", Some(true)),
            // Not offered.
            ("permessage-deflate; server_no_context_takeover; client_max_window_bits=12", None),
            ("permessage-deflate; server_no_context_takeover; server_max_window_bits", None),
            ("permessage-deflate; server_no_context_takeover, x-other", None),
            ("x-other", None),
            ("", None),
        ] {
            let offered = Deflate { server_window_bits: None, server_looks_back: false };
            let looks_back = offered.accepted_by(value).map(|agreed| agreed.server_looks_back);
            assert_eq!(looks_back, expected, "{value}");
        }
    }
}
