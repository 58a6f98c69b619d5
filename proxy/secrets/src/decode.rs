//! Content codings of replies taken off, so that what is inside can be searched.
//!
//! Bytes in, plain bytes out, a bounded piece at a time: what an upstream sends may grow a thousandfold. The gate passes a
//! reply that was decoded on in plain form, without `Content-Encoding`.
//!
//! ```
//! use tollgate_secrets::{Coding, Decoder};
//!
//! // "hello" by gzip.
//! let sent = [
//!     31, 139, 8, 0, 0, 0, 0, 0, 0, 255, 203, 72, 205, 201, 201, 7, 0, 134, 166, 16, 54, 5, 0, 0, 0,
//! ];
//! let mut decoder = Decoder::new(Coding::Gzip);
//! let (mut input, mut plain) = (&sent[..], Vec::new());
//! while let Some(piece) = decoder.next(&mut input).unwrap() {
//!     plain.extend(piece);
//! }
//! decoder.finish().unwrap();
//! assert_eq!(plain, b"hello");
//! ```

use std::fmt;

use brotli_decompressor::{BrotliDecompressStream, BrotliResult, BrotliState, StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};

/// A content coding (RFC 9110, section 8.4.1; RFC 7932; RFC 8878).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`, `x-gzip`.
    Gzip,
    /// `deflate`: zlib, or the bare stream that some servers send.
    Deflate,
    /// `br`.
    Brotli,
    /// `zstd`.
    Zstd,
}

/// Why a body cannot be decoded. In our own words: what the upstream wrote may be the secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A coding that is not known here, or several on top of each other.
    #[error("the reply has a content coding that is not known here")]
    Unknown,
    /// Not what the coding says.
    #[error("the reply is not valid {0}")]
    Corrupt(Coding),
    /// Ended in the middle.
    #[error("the reply ends in the middle of its {0} data")]
    Truncated(Coding),
    /// Something stands behind the end of the coded data.
    #[error("the reply goes on behind the end of its {0} data")]
    Trailing(Coding),
    /// It grows beyond reason.
    #[error("the reply grows to more than {MAX_RATIO} times its {0} data")]
    Bomb(Coding),
}

/// Takes one coding off one body that comes in pieces.
pub struct Decoder {
    coding: Coding,
    inner: Inner,
    taken: u64,
    given: u64,
    has_ended: bool,
    /// Where pieces are decoded to.
    space: Vec<u8>,
}

type Brotli = BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>;

enum Inner {
    /// Nothing of `deflate` has come yet, so it is not known which of its two forms it is.
    Unseen,
    Flate(Decompress),
    Brotli(Box<Brotli>),
    Zstd(DCtx<'static>),
}

/// What a decoder gives at once, at most.
pub const DECODED_PIECE_BYTES: usize = 32 * 1024;

/// Text of a machine compresses a hundredfold, zeros a thousandfold and more.
const MAX_RATIO: u64 = 256;

/// What is decoded before the ratio counts: small bodies may be nothing but zeros.
const GRACE_BYTES: u64 = 16 * 1024 * 1024;

/// 2^23 = 8 MiB, what RFC 9659 lets a `zstd` content coding ask for.
const ZSTD_WINDOW_LOG: u32 = 23;

/// 2^15, the window of RFC 1951.
const GZIP_WINDOW_LOG: u8 = 15;

impl Coding {
    /// Reads a `Content-Encoding`; nothing for `identity`.
    ///
    /// # Errors
    /// [`DecodeError::Unknown`] for all others, lists of codings among them.
    pub fn parse(text: &[u8]) -> Result<Option<Self>, DecodeError> {
        match &text.trim_ascii().to_ascii_lowercase()[..] {
            b"" | b"identity" => Ok(None),
            b"gzip" | b"x-gzip" => Ok(Some(Self::Gzip)),
            b"deflate" => Ok(Some(Self::Deflate)),
            b"br" => Ok(Some(Self::Brotli)),
            b"zstd" => Ok(Some(Self::Zstd)),
            _ => Err(DecodeError::Unknown),
        }
    }
}

impl fmt::Display for Coding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        })
    }
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { coding, taken, given, .. } = self;
        write!(f, "Decoder({coding}, {taken} bytes to {given})")
    }
}

/// What one step did.
struct Step {
    taken: usize,
    given: usize,
    has_ended: bool,
}

impl Decoder {
    /// A decoder for one body.
    #[must_use]
    pub fn new(coding: Coding) -> Self {
        Self { coding, inner: Inner::new(coding), taken: 0, given: 0, has_ended: false, space: Vec::new() }
    }

    /// Takes from `input` and gives a plain piece of at most [`DECODED_PIECE_BYTES`]; nothing when `input` is used up and
    /// more must come first. To be called until it gives nothing.
    ///
    /// # Errors
    /// [`DecodeError`]; the body must not go on.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Vec<u8>>, DecodeError> {
        if self.space.is_empty() {
            self.space = vec![0; DECODED_PIECE_BYTES];
        }
        loop {
            match (self.has_ended, input.first()) {
                (true, None) => return Ok(None),
                (true, Some(first)) => self.begin_another(*first)?,
                (false, _) => {}
            }
            let step = self.inner.step(input, &mut self.space).ok_or(DecodeError::Corrupt(self.coding))?;
            *input = &input[step.taken..];
            self.taken += step.taken as u64;
            self.given += step.given as u64;
            self.has_ended = step.has_ended;
            if self.given > GRACE_BYTES + self.taken * MAX_RATIO {
                return Err(DecodeError::Bomb(self.coding));
            }
            if step.given > 0 {
                // No more memory than it holds: pieces may have to wait for their reader.
                return Ok(Some(self.space[..step.given].to_vec()));
            }
            if input.is_empty() || (step.taken == 0 && !step.has_ended) {
                return Ok(None);
            }
        }
    }

    /// Ends the body. No body at all is complete as well: replies to `HEAD` have none.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`].
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.has_ended || self.taken == 0 {
            true => Ok(()),
            false => Err(DecodeError::Truncated(self.coding)),
        }
    }

    /// gzip and zstd data may follow each other (RFC 1952, section 2.2; RFC 8878, section 3.1).
    fn begin_another(&mut self, first: u8) -> Result<(), DecodeError> {
        match self.coding {
            Coding::Gzip if first == GZIP_MAGIC => self.inner = Inner::new(self.coding),
            Coding::Zstd => {}
            Coding::Gzip | Coding::Deflate | Coding::Brotli => return Err(DecodeError::Trailing(self.coding)),
        }
        self.has_ended = false;
        Ok(())
    }
}

const GZIP_MAGIC: u8 = 0x1f;

impl Inner {
    fn new(coding: Coding) -> Self {
        match coding {
            Coding::Gzip => Self::Flate(Decompress::new_gzip(GZIP_WINDOW_LOG)),
            Coding::Deflate => Self::Unseen,
            Coding::Brotli => {
                let (bytes, words, codes) = Default::default();
                Self::Brotli(Box::new(Brotli::new_strict(bytes, words, codes)))
            }
            Coding::Zstd => {
                let mut context = DCtx::create();
                // Refused only for a number out of range, which this constant is not.
                let _ = context.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG));
                Self::Zstd(context)
            }
        }
    }

    /// Nothing when the data is not what its coding says.
    fn step(&mut self, input: &[u8], out: &mut [u8]) -> Option<Step> {
        match self {
            Self::Unseen => {
                let Some(first) = input.first() else {
                    return Some(Step { taken: 0, given: 0, has_ended: false });
                };
                // A zlib header names method 8 and a window of at most 32 KiB (RFC 1950, section 2.2); a bare stream that
                // began like that would be a stored block with a padding bit set.
                let is_zlib = first & 0x0f == 8 && first >> 4 <= 7;
                *self = Self::Flate(Decompress::new(is_zlib));
                self.step(input, out)
            }
            Self::Flate(flate) => {
                let (taken, given) = (flate.total_in(), flate.total_out());
                let status = flate.decompress(input, out, FlushDecompress::None).ok()?;
                let count = |now: u64, before: u64| usize::try_from(now - before).ok();
                let has_ended = status == Status::StreamEnd;
                Some(Step {
                    taken: count(flate.total_in(), taken)?,
                    given: count(flate.total_out(), given)?,
                    has_ended,
                })
            }
            Self::Brotli(state) => brotli(state, input, out),
            Self::Zstd(context) => {
                let mut from = InBuffer::around(input);
                let mut into = OutBuffer::around(out);
                let hint = context.decompress_stream(&mut into, &mut from).ok()?;
                Some(Step { taken: from.pos(), given: into.pos(), has_ended: hint == 0 })
            }
        }
    }
}

fn brotli(state: &mut Brotli, input: &[u8], out: &mut [u8]) -> Option<Step> {
    let (mut left, mut taken, mut room, mut given, mut total) = (input.len(), 0, out.len(), 0, 0);
    let result = BrotliDecompressStream(&mut left, &mut taken, input, &mut room, &mut given, out, &mut total, state);
    match result {
        BrotliResult::ResultFailure => None,
        BrotliResult::ResultSuccess => Some(Step { taken, given, has_ended: true }),
        BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => Some(Step { taken, given, has_ended: false }),
    }
}
