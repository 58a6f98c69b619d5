//! Sets of request methods.

/// Methods that a rule covers: frequent ones as bits, others by name, compared without regard to case.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MethodSet {
    any: bool,
    bits: u16,
    others: Vec<Box<str>>,
}

/// One bit each; `WEBSOCKET_TEXT` stands for a text message after the upgrade.
const FREQUENT: [&str; 10] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "WEBSOCKET_TEXT"];

const GET: u16 = 1;
const GET_AND_HEAD: u16 = 0b11;

impl MethodSet {
    /// Every method.
    pub(crate) fn any() -> Self {
        Self { any: true, ..Self::default() }
    }

    /// What a rule's `method` covers: `*` or nothing is any, `GET` is `HEAD` as well.
    pub(crate) fn written(method: Option<&str>) -> Self {
        match method {
            None | Some("*") => Self::any(),
            Some(method) => Self::of(&[method]),
        }
    }

    /// These methods, and `HEAD` where `GET` is among them.
    pub(crate) fn of(methods: &[&str]) -> Self {
        let mut set = Self::default();
        for method in methods {
            match bit(method) {
                Some(GET) => set.bits |= GET_AND_HEAD,
                Some(bit) => set.bits |= bit,
                None => set.others.push((*method).into()),
            }
        }
        set
    }

    /// True where the set covers the method.
    pub(crate) fn contains(&self, method: &str) -> bool {
        self.any
            || match bit(method) {
                Some(bit) => self.bits & bit != 0,
                None => self.others.iter().any(|other| other.eq_ignore_ascii_case(method)),
            }
    }
}

fn bit(method: &str) -> Option<u16> {
    FREQUENT.iter().position(|frequent| frequent.eq_ignore_ascii_case(method)).map(|index| 1 << index)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coverage() {
        for (written, method, expected) in [
            (None, "FOO", true),
            (Some("*"), "DELETE", true),
            (Some("GET"), "get", true),
            (Some("get"), "HEAD", true),
            (Some("HEAD"), "GET", false),
            (Some("GET"), "OPTIONS", false),
            (Some("PURGE"), "purge", true),
            (Some("PURGE"), "GET", false),
            (Some("GET"), "WEBSOCKET_TEXT", false),
        ] {
            assert_eq!(MethodSet::written(written).contains(method), expected, "{written:?} {method}");
        }
    }
}
