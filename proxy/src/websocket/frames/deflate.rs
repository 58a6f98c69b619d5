//! Compression of messages (RFC 7692), taken off and put on again, so that what is between reads plain frames.
//!
//! Each message is compressed on its own: nothing is held for a socket between its messages, but the window of a server that
//! looks back. Short messages are not compressed: to set up a compressor costs more than a hundred kilobytes of memory.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use tollgate_inspect::websocket::{Deflate, Header, MAX_WINDOW_BITS, Opcode, Sender, WebSocketError};

use super::reader::{Piece, Read, Reader};
use super::{Close, Direction, write, write_frame, wrong};

/// One direction of a socket on which both legs compress.
pub(in crate::websocket) struct Deflated {
    inflating: Inflating,
    deflating: Deflating,
}

impl Deflated {
    /// `sender` sends compressed messages; they leave compressed with a window of so many bits.
    pub(in crate::websocket) fn new(sender: Sender, agreed: Deflate) -> Self {
        let window_bits = match sender {
            // None was asked for by the server: it may not.
            Sender::Client => MAX_WINDOW_BITS,
            Sender::Server => agreed.window_bits(),
        };
        let inflating = Inflating {
            reader: Reader::new(sender, true),
            looks_back: sender == Sender::Server && agreed.server_looks_back,
            inflater: Inflater { state: None, taken: 0, given: 0 },
            message: None,
            in_plain: false,
        };
        let deflating = Deflating { reader: Reader::new(sender, false), window_bits, message: None };
        Self { inflating, deflating }
    }

    /// Does to `input` what `direction` would do to it without compression.
    ///
    /// # Errors
    /// Why the socket ends. What was added to `out` before may still go on.
    pub(in crate::websocket) fn take(
        &mut self,
        direction: &mut Direction<'_>,
        mut input: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Close> {
        // Both may be a thousand times what came, and hold secrets; a piece at a time, and not kept.
        let (mut plain, mut treated) = (Vec::new(), Vec::new());
        while self.inflating.step(&mut input, &mut plain)? {
            let taken = direction.take(&plain, &mut treated);
            self.deflating.take(&treated, out)?;
            taken?;
            plain.clear();
            treated.clear();
        }
        self.inflating.rest();
        Ok(())
    }
}

/// Compressed frames to plain ones.
struct Inflating {
    reader: Reader,
    /// Messages refer to those before.
    looks_back: bool,
    inflater: Inflater,
    /// The opcode of the next fragment of a compressed message.
    message: Option<Opcode>,
    /// Inside a message that is not compressed.
    in_plain: bool,
}

struct Inflater {
    state: Option<Decompress>,
    taken: u64,
    given: u64,
}

impl Inflating {
    /// Takes a header, or what there is of a payload; false where the input is used up.
    fn step(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<bool, Close> {
        let Some(read) = self.reader.next(input).map_err(wrong)? else { return Ok(false) };
        match read {
            Read::Header(header) if header.opcode.is_control() => header.write(out),
            Read::Header(header) => self.begin(&header, out)?,
            Read::Payload(piece) if piece.header.opcode.is_control() || self.message.is_none() => {
                out.extend_from_slice(piece.bytes);
            }
            Read::Payload(piece) => self.inflate(&piece, out)?,
        }
        Ok(true)
    }

    /// Until more comes.
    fn rest(&mut self) {
        if self.message.is_none() && !self.looks_back {
            self.inflater.state = None;
        }
    }

    fn begin(&mut self, header: &Header, out: &mut Vec<u8>) -> Result<(), Close> {
        let continues = header.opcode == Opcode::Continuation;
        if continues != (self.message.is_some() || self.in_plain) {
            return Err(wrong(WebSocketError::Order));
        }
        if header.compressed {
            self.message = Some(header.opcode);
            match &mut self.inflater.state {
                Some(state) if !self.looks_back => state.reset(false),
                state => _ = state.get_or_insert_with(|| Decompress::new(false)),
            }
        }
        if self.message.is_none() {
            self.in_plain = !header.fin;
            header.write(out);
        }
        Ok(())
    }

    fn inflate(&mut self, piece: &Piece<'_>, out: &mut Vec<u8>) -> Result<(), Close> {
        let Some(opcode) = &mut self.message else { return Ok(()) };
        let is_last = piece.ends && piece.header.fin;
        let mut held = self.inflater.inflate(&piece.plain())?;
        if is_last {
            // Section 7.2.2: what the sender has left out.
            held.extend(self.inflater.inflate(&TAIL)?);
        }
        if is_last || !held.is_empty() {
            write(out, is_last, *opcode, piece.header.mask, &held);
            *opcode = Opcode::Continuation;
        }
        if is_last {
            self.message = None;
        }
        Ok(())
    }
}

impl Inflater {
    /// Of as many bytes as are read at a time: at most a thousand times as many, and far fewer over all messages together.
    fn inflate(&mut self, mut input: &[u8]) -> Result<Vec<u8>, Close> {
        let mut plain = Vec::new();
        let Some(state) = &mut self.state else { return Ok(plain) };
        loop {
            plain.reserve(PIECE);
            let (taken, given) = (state.total_in(), state.total_out());
            let status = state.decompress_vec(input, &mut plain, FlushDecompress::Sync);
            let status =
                status.map_err(|_| Close { code: INVALID_DATA, reason: "a message is not valid deflate".into() })?;
            let (taken, given) = (state.total_in() - taken, state.total_out() - given);
            input = &input[usize::try_from(taken).unwrap_or(input.len()).min(input.len())..];
            self.taken += taken;
            self.given += given;
            if self.given > GRACE_BYTES + self.taken * MAX_RATIO {
                return Err(wrong(WebSocketError::TooBig));
            }
            match status {
                // Section 7.2.3.4: data may go on behind a block that calls itself the last.
                Status::StreamEnd => state.reset(false),
                Status::Ok | Status::BufError if taken == 0 && given == 0 => return Ok(plain),
                Status::Ok | Status::BufError => {}
            }
            if input.is_empty() && plain.len() < plain.capacity() {
                return Ok(plain);
            }
        }
    }
}

/// Plain frames to compressed ones.
struct Deflating {
    reader: Reader,
    window_bits: u8,
    message: Option<(Compress, Header)>,
}

impl Deflating {
    /// `input` is what this program made, so that nothing in it can be wrong.
    fn take(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), Close> {
        while let Some(read) = self.reader.next(&mut input).map_err(wrong)? {
            match read {
                Read::Header(header) if header.opcode.is_control() => header.write(out),
                Read::Header(header) if self.message.is_some() && header.opcode == Opcode::Continuation => {}
                Read::Header(header) if header.opcode == Opcode::Continuation => header.write(out),
                Read::Header(header) if header.payload < FEWEST_BYTES => header.write(out),
                Read::Header(header) => {
                    let state = Compress::new_with_window_bits(Compression::fast(), false, self.window_bits);
                    self.message = Some((state, Header { compressed: true, ..header }));
                }
                Read::Payload(piece) if piece.header.opcode.is_control() || self.message.is_none() => {
                    out.extend_from_slice(piece.bytes);
                }
                Read::Payload(piece) => self.deflate(&piece, out),
            }
        }
        Ok(())
    }

    fn deflate(&mut self, piece: &Piece<'_>, out: &mut Vec<u8>) {
        let Some((state, next)) = &mut self.message else { return };
        let mut packed = deflate(state, &piece.plain());
        let fin = piece.ends && piece.header.fin;
        if fin {
            match packed.strip_suffix(&TAIL).map(<[u8]>::len) {
                Some(len) => packed.truncate(len),
                // Section 7.2.3.6: an empty block stands for nothing.
                None => packed = vec![0],
            }
        }
        if fin || !packed.is_empty() {
            write_frame(out, Header { fin, mask: piece.header.mask, ..*next }, &packed);
            (next.opcode, next.compressed) = (Opcode::Continuation, false);
        }
        if fin {
            self.message = None;
        }
    }
}

/// To a byte's end, so that the receiver has all of it.
fn deflate(state: &mut Compress, mut input: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    loop {
        packed.reserve(input.len() / 2 + TAIL.len() + SPARE);
        let before = state.total_in();
        // Fails only for a state or a flush that is none.
        let _ = state.compress_vec(input, &mut packed, FlushCompress::Sync);
        let taken = usize::try_from(state.total_in() - before).unwrap_or(input.len());
        input = &input[taken.min(input.len())..];
        if input.is_empty() && packed.len() < packed.capacity() {
            return packed;
        }
    }
}

/// What a flush to a byte's end leaves, and what is not sent of it at the end of a message.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// What is inflated at a time.
const PIECE: usize = 16 * 1024;

/// Room for what a short text needs beyond its length.
const SPARE: usize = 64;

/// As for the codings of replies: text of a machine compresses a hundredfold.
const MAX_RATIO: u64 = 256;

/// What is inflated on a socket before the ratio counts.
const GRACE_BYTES: u64 = 1024 * 1024;

/// A message that begins with fewer stays as it is (section 6 leaves that to the sender).
const FEWEST_BYTES: u64 = 256;

/// RFC 6455, section 7.4.1.
const INVALID_DATA: u16 = 1007;
