//! A request in words, and its answer: what `explain`, `test` and `diff` ask a policy.
//!
//! The same functions decide here as at run time; this module only reads the words.
//!
//! ```
//! use tollgate_policy::question::{Question, Verdict};
//!
//! let policy = tollgate_policy::load("version: 1").unwrap();
//! let answer = Question::connection("api.example.com", 443).ask(&policy);
//! assert_eq!(answer.verdict, Verdict::Deny);
//! ```

mod answer;

use tollgate_model::{
    Ask, Authority, Caller, CanonicalPath, ConnectAsk, EncodedSlash, Host, Method, Port, Program, Scheme, Unidentified,
};

pub use answer::{Answer, Verdict};

use crate::compile::Policy;
use crate::decide::{Circumstances, Decision, Payload};

/// Who asks for what, in words.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Question {
    /// A host name or address.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The program; unknown where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub binary: Option<String>,
    /// The programs that started it, parent first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ancestors: Vec<String>,
    /// The request inside the connection; nothing asks about the connection alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestWords>,
    /// The agent, for entries with `when:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The user, for entries with `when:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The label of the data, for entries with `when:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sensitivity: Option<String>,
    /// The time in seconds since 1970 UTC, for entries with `when:`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub now: Option<i64>,
}

/// A request in words.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct RequestWords {
    /// The method, or `WEBSOCKET_TEXT` for a text message after the upgrade.
    pub method: String,
    /// The path as a client would send it, with or without `?` and a query.
    pub path: String,
    /// The body, taken for JSON, or the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// The method that stands for a text message.
const TEXT_MESSAGE: &str = "WEBSOCKET_TEXT";

impl Question {
    /// May an unknown program connect there?
    #[must_use]
    pub fn connection(host: &str, port: u16) -> Self {
        Self { host: host.to_owned(), port, ..Self::default() }
    }

    /// The answer of a policy.
    #[must_use]
    pub fn ask(&self, policy: &Policy) -> Answer {
        let authority = match self.authority() {
            Ok(authority) => authority,
            Err(reason) => return Answer::malformed("bad_destination", reason),
        };
        let caller = self.caller();
        let connect = ConnectAsk { caller: &caller, authority: &authority };
        match (policy.connect_when(&connect, &self.circumstances()), &self.request) {
            (Err(denial), _) => Answer::denied(&denial),
            (Ok(permit), None) => Answer::connected(&permit),
            (Ok(permit), Some(request)) => self.ask_request(policy, &connect, permit.encoded_slash(), request),
        }
    }

    fn ask_request(
        &self,
        policy: &Policy,
        connect: &ConnectAsk<'_>,
        slash: EncodedSlash,
        request: &RequestWords,
    ) -> Answer {
        let conditions = self.circumstances();
        let (path, query) = match request.path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (&*request.path, None),
        };
        let path = match CanonicalPath::parse(path, slash) {
            Ok(path) => path,
            Err(error) => return Answer::malformed("bad_path", error.to_string()),
        };
        let is_message = request.method == TEXT_MESSAGE;
        let method = match Method::parse(if is_message { "GET" } else { &request.method }) {
            Ok(method) => method,
            Err(error) => return Answer::malformed("bad_method", error.to_string()),
        };
        let ask = Ask {
            caller: connect.caller,
            authority: connect.authority,
            scheme: Scheme::Https,
            method: &method,
            path: &path,
            query,
        };
        let body = request.body.as_deref().unwrap_or_default();
        let decision = match policy.decide_when(&ask, &conditions) {
            Decision::Allow(_) if is_message => policy.decide_message_when(&ask, body, &conditions),
            Decision::NeedsBody(_) => {
                let payload = Payload { accept: Some("text/event-stream"), ..Payload::json(body.as_bytes()) };
                policy.decide_with_body_when(&ask, payload, &conditions)
            }
            decided => decided,
        };
        Answer::decided(decision)
    }

    pub(crate) fn authority(&self) -> Result<Authority, String> {
        let host = Host::parse(&self.host).map_err(|error| error.to_string())?;
        let port = Port::try_from(self.port).map_err(|error| error.to_string())?;
        Ok(Authority::new(host, port))
    }

    pub(crate) fn caller(&self) -> Caller {
        // No rule looks at the hash; the proxy compares it where it identifies callers.
        let program = |path: &String| Program { path: path.as_str().into(), sha256: [0; 32], changed: false };
        match &self.binary {
            None => Caller::Unknown(Unidentified::Outside),
            Some(binary) => Caller::Known {
                pid: 0,
                program: program(binary),
                ancestors: self.ancestors.iter().map(program).collect(),
            },
        }
    }

    pub(crate) fn circumstances(&self) -> Circumstances<'_> {
        Circumstances {
            agent: self.agent.as_deref(),
            user: self.user.as_deref(),
            sensitivity: self.sensitivity.as_deref(),
            now: self.now,
        }
    }
}

/// `curl → api.example.com:443 GET /v1`.
impl std::fmt::Display for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} → {}:{}", self.binary.as_deref().unwrap_or("unknown program"), self.host, self.port)?;
        match &self.request {
            Some(request) => write!(f, " {} {}", request.method, request.path),
            None => Ok(()),
        }
    }
}
