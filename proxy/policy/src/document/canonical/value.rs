//! What is written, borrowed from the document: maps in writing order, lists, and what stands in them.

use std::borrow::Cow;

use serde::ser::{Serialize, Serializer};

/// A value of the canonical form.
#[derive(Debug)]
pub(super) enum Value<'d> {
    Text(Cow<'d, str>),
    Flag(bool),
    Whole(i64),
    Fraction(f64),
    List(Vec<Value<'d>>),
    Map(Fields<'d>),
    /// What the document holds for somebody else, as it stands.
    Free(&'d serde_json::Value),
}

/// A map in writing order.
#[derive(Debug, Default)]
pub(super) struct Fields<'d>(pub(super) Vec<(Cow<'d, str>, Value<'d>)>);

impl<'d> Fields<'d> {
    pub(super) fn put(&mut self, name: &'static str, value: impl Into<Value<'d>>) {
        self.0.push((name.into(), value.into()));
    }

    pub(super) fn some(&mut self, name: &'static str, value: Option<impl Into<Value<'d>>>) {
        if let Some(value) = value {
            self.put(name, value);
        }
    }

    /// Only where it is set.
    pub(super) fn flag(&mut self, name: &'static str, set: bool) {
        self.some(name, set.then_some(true));
    }

    /// Only where it has fields.
    pub(super) fn full(&mut self, name: &'static str, fields: Self) {
        self.some(name, (!fields.0.is_empty()).then_some(fields));
    }

    /// Only where it has items.
    pub(super) fn list<'i, T>(&mut self, name: &'static str, items: &'i [T], one: impl Fn(&'i T) -> Value<'d>) {
        self.some(name, (!items.is_empty()).then(|| Value::List(items.iter().map(one).collect())));
    }
}

/// A map with one field.
pub(super) fn single<'d>(name: &'static str, value: impl Into<Value<'d>>) -> Value<'d> {
    Value::Map(Fields(vec![(name.into(), value.into())]))
}

pub(super) fn text(text: &(impl AsRef<str> + ?Sized)) -> Value<'_> {
    Value::Text(text.as_ref().into())
}

impl<'d, K: Into<Cow<'d, str>>> FromIterator<(K, Value<'d>)> for Fields<'d> {
    fn from_iter<I: IntoIterator<Item = (K, Value<'d>)>>(all: I) -> Self {
        Self(all.into_iter().map(|(key, value)| (key.into(), value)).collect())
    }
}

impl<'d> From<Fields<'d>> for Value<'d> {
    fn from(fields: Fields<'d>) -> Self {
        Self::Map(fields)
    }
}

impl<'d> From<&'d str> for Value<'d> {
    fn from(text: &'d str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<bool> for Value<'_> {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<u16> for Value<'_> {
    fn from(number: u16) -> Self {
        Self::Whole(number.into())
    }
}

impl From<u32> for Value<'_> {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

impl From<i32> for Value<'_> {
    fn from(number: i32) -> Self {
        Self::Whole(number.into())
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Flag(flag) => serializer.serialize_bool(*flag),
            Self::Whole(number) => serializer.serialize_i64(*number),
            Self::Fraction(number) => serializer.serialize_f64(*number),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(Fields(fields)) => serializer.collect_map(fields.iter().map(|(name, value)| (name, value))),
            Self::Free(value) => value.serialize(serializer),
        }
    }
}
