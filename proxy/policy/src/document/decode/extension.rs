//! `x-tollgate` in an entry: the circumstances under which it counts, and whether its programs may change.

use crate::document::{Clock, Day, TimeWindow, When};
use crate::yaml::reader::{Fields, Reader};
use crate::yaml::{Node, Value};

/// `x-tollgate` in an entry: `when` and `upgrades`.
pub(super) fn entry(reader: &mut Reader, node: &Node) -> (Option<When>, bool) {
    let Some(fields) = reader.fields(node, "`x-tollgate`", &["when", "upgrades"]) else { return (None, false) };
    let upgrades = fields.get("upgrades").is_some_and(|node| reader.flag(node, "`upgrades`"));
    (fields.get("when").and_then(|node| when(reader, node)), upgrades)
}

fn when(reader: &mut Reader, node: &Node) -> Option<When> {
    let known = ["agent", "user", "sensitivity", "time", "not_before", "expires"];
    let fields = reader.fields(node, "`when`", &known)?;
    if fields.pairs().is_empty() {
        reader
            .error(node.at, "`when` asks for nothing")
            .hint("leave it out, or name an agent, user, time or sensitivity");
    }
    let when = When {
        agent: names(reader, &fields, "agent", |reader, item| reader.glob(item, "`agent`")),
        user: names(reader, &fields, "user", |reader, item| reader.glob(item, "`user`")),
        sensitivity: names(reader, &fields, "sensitivity", |reader, item| {
            reader.word(item, "`sensitivity`").map(Box::from)
        }),
        time: fields.get("time").and_then(|node| window(reader, node)),
        not_before: fields.get("not_before").and_then(|node| instant(reader, node)),
        expires: fields.get("expires").and_then(|node| instant(reader, node)),
    };
    if when.not_before.zip(when.expires).is_some_and(|(from, to)| from >= to) {
        reader.error(node.at, "`expires` is not after `not_before`, so the entry never counts");
    }
    Some(when)
}

/// One value or a list that is not empty.
fn names<T>(
    reader: &mut Reader,
    fields: &Fields<'_>,
    name: &str,
    mut read: impl FnMut(&mut Reader, &Node) -> Option<T>,
) -> Vec<T> {
    let Some(node) = fields.get(name) else { return Vec::new() };
    match &node.value {
        Value::Text(_) => read(reader, node).into_iter().collect(),
        Value::List(items) if items.is_empty() => {
            reader.error(node.at, format!("`{name}` is empty, so the entry never counts")).hint("leave it out for any");
            Vec::new()
        }
        _ => reader.each(node, &format!("`{name}`"), read),
    }
}

fn instant(reader: &mut Reader, node: &Node) -> Option<i64> {
    let text = reader.text(node, "a time")?;
    match text.parse::<jiff::Timestamp>() {
        Ok(instant) => Some(instant.as_second()),
        Err(_) => {
            reader.error(node.at, format!("`{text}` is not a time")).hint("write it like 2026-12-31T23:59:59Z");
            None
        }
    }
}

const DAYS: &[(&str, Day)] = &[
    ("mon", Day::Mon),
    ("tue", Day::Tue),
    ("wed", Day::Wed),
    ("thu", Day::Thu),
    ("fri", Day::Fri),
    ("sat", Day::Sat),
    ("sun", Day::Sun),
];

const MINUTES_OF_A_DAY: u16 = 24 * 60;

fn window(reader: &mut Reader, node: &Node) -> Option<TimeWindow> {
    let fields = reader.fields(node, "`time`", &["days", "from", "to", "utc_offset"])?;
    let days = names(reader, &fields, "days", |reader, item| reader.one_of(item, "a day", DAYS));
    let mut time = |name: &str, default: u16| match fields.get(name) {
        Some(node) => clock(reader, node, name).map(Clock),
        None => Some(Clock(default)),
    };
    let (from, to) = (time("from", 0)?, time("to", MINUTES_OF_A_DAY)?);
    let utc_offset = fields.get("utc_offset").and_then(|node| offset(reader, node)).unwrap_or_default();
    Some(TimeWindow { days, from, to, utc_offset })
}

/// `HH:MM`, up to 24:00.
fn clock(reader: &mut Reader, node: &Node, name: &str) -> Option<u16> {
    let text = reader.text(node, &format!("`{name}`"))?;
    let minutes = minutes(text).filter(|minutes| *minutes <= MINUTES_OF_A_DAY);
    if minutes.is_none() {
        reader.error(node.at, format!("`{text}` is not a time of day")).hint("write it in quotes like \"08:30\"");
    }
    minutes
}

fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    let two_digits = |part: &str| part.len() == 2 && part.bytes().all(|b| b.is_ascii_digit());
    if !two_digits(hours) || !two_digits(minutes) {
        return None;
    }
    let minutes = minutes.parse::<u16>().ok().filter(|minutes| *minutes < 60)?;
    Some(hours.parse::<u16>().ok()? * 60 + minutes)
}

/// `+02:00` or `-05:30` in seconds.
fn offset(reader: &mut Reader, node: &Node) -> Option<i32> {
    let text = reader.text(node, "`utc_offset`")?;
    let signed = text.strip_prefix('+').map(|rest| (1, rest)).or_else(|| text.strip_prefix('-').map(|rest| (-1, rest)));
    let seconds = signed.and_then(|(sign, rest)| Some(sign * i32::from(minutes(rest)?) * 60));
    let seconds = seconds.filter(|seconds| seconds.abs() <= 14 * 3600);
    if seconds.is_none() {
        reader.error(node.at, format!("`{text}` is not an offset from UTC")).hint("write it like \"+02:00\"");
    }
    seconds
}
