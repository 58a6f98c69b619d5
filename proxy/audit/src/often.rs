//! The two records that come with every request, written member by member.
//!
//! What the derived code writes is the same, byte for byte, as a test shows, and takes four times the instructions: it asks of
//! every name whether it must be escaped, and passes flattened members on one by one.

use crate::{Event, Program, Verdict};

/// The name of a member, written as one piece with what stands around it.
macro_rules! name {
    ($name:literal) => {
        concat!(",\"", $name, "\":")
    };
}

/// Writes a request or a reply; false, and nothing, for any other event.
pub(crate) fn write(event: &Event<'_>, out: &mut Vec<u8>) -> bool {
    match *event {
        Event::Request {
            connection,
            request,
            method,
            scheme,
            authority,
            path,
            caller,
            generation,
            verdict,
            exchanged,
            inert,
        } => {
            let mut members = Members::begin("request", out);
            members.number(name!("connection"), connection);
            members.number(name!("request"), request);
            members.text(name!("method"), method);
            members.text(name!("scheme"), scheme);
            members.text(name!("authority"), authority);
            members.text(name!("path"), path);
            members.caller(&caller);
            members.number(name!("generation"), generation);
            members.verdict(&verdict);
            members.names(name!("exchanged"), exchanged);
            members.names(name!("inert"), inert);
            members.end();
        }
        Event::Reply { request, status, bytes, sent, scrubbed, exchanged, milliseconds, outcome } => {
            let mut members = Members::begin("reply", out);
            members.number(name!("request"), request);
            members.number(name!("status"), status.into());
            members.number(name!("bytes"), bytes);
            members.number(name!("sent"), sent);
            members.number(name!("scrubbed"), scrubbed);
            members.names(name!("exchanged"), exchanged);
            members.number(name!("milliseconds"), milliseconds);
            members.text(name!("outcome"), outcome);
            members.end();
        }
        _ => return false,
    }
    true
}

/// The members of an object (RFC 8259, section 4), each with its `name!`.
struct Members<'a>(&'a mut Vec<u8>);

/// Most records fit into so much.
const USUAL_BYTES: usize = 768;

impl<'a> Members<'a> {
    fn begin(event: &str, out: &'a mut Vec<u8>) -> Self {
        out.reserve(USUAL_BYTES);
        out.extend_from_slice(b"{\"event\":\"");
        out.extend_from_slice(event.as_bytes());
        out.push(b'"');
        Self(out)
    }

    fn end(self) {
        self.0.push(b'}');
    }

    fn number(&mut self, name: &str, value: u64) {
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    }

    fn text(&mut self, name: &str, value: &str) {
        self.0.extend_from_slice(name.as_bytes());
        self.value(value);
    }

    fn text_if_any(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.text(name, value);
        }
    }

    fn names(&mut self, name: &str, values: &[String]) {
        let Some((first, rest)) = values.split_first() else { return };
        self.0.extend_from_slice(name.as_bytes());
        self.0.push(b'[');
        self.value(first);
        for value in rest {
            self.0.push(b',');
            self.value(value);
        }
        self.0.push(b']');
    }

    fn value(&mut self, value: &str) {
        let is_plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
        // All of it, so that many bytes are looked at at once.
        if value.bytes().fold(true, |plain, byte| plain & is_plain(byte)) {
            self.0.push(b'"');
            self.0.extend_from_slice(value.as_bytes());
            self.0.push(b'"');
        } else {
            serde_json::to_writer(&mut *self.0, value).expect("text always serialises");
        }
    }

    fn caller(&mut self, caller: &Program<'_>) {
        let Program { binary, pid, binary_sha256, agent, client } = *caller;
        self.text(name!("binary"), binary);
        self.number(name!("pid"), pid.into());
        self.text(name!("binary_sha256"), binary_sha256);
        self.text_if_any(name!("agent"), agent);
        self.text_if_any(name!("client"), client);
    }

    fn verdict(&mut self, verdict: &Verdict<'_>) {
        let Verdict { decision, policy, rule, error, reason } = *verdict;
        self.text(name!("decision"), decision);
        self.text_if_any(name!("policy"), policy);
        self.text_if_any(name!("rule"), rule);
        self.text_if_any(name!("error"), error);
        self.text_if_any(name!("reason"), reason);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(event: &Event<'_>) -> Result<(), TestCaseError> {
        let mut written = b"before".to_vec();
        prop_assert!(write(event, &mut written));
        let derived = serde_json::to_string(event).expect("events always serialise");
        prop_assert_eq!(String::from_utf8_lossy(&written), format!("before{derived}"));
        Ok(())
    }

    /// Texts, many of them empty, and some that must be escaped.
    fn texts(count: usize) -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(prop_oneof![Just(String::new()), "[a-z/.:]{1,9}", any::<String>()], count)
    }

    proptest! {
        #[test]
        fn requests_as_the_derived_code_writes_them(
            t in texts(13),
            numbers: [u64; 3],
            pid: u32,
            exchanged in texts(2),
            inert in texts(1),
            given in 0..3_usize,
        ) {
            check(&Event::Request {
                connection: numbers[0],
                request: numbers[1],
                method: &t[0],
                scheme: &t[1],
                authority: &t[2],
                path: &t[3],
                caller: Program { binary: &t[4], pid, binary_sha256: &t[5], agent: &t[6], client: &t[7] },
                generation: numbers[2],
                verdict: Verdict { decision: &t[8], policy: &t[9], rule: &t[10], error: &t[11], reason: &t[12] },
                exchanged: &exchanged[..given],
                inert: &inert[..given.min(1)],
            })?;
        }

        #[test]
        fn replies_as_the_derived_code_writes_them(
            numbers: [u64; 5],
            status: u16,
            exchanged in texts(2),
            given in 0..3_usize,
            outcome: String,
        ) {
            let [request, bytes, sent, scrubbed, milliseconds] = numbers;
            let exchanged = &exchanged[..given];
            check(&Event::Reply { request, status, bytes, sent, scrubbed, exchanged, milliseconds, outcome: &outcome })?;
        }
    }

    #[test]
    fn other_events_are_left_alone() {
        let mut out = Vec::new();
        assert!(!write(&Event::Notice { detail: "" }, &mut out));
        assert!(out.is_empty());
    }
}
