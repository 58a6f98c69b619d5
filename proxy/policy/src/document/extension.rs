//! What `x-tollgate` adds: credentials bound to destinations, and circumstances of an entry.

use tollgate_model::Port;

use super::Slot;
use crate::diagnostic::Position;
use crate::glob::{PathGlob, TextGlob};
use crate::hosts::HostPattern;

/// One place where one secret may be used.
#[derive(Debug, Clone)]
pub struct CredentialBinding {
    /// Where it stands.
    pub at: Position,
    /// The name of the secret.
    pub credential: Box<str>,
    /// The destination.
    pub host: HostPattern,
    /// Its port.
    pub port: Port,
    /// The place of the secret in the request.
    pub slot: Slot,
    /// The request path; nothing means any.
    pub path: Option<PathGlob>,
    /// Request methods, upper-case; none means any.
    pub methods: Vec<Box<str>>,
    /// Programs; nothing means any that the policy admits.
    pub binaries: Option<Vec<PathGlob>>,
    /// Send it over `http` as well, where anybody on the way can read it.
    pub allow_cleartext: bool,
}

/// Circumstances under which an entry counts; every part that is written must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct When {
    /// The agent's name.
    pub agent: Vec<TextGlob>,
    /// The user on whose behalf the agent works.
    pub user: Vec<TextGlob>,
    /// Labels of the data at hand, of which the most sensitive must be listed.
    pub sensitivity: Vec<Box<str>>,
    /// Days and hours.
    pub time: Option<TimeWindow>,
    /// Not before this time, in seconds since 1970 UTC.
    pub not_before: Option<i64>,
    /// No longer from this time on, in seconds since 1970 UTC.
    pub expires: Option<i64>,
}

/// A window that returns every day or on some days of the week.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeWindow {
    /// The days on which the window opens; none means all.
    pub days: Vec<Day>,
    /// When it opens.
    pub from: Clock,
    /// When it closes; not later than it opens means on the next day.
    pub to: Clock,
    /// Seconds that the writer's clock is ahead of UTC.
    pub utc_offset: i32,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Day {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// A time of day in minutes since midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clock(pub u16);
