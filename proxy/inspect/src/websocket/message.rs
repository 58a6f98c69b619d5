//! Messages out of frames (RFC 6455, section 5.4).

use super::{Header, Opcode, WebSocketError};

/// Puts the fragments of one direction together. Text is kept whole, since it is judged whole; bytes are not kept.
#[derive(Debug, Clone)]
pub struct Assembler {
    limit: usize,
    open: Option<Open>,
}

#[derive(Debug, Clone)]
enum Open {
    Text(Vec<u8>),
    Binary,
}

/// What a finished frame completes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A whole text message.
    Text(String),
    /// The last frame of a binary message.
    Binary,
    /// A control frame.
    Control(Opcode),
}

impl Assembler {
    /// For text messages of at most that many bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, open: None }
    }

    /// Whether a frame may come now; asked when its header is read, before its payload is.
    ///
    /// # Errors
    /// [`WebSocketError::Order`] and [`WebSocketError::TooBig`].
    pub fn expect(&self, header: &Header) -> Result<(), WebSocketError> {
        let held = match (&self.open, header.opcode) {
            (_, opcode) if opcode.is_control() => return Ok(()),
            (None, Opcode::Continuation) | (Some(_), Opcode::Text | Opcode::Binary) => {
                return Err(WebSocketError::Order);
            }
            (None, Opcode::Text) => 0,
            (Some(Open::Text(held)), _) => held.len(),
            (Some(Open::Binary) | None, _) => return Ok(()),
        };
        let free = self.limit.saturating_sub(held);
        match usize::try_from(header.payload).is_ok_and(|len| len <= free) {
            true => Ok(()),
            false => Err(WebSocketError::TooBig),
        }
    }

    /// True inside a binary message, between its fragments.
    #[must_use]
    pub fn is_in_binary(&self) -> bool {
        matches!(self.open, Some(Open::Binary))
    }

    /// Takes a whole frame with its payload unmasked; of binary frames the payload may be left out.
    ///
    /// # Errors
    /// Any [`WebSocketError`] about messages.
    pub fn push(&mut self, header: &Header, payload: &[u8]) -> Result<Option<Message>, WebSocketError> {
        self.expect(header)?;
        if header.opcode.is_control() {
            return Ok(Some(Message::Control(header.opcode)));
        }
        let mut open = self.open.take().unwrap_or(match header.opcode {
            Opcode::Text => Open::Text(Vec::new()),
            _ => Open::Binary,
        });
        if let Open::Text(held) = &mut open {
            held.extend_from_slice(payload);
        }
        match open {
            open if !header.fin => {
                self.open = Some(open);
                Ok(None)
            }
            Open::Binary => Ok(Some(Message::Binary)),
            Open::Text(held) => {
                String::from_utf8(held).map(|text| Some(Message::Text(text))).map_err(|_| WebSocketError::NotUtf8)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(opcode: Opcode, fin: bool, payload: &[u8]) -> (Header, Vec<u8>) {
        let len = u64::try_from(payload.len()).expect("a test payload");
        (Header { fin, compressed: false, opcode, mask: None, payload: len }, payload.to_vec())
    }

    #[track_caller]
    fn check(frames: &[(Opcode, bool, &[u8])], expected: Result<&[Message], WebSocketError>) {
        let mut assembler = Assembler::new(8);
        let mut messages = Vec::new();
        let mut result = Ok(());
        for (opcode, fin, payload) in frames {
            let (header, payload) = frame(*opcode, *fin, payload);
            match assembler.push(&header, &payload) {
                Ok(message) => messages.extend(message),
                Err(error) => result = Err(error),
            }
        }
        assert_eq!(result.map(|()| messages), expected.map(<[Message]>::to_vec));
    }

    #[test]
    fn e5_fragments() {
        use Opcode::{Binary, Continuation, Ping, Text};
        let text = |text: &str| Message::Text(text.to_owned());
        check(&[(Text, true, b"hi")], Ok(&[text("hi")]));
        check(
            &[(Text, false, b"h"), (Ping, true, b""), (Continuation, true, b"i")],
            Ok(&[Message::Control(Ping), text("hi")]),
        );
        check(&[(Text, false, b"\xc3"), (Continuation, true, b"\xa9")], Ok(&[text("é")]));
        check(&[(Binary, false, b"a long payload"), (Continuation, true, b"x")], Ok(&[Message::Binary]));
        check(&[(Continuation, true, b"x")], Err(WebSocketError::Order));
        check(&[(Text, false, b"x"), (Text, true, b"y")], Err(WebSocketError::Order));
        check(&[(Text, true, b"123456789")], Err(WebSocketError::TooBig));
        check(&[(Text, false, b"12345"), (Continuation, true, b"6789")], Err(WebSocketError::TooBig));
        check(&[(Text, true, b"\xff")], Err(WebSocketError::NotUtf8));
    }
}
