//! Placeholders: what the agent holds in place of a secret.

/// Random bytes that [`shape`] wants: one for each character that it draws, for the longest placeholder there is.
pub const PLACEHOLDER_RANDOM_BYTES: usize = MAX_PLACEHOLDER_BYTES;

/// Draws a placeholder shaped like `value`: the vendor's prefix and the length kept, all else random letters and digits,
/// so that format checks of SDKs pass.
///
/// At least 24 characters are random (over 128 bits), which makes it longer than a short value. `random` are fresh bytes
/// from a cryptographic source, [`PLACEHOLDER_RANDOM_BYTES`] of them.
#[must_use]
pub fn shape(value: &str, random: &[u8; PLACEHOLDER_RANDOM_BYTES]) -> String {
    let prefix = vendor_prefix(value);
    let length = value.len().clamp(prefix.len() + MIN_RANDOM_CHARACTERS, MAX_PLACEHOLDER_BYTES);
    let mut placeholder = String::with_capacity(length);
    placeholder.push_str(prefix);
    // 256 is not a multiple of 62: the first 8 letters come up 5 times in 256, the others 4; 24 characters still hold 142 bits.
    placeholder.extend(random.iter().take(length - prefix.len()).map(|b| char::from(ALPHABET[usize::from(*b) % 62])));
    placeholder
}

fn vendor_prefix(value: &str) -> &'static str {
    VENDOR_PREFIXES.iter().find(|prefix| value.starts_with(**prefix)).copied().unwrap_or("")
}

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// 24 draws from 62 characters: 142 bits.
const MIN_RANDOM_CHARACTERS: usize = 24;

/// Long values (keys, signed tokens) need no placeholder of their length to pass format checks.
const MAX_PLACEHOLDER_BYTES: usize = 256;

/// Public prefixes that clients check. Longer ones first where one begins with another.
const VENDOR_PREFIXES: &[&str] = &[
    "sk-ant-api03-",
    "sk-ant-",
    "sk-proj-",
    "sk-",
    "github_pat_",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "glpat-",
    "nvapi-",
    "xoxb-",
    "xoxp-",
    "xapp-",
    "hf_",
    "AIza",
    "AKIA",
    "lin_api_",
    "ntn_",
    "Bearer ",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, prefix: &str, length: usize) {
        let mut random = [0; PLACEHOLDER_RANDOM_BYTES];
        random.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * 37 % 256) as u8);
        let placeholder = shape(value, &random);
        assert!(placeholder.starts_with(prefix), "{placeholder}");
        assert_eq!(placeholder.len(), length, "{placeholder}");
        assert_ne!(placeholder, value);
    }

    #[test]
    fn keeps_prefix_and_length() {
        check("ghp_0123456789abcdefghijABCDEFGHIJ012345", "ghp_", 40);
        check("sk-ant-api03-0123456789abcdefghijklmnopqrstuv", "sk-ant-api03-", 45);
        check("hunter2", "", 24);
        check("ghp_short", "ghp_", 28);
        check(&"x".repeat(5000), "", 256);
    }
}
