//! When a journal goes on in another file, and how much of it is kept.

use std::time::Duration;

use crate::limits::{Limits, seconds};

/// The bounds of segments and of all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// A segment that has as many bytes takes no further record.
    pub segment_bytes: u64,
    /// A segment that is as old takes no further record; one that takes none stays.
    pub segment_age: Duration,
    /// Segments that are kept, the one that is written among them.
    pub keep_segments: u64,
    /// Bytes that are kept in complete segments.
    pub keep_bytes: u64,
    /// How long complete segments are kept.
    pub keep_age: Duration,
}

/// A segment that is complete, as retention sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Complete {
    pub(super) number: u32,
    pub(super) bytes: u64,
    /// When the next one began, in microseconds since the Unix epoch.
    pub(super) ended: i64,
}

impl Rotation {
    /// As an operator set it. The largest number of each is no bound: what is kept is kept for ever unless somebody says otherwise.
    #[must_use]
    pub fn of(limits: &Limits) -> Self {
        let bound = |number: u32, unit: u64| if number == u32::MAX { u64::MAX } else { u64::from(number) * unit };
        Self {
            segment_bytes: u64::from(limits.journal_segment_kibibytes) << 10,
            segment_age: seconds(limits.journal_segment_seconds),
            keep_segments: bound(limits.journal_keep_segments, 1),
            keep_bytes: bound(limits.journal_keep_mebibytes, 1 << 20),
            keep_age: Duration::from_secs(bound(limits.journal_keep_days, 24 * 60 * 60)),
        }
    }

    /// Whether a segment of so many bytes that began then takes no record of `now`, both in microseconds since the Unix epoch.
    pub(super) fn is_due(&self, bytes: u64, began: i64, now: i64) -> bool {
        bytes >= self.segment_bytes || now >= began.saturating_add(micros(self.segment_age))
    }

    pub(super) fn keeps_all(&self) -> bool {
        [self.keep_segments, self.keep_bytes, self.keep_age.as_secs()].iter().all(|bound| *bound == u64::MAX)
    }

    /// Number of the oldest segment to keep, of all that are complete, oldest first.
    pub(super) fn first_kept(&self, complete: &[Complete], now: i64) -> Option<u32> {
        let oldest = now.saturating_sub(micros(self.keep_age));
        let (mut segments, mut bytes) = (1, 0_u64);
        let kept = complete.iter().rev().take_while(|segment| {
            segments += 1;
            bytes = bytes.saturating_add(segment.bytes);
            segments <= self.keep_segments && bytes <= self.keep_bytes && segment.ended >= oldest
        });
        kept.last().map(|segment| segment.number)
    }
}

impl Default for Rotation {
    fn default() -> Self {
        Self::of(&Limits::default())
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept() {
        let all = Rotation::default();
        let complete: Vec<_> =
            (1..=5).map(|n| Complete { number: n, bytes: 100, ended: i64::from(n) * 1_000_000 }).collect();
        #[track_caller]
        fn check(rotation: &Rotation, complete: &[Complete], expected: Option<u32>) {
            assert_eq!(rotation.first_kept(complete, 6_000_000), expected, "{rotation:?}");
        }
        check(&all, &complete, Some(1));
        check(&all, &[], None);
        check(&Rotation { keep_segments: 3, ..all }, &complete, Some(4));
        check(&Rotation { keep_segments: 1, ..all }, &complete, None);
        check(&Rotation { keep_bytes: 299, ..all }, &complete, Some(4));
        check(&Rotation { keep_bytes: 300, ..all }, &complete, Some(3));
        check(&Rotation { keep_bytes: 1, ..all }, &complete, None);
        check(&Rotation { keep_age: Duration::from_secs(2), ..all }, &complete, Some(4));
        check(&Rotation { keep_age: Duration::from_secs(1), keep_segments: 4, ..all }, &complete, Some(5));
    }
}
