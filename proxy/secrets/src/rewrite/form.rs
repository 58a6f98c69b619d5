//! Forms: `name=value&name=value`.

use super::{Exchange, MAX_HELD_BYTES};
use crate::encodings::{is_unreserved, percent};
use crate::inject::{InjectError, decoded};

/// Where in a form we are.
#[derive(Debug, Default)]
pub(super) struct Form {
    place: Place,
    /// The name or value that is being read, as written.
    text: Vec<u8>,
    name: String,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    #[default]
    Name,
    /// In the value of an open field.
    Held,
    /// In any other value, or past what can be a token.
    Passed,
}

impl Form {
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        exchange: &mut Exchange<'_>,
        out: &mut Vec<u8>,
    ) -> Result<(), InjectError> {
        for &byte in piece {
            match (self.place, byte) {
                (Place::Held, b'&') => {
                    out.extend(self.end(exchange)?);
                    out.push(byte);
                }
                (Place::Name | Place::Passed, b'&') => {
                    self.begin();
                    out.push(byte);
                }
                (Place::Name, b'=') => {
                    self.name = name(&self.text);
                    self.text.clear();
                    self.place = if exchange.is_open(&self.name) { Place::Held } else { Place::Passed };
                    out.push(byte);
                }
                (Place::Held, _) => self.hold(byte, out),
                (Place::Name, _) => {
                    // A name that is cut here is longer than that of any field.
                    if self.text.len() < MAX_HELD_BYTES {
                        self.text.push(byte);
                    }
                    out.push(byte);
                }
                (Place::Passed, _) => out.push(byte),
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, exchange: &mut Exchange<'_>) -> Result<Vec<u8>, InjectError> {
        match self.place {
            Place::Held => self.end(exchange),
            Place::Name | Place::Passed => Ok(Vec::new()),
        }
    }

    fn hold(&mut self, byte: u8, out: &mut Vec<u8>) {
        self.text.push(byte);
        if self.text.len() >= MAX_HELD_BYTES {
            out.append(&mut self.text);
            self.place = Place::Passed;
        }
    }

    /// The value that was held back, exchanged where it is a token.
    fn end(&mut self, exchange: &mut Exchange<'_>) -> Result<Vec<u8>, InjectError> {
        let text = std::mem::take(&mut self.text);
        let value = match std::str::from_utf8(&text) {
            Ok(text) => exchange.value(&self.name, decoded(text).as_bytes())?,
            Err(_) => None,
        };
        let out = value.map(|value| percent(value, is_unreserved, true).into_bytes()).unwrap_or(text);
        self.begin();
        Ok(out)
    }

    fn begin(&mut self) {
        self.text.clear();
        self.place = Place::Name;
    }
}

fn name(text: &[u8]) -> String {
    decoded(&String::from_utf8_lossy(text)).into_owned()
}
