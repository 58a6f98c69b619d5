//! The instructions that each part took when that was saved last, and what has become of them.
//!
//! ```
//! use tollgate_benches::baseline::{Baseline, Finding, MeasuredWith};
//!
//! let baseline = Baseline { measured_with: MeasuredWith::default(), instructions: [("decide".into(), 1000)].into() };
//! let counted = [("decide".into(), 1101)].into();
//! let [finding] = baseline.compare(&counted).try_into().unwrap();
//! assert!(matches!(finding, Finding::Dearer { .. }) && finding.is_wrong());
//! ```

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};

use serde::{Deserialize, Serialize};

/// Instructions of one repetition, by the name of the part.
pub type Counts = BTreeMap<String, u64>;

/// What was saved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// What the counts depend on beside the code.
    pub measured_with: MeasuredWith,
    /// What was counted.
    pub instructions: Counts,
}

/// What makes the same code take other instructions.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasuredWith {
    /// Version and target of the compiler.
    pub rustc: String,
    /// Its version decides which processor it plays.
    pub valgrind: String,
    /// Copying and searching memory are the C library's.
    pub libc: String,
    /// Whether the processor has what valgrind passes on of it.
    pub processor: String,
}

/// A part that has not stayed as it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// It takes more than a tenth more.
    Dearer {
        /// Which part.
        name: String,
        /// As saved.
        before: u64,
        /// As counted.
        now: u64,
    },
    /// It takes more than a tenth less.
    Cheaper {
        /// Which part.
        name: String,
        /// As saved.
        before: u64,
        /// As counted.
        now: u64,
    },
    /// It is not in the baseline.
    New(String),
    /// It is in the baseline alone.
    Gone(String),
}

/// What a part may cost more or less before that is said, in percent.
const TOLERANCE: u64 = 10;

impl Baseline {
    /// What differs, by name.
    #[must_use]
    pub fn compare(&self, counted: &Counts) -> Vec<Finding> {
        let gone = self.instructions.keys().filter(|name| !counted.contains_key(*name)).cloned().map(Finding::Gone);
        let differing = counted.iter().filter_map(|(name, now)| match self.instructions.get(name) {
            None => Some(Finding::New(name.clone())),
            Some(before) => change(name, *before, *now),
        });
        gone.chain(differing).collect()
    }
}

fn change(name: &str, before: u64, now: u64) -> Option<Finding> {
    let (name, of_before) = (name.to_owned(), now * 100);
    if of_before > before * (100 + TOLERANCE) {
        return Some(Finding::Dearer { name, before, now });
    }
    (of_before < before * (100 - TOLERANCE)).then_some(Finding::Cheaper { name, before, now })
}

impl Finding {
    /// Whether the check fails with it.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        !matches!(self, Self::Cheaper { .. })
    }
}

impl Display for Finding {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dearer { name, before, now } => {
                write!(f, "{name}: {now} instructions, {} more than {before}", percent(*before, *now))
            }
            Self::Cheaper { name, before, now } => {
                write!(f, "{name}: {now} instructions, {} less than {before}: save that", percent(*before, *now))
            }
            Self::New(name) => write!(f, "{name}: not in the baseline: save it"),
            Self::Gone(name) => write!(f, "{name}: in the baseline, but there is no such part: save it without"),
        }
    }
}

/// The difference in terms of what was before.
fn percent(before: u64, now: u64) -> String {
    format!("{:.1} %", now.abs_diff(before) as f64 * 100.0 / before as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &[(&str, u64)], now: &[(&str, u64)], expected: &[&str]) {
        let counts = |pairs: &[(&str, u64)]| pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect();
        let baseline = Baseline { measured_with: MeasuredWith::default(), instructions: counts(before) };
        let found: Vec<_> = baseline.compare(&counts(now)).iter().map(|f| (f.is_wrong(), f.to_string())).collect();
        let expected: Vec<_> =
            expected.iter().map(|text| (!text.ends_with(": save that"), (*text).to_owned())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_tenth_is_tolerated_and_no_more() {
        check(&[("a", 1000)], &[("a", 1000)], &[]);
        check(&[("a", 1000)], &[("a", 1100)], &[]);
        check(&[("a", 1000)], &[("a", 900)], &[]);
        check(&[("a", 1000)], &[("a", 1101)], &["a: 1101 instructions, 10.1 % more than 1000"]);
        check(&[("a", 1000)], &[("a", 899)], &["a: 899 instructions, 10.1 % less than 1000: save that"]);
        check(&[("a", 0)], &[("a", 1)], &["a: 1 instructions, inf % more than 0"]);
    }

    #[test]
    fn every_part_is_in_the_baseline_and_no_other() {
        check(&[], &[("a", 1)], &["a: not in the baseline: save it"]);
        check(&[("a", 1)], &[], &["a: in the baseline, but there is no such part: save it without"]);
        check(
            &[("a", 1), ("b", 9)],
            &[("b", 20)],
            &[
                "a: in the baseline, but there is no such part: save it without",
                "b: 20 instructions, 122.2 % more than 9",
            ],
        );
    }
}
