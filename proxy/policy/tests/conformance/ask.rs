//! Asking a policy in one line, as a case of `policy test`.

use serde_json::{Value, json};
use tollgate_policy::question::Verdict;
use tollgate_policy::{Policy, cases};

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
};

impl Request<'_> {
    fn to_case(self, expect: &str) -> Value {
        let mut case = json!({
            "host": self.host,
            "port": self.port,
            "binary": self.binary,
            "ancestors": self.ancestors,
            "method": self.method,
            "path": self.target,
            "expect": expect,
        });
        if let Some(body) = self.body {
            case["body"] = body.into();
        }
        case
    }
}

/// What `policy test` says of one request, and why: `expect` is `allow`, `audit` or a part of the reason for a refusal.
pub(crate) fn judge(policy: &Policy, request: Request<'_>, expect: &str) -> Result<(), String> {
    let word = if matches!(expect, "allow" | "audit") { expect } else { "deny" };
    let file = json!([request.to_case(word)]).to_string();
    let read = cases::read(&file).map_err(|found| format!("{found}\n{file}"))?;
    let outcome = &cases::run(policy, &read)[0];
    let answer = &outcome.answer;
    let reason = answer.reason.as_deref().unwrap_or_default();
    let agrees = match word {
        // The format takes audit mode for allowed as well; the rows tell them apart.
        "allow" => answer.verdict == Verdict::Allow,
        "deny" => reason.contains(expect),
        _ => true,
    };
    if outcome.passed && agrees { Ok(()) } else { Err(format!("{request:?}: expected {expect:?}, got {outcome}")) }
}
