//! Frames out of bytes that come in pieces; payloads are not waited for.

use tollgate_inspect::websocket::{Header, Sender, WebSocketError};

/// Reads the frames of one direction.
pub(super) struct Reader {
    sender: Sender,
    /// Whether messages may be compressed.
    deflated: bool,
    /// Bytes that are not a whole header yet.
    waiting: Vec<u8>,
    frame: Option<(Header, u64)>,
}

/// What the next bytes are.
pub(super) enum Read<'i> {
    /// A header, which is all that they are.
    Header(Header),
    /// Some of the payload of the frame that began last; an empty frame has one such piece as well.
    Payload(Piece<'i>),
}

/// Some of a payload.
pub(super) struct Piece<'i> {
    pub(super) header: Header,
    /// As it came, masked or not.
    pub(super) bytes: &'i [u8],
    /// Where in the payload it begins.
    pub(super) offset: u64,
    /// Nothing of the payload is missing any more.
    pub(super) ends: bool,
}

impl Reader {
    pub(super) fn new(sender: Sender, deflated: bool) -> Self {
        Self { sender, deflated, waiting: Vec::new(), frame: None }
    }

    /// The frame whose payload has not all come.
    pub(super) fn open(&self) -> Option<&Header> {
        self.frame.as_ref().map(|(header, _)| header)
    }

    /// Takes from `input`; nothing where it is used up.
    ///
    /// # Errors
    /// [`WebSocketError`] for what the sender may not send.
    pub(super) fn next<'i>(&mut self, input: &mut &'i [u8]) -> Result<Option<Read<'i>>, WebSocketError> {
        if let Some((header, taken)) = self.frame {
            let missing = header.payload - taken;
            if missing > 0 && input.is_empty() {
                return Ok(None);
            }
            let (bytes, rest) = input.split_at(usize::try_from(missing).unwrap_or(usize::MAX).min(input.len()));
            *input = rest;
            let taken_now = taken + bytes.len() as u64;
            let ends = taken_now == header.payload;
            self.frame = (!ends).then_some((header, taken_now));
            return Ok(Some(Read::Payload(Piece { header, bytes, offset: taken, ends })));
        }
        while let Some((byte, rest)) = input.split_first() {
            self.waiting.push(*byte);
            *input = rest;
            let read = if self.deflated { Header::read_deflated } else { Header::read };
            if let Some((header, _)) = read(&self.waiting, self.sender)? {
                self.waiting.clear();
                self.frame = Some((header, 0));
                return Ok(Some(Read::Header(header)));
            }
        }
        Ok(None)
    }
}

impl Piece<'_> {
    /// The piece without its mask.
    pub(super) fn plain(&self) -> Vec<u8> {
        let mut plain = self.bytes.to_vec();
        if let Some(key) = self.header.mask {
            tollgate_inspect::websocket::mask(&mut plain, key, self.offset);
        }
        plain
    }
}
