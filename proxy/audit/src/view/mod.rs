//! Records of a journal as others read them: one line for people, one OCSF event for programs.
//!
//! [`Record::parse`] takes a line of a journal; whether it is genuine is for [`verify_journal`](crate::verify_journal) to say.
//! What a record does not say is left out, never guessed.
//!
//! ```
//! use tollgate_audit::{Chain, Event, Record};
//!
//! let mut journal = Vec::new();
//! Chain::new("demo").append(0, &Event::Notice { detail: "it rains" }.to_body(), &mut journal);
//! let record = Record::parse(&journal).unwrap();
//! assert_eq!(record.shorthand(), "APP:NOTICE [LOW] it rains");
//! assert_eq!(record.ocsf("demo")["class_uid"], 6002);
//! ```

mod ocsf;
mod shorthand;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

/// One record of a journal.
#[derive(Debug, Clone, PartialEq)]
pub struct Record(Map<String, Value>);

/// How grave it is, by the numbers of OCSF.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// As it should be.
    Informational = 1,
    /// Worth knowing.
    Low = 2,
    /// Something was refused.
    Medium = 3,
    /// A protection did not hold.
    High = 4,
}

impl Record {
    /// Reads one line, with or without its line break; nothing where it is no record.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let fields: Map<String, Value> = serde_json::from_slice(line).ok()?;
        let text = |name: &str| fields.get(name).is_some_and(Value::is_string);
        (text("event") && text("time")).then_some(Self(fields))
    }

    /// What happened, as [`Event`](crate::Event) names it: `connection`, `request`, `self-proof` …
    #[must_use]
    pub fn event(&self) -> &str {
        self.text("event")
    }

    /// Its number in its segment, from 0.
    #[must_use]
    pub fn sequence(&self) -> Option<u64> {
        self.number("seq")
    }

    /// When, in microseconds since the Unix epoch; nothing where the record's time cannot be read.
    #[must_use]
    pub fn time(&self) -> Option<i64> {
        self.text("time").parse::<jiff::Timestamp>().ok().map(|time| time.as_microsecond())
    }

    /// `allowed`, `denied` or `audit`, where something was judged.
    #[must_use]
    pub fn decision(&self) -> Option<&str> {
        match (self.event(), self.text("outcome")) {
            ("dns", "refused") => Some("denied"),
            ("dns", _) => Some("allowed"),
            _ => Some(self.text("decision")).filter(|decision| !decision.is_empty()),
        }
    }

    /// The host that was asked for, without a port, where one was.
    #[must_use]
    pub fn host(&self) -> Option<&str> {
        match self.event() {
            "dns" => Some(self.text("name")),
            _ => Some(self.endpoint()?.0),
        }
    }

    /// The executable that asked, where one did.
    #[must_use]
    pub fn binary(&self) -> Option<&str> {
        self.0.get("binary")?.as_str().filter(|path| !path.is_empty())
    }

    /// How grave it is.
    #[must_use]
    pub fn severity(&self) -> Severity {
        match (self.event(), self.decision(), self.text("outcome")) {
            ("self-proof", _, "surprised") => Severity::High,
            (_, Some("denied"), _) | ("policy", _, "refused") | ("credential", _, "unusable" | "not-renewed") => {
                Severity::Medium
            }
            (_, Some("audit"), _) | ("notice", ..) | ("self-proof", _, "off") => Severity::Low,
            _ => Severity::Informational,
        }
    }

    /// A text field; empty where the record has none of that name.
    fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    /// A number; nothing where the record has none of that name.
    fn number(&self, name: &str) -> Option<u64> {
        self.0.get(name)?.as_u64()
    }

    /// A list of texts.
    fn texts(&self, name: &str) -> Vec<&str> {
        self.0.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// Host and port of `authority`.
    fn endpoint(&self) -> Option<(&str, Option<u16>)> {
        let authority = self.0.get("authority")?.as_str()?;
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().ok()),
            _ => (authority, None),
        };
        Some((host.trim_start_matches('[').trim_end_matches(']'), port))
    }
}
