//! Chunks and trailers (RFC 9112, section 7.1), one byte after the other.

use super::Wrong;

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chunks {
    at: At,
    /// Of the chunk: as far as its size has been read, or what is left of it.
    size: u64,
    digits: u8,
    /// Bytes of the extension, or of all trailers.
    spent: usize,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    #[default]
    Size,
    Extension,
    SizeLineFeed,
    Data,
    DataReturn,
    DataLineFeed,
    TrailerBegin,
    Trailer,
    TrailerLineFeed,
    EndLineFeed,
    End,
}

/// Sixty bits of size.
const MAX_SIZE_DIGITS: u8 = 15;

/// Signatures of chunks have a hundred bytes; others do not exist in the wild.
const MAX_EXTENSION: usize = 256;

/// As much as is taken of trailers that are dropped.
const MAX_TRAILERS: usize = 8192;

impl Chunks {
    /// Follows as many bytes as belong to the body, and says whether it has ended.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> (usize, Result<bool, Wrong>) {
        let mut count = 0;
        while count < bytes.len() && self.at != At::End {
            if self.at == At::Data {
                let data = usize::try_from(self.size).unwrap_or(usize::MAX).min(bytes.len() - count);
                count += data;
                self.size -= data as u64;
                if self.size == 0 {
                    self.at = At::DataReturn;
                }
                continue;
            }
            match self.step(bytes[count]) {
                Some(at) => self.at = at,
                None => return (count, Err(Wrong::Chunk)),
            }
            count += 1;
        }
        (count, Ok(self.at == At::End))
    }

    fn step(&mut self, byte: u8) -> Option<At> {
        Some(match (self.at, byte) {
            (At::Size, _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16)?;
                self.size = (self.size << 4) | u64::from(digit);
                self.digits += 1;
                (self.digits <= MAX_SIZE_DIGITS).then_some(At::Size)?
            }
            (At::Size, b'\r') if self.digits > 0 => At::SizeLineFeed,
            (At::Size, b';') if self.digits > 0 => At::Extension,
            (At::Extension, b'\r') => At::SizeLineFeed,
            (At::Extension, b'\t' | b' '..=b'~') => self.spend(MAX_EXTENSION).then_some(At::Extension)?,
            (At::SizeLineFeed, b'\n') => {
                self.spent = 0;
                if self.size == 0 { At::TrailerBegin } else { At::Data }
            }
            (At::DataReturn, b'\r') => At::DataLineFeed,
            (At::DataLineFeed, b'\n') => {
                *self = Self::default();
                At::Size
            }
            (At::TrailerBegin, b'\r') => At::EndLineFeed,
            // A folded line.
            (At::TrailerBegin, b'\t' | b' ') => return None,
            (At::TrailerBegin | At::Trailer, b'\t' | b' '..=b'~' | 0x80..) => {
                self.spend(MAX_TRAILERS).then_some(At::Trailer)?
            }
            (At::Trailer, b'\r') => At::TrailerLineFeed,
            (At::TrailerLineFeed, b'\n') => At::TrailerBegin,
            (At::EndLineFeed, b'\n') => At::End,
            _ => return None,
        })
    }

    fn spend(&mut self, bound: usize) -> bool {
        self.spent += 1;
        self.spent <= bound
    }
}
