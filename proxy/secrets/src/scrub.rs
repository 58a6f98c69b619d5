//! Scrubbing: a reply gives back placeholders where it held secrets.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::encodings::{Spelling, spellings};
use crate::search::Searcher;

/// Every spelling of every secret that a reply is searched for, compiled once.
pub struct Needles {
    searcher: Searcher,
    replacements: Vec<Vec<u8>>,
    keeps_length: bool,
}

/// Replaces secrets in one body that comes in pieces, wherever the pieces were cut.
///
/// Holds back only bytes that may be the beginning of a secret, at most one byte less than the longest needle.
#[derive(Debug)]
pub struct Scrubber {
    needles: Arc<Needles>,
    held: Zeroizing<Vec<u8>>,
    found: u64,
}

impl Needles {
    /// Compiles the needles of `(value, placeholder)` pairs.
    #[must_use]
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut all: Vec<Spelling> = Vec::new();
        pairs.into_iter().for_each(|(value, placeholder)| all.extend(spellings(value, placeholder)));
        let keeps_length = all.iter().all(|spelling| spelling.needle.len() == spelling.replacement.len());
        let (needles, replacements): (Vec<_>, _) = all.into_iter().map(|one| (one.needle, one.replacement)).unzip();
        Self { searcher: Searcher::new(needles), replacements, keeps_length }
    }

    /// True when there is nothing to search for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.replacements.is_empty()
    }

    /// True when every replacement is as long as what it replaces, so that a `Content-Length` stays true.
    #[must_use]
    pub fn keeps_length(&self) -> bool {
        self.keeps_length
    }

    /// False where no secret is; true for a few texts without one as well.
    #[must_use]
    #[inline]
    pub fn may_be_in(&self, text: &[u8]) -> bool {
        self.searcher.may_find(text)
    }

    /// A short text at once, for header values: nothing when it holds no secret.
    #[must_use]
    pub fn scrub_whole(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.scrub_counted(text).map(|(clean, _)| clean)
    }

    /// The same, with how many secrets there were.
    fn scrub_counted(&self, text: &[u8]) -> Option<(Vec<u8>, u64)> {
        let mut out = Vec::new();
        let (taken, found) = self.replace(text, text.len(), &mut out);
        (found > 0).then(|| {
            out.extend_from_slice(&text[taken..]);
            (out, found)
        })
    }

    /// Writes `data` up to the last match that begins before `limit`, replaced; says how many bytes of `data` that were.
    fn replace(&self, data: &[u8], limit: usize, out: &mut Vec<u8>) -> (usize, u64) {
        let (mut taken, mut found) = (0, 0);
        while let Some(hit) = self.searcher.find(data, taken).filter(|hit| hit.start < limit) {
            out.extend_from_slice(&data[taken..hit.start]);
            out.extend_from_slice(&self.replacements[hit.pattern]);
            taken = hit.end;
            found += 1;
        }
        (taken, found)
    }
}

impl std::fmt::Debug for Needles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Needles({})", self.replacements.len())
    }
}

impl Scrubber {
    /// A scrubber for one body.
    #[must_use]
    pub fn new(needles: Arc<Needles>) -> Self {
        Self { needles, held: Zeroizing::default(), found: 0 }
    }

    /// Takes the next piece and gives what can be passed on; nothing when `piece` can be passed on as it is.
    pub fn push(&mut self, piece: &[u8]) -> Option<Vec<u8>> {
        let joined;
        let untouched = self.held.is_empty();
        let data = if untouched {
            piece
        } else {
            self.held.extend_from_slice(piece);
            joined = std::mem::take(&mut self.held);
            &joined[..]
        };
        let limit = self.needles.searcher.open_suffix(data, 0);
        let mut out = Vec::new();
        let (taken, found) = self.needles.replace(data, limit, &mut out);
        if untouched && found == 0 && limit == data.len() {
            return None;
        }
        let limit = if taken > limit { self.needles.searcher.open_suffix(data, taken) } else { limit };
        out.extend_from_slice(&data[taken..limit]);
        self.held = Zeroizing::new(data[limit..].to_vec());
        self.found += found;
        Some(out)
    }

    /// Takes the last piece, with which the body ends; nothing when `piece` can be passed on as it is.
    pub fn push_last(&mut self, piece: &[u8]) -> Option<Vec<u8>> {
        if !self.held.is_empty() {
            self.held.extend_from_slice(piece);
            return Some(self.finish());
        }
        // Nothing comes that could make a secret of its end.
        let (clean, found) = self.needles.scrub_counted(piece)?;
        self.found += found;
        Some(clean)
    }

    /// Ends the body and gives what was held back.
    pub fn finish(&mut self) -> Vec<u8> {
        let rest = std::mem::take(&mut self.held);
        let mut out = Vec::new();
        let (taken, found) = self.needles.replace(&rest, rest.len(), &mut out);
        out.extend_from_slice(&rest[taken..]);
        self.found += found;
        out
    }

    /// Secrets replaced so far.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use proptest::prelude::*;

    const SECRET: &str = "ghp_Zm9vYmFyYmF6cXV4MDEyMzQ1Njc4OWFiY2Q/+";
    const PLACEHOLDER: &str = "ghp_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

    fn scrub(pieces: &[&[u8]]) -> (Vec<u8>, u64) {
        let needles = Arc::new(Needles::new([(SECRET, PLACEHOLDER)]));
        let (mut scrubber, mut out) = (Scrubber::new(Arc::clone(&needles)), Vec::new());
        for piece in pieces {
            out.extend(scrubber.push(piece).unwrap_or_else(|| piece.to_vec()));
        }
        out.extend(scrubber.finish());
        // The same where it is known which piece is the last.
        let (mut informed, mut again) = (Scrubber::new(needles), Vec::new());
        for (at, piece) in pieces.iter().enumerate() {
            let clean = if at + 1 == pieces.len() { informed.push_last(piece) } else { informed.push(piece) };
            again.extend(clean.unwrap_or_else(|| piece.to_vec()));
        }
        assert_eq!((&again, informed.found()), (&out, scrubber.found()));
        (out, scrubber.found())
    }

    #[test]
    fn plain_and_split_anywhere() {
        let body = format!("token={SECRET}&again={SECRET}");
        let expected = format!("token={PLACEHOLDER}&again={PLACEHOLDER}");
        for at in 0..body.len() {
            let (out, found) = scrub(&[&body.as_bytes()[..at], &body.as_bytes()[at..]]);
            assert_eq!((String::from_utf8_lossy(&out).as_ref(), found), (expected.as_str(), 2), "split at {at}");
        }
        let single: Vec<&[u8]> = body.as_bytes().chunks(1).collect();
        assert_eq!(scrub(&single).0, expected.as_bytes());
    }

    #[test]
    fn lengths_stay_as_they_are() {
        assert_eq!(SECRET.len(), PLACEHOLDER.len());
        assert!(Needles::new([(SECRET, PLACEHOLDER)]).keeps_length());
        assert!(!Needles::new([(SECRET, "short")]).keeps_length());
    }

    #[test]
    fn nothing_is_held_back_without_need() {
        let mut scrubber = Scrubber::new(Arc::new(Needles::new([(SECRET, PLACEHOLDER)])));
        assert_eq!(scrubber.push(b"data: an event\n\n"), None, "passed on as it is");
        assert_eq!(scrubber.push(b"x ghp_"), Some(b"x ".to_vec()), "may be the beginning");
        assert_eq!(scrubber.push(b"other"), Some(b"ghp_other".to_vec()), "was not");
    }

    #[test]
    fn an_incomplete_secret_at_the_end_is_not_lost() {
        assert_eq!(scrub(&[b"tail ghp_Zm9v"]).0, b"tail ghp_Zm9v");
    }

    #[test]
    fn k4_every_spelling() {
        let hex: String = SECRET.bytes().map(|b| format!("{b:02x}")).collect();
        let percent: String = SECRET.bytes().map(|b| format!("%{b:02X}")).collect();
        for spelled in [
            hex.to_uppercase(),
            hex,
            percent,
            SECRET.replace('/', "%2F").replace('+', "%2B"),
            SECRET.replace('/', "%2f").replace('+', "%2b"),
            SECRET.replace('/', "%252F").replace('+', "%252B"),
            SECRET.replace('/', "\\/"),
            SECRET.chars().map(|c| format!("\\u{:04x}", u32::from(c))).collect(),
        ] {
            let (out, found) = scrub(&[format!("<{spelled}>").as_bytes()]);
            assert_eq!(found, 1, "{spelled}");
            assert!(!String::from_utf8_lossy(&out).contains(&spelled));
        }
    }

    proptest! {
        #[test]
        fn k4_base64_at_any_offset(before in "[ -~]{0,9}", after in "[ -~]{0,9}", url in any::<bool>()) {
            let plain = format!("{before}{SECRET}{after}");
            let encoded = if url {
                base64::engine::general_purpose::URL_SAFE.encode(&plain)
            } else {
                base64::engine::general_purpose::STANDARD.encode(&plain)
            };
            let (out, found) = scrub(&[encoded.as_bytes()]);
            prop_assert_eq!(found, 1);
            prop_assert_eq!(out.len(), encoded.len());
            // What is left of the secret after decoding is less than one group at either end.
            let decoded = base64::engine::general_purpose::STANDARD.decode(&out)
                .or_else(|_| base64::engine::general_purpose::URL_SAFE.decode(&out)).expect("still base64");
            let middle = &SECRET[3..SECRET.len() - 3];
            prop_assert!(!String::from_utf8_lossy(&decoded).contains(middle));
        }

        #[test]
        fn bodies_without_a_secret_are_not_altered(body in prop::collection::vec(any::<u8>(), 0..400), cut in 1usize..50) {
            let pieces: Vec<&[u8]> = body.chunks(cut).collect();
            let (out, found) = scrub(&pieces);
            prop_assert_eq!(out, body.clone());
            prop_assert_eq!(found, 0);
        }
    }
}
