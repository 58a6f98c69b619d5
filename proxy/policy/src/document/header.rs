//! The lines that `policy get --full` prints above a policy, so that its output can be edited and set again.

use std::borrow::Cow;

/// The fields of the header, of which the first line holds one.
const FIRST: [&str; 2] = ["Version:", "Scope:"];

/// The text with every line of the header emptied, so that places stay what they are; other texts as they are.
pub(super) fn without(text: &str) -> Cow<'_, str> {
    if !FIRST.iter().any(|field| text.starts_with(field)) {
        return Cow::Borrowed(text);
    }
    let Some(end) = text.find("\n---\n") else { return Cow::Borrowed(text) };
    let (header, policy) = text.split_at(end + "\n---".len());
    let is_header = |line: &str| line == "---" || line.split_once(": ").is_some_and(|(name, _)| !name.starts_with(' '));
    match header.lines().all(is_header) {
        true => Cow::Owned("\n".repeat(header.matches('\n').count()) + policy),
        false => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers() {
        let shown = "Version:      7\nHash:         ab\nStatus:       Effective\n---\nversion: 1\n";
        for (text, expected) in [
            (shown, "\n\n\n\nversion: 1\n"),
            ("version: 1\n---\nversion: 1\n", "version: 1\n---\nversion: 1\n"),
            ("Version: 7\nversion: 1\n", "Version: 7\nversion: 1\n"),
            ("Version: 7\n- a\n---\nversion: 1\n", "Version: 7\n- a\n---\nversion: 1\n"),
        ] {
            assert_eq!(without(text), expected);
        }
    }
}
