//! Frames on their way through: bytes in, bytes out, without IO.

mod deflate;
mod reader;

use tollgate_inspect::websocket::{Assembler, Header, Message, Opcode, Sender, WebSocketError, mask};

pub(super) use deflate::Deflated;
use reader::{Piece, Read, Reader as FrameReader};

use crate::search::{Search, Sieve};

/// Why a socket ends, as it is told to the peer (RFC 6455, section 7.4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Close {
    pub(super) code: u16,
    pub(super) reason: String,
}

/// Reads one text message.
pub(super) type Reader<'a> = dyn Fn(&str) -> Result<Option<Vec<u8>>, Close> + Sync + 'a;

/// What becomes of the frames of one direction.
pub(super) enum Treatment<'a> {
    /// They pass as they are.
    Pass,
    /// Text messages are put together and pass whole: the reader refuses them, or says what goes on in their place, where
    /// that is something else.
    Read(&'a Reader<'a>),
    /// Messages are searched and pass in fragments of their own.
    Scrub(&'a mut Search),
}

/// One direction of a socket.
pub(super) struct Direction<'a> {
    reader: FrameReader,
    treatment: Treatment<'a>,
    text: Assembler,
    /// What is kept of a frame until it is whole: judged text, and control frames.
    kept: Vec<u8>,
    message: Option<Searched>,
    in_message: bool,
    /// Secrets that were replaced.
    pub(super) scrubbed: u64,
}

/// A message that is searched while it passes.
struct Searched {
    sieve: Sieve,
    /// The opcode of the next fragment that goes out.
    opcode: Opcode,
}

/// Text messages that are judged; protocols that send commands send small ones.
const MAX_TEXT: usize = 4 * 1024 * 1024;

impl<'a> Direction<'a> {
    pub(super) fn new(sender: Sender, treatment: Treatment<'a>) -> Self {
        Self {
            reader: FrameReader::new(sender, false),
            treatment,
            text: Assembler::new(MAX_TEXT),
            kept: Vec::new(),
            message: None,
            in_message: false,
            scrubbed: 0,
        }
    }

    /// True where a frame of our own may be put in: nothing of one that is not whole has gone on.
    pub(super) fn is_between_frames(&self) -> bool {
        self.reader.open().is_none_or(|header| !self.is_passed(header))
    }

    /// Takes what came and adds to `out` what may go on.
    ///
    /// # Errors
    /// Why the socket ends. What was added before may still go on.
    pub(super) fn take(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), Close> {
        while let Some(read) = self.reader.next(&mut input).map_err(wrong)? {
            match read {
                Read::Header(header) => self.begin(&header, out)?,
                Read::Payload(piece) => self.read_payload(&piece, out)?,
            }
        }
        Ok(())
    }

    fn begin(&mut self, header: &Header, out: &mut Vec<u8>) -> Result<(), Close> {
        match self.treatment {
            Treatment::Read(_) => self.text.expect(header).map_err(wrong)?,
            Treatment::Pass | Treatment::Scrub(_) => self.expect(header)?,
        }
        if self.is_passed(header) {
            header.write(out);
        }
        self.kept.clear();
        Ok(())
    }

    /// RFC 6455, section 5.4: fragments in order, and messages one after another.
    fn expect(&mut self, header: &Header) -> Result<(), Close> {
        if header.opcode.is_control() {
            return Ok(());
        }
        if self.in_message != (header.opcode == Opcode::Continuation) {
            return Err(wrong(WebSocketError::Order));
        }
        self.in_message = !header.fin;
        Ok(())
    }

    /// Whether the bytes of such a frame go on as they come.
    fn is_passed(&self, header: &Header) -> bool {
        match self.treatment {
            Treatment::Pass => true,
            Treatment::Read(_) => match header.opcode {
                Opcode::Binary => true,
                Opcode::Continuation => self.text.is_in_binary(),
                _ => false,
            },
            Treatment::Scrub(_) => false,
        }
    }

    fn read_payload(&mut self, piece: &Piece<'_>, out: &mut Vec<u8>) -> Result<(), Close> {
        let header = &piece.header;
        if self.is_passed(header) {
            out.extend_from_slice(piece.bytes);
            if piece.ends && matches!(self.treatment, Treatment::Read(_)) {
                self.text.push(header, &[]).map_err(wrong)?;
            }
            return Ok(());
        }
        if matches!(self.treatment, Treatment::Scrub(_)) && !header.opcode.is_control() {
            self.search(piece, out);
            return Ok(());
        }
        self.kept.extend(piece.plain());
        match piece.ends {
            true => self.finish(header, out),
            false => Ok(()),
        }
    }

    /// A frame that was kept whole.
    fn finish(&mut self, header: &Header, out: &mut Vec<u8>) -> Result<(), Close> {
        if header.opcode.is_control() {
            let clean = match &mut self.treatment {
                Treatment::Scrub(search) => search.whole(&self.kept),
                Treatment::Pass | Treatment::Read(_) => None,
            };
            self.scrubbed += u64::from(clean.is_some());
            let mut payload = clean.unwrap_or_else(|| std::mem::take(&mut self.kept));
            payload.truncate(MAX_CONTROL_PAYLOAD);
            write(out, true, header.opcode, header.mask, &payload);
            return Ok(());
        }
        let message = self.text.push(header, &self.kept).map_err(wrong)?;
        if let (Some(Message::Text(text)), Treatment::Read(read)) = (message, &self.treatment) {
            let other = read(&text)?;
            write(out, true, Opcode::Text, header.mask, other.as_deref().unwrap_or(text.as_bytes()));
        }
        Ok(())
    }

    /// Passes on what is clean of a message, as a fragment.
    fn search(&mut self, piece: &Piece<'_>, out: &mut Vec<u8>) {
        let Treatment::Scrub(search) = &mut self.treatment else { return };
        let message =
            self.message.get_or_insert_with(|| Searched { sieve: search.sieve(), opcode: piece.header.opcode });
        let kept = piece.plain();
        let mut clean = message.sieve.push(search, &kept).unwrap_or(kept);
        let last = piece.ends && piece.header.fin;
        if last {
            clean.extend(message.sieve.finish());
        }
        if !clean.is_empty() || last {
            write(out, last, message.opcode, piece.header.mask, &clean);
            message.opcode = Opcode::Continuation;
        }
        if last {
            self.scrubbed += message.sieve.found();
            self.message = None;
        }
    }
}

/// RFC 6455, section 5.5.
const MAX_CONTROL_PAYLOAD: usize = 125;

/// Adds one frame. A client's key is its own again: the upstream sees what the client would have sent.
pub(super) fn write(out: &mut Vec<u8>, fin: bool, opcode: Opcode, key: Option<[u8; 4]>, payload: &[u8]) {
    write_frame(out, Header { fin, compressed: false, opcode, mask: key, payload: 0 }, payload);
}

/// The same with a header whose length does not matter.
fn write_frame(out: &mut Vec<u8>, header: Header, payload: &[u8]) {
    Header { payload: payload.len() as u64, ..header }.write(out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = header.mask {
        mask(&mut out[start..], key, 0);
    }
}

impl Close {
    /// The close frame; `key` where a client sends it.
    pub(super) fn to_frame(&self, key: Option<[u8; 4]>) -> Vec<u8> {
        let mut payload = self.code.to_be_bytes().to_vec();
        payload.extend(self.reason.bytes().filter(u8::is_ascii).take(MAX_CONTROL_PAYLOAD - 2));
        let mut out = Vec::new();
        write(&mut out, true, Opcode::Close, key, &payload);
        out
    }
}

fn wrong(error: WebSocketError) -> Close {
    Close { code: error.close_code(), reason: error.to_string() }
}

#[cfg(test)]
mod tests;
