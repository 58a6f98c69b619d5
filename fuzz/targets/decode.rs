//! Content codings of replies.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tollgate_secrets::{Coding, DECODED_PIECE_BYTES, DecodeError, Decoder};

fuzz_target!(|bytes: &[u8]| {
    let [how, cut, text @ ..] = bytes else { return };
    let coding = [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd][usize::from(how % 4)];
    let whole = decode(coding, std::iter::once(text));
    let pieces = decode(coding, text.chunks(usize::from(*cut).max(1)));
    // Whether something broken is refused, and for what, depends on the cuts in all of the libraries: a bomb gets further, an
    // end is looked at sooner. What is whole comes out the same, which the tests of the crate show as well.
    if let (Ok(whole), Ok(pieces)) = (whole, pieces) {
        assert!(whole == pieces, "cut elsewhere, it comes out otherwise");
    }
});

fn decode<'a>(coding: Coding, pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, DecodeError> {
    let (mut decoder, mut plain) = (Decoder::new(coding), Vec::new());
    for mut piece in pieces {
        while let Some(some) = decoder.next(&mut piece)? {
            assert!(!some.is_empty() && some.len() <= DECODED_PIECE_BYTES);
            plain.extend(some);
        }
        assert!(piece.is_empty(), "what was not asked for again was taken");
    }
    decoder.finish()?;
    Ok(plain)
}
