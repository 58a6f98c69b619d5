//! Finding any of many byte strings, fast where there are none.
//!
//! Two steps. A sieve looks at one short piece (a gram) in every stride: a string that is at least as long as the shortest
//! pattern covers one of the places looked at, so where no gram there is one of a pattern, there is no pattern. Only
//! around a known gram are the patterns themselves compared. Which pattern wins: the leftmost, of these the longest.
//!
//! Deliberately not an automaton: that would hold the patterns in tables that nobody can wipe.

use foldhash::{HashMap, HashSet};
use zeroize::Zeroizing;

/// A byte string that is searched for.
type Pattern = Zeroizing<Vec<u8>>;

/// Many byte strings, prepared to be searched for.
pub(crate) struct Searcher {
    patterns: Vec<Pattern>,
    /// Patterns by their first bytes, in the order of their bytes.
    by_head: HashMap<[u8; HEAD], Vec<Candidate>>,
    /// What is shorter than a head and begins one.
    beginnings: HashSet<Box<[u8]>>,
    heads: Bits,
    grams: Bits,
    /// Bytes of a gram, 4 or 8.
    gram: usize,
    stride: usize,
    longest: usize,
}

/// A pattern among those with the same head.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    pattern: u32,
    /// The place among them of the longest that this one begins with.
    shorter: Option<u32>,
}

/// One occurrence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hit {
    /// The index of the pattern.
    pub(crate) pattern: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Every pattern has at least this many bytes.
pub(crate) const HEAD: usize = 4;

impl Searcher {
    /// Prepares patterns of at least [`HEAD`] bytes; shorter ones are never found.
    pub(crate) fn new(patterns: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let patterns: Vec<Pattern> = patterns.into_iter().map(Zeroizing::new).collect();
        let usable = || patterns.iter().filter(|pattern| pattern.len() >= HEAD);
        let shortest = usable().map(|pattern| pattern.len()).min().unwrap_or(HEAD);
        let gram = if shortest >= 2 * GRAM { GRAM } else { HEAD };
        let stride = shortest - gram + 1;
        let mut grams = Bits::for_count(patterns.len() * stride);
        let mut heads = Bits::for_count(patterns.len());
        for pattern in usable() {
            (0..stride).filter_map(|at| read(&pattern[at..], gram)).for_each(|gram| grams.insert(gram));
            read(pattern, HEAD).into_iter().for_each(|head| heads.insert(head));
        }
        let longest = usable().map(|pattern| pattern.len()).max().unwrap_or(0);
        let beginnings = usable().flat_map(|pattern| (1..HEAD).map(|end| Box::from(&pattern[..end]))).collect();
        let mut searcher =
            Self { by_head: HashMap::default(), beginnings, patterns, heads, grams, gram, stride, longest };
        searcher.sort_by_head();
        searcher
    }

    fn sort_by_head(&mut self) {
        let count = |count: usize| u32::try_from(count).expect("patterns are a few for each of a few hundred secrets");
        let mut order: Vec<usize> = (0..self.patterns.len()).collect();
        // Of equal ones the first is the last, where the search begins.
        order.sort_by_key(|index| (&self.patterns[*index][..], std::cmp::Reverse(*index)));
        for index in order {
            let Some(head) = self.patterns[index].first_chunk::<HEAD>() else { continue };
            let list = self.by_head.entry(*head).or_default();
            let mut shorter = list.len().checked_sub(1).map(count);
            while let Some(other) = shorter.map(|at| list[at as usize]) {
                let other_pattern = &self.patterns[other.pattern as usize];
                if self.patterns[index].len() > other_pattern.len() && self.patterns[index].starts_with(other_pattern) {
                    break;
                }
                shorter = other.shorter;
            }
            list.push(Candidate { pattern: count(index), shorter });
        }
    }

    /// How many patterns there are.
    pub(crate) fn len(&self) -> usize {
        self.patterns.len()
    }

    /// The leftmost, longest pattern that begins at `from` or later.
    pub(crate) fn find(&self, data: &[u8], from: usize) -> Option<Hit> {
        let mut at = self.next_gram(data, from)?;
        loop {
            // What began before was seen at an earlier place.
            let earliest = (at + 1).saturating_sub(self.stride).max(from);
            if let Some(hit) = (earliest..=at).find_map(|start| self.at(data, start)) {
                return Some(hit);
            }
            at = self.next_gram(data, at + self.stride)?;
        }
    }

    /// False where no pattern is; true for a few texts without one as well.
    #[inline(always)]
    pub(crate) fn may_find(&self, data: &[u8]) -> bool {
        self.next_gram(data, 0).is_some()
    }

    /// The first place among `from`, one stride further, and so on, where a gram of a pattern may stand.
    #[inline(always)]
    fn next_gram(&self, data: &[u8], from: usize) -> Option<usize> {
        match self.gram {
            _ if self.longest == 0 => None,
            // Apart, so that neither loop asks how long a gram is.
            GRAM => self.next_known(data, from, |rest| read(rest, GRAM)),
            _ => self.next_known(data, from, |rest| read(rest, HEAD)),
        }
    }

    #[inline(always)]
    fn next_known(&self, data: &[u8], mut at: usize, read: impl Fn(&[u8]) -> Option<u64>) -> Option<usize> {
        while !self.grams.holds(read(data.get(at..)?)?) {
            at += self.stride;
        }
        Some(at)
    }

    /// The longest pattern that begins right there.
    fn at(&self, data: &[u8], start: usize) -> Option<Hit> {
        let rest = &data[start..];
        let head = rest.first_chunk::<HEAD>()?;
        if !self.heads.holds(u64::from(u32::from_le_bytes(*head))) {
            return None;
        }
        let list = self.by_head.get(head)?;
        // Whatever lies between a beginning of `rest` and `rest` in the order of bytes begins with it as well.
        let mut next =
            list.partition_point(|other| self.patterns[other.pattern as usize][..] <= *rest).checked_sub(1)?;
        loop {
            let Candidate { pattern, shorter } = list[next];
            let pattern = pattern as usize;
            if rest.starts_with(&self.patterns[pattern]) {
                return Some(Hit { pattern, start, end: start + self.patterns[pattern].len() });
            }
            next = shorter? as usize;
        }
    }

    /// Where the first suffix of `data` begins, from `from` on, that could still become a pattern with more bytes; the
    /// length of `data` where there is none.
    pub(crate) fn open_suffix(&self, data: &[u8], from: usize) -> usize {
        let earliest = data.len().saturating_sub(self.longest.saturating_sub(1)).max(from);
        (earliest..data.len()).find(|&at| self.is_open(&data[at..])).unwrap_or(data.len())
    }

    /// True when some pattern is longer than `suffix` and begins with it.
    fn is_open(&self, suffix: &[u8]) -> bool {
        let longer = |other: &Candidate| {
            let pattern = &self.patterns[other.pattern as usize];
            pattern.len() > suffix.len() && pattern.starts_with(suffix)
        };
        match suffix.first_chunk::<HEAD>() {
            Some(head) if !self.heads.holds(u64::from(u32::from_le_bytes(*head))) => false,
            Some(head) => self.by_head.get(head).is_some_and(|list| list.iter().any(longer)),
            None => self.beginnings.contains(suffix),
        }
    }
}

/// Bytes of the longer gram: what a 64-bit word holds.
const GRAM: usize = 8;

/// The first 4 or 8 bytes as one number, where there are as many.
#[inline(always)]
fn read(bytes: &[u8], gram: usize) -> Option<u64> {
    match gram {
        GRAM => bytes.first_chunk::<GRAM>().map(|chunk| u64::from_le_bytes(*chunk)),
        _ => bytes.first_chunk::<HEAD>().map(|chunk| u64::from(u32::from_le_bytes(*chunk))),
    }
}

/// A Bloom filter with two hashes: no false "no", and a false "yes" in about one of sixty.
struct Bits {
    words: Vec<u64>,
    shift: u32,
}

/// Bits for each element; at 16 and two hashes 1.4 % of strangers pass.
const BITS_EACH: usize = 16;

impl Bits {
    fn for_count(count: usize) -> Self {
        let bits = (count * BITS_EACH).next_power_of_two().max(64);
        Self { words: vec![0; bits / 64], shift: 64 - bits.ilog2() }
    }

    /// Fibonacci hashing: the upper bits of a product with an odd constant depend on all bits of the value.
    #[inline(always)]
    fn place(&self, value: u64, factor: u64) -> (usize, u64) {
        let bit = value.wrapping_mul(factor) >> self.shift;
        (usize::try_from(bit / 64).unwrap_or(0), 1 << (bit % 64))
    }

    fn insert(&mut self, value: u64) {
        for factor in FACTORS {
            let (word, bit) = self.place(value, factor);
            self.words[word] |= bit;
        }
    }

    #[inline(always)]
    fn holds(&self, value: u64) -> bool {
        let is_set = |factor| {
            let (word, bit) = self.place(value, factor);
            self.words[word] & bit != 0
        };
        // The second word is only looked at where the first says yes.
        is_set(FACTORS[0]) && is_set(FACTORS[1])
    }
}

/// Two odd numbers without a pattern.
const FACTORS: [u64; 2] = [0x9E37_79B9_7F4A_7C15, 0xC2B2_AE3D_27D4_EB4F];

impl Drop for Searcher {
    fn drop(&mut self) {
        // The patterns wipe themselves; their heads are the beginnings of secrets.
        for (mut head, _) in self.by_head.drain() {
            zeroize::Zeroize::zeroize(&mut head);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same by comparing everywhere.
    fn naive(patterns: &[Vec<u8>], data: &[u8], from: usize) -> Option<Hit> {
        (from..data.len()).find_map(|start| {
            let fitting = patterns.iter().enumerate().filter(|(_, p)| p.len() >= HEAD && data[start..].starts_with(p));
            let (pattern, text) = fitting.max_by_key(|(index, p)| (p.len(), std::cmp::Reverse(*index)))?;
            Some(Hit { pattern, start, end: start + text.len() })
        })
    }

    proptest! {
        #[test]
        fn finds_what_a_plain_search_finds(
            patterns in prop::collection::vec("[ab]{4,12}|[a-c]{16,24}", 0..6),
            data in "[a-c]{0,120}",
            inserted in prop::collection::vec((0usize..6, 0usize..120), 0..3),
            from in 0usize..20,
        ) {
            let mut data = data.into_bytes();
            for (which, at) in inserted {
                if let Some(pattern) = patterns.get(which) {
                    data.splice(at.min(data.len())..at.min(data.len()), pattern.bytes());
                }
            }
            let patterns: Vec<Vec<u8>> = patterns.into_iter().map(String::into_bytes).collect();
            let from = from.min(data.len());
            prop_assert_eq!(Searcher::new(patterns.clone()).find(&data, from), naive(&patterns, &data, from));
        }

        #[test]
        fn an_open_suffix_is_the_first_that_a_pattern_continues(
            patterns in prop::collection::vec("[ab]{4,12}", 1..5), data in "[ab]{0,40}", from in 0usize..50,
        ) {
            let data = data.as_bytes();
            let from = from.min(data.len());
            let continues = |at: &usize| patterns.iter().any(|p| p.len() > data.len() - at && p.as_bytes().starts_with(&data[*at..]));
            let expected = (from..data.len()).find(continues).unwrap_or(data.len());
            let searcher = Searcher::new(patterns.iter().map(|p| p.clone().into_bytes()));
            prop_assert_eq!(searcher.open_suffix(data, from), expected);
        }
    }
}
