//! Placeholders: what the agent holds in place of a secret.

/// Random bytes that [`shape`] wants: one for each character that it draws, for the longest placeholder there is.
pub const PLACEHOLDER_RANDOM_BYTES: usize = MAX_PLACEHOLDER_BYTES;

/// Draws a placeholder shaped like `value`, so that format checks of SDKs pass: the vendor's prefix, the length, the dots,
/// colons, dashes and underscores where they stand, and between them digits where there are only digits, hexadecimal digits
/// where there are only those, letters and digits elsewhere. `123456789:AA...` of Telegram becomes other digits, a colon and
/// 35 other characters.
///
/// What is drawn holds at least 128 bits; a value in whose shape there is no room for them gets 24 random characters after its
/// prefix. `random` are fresh bytes from a cryptographic source, [`PLACEHOLDER_RANDOM_BYTES`] of them.
#[must_use]
pub fn shape(value: &str, random: &[u8; PLACEHOLDER_RANDOM_BYTES]) -> String {
    let prefix = vendor_prefix(value);
    let mut placeholder = String::with_capacity(value.len());
    placeholder.push_str(prefix);
    match structure(&value[prefix.len()..]) {
        Some(classes) if value.len() <= MAX_PLACEHOLDER_BYTES => {
            placeholder.extend(classes.iter().zip(random).map(|(class, byte)| class.draw(*byte)));
        }
        _ => {
            let length = value.len().clamp(prefix.len() + MIN_RANDOM_CHARACTERS, MAX_PLACEHOLDER_BYTES);
            placeholder.extend(random.iter().take(length - prefix.len()).map(|byte| Class::Mixed.draw(*byte)));
        }
    }
    placeholder
}

/// What may stand at one place of a placeholder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Fixed(char),
    /// A number does not begin with zero.
    FirstDigit,
    Digit,
    Hex,
    UpperHex,
    Upper,
    Lower,
    Mixed,
}

impl Class {
    fn alphabet(self) -> &'static [u8] {
        match self {
            Self::Fixed(_) => &[],
            Self::FirstDigit => b"123456789",
            Self::Digit => b"0123456789",
            Self::Hex => b"0123456789abcdef",
            Self::UpperHex => b"0123456789ABCDEF",
            Self::Upper => b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789",
            Self::Lower => b"abcdefghijklmnopqrstuvwxyz0123456789",
            Self::Mixed => ALPHABET,
        }
    }

    /// 256 is no multiple of most lengths, so that some characters come up a little more often than others; see `bits`.
    fn draw(self, byte: u8) -> char {
        match (self, self.alphabet()) {
            (Self::Fixed(character), _) => character,
            (_, alphabet) => char::from(alphabet[usize::from(byte) % alphabet.len()]),
        }
    }

    /// Bits that one draw holds against the best guess (min-entropy).
    fn bits(self) -> f64 {
        match self.alphabet().len() {
            0 => 0.0,
            count => (256.0 / 256_usize.div_ceil(count) as f64).log2(),
        }
    }
}

/// The classes of a token's characters; nothing where it is none, or where there is too little room in its shape.
fn structure(token: &str) -> Option<Vec<Class>> {
    let mut classes = Vec::with_capacity(token.len());
    // A part of a UUID may be of digits by chance.
    let whole = class_of(&token.replace(SEPARATORS, ""))?;
    let is_hex = matches!(whole, Class::Hex | Class::UpperHex);
    for piece in token.split_inclusive(SEPARATORS) {
        let (text, separator) = match piece.chars().last().filter(|last| SEPARATORS.contains(last)) {
            Some(separator) => (&piece[..piece.len() - 1], Some(separator)),
            None => (piece, None),
        };
        let class = if is_hex { whole } else { class_of(text)? };
        classes.extend(text.chars().map(|_| class));
        if class == Class::Digit && text.len() > 1 && !text.starts_with('0') {
            let first = classes.len() - text.len();
            classes[first] = Class::FirstDigit;
        }
        classes.extend(separator.map(Class::Fixed));
    }
    (classes.iter().map(|class| class.bits()).sum::<f64>() >= MIN_BITS).then_some(classes)
}

fn class_of(text: &str) -> Option<Class> {
    let all = |is: fn(&u8) -> bool| text.bytes().all(|byte| is(&byte));
    match () {
        () if all(u8::is_ascii_digit) => Some(Class::Digit),
        () if all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(b)) => Some(Class::Hex),
        () if all(|b| b.is_ascii_digit() || (b'A'..=b'F').contains(b)) => Some(Class::UpperHex),
        () if all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()) => Some(Class::Upper),
        () if all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()) => Some(Class::Lower),
        () if all(u8::is_ascii_alphanumeric) => Some(Class::Mixed),
        () => None,
    }
}

fn vendor_prefix(value: &str) -> &'static str {
    VENDOR_PREFIXES.iter().find(|prefix| value.starts_with(**prefix)).copied().unwrap_or("")
}

/// What divides tokens into parts.
const SEPARATORS: &[char] = &['.', ':', '-', '_'];

/// Fewer could be guessed.
const MIN_BITS: f64 = 128.0;

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// 24 draws of letters and digits: 136 bits.
const MIN_RANDOM_CHARACTERS: usize = 24;

/// Long values (keys, signed tokens) need no placeholder of their length to pass format checks.
const MAX_PLACEHOLDER_BYTES: usize = 256;

/// Public prefixes that clients check. Longer ones first where one begins with another.
const VENDOR_PREFIXES: &[&str] = &[
    "sk-ant-api03-",
    "sk-ant-",
    "sk-proj-",
    "sk-svcacct-",
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
    "ASIA",
    "ATATT3",
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
        check("pass with a space and more than enough room for all of it", "", 57);
        check("AKIAIOSFODNN7EXAMPLE", "AKIA", 28);
        check("12345678901234567890", "", 24);
    }

    /// The parts of a placeholder, each by what it is made of.
    fn parts(value: &str) -> String {
        let placeholder = shape(value, &std::array::from_fn(|at| (at * 37 % 251) as u8));
        assert_ne!(placeholder, value);
        let part = |text: &str| match () {
            () if text.bytes().all(|b| b.is_ascii_digit()) => format!("9{}", text.len()),
            () if text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) => format!("f{}", text.len()),
            () => format!("A{}", text.len()),
        };
        let pieces = placeholder.split_inclusive(SEPARATORS).map(|piece| {
            let text = piece.trim_end_matches(SEPARATORS);
            format!("{}{}", part(text), &piece[text.len()..])
        });
        pieces.collect()
    }

    /// Shapes that clients check before they send anything.
    #[test]
    fn tokens_keep_their_structure() {
        for (value, expected) in [
            // Telegram: the bot's number, a colon, 35 characters, dashes and underscores among them.
            ("123456789:AAF0123456789abcdefghijklmnopqrstuv", "99:A35"),
            ("6123456789:AAF01-34567xYzabcde_hijklmnopqrstuv", "910:A5-A13_A15"),
            // Slack: numbers of the team and the bot, then 24 characters.
            ("xoxb-123456789012-1234567890123-AbCdEfGhIjKlMnOpQrStUvWx", "A4-912-913-A24"),
            // Discord: three parts of base64url.
            ("MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDE.abcdefghijklmnopqrstuvwxyzA", "A24.A6.A27"),
            // A UUID, and 32 hexadecimal digits.
            ("0f0e0d0c-0b0a-4908-8706-050403020100", "f8-f4-f4-f4-f12"),
            ("0123456789abcdef0123456789abcdef", "f32"),
            ("glpat-ABCDEFGHIJ0123456789abcd", "A5-A24"),
        ] {
            assert_eq!(parts(value), expected, "{value}");
        }
        let telegram = shape("123456789:AAF0123456789abcdefghijklmnopqrstuv", &[0; PLACEHOLDER_RANDOM_BYTES]);
        assert!(!telegram.starts_with('0'), "{telegram}");
    }

    #[test]
    fn k8_every_placeholder_holds_enough_bits() {
        for value in
            ["hunter22", "1234-5678-9012", "0123456789abcdef", "ghp_0123456789", "A.B.C", "glpat-ABCDEFGHIJ0123456789"]
        {
            let rest = &value[vendor_prefix(value).len()..];
            assert_eq!(structure(rest), None, "{value}");
        }
        let bits = |class: Class| class.bits();
        assert!(bits(Class::Mixed) * MIN_RANDOM_CHARACTERS as f64 >= MIN_BITS);
        assert!((bits(Class::Hex) - 4.0).abs() < 1e-9 && bits(Class::Digit) < 3.33);
    }
}
