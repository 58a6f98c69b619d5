//! Answers to `when:`.
//!
//! The decision asks a [`Conditions`] whether the circumstances of an entry hold; [`Circumstances`] answers from plain
//! facts. Another engine (Cedar, say) can answer instead, without the decision knowing.

use crate::document::{Clock, Day, TimeWindow, When};
use crate::glob::TextGlob;

/// Something that knows whether circumstances hold.
pub trait Conditions {
    /// True only where every part that is written holds.
    fn hold(&self, when: &When) -> bool;
}

/// The facts of the moment; a part that is not known never holds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Circumstances<'a> {
    /// The agent's name.
    pub agent: Option<&'a str>,
    /// The user on whose behalf it works.
    pub user: Option<&'a str>,
    /// The most sensitive label of the data at hand.
    pub sensitivity: Option<&'a str>,
    /// Seconds since 1970 UTC.
    pub now: Option<i64>,
}

impl Conditions for Circumstances<'_> {
    fn hold(&self, when: &When) -> bool {
        named(&when.agent, self.agent)
            && named(&when.user, self.user)
            && (when.sensitivity.is_empty()
                || self.sensitivity.is_some_and(|label| when.sensitivity.iter().any(|known| &**known == label)))
            && self.in_time(when)
    }
}

impl Circumstances<'_> {
    fn in_time(&self, when: &When) -> bool {
        if when.time.is_none() && when.not_before.is_none() && when.expires.is_none() {
            return true;
        }
        let Some(now) = self.now else { return false };
        when.not_before.is_none_or(|from| now >= from)
            && when.expires.is_none_or(|to| now < to)
            && when.time.as_ref().is_none_or(|window| is_open(window, now))
    }
}

fn named(globs: &[TextGlob], name: Option<&str>) -> bool {
    globs.is_empty() || name.is_some_and(|name| globs.iter().any(|glob| glob.matches(name)))
}

const DAY: i64 = 86_400;

/// The first of January 1970 was a Thursday.
const WEEK: [Day; 7] = [Day::Thu, Day::Fri, Day::Sat, Day::Sun, Day::Mon, Day::Tue, Day::Wed];

fn is_open(window: &TimeWindow, now: i64) -> bool {
    let local = now.saturating_add(window.utc_offset.into());
    let minute = local.rem_euclid(DAY) / 60;
    let (Clock(from), Clock(to)) = (window.from, window.to);
    let (from, to) = (i64::from(from), i64::from(to));
    let days_ago = match (from < to, minute >= from, minute < to) {
        (true, true, true) | (false, true, _) => 0,
        // Past midnight, in a window that opened the day before.
        (false, false, true) => 1,
        _ => return false,
    };
    let opened = (local.div_euclid(DAY) - days_ago).rem_euclid(7);
    let opened = WEEK[usize::try_from(opened).unwrap_or_default()];
    window.days.is_empty() || window.days.contains(&opened)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &[Day], from: u16, to: u16, utc_offset: i32) -> TimeWindow {
        TimeWindow { days: days.to_vec(), from: Clock(from), to: Clock(to), utc_offset }
    }

    #[test]
    fn windows() {
        // Friday, 5 January 2024, 09:30 UTC.
        let now = 1_704_447_000;
        for (window, expected) in [
            (window(&[], 0, 1440, 0), true),
            (window(&[Day::Fri], 540, 1020, 0), true),
            (window(&[Day::Thu], 540, 1020, 0), false),
            (window(&[], 540, 570, 0), false),
            (window(&[], 570, 571, 0), true),
            (window(&[], 600, 660, 3600), true),
            (window(&[Day::Thu], 1320, 600, 0), true),
            (window(&[Day::Fri], 1320, 600, 0), false),
            (window(&[], 1320, 360, 0), false),
        ] {
            assert_eq!(is_open(&window, now), expected, "{window:?}");
        }
    }

    #[test]
    fn what_is_not_known_does_not_hold() {
        let agent = When { agent: vec![TextGlob::parse("claude*").expect("a glob")], ..When::default() };
        let expiring = When { expires: Some(100), ..When::default() };
        let nothing = Circumstances::default();
        assert!(nothing.hold(&When::default()));
        assert!(!nothing.hold(&agent) && !nothing.hold(&expiring));
        let known = Circumstances { agent: Some("claude-code"), now: Some(99), ..nothing };
        assert!(known.hold(&agent) && known.hold(&expiring));
        assert!(!Circumstances { now: Some(100), ..known }.hold(&expiring));
    }
}
