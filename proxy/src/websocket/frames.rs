//! Frames on their way through: bytes in, bytes out, without IO.

use tollgate_inspect::websocket::{Assembler, Header, Message, Opcode, Sender, WebSocketError, mask};

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
    sender: Sender,
    treatment: Treatment<'a>,
    text: Assembler,
    /// Bytes that are not a whole header yet.
    waiting: Vec<u8>,
    frame: Option<Frame>,
    message: Option<Searched>,
    in_message: bool,
    /// Secrets that were replaced.
    pub(super) scrubbed: u64,
}

/// The frame whose payload is coming.
struct Frame {
    header: Header,
    taken: u64,
    /// What is kept of it until it is whole: judged text, and control frames.
    kept: Vec<u8>,
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
            sender,
            treatment,
            text: Assembler::new(MAX_TEXT),
            waiting: Vec::new(),
            frame: None,
            message: None,
            in_message: false,
            scrubbed: 0,
        }
    }

    /// True where a frame of our own may be put in: nothing of one that is not whole has gone on.
    pub(super) fn is_between_frames(&self) -> bool {
        self.frame.as_ref().is_none_or(|frame| !self.is_passed(&frame.header))
    }

    /// Takes what came and adds to `out` what may go on.
    ///
    /// # Errors
    /// Why the socket ends. What was added before may still go on.
    pub(super) fn take(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), Close> {
        while !input.is_empty() || self.frame.as_ref().is_some_and(|frame| frame.taken == frame.header.payload) {
            match self.frame.take() {
                None => self.read_header(&mut input, out)?,
                Some(frame) => self.read_payload(frame, &mut input, out)?,
            }
        }
        Ok(())
    }

    fn read_header(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Close> {
        let (byte, rest) = input.split_first().expect("asked only while there is input");
        self.waiting.push(*byte);
        *input = rest;
        let Some((header, _)) = Header::read(&self.waiting, self.sender).map_err(wrong)? else { return Ok(()) };
        match self.treatment {
            Treatment::Read(_) => self.text.expect(&header).map_err(wrong)?,
            Treatment::Pass | Treatment::Scrub(_) => self.expect(&header)?,
        }
        if self.is_passed(&header) {
            out.extend_from_slice(&self.waiting);
        }
        self.waiting.clear();
        self.frame = Some(Frame { header, taken: 0, kept: Vec::new() });
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

    fn read_payload(&mut self, mut frame: Frame, input: &mut &[u8], out: &mut Vec<u8>) -> Result<(), Close> {
        let missing = usize::try_from(frame.header.payload - frame.taken).unwrap_or(usize::MAX);
        let (chunk, rest) = input.split_at(missing.min(input.len()));
        *input = rest;
        let passed = self.is_passed(&frame.header);
        let searches = matches!(self.treatment, Treatment::Scrub(_)) && !frame.header.opcode.is_control();
        if passed {
            out.extend_from_slice(chunk);
        } else {
            let start = frame.kept.len();
            frame.kept.extend_from_slice(chunk);
            if let Some(key) = frame.header.mask {
                mask(&mut frame.kept[start..], key, frame.taken);
            }
        }
        frame.taken += chunk.len() as u64;
        let whole = frame.taken == frame.header.payload;
        if searches {
            self.search(&mut frame, whole, out);
        }
        match (whole, searches, passed) {
            (false, _, _) => self.frame = Some(frame),
            (true, true, _) => {}
            (true, false, true) if matches!(self.treatment, Treatment::Read(_)) => {
                self.text.push(&frame.header, &[]).map_err(wrong)?;
            }
            (true, false, true) => {}
            (true, false, false) => self.finish(&frame, out)?,
        }
        Ok(())
    }

    /// A frame that was kept whole.
    fn finish(&mut self, frame: &Frame, out: &mut Vec<u8>) -> Result<(), Close> {
        let mask = frame.header.mask;
        if frame.header.opcode.is_control() {
            let clean = match &mut self.treatment {
                Treatment::Scrub(search) => search.whole(&frame.kept),
                Treatment::Pass | Treatment::Read(_) => None,
            };
            self.scrubbed += u64::from(clean.is_some());
            let mut payload = clean.unwrap_or_else(|| frame.kept.clone());
            payload.truncate(MAX_CONTROL_PAYLOAD);
            write(out, true, frame.header.opcode, mask, &payload);
            return Ok(());
        }
        let message = self.text.push(&frame.header, &frame.kept).map_err(wrong)?;
        if let (Some(Message::Text(text)), Treatment::Read(read)) = (message, &self.treatment) {
            let other = read(&text)?;
            write(out, true, Opcode::Text, mask, other.as_deref().unwrap_or(text.as_bytes()));
        }
        Ok(())
    }

    /// Passes on what is clean of a message, as a fragment.
    fn search(&mut self, frame: &mut Frame, whole: bool, out: &mut Vec<u8>) {
        let Treatment::Scrub(search) = &mut self.treatment else { return };
        let message =
            self.message.get_or_insert_with(|| Searched { sieve: search.sieve(), opcode: frame.header.opcode });
        let kept = std::mem::take(&mut frame.kept);
        let mut clean = message.sieve.push(search, &kept).unwrap_or(kept);
        let last = whole && frame.header.fin;
        if last {
            clean.extend(message.sieve.finish());
        }
        if !clean.is_empty() || last {
            write(out, last, message.opcode, frame.header.mask, &clean);
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
    Header { fin, opcode, mask: key, payload: payload.len() as u64 }.write(out);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(key) = key {
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
