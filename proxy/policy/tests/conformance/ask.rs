//! Asking a policy in one line.

use tollgate_model::{Ask, Authority, Caller, CanonicalPath, ConnectAsk, Method, Program, Scheme};
use tollgate_policy::{Decision, Mode, Payload, Policy};

/// Who asks for what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) binary: &'a str,
    pub(crate) ancestors: &'a [&'a str],
    pub(crate) method: &'a str,
    pub(crate) target: &'a str,
    /// A JSON body, or with the method `WEBSOCKET_TEXT` the message.
    pub(crate) body: Option<&'a str>,
    pub(crate) accept: Option<&'a str>,
}

/// `curl` asking for `/` on the host of the tables.
pub(crate) const CURL: Request<'static> = Request {
    host: "x.example.com",
    port: 443,
    binary: "/usr/bin/curl",
    ancestors: &[],
    method: "GET",
    target: "/",
    body: None,
    accept: None,
};

/// `allow`, `audit: …`, or why not.
pub(crate) fn verdict(policy: &Policy, request: Request<'_>) -> String {
    let caller = caller(request.binary, request.ancestors);
    let authority = match Authority::parse(&format!("{}:{}", request.host, request.port)) {
        Ok(authority) => authority,
        Err(error) => return format!("bad authority: {error}"),
    };
    let connect = ConnectAsk { caller: &caller, authority: &authority };
    if let Err(denial) = policy.connect(&connect) {
        return denial.to_string();
    }
    let (path, query) = match request.target.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (request.target, None),
    };
    let path = match CanonicalPath::parse(path, policy.encoded_slash(&connect)) {
        Ok(path) => path,
        Err(error) => return format!("bad path: {error}"),
    };
    let is_message = request.method == "WEBSOCKET_TEXT";
    let method = Method::parse(if is_message { "GET" } else { request.method }).expect("a method");
    let ask =
        Ask { caller: &caller, authority: &authority, scheme: Scheme::Https, method: &method, path: &path, query };
    let body = request.body.unwrap_or_default();
    in_words(match policy.decide(&ask) {
        Decision::Allow(_) if is_message => policy.decide_message(&ask, body),
        Decision::NeedsBody(_) => {
            policy.decide_with_body(&ask, Payload { accept: request.accept, ..Payload::json(body.as_bytes()) })
        }
        other => other,
    })
}

fn caller(binary: &str, ancestors: &[&str]) -> Caller {
    let program = |path: &str| Program { path: path.into(), sha256: [0; 32] };
    Caller::Known { pid: 2, program: program(binary), ancestors: ancestors.iter().map(|path| program(path)).collect() }
}

fn in_words(decision: Decision) -> String {
    match decision {
        Decision::Allow(permit) => match permit.mode() {
            Mode::Enforce => "allow".to_owned(),
            Mode::Audit { would } => format!("audit: {would}"),
        },
        Decision::NeedsBody(need) => format!("needs a body for {}", need.protocol().as_str()),
        Decision::Deny(denial) => denial.to_string(),
    }
}
