//! JSON: just enough of its grammar to tell a member's name from its value.

use super::{Exchange, MAX_HELD_BYTES};
use crate::encodings::json as escape;
use crate::inject::InjectError;

/// Where in a text we are.
#[derive(Debug, Default)]
pub(super) struct Json {
    place: Place,
    /// The string that is being read, as written: a name in the making, or a value that is held back.
    text: Vec<u8>,
    /// The last string, where only a colon may have followed.
    name: Option<String>,
    is_after_colon: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Outside,
    /// In a string that has been passed on so far.
    Passed { is_escaped: bool },
    /// In the value of an open field.
    Held { is_escaped: bool },
}

impl Json {
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        exchange: &mut Exchange<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), InjectError> {
        for &byte in piece {
            match self.place {
                Place::Outside => self.outside(byte, exchange, out),
                Place::Passed { is_escaped } => self.passed(byte, is_escaped, out),
                Place::Held { is_escaped } => self.held(byte, is_escaped, exchange, out)?,
            }
        }
        Ok(())
    }

    /// What was held back when the text broke off inside a value.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        match std::mem::take(&mut self.place) {
            Place::Held { .. } => std::mem::take(&mut self.text),
            Place::Outside | Place::Passed { .. } => Vec::new(),
        }
    }

    fn outside(&mut self, byte: u8, exchange: &Exchange<'_>, out: &mut Vec<u8>) {
        out.push(byte);
        match byte {
            b'"' => {
                self.text.clear();
                let is_open = self.is_after_colon && self.name.as_deref().is_some_and(|name| exchange.is_open(name));
                self.place =
                    if is_open { Place::Held { is_escaped: false } } else { Place::Passed { is_escaped: false } };
                self.is_after_colon = false;
            }
            b':' => self.is_after_colon = true,
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ => {
                self.name = None;
                self.is_after_colon = false;
            }
        }
    }

    /// In a string that may turn out to be a name; one that is too long to be the name of a field is not kept.
    fn passed(&mut self, byte: u8, is_escaped: bool, out: &mut Vec<u8>) {
        out.push(byte);
        if byte == b'"' && !is_escaped {
            self.name = (self.text.len() < MAX_HELD_BYTES).then(|| unescaped(&self.text)).flatten();
            self.place = Place::Outside;
            return;
        }
        if self.text.len() < MAX_HELD_BYTES {
            self.text.push(byte);
        }
        self.place = Place::Passed { is_escaped: byte == b'\\' && !is_escaped };
    }

    fn held(
        &mut self,
        byte: u8,
        is_escaped: bool,
        exchange: &mut Exchange<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), InjectError> {
        if byte == b'"' && !is_escaped {
            let name = self.name.take().unwrap_or_default();
            let value = match unescaped(&self.text) {
                Some(text) => exchange.value(&name, text.as_bytes())?,
                None => None,
            };
            match value {
                Some(value) => out.extend_from_slice(escape(value, |c| matches!(c, '"' | '\\')).as_bytes()),
                None => out.extend_from_slice(&self.text),
            }
            out.push(byte);
            self.place = Place::Outside;
            return Ok(());
        }
        self.text.push(byte);
        let is_escaped = byte == b'\\' && !is_escaped;
        self.place = Place::Held { is_escaped };
        if self.text.len() >= MAX_HELD_BYTES {
            out.extend_from_slice(&self.text);
            self.place = Place::Passed { is_escaped };
        }
        Ok(())
    }
}

/// RFC 8259, section 7; nothing where the text is no JSON string.
fn unescaped(text: &[u8]) -> Option<String> {
    if !text.contains(&b'\\') {
        return std::str::from_utf8(text).ok().map(str::to_owned);
    }
    serde_json::from_slice(&[b"\"", text, b"\""].concat()).ok()
}
