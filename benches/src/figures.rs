//! What was measured: values by load, proxy and figure, one of each round, and what they say of each other.

use std::collections::BTreeMap;

use serde::Serialize;

/// Everything that one run has measured.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Load → proxy → figure → one value of each round.
    values: BTreeMap<String, BTreeMap<String, BTreeMap<String, Vec<f64>>>>,
}

/// One figure of one load: for example `("h1-32", "cpu")`.
pub type Which<'a> = (&'a str, &'a str);

impl Figures {
    /// Adds a round's value.
    pub fn add(&mut self, (load, figure): Which<'_>, proxy: &str, value: f64) {
        let of_load = self.values.entry(load.to_owned()).or_default();
        of_load.entry(proxy.to_owned()).or_default().entry(figure.to_owned()).or_default().push(value);
    }

    /// The median over the rounds.
    #[must_use]
    pub fn median(&self, which: Which<'_>, proxy: &str) -> Option<f64> {
        median(self.rounds(which, proxy)?.to_vec())
    }

    /// The highest value of any round.
    #[must_use]
    pub fn highest(&self, which: Which<'_>, proxy: &str) -> Option<f64> {
        self.rounds(which, proxy)?.iter().copied().reduce(f64::max)
    }

    /// How many times `of` is `to`: the median of the rounds' ratios, since what disturbs one round disturbs both.
    #[must_use]
    pub fn ratio(&self, which: Which<'_>, of: &str, to: &str) -> Option<f64> {
        self.pairs(which, of, to, |a, b| a / b)
    }

    /// How much more `of` is than `than`: the median of the rounds' differences.
    #[must_use]
    pub fn difference(&self, which: Which<'_>, of: &str, than: &str) -> Option<f64> {
        self.pairs(which, of, than, |a, b| a - b)
    }

    /// The proxies of a load.
    pub fn proxies(&self, load: &str) -> impl Iterator<Item = &str> {
        self.values.get(load).into_iter().flat_map(BTreeMap::keys).map(String::as_str)
    }

    fn pairs(&self, which: Which<'_>, a: &str, b: &str, join: fn(f64, f64) -> f64) -> Option<f64> {
        let (a, b) = (self.rounds(which, a)?, self.rounds(which, b)?);
        median(a.iter().zip(b).map(|(a, b)| join(*a, *b)).filter(|value| value.is_finite()).collect())
    }

    fn rounds(&self, (load, figure): Which<'_>, proxy: &str) -> Option<&[f64]> {
        self.values.get(load)?.get(proxy)?.get(figure).map(Vec::as_slice)
    }
}

/// The middle one, or the mean of the two in the middle.
fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CPU: Which<'_> = ("h1-32", "cpu");

    fn figures(rounds: &[(&str, &[f64])]) -> Figures {
        let mut figures = Figures::default();
        for (proxy, values) in rounds {
            values.iter().for_each(|value| figures.add(CPU, proxy, *value));
        }
        figures
    }

    #[test]
    fn medians() {
        let check = |values: &[f64], expected| assert_eq!(median(values.to_vec()), expected, "{values:?}");
        check(&[], None);
        check(&[3.0], Some(3.0));
        check(&[9.0, 1.0], Some(5.0));
        check(&[100.0, 1.0, 2.0], Some(2.0));
    }

    #[test]
    fn rounds_are_compared_one_by_one() {
        // The second round was twice as slow for both: that is no difference between them.
        let measured = figures(&[("a", &[40.0, 80.0, 42.0]), ("b", &[20.0, 40.0, 20.0])]);
        assert_eq!(measured.ratio(CPU, "a", "b"), Some(2.0));
        assert_eq!(measured.difference(CPU, "a", "b"), Some(22.0));
        assert_eq!((measured.median(CPU, "a"), measured.highest(CPU, "a")), (Some(42.0), Some(80.0)));
    }

    #[test]
    fn what_was_not_measured_is_nothing() {
        let measured = figures(&[("a", &[40.0]), ("zero", &[0.0])]);
        assert_eq!(measured.ratio(CPU, "a", "b"), None);
        assert_eq!(measured.ratio(CPU, "a", "zero"), None);
        assert_eq!(measured.median(("h2", "cpu"), "a"), None);
        assert_eq!(measured.proxies("h1-32").collect::<Vec<_>>(), ["a", "zero"]);
    }
}
