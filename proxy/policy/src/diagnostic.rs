//! What is wrong with a document, where, and what to write instead.
//!
//! A reader collects every finding before it gives up, so that one run of `policy check` shows all of them. No file
//! names: whoever read the file puts its name in front.

use std::fmt;

use serde::Serialize;

/// A place in a text; both numbers begin at 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize)]
pub struct Position {
    /// The line.
    pub line: u32,
    /// The column, counted in characters.
    pub column: u32,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing loads.
    Error,
    /// It loads, and probably not as meant.
    Warning,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The line, from 1.
    pub line: u32,
    /// The column, from 1.
    pub column: u32,
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong, in one sentence without a full stop.
    pub message: String,
    /// What to write instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Every finding about one document, in the order of its text.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostic {
    /// An error at a place.
    #[must_use]
    pub fn error(at: Position, message: impl Into<String>) -> Self {
        Self { line: at.line, column: at.column, severity: Severity::Error, message: message.into(), hint: None }
    }

    /// A warning at a place.
    #[must_use]
    pub fn warning(at: Position, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(at, message) }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// `line:column: message (hint: …)`.
impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.line, self.column, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, " (hint: {hint})"),
            None => Ok(()),
        }
    }
}

impl Diagnostics {
    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// True where at least one finding is an error.
    #[must_use]
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|d| d.severity == Severity::Error)
    }

    /// True where there is no finding.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The findings.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    /// The same in the order of the text; what stands at one place keeps its order.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        self.0.sort_by_key(|d| (d.line, d.column));
        self
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, more: I) {
        self.0.extend(more);
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// One finding a line.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            diagnostic.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostics {}

/// `did you mean …?` or the list of what is accepted.
pub(crate) fn suggest(written: &str, accepted: &[&str]) -> String {
    match closest(written, accepted.iter().copied()) {
        Some(word) => format!("did you mean `{word}`?"),
        None => format!("accepted: {}", accepted.join(", ")),
    }
}

/// The word that was probably meant; nothing where none is near.
pub fn closest<'w>(written: &str, accepted: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    let lower = written.to_ascii_lowercase();
    let near = accepted.into_iter().map(|word| (distance(&lower, word), word));
    let near = near.filter(|(distance, word)| *distance <= 1 + word.len() / 4);
    near.min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}

/// Edit distance (Levenshtein), counted in bytes; a long text is no typing error of anything.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST_WORD: usize = 64;
    if a.len() > LONGEST_WORD {
        return usize::MAX;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions() {
        for (written, expected) in [
            ("Enforce", "did you mean `enforce`?"),
            ("enforced", "did you mean `enforce`?"),
            ("audti", "did you mean `audit`?"),
            ("block", "accepted: enforce, audit"),
            ("", "accepted: enforce, audit"),
        ] {
            assert_eq!(suggest(written, &["enforce", "audit"]), expected, "{written}");
        }
    }

    #[test]
    fn one_line_each() {
        let at = Position { line: 3, column: 5 };
        let mut all = Diagnostics::from(Diagnostic::error(at, "bad host").hint("write a name"));
        all.push(Diagnostic::warning(at, "broad"));
        assert_eq!(all.to_string(), "3:5: bad host (hint: write a name)\n3:5: broad");
        assert!(all.has_errors());
    }
}
