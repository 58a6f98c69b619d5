//! JSON that every reader reads alike (RFC 8259 with the advice of RFC 7493 made a rule).
//!
//! Refused: duplicate members, byte order marks, anything behind the value, nesting beyond [`MAX_DEPTH`], numbers beyond
//! what a double holds, text that is not UTF-8.
//!
//! ```
//! assert!(tollgate_inspect::json::read(br#"{"a": 1, "a": 2}"#).is_err());
//! ```

use std::fmt;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// The deepest nesting that is read.
pub const MAX_DEPTH: usize = 128;

/// Why bytes are not strict JSON: the parser's words, which hold no part of the text but member names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct JsonError(String);

/// Reads one value.
///
/// # Errors
/// [`JsonError`] says where and what.
pub fn read(bytes: &[u8]) -> Result<Value, JsonError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    value.map_err(|error| JsonError(error.to_string()))
}

/// The member of that exact name. A member whose name differs only in case is refused: some readers take it for the same.
///
/// # Errors
/// The name as written.
pub fn member<'v>(object: &'v Map<String, Value>, name: &str) -> Result<Option<&'v Value>, JsonError> {
    match object.keys().find(|key| key.eq_ignore_ascii_case(name) && *key != name) {
        Some(other) => Err(JsonError(format!("the member `{other}` looks like `{name}`"))),
        None => Ok(object.get(name)),
    }
}

/// Builds a [`Value`], refusing what a plain reading would silently drop.
#[derive(Clone, Copy)]
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Value, E> {
        Ok(Value::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Value, E> {
        Number::from_f64(number).map(Value::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(Name(name)) = members.next_key()? {
            let value = members.next_value_seed(self)?;
            if object.contains_key(&name) {
                return Err(de::Error::custom(format_args!("the member `{name}` stands twice")));
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        String::deserialize(reader).map(Name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f12_strict() {
        for (input, expected) in [
            (r#"{"a": [1, -2, 3.5, "x", true, null]}"#, true),
            (r#"{"a": 1, "b": {"a": 2}}"#, true),
            (" 1 ", true),
            (r#"{"a": 1, "a": 1}"#, false),
            (r#"{"a": {"b": 1, "b": 1}}"#, false),
            (r#"{"a": 1, "\u0061": 2}"#, false),
            ("{} {}", false),
            ("\u{feff}{}", false),
            ("{'a': 1}", false),
            ("[1,]", false),
            ("// x\n1", false),
            ("NaN", false),
            ("1e999", false),
            ("\"\\ud800\"", false),
            ("", false),
        ] {
            assert_eq!(read(input.as_bytes()).is_ok(), expected, "{input}");
        }
        assert!(read(b"\"\xff\"").is_err());
        assert!(read("[".repeat(MAX_DEPTH + 1).as_bytes()).is_err());
        assert!(read(("[".repeat(MAX_DEPTH - 1) + &"]".repeat(MAX_DEPTH - 1)).as_bytes()).is_ok());
    }
}
