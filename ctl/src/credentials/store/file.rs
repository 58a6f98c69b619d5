//! The text of the store: a map of names to values, as older tools of this field write it; where there is more to say of a
//! credential, to an object: `{"value": "...", "former": [...]}`, `{"from": "oauth:...", "ttl": 300}`, `{"revoked": true}`.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use zeroize::Zeroizing;

/// What is known of one credential. Not to be printed: it has no `Debug`.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// The value, where it is kept here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Zeroizing<String>>,
    /// Where the value is, where it is not kept here: as `--secret NAME=SOURCE` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Values that it had before; replies may still hold them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Zeroizing<String>>,
    /// True where it may not be used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub revoked: bool,
    /// Of a refresh token that a token endpoint gave: the SHA-256 of the one that the operator gave.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renews: Option<String>,
    /// Seconds after which it is fetched again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<u32>,
    /// Seconds after which a failed fetch is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_ttl: Option<u32>,
    /// Seconds for which an expired value is used while its source fails.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale: Option<u32>,
}

/// All of them, by name.
#[derive(Clone, Default)]
pub struct Entries(pub BTreeMap<String, Entry>);

/// Reads a store.
///
/// # Errors
/// Where it is none: only the place of the error, since the parser's own words may quote what it read.
pub fn read(text: &[u8]) -> Result<Entries, (usize, usize)> {
    serde_json::from_slice(text).map_err(|e| (e.line(), e.column()))
}

/// Writes a store.
///
/// # Errors
/// None for text; the writer's are passed on.
pub fn write(entries: &Entries) -> Result<Zeroizing<Vec<u8>>, serde_json::Error> {
    serde_json::to_vec_pretty(&Written(entries)).map(Zeroizing::new)
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Either {
    Value(Zeroizing<String>),
    Entry(Box<Entry>),
}

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of names to values")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = BTreeMap::new();
                while let Some((name, either)) = map.next_entry::<String, Either>()? {
                    let entry = match either {
                        Either::Value(value) => Entry { value: Some(value), ..Entry::default() },
                        Either::Entry(entry) => *entry,
                    };
                    if entries.insert(name, entry).is_some() {
                        return Err(A::Error::custom("a name stands twice"));
                    }
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(Map)
    }
}

/// As it is written: a plain value where there is nothing else to say, so that older tools can read it as well.
struct Written<'a>(&'a Entries);

impl Serialize for Written<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap;
        let mut map = serializer.serialize_map(Some(self.0.0.len()))?;
        for (name, entry) in &self.0.0 {
            let Entry { value, from, former, revoked, renews, ttl, failure_ttl, stale } = entry;
            let has_more = from.is_some() || !former.is_empty() || *revoked || renews.is_some();
            let has_terms = ttl.is_some() || failure_ttl.is_some() || stale.is_some();
            match value {
                Some(value) if !has_more && !has_terms => map.serialize_entry(name, &**value)?,
                _ => map.serialize_entry(name, entry)?,
            }
        }
        map.end()
    }
}
