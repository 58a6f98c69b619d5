//! Replies as they come: random secrets, spellings, codings and cuts; nothing of a secret comes through, nothing else is altered.

use std::io::Write;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use proptest::prelude::*;
use tollgate_secrets::{Coding, DecodeError, Decoder, Needles, Scrubber};

/// How a body is compressed for the test.
#[derive(Debug, Clone, Copy)]
enum Packing {
    Gzip,
    Zlib,
    Deflate,
    Brotli,
    Zstd,
}

const PACKINGS: &[Packing] = &[Packing::Gzip, Packing::Zlib, Packing::Deflate, Packing::Brotli, Packing::Zstd];

fn pack(packing: Packing, body: &[u8]) -> (Coding, Vec<u8>) {
    const WRITES: &str = "a Vec takes everything";
    let level = Compression::default();
    match packing {
        Packing::Gzip => {
            let mut encoder = GzEncoder::new(Vec::new(), level);
            encoder.write_all(body).expect(WRITES);
            (Coding::Gzip, encoder.finish().expect(WRITES))
        }
        Packing::Zlib => {
            let mut encoder = ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(body).expect(WRITES);
            (Coding::Deflate, encoder.finish().expect(WRITES))
        }
        Packing::Deflate => {
            let mut encoder = DeflateEncoder::new(Vec::new(), level);
            encoder.write_all(body).expect(WRITES);
            (Coding::Deflate, encoder.finish().expect(WRITES))
        }
        Packing::Brotli => {
            let mut out = Vec::new();
            brotli::CompressorWriter::new(&mut out, 4096, 5, 22).write_all(body).expect(WRITES);
            (Coding::Brotli, out)
        }
        Packing::Zstd => {
            let mut out = vec![0; zstd_safe::compress_bound(body.len())];
            let length = zstd_safe::compress(&mut out[..], body, 3).expect("enough room");
            out.truncate(length);
            (Coding::Zstd, out)
        }
    }
}

fn decode(coding: Coding, pieces: &[&[u8]]) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(coding);
    let mut plain = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        while let Some(piece) = decoder.next(&mut input)? {
            plain.extend(piece);
        }
        assert!(input.is_empty(), "{} bytes left", input.len());
    }
    decoder.finish().map(|()| plain)
}

/// Every spelling that an honest service might use, of which none may come through.
fn spell(secret: &str, kind: usize, before: &str) -> String {
    let escape = |format: &dyn Fn(u32) -> String| secret.chars().map(|c| format(u32::from(c))).collect::<String>();
    match kind {
        0 => secret.to_owned(),
        1 => STANDARD.encode(format!("{before}{secret}{before}")),
        2 => URL_SAFE_NO_PAD.encode(format!("{before}{secret}{before}")),
        3 => secret.bytes().map(|b| format!("{b:02x}")).collect(),
        4 => secret.bytes().map(|b| format!("{b:02X}")).collect(),
        5 => secret.bytes().map(|b| format!("%{b:02X}")).collect(),
        6 => secret
            .bytes()
            .map(|b| {
                if b.is_ascii_alphanumeric() || b"-._~".contains(&b) {
                    char::from(b).to_string()
                } else {
                    format!("%{b:02X}")
                }
            })
            .collect(),
        7 => serde_json::to_string(secret).expect("text").trim_matches('"').to_owned(),
        8 => escape(&|c| format!("\\u{c:04x}")),
        9 => escape(&|c| format!("&#{c};")),
        10 => secret.to_uppercase(),
        _ => secret.to_lowercase(),
    }
}

/// What of a spelling must not be in a reply: base64 shares its first and last characters with what stands around.
fn core(spelled: &str, kind: usize, before: &str, secret: &str) -> String {
    if kind != 1 && kind != 2 {
        return spelled.to_owned();
    }
    let (first, last) = ((before.len() * 8).div_ceil(6), (before.len() + secret.len()) * 8 / 6);
    spelled[first..last].to_owned()
}

fn scrubbed(secret: &str, placeholder: &str, pieces: &[&[u8]]) -> (Vec<u8>, u64) {
    let mut scrubber = Scrubber::new(Arc::new(Needles::new([(secret, placeholder)])));
    let mut out = Vec::new();
    for piece in pieces {
        match scrubber.push(piece) {
            Some(clean) => out.extend(clean),
            None => out.extend_from_slice(piece),
        }
    }
    out.extend(scrubber.finish());
    (out, scrubber.found())
}

/// A reply that was decoded and scrubbed as the gate does it.
fn reply(secret: &str, placeholder: &str, coding: Coding, pieces: &[&[u8]]) -> Vec<u8> {
    let mut decoder = Decoder::new(coding);
    let mut scrubber = Scrubber::new(Arc::new(Needles::new([(secret, placeholder)])));
    let mut out = Vec::new();
    for piece in pieces {
        let mut input = *piece;
        while let Some(plain) = decoder.next(&mut input).expect("valid") {
            out.extend(scrubber.push(&plain).unwrap_or(plain));
        }
    }
    decoder.finish().expect("complete");
    out.extend(scrubber.finish());
    out
}

proptest! {
    #[test]
    fn k4_no_spelling_comes_through(
        secret in "[A-Za-z0-9_/+=.:-]{8,60}",
        kind in 0usize..12,
        before in "[ -~]{0,7}",
        around in "[ -~]{0,200}",
        packing in prop::sample::select(PACKINGS),
        cut in 1usize..200,
    ) {
        let placeholder = "P".repeat(secret.len().max(24));
        let spelled = spell(&secret, kind, &before);
        let body = format!("{around}{spelled}{around}");
        let forbidden = core(&spelled, kind, &before, &secret);
        prop_assume!(!around.contains(&forbidden));
        let plain: Vec<&[u8]> = body.as_bytes().chunks(cut).collect();
        let (out, found) = scrubbed(&secret, &placeholder, &plain);
        prop_assert!(found > 0);
        prop_assert!(!String::from_utf8_lossy(&out).contains(&forbidden), "{}", String::from_utf8_lossy(&out));
        let (coding, packed) = pack(packing, body.as_bytes());
        let pieces: Vec<&[u8]> = packed.chunks(cut).collect();
        prop_assert_eq!(reply(&secret, &placeholder, coding, &pieces), out, "the coding makes no difference");
    }

    #[test]
    fn what_holds_no_secret_is_not_altered(
        secret in "[A-Za-z0-9]{20,40}",
        body in prop::collection::vec(any::<u8>(), 0..3000),
        packing in prop::sample::select(PACKINGS),
        cut in 1usize..300,
    ) {
        let (coding, packed) = pack(packing, &body);
        let pieces: Vec<&[u8]> = packed.chunks(cut).collect();
        prop_assert_eq!(reply(&secret, "P", coding, &pieces), body);
    }

    #[test]
    fn at_most_the_longest_needle_is_held_back(
        secret in "[a-z0-9]{20,40}", cut in 1usize..60, take in 1usize..40,
    ) {
        let body = format!("some text {} and {secret}{}", &secret[..take.min(secret.len())], &secret[..take.min(secret.len())]);
        let mut scrubber = Scrubber::new(Arc::new(Needles::new([(&*secret, "P")])));
        // The longest spelling there is: `\u0000` for each character, and one byte less can be held.
        let longest = secret.len() * 6;
        let (mut given, mut gone) = (0, 0);
        for piece in body.as_bytes().chunks(cut) {
            given += piece.len();
            gone += scrubber.push(piece).map_or(piece.len(), |out| out.len());
            prop_assert!(given - gone < longest + scrubber.found() as usize * secret.len());
        }
    }

    #[test]
    fn hostile_bytes_are_refused_or_decoded(bytes in prop::collection::vec(any::<u8>(), 0..400), cut in 1usize..50) {
        for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
            let pieces: Vec<&[u8]> = bytes.chunks(cut).collect();
            // Whatever it is: it ends, and within bounds.
            if let Ok(plain) = decode(coding, &pieces) {
                prop_assert!(plain.len() <= 16 * 1024 * 1024 + bytes.len() * 256);
            }
        }
    }
}

#[test]
fn codings_by_name() {
    for (text, expected) in [
        ("", Ok(None)),
        ("identity", Ok(None)),
        (" GZip ", Ok(Some(Coding::Gzip))),
        ("x-gzip", Ok(Some(Coding::Gzip))),
        ("deflate", Ok(Some(Coding::Deflate))),
        ("br", Ok(Some(Coding::Brotli))),
        ("zstd", Ok(Some(Coding::Zstd))),
        ("gzip, br", Err(DecodeError::Unknown)),
        ("compress", Err(DecodeError::Unknown)),
    ] {
        assert_eq!(Coding::parse(text.as_bytes()), expected, "{text}");
    }
}

#[test]
fn what_does_not_end_as_it_should() {
    for packing in PACKINGS {
        let (coding, packed) = pack(*packing, &b"some text that is long enough to be packed ".repeat(20));
        assert_eq!(decode(coding, &[&packed[..packed.len() - 1]]), Err(DecodeError::Truncated(coding)), "{packing:?}");
        let refused = decode(coding, &[&packed, b"more"]);
        assert!(matches!(refused, Err(DecodeError::Trailing(_) | DecodeError::Corrupt(_))), "{packing:?}: {refused:?}");
        assert_eq!(decode(coding, &[]), Ok(Vec::new()), "{packing:?}: no body");
    }
}

#[test]
fn data_may_follow_data() {
    for packing in [Packing::Gzip, Packing::Zstd] {
        let (coding, first) = pack(packing, b"first ");
        let (_, second) = pack(packing, b"second");
        let both = [first, second].concat();
        assert_eq!(decode(coding, &[&both]).as_deref(), Ok(&b"first second"[..]), "{packing:?}");
        let pieces: Vec<&[u8]> = both.chunks(1).collect();
        assert_eq!(decode(coding, &pieces).as_deref(), Ok(&b"first second"[..]), "{packing:?}");
    }
}

#[test]
fn o6_bombs_are_refused() {
    let zeros = vec![0; 64 * 1024 * 1024];
    for packing in PACKINGS {
        let (coding, packed) = pack(*packing, &zeros);
        assert_eq!(decode(coding, &[&packed]), Err(DecodeError::Bomb(coding)), "{packing:?}");
    }
}

#[test]
fn o6_a_window_beyond_the_bound_is_refused() {
    // A zstd frame that asks for a window of 2^27 bytes (RFC 8878, section 3.1.1.1.2): descriptor 0, exponent 17.
    let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 17 << 3, 0x01, 0x00, 0x00];
    assert_eq!(decode(Coding::Zstd, &[&frame]), Err(DecodeError::Corrupt(Coding::Zstd)));
}

#[test]
fn events_are_not_held_back() {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(b"data: one\n\n").expect("written");
    encoder.flush().expect("written");
    let mut decoder = Decoder::new(Coding::Gzip);
    let sent = encoder.get_ref().clone();
    let mut input = &sent[..];
    assert_eq!(decoder.next(&mut input).expect("valid").as_deref(), Some(&b"data: one\n\n"[..]));
}
