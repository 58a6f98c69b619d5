//! Dotted keys of a JSON document, as `mcp.servers`.

use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

/// A place in a document; every part is a field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key(Vec<String>);

/// Why a text is no key, or a document has no place for it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// A part that no field should be called.
    #[error("`{key}` is no key: `{part}` in it is empty, a number or a name that programs give a meaning of their own")]
    Part { key: String, part: String },
    /// Too many parts.
    #[error("the key has more than {MAX_PARTS} parts")]
    Deep,
    /// What the gateway of an agent holds is its own.
    #[error("`gateway` is the agent's own and is neither shown nor changed here")]
    Gateway,
    /// A part leads into something that is no object.
    #[error("`{0}` is there and is no object, so nothing can be set below it")]
    Scalar(String),
}

/// Deeper documents are not written by people.
const MAX_PARTS: usize = 32;

/// What JavaScript programs take for more than a field.
const PROTOTYPES: &[&str] = &["__proto__", "constructor", "prototype"];

/// The part of the configuration that holds what the agent's own control interface is opened with.
pub const GATEWAY: &str = "gateway";

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        let parts: Vec<String> = text.split('.').map(str::to_owned).collect();
        let is_wrong = |part: &&String| {
            part.bytes().all(|b| b.is_ascii_digit())
                || PROTOTYPES.contains(&part.as_str())
                || part.contains(char::is_control)
        };
        match parts.iter().find(is_wrong) {
            Some(part) => Err(KeyError::Part { key: text.to_owned(), part: part.clone() }),
            None if parts.len() > MAX_PARTS => Err(KeyError::Deep),
            None if parts[0] == GATEWAY => Err(KeyError::Gateway),
            None => Ok(Self(parts)),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

impl Key {
    /// Its parts; at least one.
    pub fn parts(&self) -> &[String] {
        &self.0
    }

    /// What stands there.
    pub fn get<'d>(&self, document: &'d Value) -> Option<&'d Value> {
        self.0.iter().try_fold(document, |value, part| value.get(part))
    }

    /// Sets what stands there, making the objects on the way.
    pub fn set(&self, document: &mut Map<String, Value>, value: Value) -> Result<(), KeyError> {
        let (last, above) = self.0.split_last().expect("a key has a part");
        let mut place = document;
        for (depth, part) in above.iter().enumerate() {
            let below = place.entry(part.clone()).or_insert_with(|| Value::Object(Map::new()));
            place = below.as_object_mut().ok_or_else(|| KeyError::Scalar(self.0[..=depth].join(".")))?;
        }
        place.insert(last.clone(), value);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys() {
        for good in ["mcp.servers", "a", "a-b.c_d", "agents.list.first"] {
            assert_eq!(good.parse::<Key>().expect(good).to_string(), good);
        }
        for bad in ["", "a..b", ".a", "a.", "a.0", "a.__proto__.b", "constructor", "gateway", "gateway.auth", "a.b\nc"]
        {
            assert!(bad.parse::<Key>().is_err(), "{bad}");
        }
        assert_eq!(vec!["a"; MAX_PARTS + 1].join(".").parse::<Key>(), Err(KeyError::Deep));
    }

    #[test]
    fn places() {
        #[track_caller]
        fn check(before: Value, key: &str, expected: Result<Value, KeyError>) {
            let Value::Object(mut document) = before else { panic!("an object") };
            let key: Key = key.parse().expect("a key");
            let set = key.set(&mut document, json!(7)).map(|()| Value::Object(document));
            if let Ok(document) = &set {
                assert_eq!(key.get(document), Some(&json!(7)));
            }
            assert_eq!(set, expected);
        }
        check(json!({}), "a.b", Ok(json!({"a": {"b": 7}})));
        check(json!({"a": {"c": 1}}), "a.b", Ok(json!({"a": {"b": 7, "c": 1}})));
        check(json!({"a": {"b": {"c": 1}}}), "a.b", Ok(json!({"a": {"b": 7}})));
        check(json!({"a": "text"}), "a.b", Err(KeyError::Scalar("a".to_owned())));
        check(json!({"a": {"b": [1]}}), "a.b.c", Err(KeyError::Scalar("a.b".to_owned())));
    }
}
