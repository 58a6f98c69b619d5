//! Secrets in text and JSON that is shown to people or put into a bundle: recognised by their shape and by their name.
//!
//! A last fence and not a proof: what a secret looks like is known of the services of this field, not of all. References to
//! credentials are worth nothing elsewhere and are shown.

use serde_json::Value;

/// What stands in place of a secret.
pub const REDACTED: &str = "[redacted]";

/// What tokens of well-known services begin with, and how long one is at least.
const SHAPES: &[(&str, usize)] = &[
    ("nvapi-", 20),
    ("nvcf-", 20),
    ("ghp_", 30),
    ("gho_", 30),
    ("ghu_", 30),
    ("ghs_", 30),
    ("ghr_", 30),
    ("github_pat_", 30),
    ("glpat-", 20),
    ("sk-", 23),
    ("xoxb-", 15),
    ("xoxp-", 15),
    ("xoxa-", 15),
    ("xoxs-", 15),
    ("xapp-", 15),
    ("AKIA", 20),
    ("ASIA", 20),
    ("hf_", 20),
    ("gsk_", 20),
    ("pypi-", 20),
    ("tvly-", 15),
    ("lsv2_", 20),
    // A JSON Web Token: `{"` in base64url.
    ("eyJ", 40),
];

/// Words at the end of a name that make what it names a secret.
const SECRET_WORDS: &[&str] = &[
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "credential",
    "credentials",
    "authorization",
    "cookie",
    "apikey",
    "api_key",
    "api-key",
    "access_key",
    "access-key",
    "private_key",
    "private-key",
    "secret_key",
    "secret-key",
];

const REFERENCES: &[&str] = &["openshell:resolve:env:", "OPENSHELL-RESOLVE-ENV-"];

/// JSON with every secret replaced.
pub fn value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(self::text(&text)),
        Value::Array(items) => items.into_iter().map(self::value).collect(),
        Value::Object(fields) => {
            let field = |(name, below): (String, Value)| match below {
                Value::String(text) if is_secret_name(&name) && !is_reference(&text) => (name, REDACTED.into()),
                below => (name, self::value(below)),
            };
            Value::Object(fields.into_iter().map(field).collect())
        }
        other => other,
    }
}

/// Text with every secret replaced: what is shaped as one, what follows `Bearer`, what a name as `API_KEY=` is given.
pub fn text(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut before = "";
    for (word, separator) in words(text) {
        let is_named = before.eq_ignore_ascii_case("bearer") || is_secret_name(before);
        let is_secret = !word.is_empty() && !is_reference(word) && (is_shaped(word) || is_named);
        shown.push_str(if is_secret { REDACTED } else { word });
        shown.push_str(separator);
        // A name counts for the value after it, and no further than its line.
        before = match word {
            _ if separator.contains('\n') => "",
            "" => before,
            word if is_bearer(word) => word,
            word if !is_secret && separator.contains(['=', ':']) => word,
            _ => "",
        };
    }
    shown
}

fn is_bearer(word: &str) -> bool {
    word.eq_ignore_ascii_case("bearer")
}

/// Each word with what stands between it and the next.
fn words(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_part = |c: char| c.is_alphanumeric() || "-_.+/~%".contains(c);
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        // A reference holds colons.
        let reference =
            REFERENCES.iter().find(|reference| rest.starts_with(**reference)).map_or(0, |found| found.len());
        let end = rest[reference..].find(|c| !is_part(c)).map_or(rest.len(), |end| reference + end);
        let next = rest[end..].find(is_part).map_or(rest.len(), |next| end + next);
        let pair = (&rest[..end], &rest[end..next]);
        rest = &rest[next..];
        Some(pair)
    })
}

fn is_shaped(word: &str) -> bool {
    SHAPES.iter().any(|(prefix, least)| word.starts_with(prefix) && word.len() >= *least)
}

fn is_reference(text: &str) -> bool {
    REFERENCES.iter().any(|reference| text.contains(reference))
}

fn is_secret_name(name: &str) -> bool {
    let name = name.to_lowercase();
    SECRET_WORDS.iter().any(|word| name.ends_with(word))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts() {
        #[track_caller]
        fn check(given: &str, expected: &str) {
            assert_eq!(text(given), expected.replace('#', REDACTED));
        }
        let github = format!("ghp_{}", "a".repeat(36));
        check(&format!("with {github} in it"), "with # in it");
        check("Authorization: Bearer abc.def", "Authorization: # #");
        check("curl -H 'authorization: bearer abc'", "curl -H 'authorization: # #'");
        check("OPENAI_API_KEY=whatever next", "OPENAI_API_KEY=# next");
        check("{\"password\": \"hunter2\", \"user\": \"ann\"}", "{\"password\": \"#\", \"user\": \"ann\"}");
        check("token: openshell:resolve:env:A_TOKEN", "token: openshell:resolve:env:A_TOKEN");
        check("Bearer openshell:resolve:env:A", "Bearer openshell:resolve:env:A");
        for plain in
            ["compass: north", "passRate=3", "publicKey: abc", "tokenizer=bpe", "sessionId=7", "sortKey: a", ""]
        {
            check(plain, plain);
        }
        check("a token\nnext line", "a token\nnext line");
        check("token:\nnext line", "token:\nnext line");
    }

    #[test]
    fn documents() {
        let reference = "Bearer openshell:resolve:env:A";
        assert_eq!(
            value(
                json!({"a": {"botToken": "x", "name": "y", "n": 7}, "b": [{"Authorization": "Basic eA=="}], "c": {"Authorization": reference}})
            ),
            json!({"a": {"botToken": REDACTED, "name": "y", "n": 7}, "b": [{"Authorization": REDACTED}], "c": {"Authorization": reference}})
        );
    }
}
