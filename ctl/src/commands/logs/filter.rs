//! Which records are wanted.

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use tollgate_audit::{Record, Severity};
use tollgate_model::Host;
use tollgate_policy::glob::PathGlob;
use tollgate_policy::hosts::HostPattern;

/// Options that leave records out. One that asks for something leaves out every record that does not say it.
#[derive(Debug, Clone, Default, Args)]
pub struct Filter {
    /// Only what was judged so
    #[arg(long, value_enum)]
    pub decision: Option<Decision>,
    /// Only what was asked of this host, as api.example.com or *.example.com
    #[arg(long, value_name = "HOST", value_parser = host)]
    pub host: Option<HostPattern>,
    /// Only what this program asked: a path, with or without wildcards, or a name
    #[arg(long, value_name = "PATH", value_parser = program)]
    pub binary: Option<Program>,
    /// Only what happened since: 30s, 5m, 2h, 1d ago, or a time as 2026-05-04T09:00:00Z
    #[arg(long, value_name = "TIME", value_parser = since)]
    pub since: Option<Timestamp>,
    /// Only what is at least so grave
    #[arg(skip)]
    pub least: Option<Severity>,
}

/// A judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Decision {
    /// It passed.
    Allowed,
    /// It was refused.
    Denied,
    /// It would have been refused, and passed because the endpoint only audits.
    Audit,
}

/// How a program is named.
#[derive(Debug, Clone)]
pub enum Program {
    /// By its path.
    Path(PathGlob),
    /// By the last part of it.
    Name(String),
}

impl Filter {
    /// True where it leaves anything out.
    pub fn is_set(&self) -> bool {
        let Self { decision, host, binary, since, least } = self;
        decision.is_some() || host.is_some() || binary.is_some() || since.is_some() || least.is_some()
    }

    /// True where the record is wanted.
    pub fn takes(&self, record: &Record) -> bool {
        let decided = self.decision.is_none_or(|wanted| record.decision() == Some(wanted.name()));
        let host = || record.host().and_then(|host| Host::parse(host).ok());
        let asked = self.host.as_ref().is_none_or(|wanted| host().is_some_and(|host| wanted.matches(&host)));
        let by = self.binary.as_ref().is_none_or(|wanted| record.binary().is_some_and(|path| wanted.is(path)));
        let since = self.since.map(|since| since.as_microsecond());
        let late = since.is_none_or(|since| record.time().is_some_and(|time| time >= since));
        decided && asked && by && late && self.least.is_none_or(|least| record.severity() >= least)
    }
}

impl Decision {
    fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Audit => "audit",
        }
    }
}

impl Program {
    fn is(&self, path: &str) -> bool {
        match self {
            Self::Path(glob) => glob.matches(path),
            Self::Name(name) => path.rsplit('/').next() == Some(name),
        }
    }
}

fn host(text: &str) -> Result<HostPattern, String> {
    HostPattern::parse(&text.to_lowercase()).map_err(|e| e.to_string())
}

fn program(text: &str) -> Result<Program, String> {
    match text.contains('/') {
        true => PathGlob::parse(text).map(Program::Path).map_err(|e| e.to_string()),
        false => Ok(Program::Name(text.to_owned())),
    }
}

/// A time, or how long ago.
pub fn since(text: &str) -> Result<Timestamp, String> {
    since_at(text, Timestamp::now())
}

fn since_at(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let wrong = || format!("`{text}` is no time; write 30s, 5m, 2h, 1d, or a time as 2026-05-04T09:00:00Z");
    let unit = text.chars().last().and_then(|unit| UNITS.iter().find(|(name, _)| *name == unit)).ok_or_else(wrong)?;
    let count: i64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let seconds = count.checked_mul(unit.1).filter(|seconds| *seconds >= 0).ok_or_else(wrong)?;
    Timestamp::from_second(now.as_second().saturating_sub(seconds)).map_err(|_| wrong())
}

const UNITS: &[(char, i64)] = &[('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTION: &str = r#"{"time":"2026-05-04T09:00:00Z","event":"connection","authority":"api.eu.test:443","binary":"/usr/bin/curl","decision":"denied"}"#;

    #[test]
    fn records() {
        #[track_caller]
        fn check(filter: Filter, record: &str, expected: bool) {
            let record = Record::parse(record.as_bytes()).expect("a record");
            assert_eq!(filter.takes(&record), expected, "{filter:?}");
        }
        let any = Filter::default;
        check(any(), CONNECTION, true);
        check(Filter { decision: Some(Decision::Denied), ..any() }, CONNECTION, true);
        check(Filter { decision: Some(Decision::Allowed), ..any() }, CONNECTION, false);
        let by_host = |text: &str| Filter { host: Some(host(text).expect("a host")), ..any() };
        check(by_host("API.eu.test"), CONNECTION, true);
        check(by_host("*.eu.test"), CONNECTION, true);
        check(by_host("eu.test"), CONNECTION, false);
        let by_program = |text: &str| Filter { binary: Some(program(text).expect("a program")), ..any() };
        check(by_program("curl"), CONNECTION, true);
        check(by_program("/usr/bin/*"), CONNECTION, true);
        check(by_program("/usr/bin/git"), CONNECTION, false);
        let after = |text: &str| Filter { since: Some(since(text).expect("a time")), ..any() };
        check(after("2026-05-04T09:00:00Z"), CONNECTION, true);
        check(after("2026-05-04T09:00:01Z"), CONNECTION, false);
        check(Filter { least: Some(Severity::Medium), ..any() }, CONNECTION, true);
        check(Filter { least: Some(Severity::High), ..any() }, CONNECTION, false);
        let reply = r#"{"time":"2026-05-04T09:00:00Z","event":"reply","status":200}"#;
        check(by_host("api.eu.test"), reply, false);
        check(Filter { decision: Some(Decision::Allowed), ..any() }, reply, false);
    }

    #[test]
    fn times() {
        let now: Timestamp = "2026-05-04T09:00:00Z".parse().expect("a time");
        for (text, expected) in [
            ("30s", Some("2026-05-04T08:59:30Z")),
            ("5m", Some("2026-05-04T08:55:00Z")),
            ("1d", Some("2026-05-03T09:00:00Z")),
            ("2026-01-01T00:00:00Z", Some("2026-01-01T00:00:00Z")),
            ("", None),
            ("m", None),
            ("-5m", None),
            ("5", None),
            ("5y", None),
            ("ü", None),
            ("9223372036854775807d", None),
        ] {
            assert_eq!(since_at(text, now).ok().map(|time| time.to_string()).as_deref(), expected, "{text}");
        }
    }
}
