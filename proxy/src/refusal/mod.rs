//! Refusals: why something does not pass, and in [`answer`] the one place where that becomes an answer.

mod answer;

use http::StatusCode;
use serde::{Serialize, Serializer};
use tollgate_audit::Verdict;

pub(crate) use answer::{Dialect, alert};

/// Why a connection or request does not pass. Boxed, since it travels as the error of every stage.
#[derive(Debug, Clone)]
pub struct Refusal(Box<Problem>);

/// What a refusal says.
///
/// Answered as `application/problem+json` (RFC 9457) with the fields below. What an agent wrote appears only as JSON
/// strings, never as free text; secrets never.
#[derive(Debug, Clone, Serialize)]
pub struct Problem {
    /// Stable code.
    pub error: Code,
    /// One sentence on what happened.
    pub detail: String,
    /// Why, where the detail does not say it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The policy entry that decided; empty when none did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub policy: String,
    /// The rule that decided, or the `METHOD path` that no rule allows.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub rule: String,
    /// `l4` for connections, `l7` for requests.
    pub layer: &'static str,
    /// What was asked, as far as it is known.
    #[serde(flatten)]
    pub asked: Asked,
    /// What would have to be in the policy, for a request that no rule allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_missing: Option<RuleMissing>,
    /// What to do.
    pub next_steps: Vec<&'static str>,
}

/// What was asked.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Asked {
    /// The method; empty for a connection.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub method: String,
    /// The canonical path without the query; empty for a connection.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The destination's host.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
    /// The destination's port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// The program that asked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub binary: String,
}

/// The allow rule that is not there.
#[derive(Debug, Clone, Serialize)]
pub struct RuleMissing {
    /// `rest_allow`.
    pub r#type: &'static str,
    /// `l4` or `l7`.
    pub layer: &'static str,
    /// What it would have to name.
    #[serde(flatten)]
    pub asked: Asked,
}

/// Every kind of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// No rule allows it, or one denies it.
    PolicyDenied,
    /// The address behind the name may not be reached.
    SsrfDenied,
    /// CONNECT target, SNI, `Host` and the name that was resolved do not agree.
    RequestAuthorityMismatch,
    /// The request target has no canonical form.
    InvalidRequestTarget,
    /// The request is not one that a proxy takes.
    InvalidRequest,
    /// The head of the request has more bytes or more headers than are taken.
    RequestHeadTooLarge,
    /// The request is of another version of HTTP than is spoken on its connection.
    UnsupportedHttpVersion,
    /// A placeholder where its credential is not bound.
    CredentialEndpointMismatch,
    /// A placeholder that is not alone in its slot.
    InvalidCredentialPlaceholder,
    /// A credential would travel in clear.
    CredentialCleartext,
    /// There is no such credential, its source fails, or its value does not fit the place.
    CredentialUnavailable,
    /// The body is larger than what is judged.
    RequestTooLarge,
    /// The bytes are neither TLS nor HTTP/1.
    UnsupportedL7Protocol,
    /// The WebSocket handshake is wrong (RFC 6455, section 4.2.1).
    InvalidWebsocketHandshake,
    /// Nothing takes the connection.
    UpstreamUnreachable,
    /// Nothing answers in time.
    UpstreamTimeout,
    /// The upstream has as many requests as it gets connections.
    UpstreamBusy,
    /// The upstream's certificate or TLS is not acceptable.
    UpstreamTlsFailed,
    /// The upstream broke off or sent no HTTP.
    UpstreamBroken,
    /// The reply is encoded although it was asked not to be, so it cannot be searched for secrets.
    ReplyNotReadable,
    /// The journal cannot be written.
    JournalUnavailable,
    /// The client shows no credentials for the proxy, or wrong ones.
    ProxyAuthenticationRequired,
    /// The client's address is no agent's.
    UnknownAgent,
    /// The agent holds as many connections as it may.
    TooManyConnections,
    /// Bodies that are being judged take all the room that there is for them.
    TooManyBodies,
    /// The request would come back to the proxy that sends it.
    ProxyLoop,
}

impl Code {
    /// The code as it stands in the journal and in answers.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::PolicyDenied => "policy_denied",
            Self::SsrfDenied => "ssrf_denied",
            Self::RequestAuthorityMismatch => "request_authority_mismatch",
            Self::InvalidRequestTarget => "invalid_request_target",
            Self::InvalidRequest => "invalid_request",
            Self::RequestHeadTooLarge => "request_head_too_large",
            Self::UnsupportedHttpVersion => "unsupported_http_version",
            Self::CredentialEndpointMismatch => "credential_endpoint_mismatch",
            Self::InvalidCredentialPlaceholder => "invalid_credential_placeholder",
            Self::CredentialCleartext => "credential_cleartext",
            Self::CredentialUnavailable => "credential_unavailable",
            Self::RequestTooLarge => "request_too_large",
            Self::UnsupportedL7Protocol => "unsupported_l7_protocol",
            Self::InvalidWebsocketHandshake => "invalid_websocket_handshake",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamBusy => "upstream_busy",
            Self::UpstreamTlsFailed => "upstream_tls_failed",
            Self::UpstreamBroken => "upstream_broken",
            Self::ReplyNotReadable => "reply_not_readable",
            Self::JournalUnavailable => "journal_unavailable",
            Self::ProxyAuthenticationRequired => "proxy_authentication_required",
            Self::UnknownAgent => "unknown_agent",
            Self::TooManyConnections => "too_many_connections",
            Self::TooManyBodies => "too_many_bodies",
            Self::ProxyLoop => "proxy_loop",
        }
    }

    fn status(self) -> StatusCode {
        match self {
            Self::PolicyDenied
            | Self::SsrfDenied
            | Self::CredentialEndpointMismatch
            | Self::InvalidCredentialPlaceholder
            | Self::CredentialCleartext
            | Self::UnsupportedL7Protocol
            | Self::UnknownAgent => StatusCode::FORBIDDEN,
            Self::ProxyAuthenticationRequired => StatusCode::PROXY_AUTHENTICATION_REQUIRED,
            Self::ProxyLoop => StatusCode::LOOP_DETECTED,
            Self::InvalidRequestTarget | Self::InvalidRequest | Self::InvalidWebsocketHandshake => {
                StatusCode::BAD_REQUEST
            }
            Self::RequestHeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::UnsupportedHttpVersion => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::RequestTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::RequestAuthorityMismatch => StatusCode::MISDIRECTED_REQUEST,
            Self::UpstreamUnreachable | Self::UpstreamTlsFailed | Self::UpstreamBroken | Self::ReplyNotReadable => {
                StatusCode::BAD_GATEWAY
            }
            Self::CredentialUnavailable => StatusCode::INTERNAL_SERVER_ERROR,
            Self::UpstreamTimeout => StatusCode::GATEWAY_TIMEOUT,
            Self::JournalUnavailable | Self::TooManyConnections | Self::TooManyBodies | Self::UpstreamBusy => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    fn next_steps(self) -> Vec<&'static str> {
        match self {
            Self::PolicyDenied => vec!["Ask the operator to add a rule for this request to the policy."],
            Self::CredentialEndpointMismatch => {
                vec!["Use this credential only at its own service, or ask the operator to bind it here."]
            }
            Self::InvalidCredentialPlaceholder => {
                vec!["Send the placeholder as the whole token, after at most one scheme word such as Bearer."]
            }
            Self::CredentialUnavailable => {
                vec!["Tell the operator: `tollgate credential test` shows which credentials can be read."]
            }
            Self::JournalUnavailable => {
                vec!["Tell the operator: the gate cannot write its journal and lets nothing through."]
            }
            Self::ProxyAuthenticationRequired => {
                vec!["Put the agent's name and token into the proxy URL: http://AGENT:TOKEN@HOST:PORT."]
            }
            Self::UnknownAgent => vec!["Ask the operator to add this address to the `sources` of an agent."],
            Self::ProxyLoop => {
                vec![
                    "Tell the operator: except the proxy's own user from the redirect, or remove the pin to the proxy.",
                ]
            }
            _ => Vec::new(),
        }
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl Refusal {
    /// What it says.
    #[must_use]
    pub fn problem(&self) -> &Problem {
        &self.0
    }

    /// A refusal of a request.
    #[must_use]
    pub fn request(error: Code, detail: impl Into<String>, asked: Asked) -> Self {
        Self::new(error, "l7", detail.into(), asked)
    }

    /// A refusal of a connection.
    #[must_use]
    pub fn connection(error: Code, detail: impl Into<String>, asked: Asked) -> Self {
        Self::new(error, "l4", detail.into(), asked)
    }

    fn new(error: Code, layer: &'static str, detail: String, asked: Asked) -> Self {
        let next_steps = error.next_steps();
        let (reason, policy, rule) = Default::default();
        Self(Box::new(Problem { error, detail, reason, policy, rule, layer, asked, rule_missing: None, next_steps }))
    }

    /// Adds what the policy said.
    #[must_use]
    pub fn because(mut self, reason: String, policy: &str, rule: String) -> Self {
        let problem = &mut *self.0;
        if policy.is_empty() || problem.layer == "l7" {
            let asked = problem.asked.clone();
            problem.rule_missing = Some(RuleMissing { r#type: "rest_allow", layer: problem.layer, asked });
        }
        (problem.reason, problem.policy, problem.rule) = (reason, policy.to_owned(), rule);
        self
    }

    /// The judgement as the journal shows it.
    #[must_use]
    pub fn verdict(&self) -> Verdict<'_> {
        let Problem { error, detail, reason, policy, rule, .. } = &*self.0;
        let reason = if reason.is_empty() { detail } else { reason };
        Verdict { decision: "denied", policy, rule, error: error.name(), reason }
    }
}
