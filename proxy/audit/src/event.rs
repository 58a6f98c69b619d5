//! What can happen, as the journal tells it.

use serde::Serialize;

use crate::often;

/// One thing that happened. Field names are stable; every value is text that a person may read, and none is ever a secret.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case", rename_all_fields = "snake_case")]
pub enum Event<'a> {
    /// A journal goes on in this file: the first record of every segment but the first.
    Segment {
        /// Session of the segment before.
        follows: &'a str,
        /// Number of its last record.
        records: u64,
        /// Hash of that record, 64 hexadecimal digits.
        last_hash: &'a str,
        /// Bytes after it that were taken away: half a record, left by a process that was killed.
        #[serde(skip_serializing_if = "is_zero")]
        dropped_bytes: u64,
        /// Number of the oldest segment that is kept.
        kept_from: u32,
    },
    /// A session began.
    Open {
        /// Version of the program that writes.
        version: &'a str,
        /// SHA-256 of the policy's canonical text, hexadecimal.
        policy_sha256: &'a str,
        /// Protections and how they stand, `name: detail`.
        controls: &'a [String],
        /// Features that the operator allowed to be missing and that are missing.
        degraded: &'a [String],
        /// Names that the operator pinned to addresses.
        pins: &'a [String],
        /// Names of the credentials that are held, never their values.
        credentials: &'a [String],
    },
    /// A policy came into force or was refused.
    Policy {
        /// Whose, where several agents share a proxy.
        #[serde(skip_serializing_if = "str::is_empty")]
        agent: &'a str,
        /// The generation now in force.
        generation: u64,
        /// `in-force` or `refused`.
        outcome: &'a str,
        /// SHA-256 of the canonical text in force.
        policy_sha256: &'a str,
        /// Why it was refused; otherwise the revision that it is and who brought it, where revisions are kept.
        detail: &'a str,
    },
    /// What is known of a credential has changed.
    Credential {
        /// Whose, where several agents share a proxy.
        #[serde(skip_serializing_if = "str::is_empty")]
        agent: &'a str,
        /// Its name.
        credential: &'a str,
        /// `attached` (to what runs), `rotated`, `revoked`, `usable` (again), `unusable`, or `not-renewed` (its source failed, the value before is used).
        outcome: &'a str,
        /// Why; empty where there is nothing more to say.
        #[serde(skip_serializing_if = "str::is_empty")]
        detail: &'a str,
    },
    /// What a canary tried in the agent's place before it started. What the gate saw of it comes before this record.
    SelfProof {
        /// `passed`, `surprised`, or `off`.
        outcome: &'a str,
        /// Each attempt and how it went.
        attempts: &'a [String],
        /// How long it took.
        milliseconds: u64,
    },
    /// The agent started.
    Agent {
        /// The command and its arguments, placeholders included.
        command: &'a [String],
    },
    /// A connection was accepted and judged.
    Connection {
        /// Number of the connection in this session.
        connection: u64,
        /// `explicit`, `transparent`.
        via: &'a str,
        /// `host:port`, or what the client sent in its place.
        authority: &'a str,
        /// Who asked.
        #[serde(flatten)]
        caller: Program<'a>,
        /// Policy generation that judged.
        generation: u64,
        /// The judgement.
        #[serde(flatten)]
        verdict: Verdict<'a>,
    },
    /// A request was judged; written before anything is forwarded.
    Request {
        /// The connection it came on.
        connection: u64,
        /// Number of the request in this session.
        request: u64,
        /// The method.
        method: &'a str,
        /// `https` or `http`.
        scheme: &'a str,
        /// `host:port`.
        authority: &'a str,
        /// The canonical path, without the query.
        path: &'a str,
        /// Who asked.
        #[serde(flatten)]
        caller: Program<'a>,
        /// Policy generation that judged.
        generation: u64,
        /// The judgement.
        #[serde(flatten)]
        verdict: Verdict<'a>,
        /// Credentials exchanged into this request.
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        exchanged: &'a [String],
        /// Credentials whose placeholder stood where nothing is exchanged and was passed on as it is.
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        inert: &'a [String],
    },
    /// A reply has been passed on, or failed.
    Reply {
        /// The request it answers.
        request: u64,
        /// HTTP status, or 0 when none came.
        status: u16,
        /// Body bytes passed to the client.
        bytes: u64,
        /// Body bytes passed to the upstream.
        sent: u64,
        /// Secrets that were replaced in it.
        scrubbed: u64,
        /// Credentials that were exchanged after the request's head had gone: in its body, in messages.
        #[serde(skip_serializing_if = "<[_]>::is_empty")]
        exchanged: &'a [String],
        /// From judgement to the end of the body, in milliseconds.
        milliseconds: u64,
        /// `complete`, `aborted`, or why it failed.
        outcome: &'a str,
    },
    /// A connection whose bytes were passed on unread has ended.
    Tunnel {
        /// The connection.
        connection: u64,
        /// Bytes from the client.
        up: u64,
        /// Bytes to the client.
        down: u64,
        /// From the first byte to the last, in milliseconds.
        milliseconds: u64,
        /// `complete`, or why it ended.
        outcome: &'a str,
    },
    /// A name was asked for.
    Dns {
        /// The name.
        name: &'a str,
        /// The record type, as `A`.
        kind: &'a str,
        /// `answered`, `empty` or `refused`.
        outcome: &'a str,
    },
    /// Something that the gate saw and that no request shows.
    Notice {
        /// What.
        detail: &'a str,
    },
    /// The session ended in order.
    Close {
        /// Why.
        reason: &'a str,
    },
}

/// The process that asked.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Program<'a> {
    /// Absolute path of the executable, or why it is unknown.
    pub binary: &'a str,
    /// Process id inside the sandbox; 0 when unknown.
    pub pid: u32,
    /// SHA-256 of the running executable; empty when unknown.
    pub binary_sha256: &'a str,
    /// Name of the agent, where several share a proxy.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub agent: &'a str,
    /// `address:port` of a client that is outside any sandbox.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub client: &'a str,
}

/// A judgement.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Verdict<'a> {
    /// `allowed`, `denied`, or `audit` (would be denied, passed because the endpoint only audits).
    pub decision: &'a str,
    /// The policy entry that decided; empty when none did.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub policy: &'a str,
    /// The rule that matched; empty when none did.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub rule: &'a str,
    /// Stable code of the reason for a denial; empty otherwise.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub error: &'a str,
    /// The reason in words.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub reason: &'a str,
}

impl Event<'_> {
    /// True for what tells how something ended that was let through before.
    #[must_use]
    pub fn is_an_end(&self) -> bool {
        matches!(self, Self::Reply { .. } | Self::Tunnel { .. } | Self::Close { .. })
    }

    /// The record as a JSON object, to be handed to [`Chain::append`](crate::Chain::append).
    #[must_use]
    pub fn to_body(&self) -> Vec<u8> {
        let mut body = Vec::new();
        self.write_body(&mut body);
        body
    }

    /// Writes what [`Event::to_body`] returns behind what is in `out`.
    pub fn write_body(&self, out: &mut Vec<u8>) {
        if often::write(self, out) {
            return;
        }
        serde_json::to_writer(out, self).expect("events hold only text and numbers, which always serialise");
    }
}

/// As serde asks for it.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
