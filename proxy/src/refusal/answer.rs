//! Refusals in the words of the protocol that was refused.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderValue, PROXY_AUTHENTICATE};
use http::{Response, StatusCode};
use http_body_util::Full;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::{Code, Refusal};

/// What the client takes for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// A status and a problem document (RFC 9457).
    Http,
    /// `grpc-status` in a reply of headers alone; gRPC clients read nothing else.
    Grpc,
}

impl Refusal {
    /// The answer on an HTTP connection, CONNECT included. A refused connection closes; after a refused request the next
    /// one may come.
    pub(crate) fn answer(&self, dialect: Dialect) -> Response<Full<Bytes>> {
        match dialect {
            Dialect::Http => self.problem_document(),
            Dialect::Grpc => self.grpc_status(),
        }
    }

    fn problem_document(&self) -> Response<Full<Bytes>> {
        let problem = &*self.0;
        let mut body = serde_json::to_vec(problem).expect("a refusal holds only text and numbers");
        body.push(b'\n');
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = problem.error.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if problem.layer == "l4" {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if problem.error == Code::ProxyAuthenticationRequired {
            // RFC 9110, section 11.7.1: each scheme that would do.
            headers.append(PROXY_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"tollgate\", charset=\"UTF-8\""));
            headers.append(PROXY_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"tollgate\""));
        }
        if let Ok(policy) = HeaderValue::from_str(&problem.policy)
            && !problem.policy.is_empty()
        {
            headers.insert("x-openshell-policy", policy);
        }
        response
    }

    fn grpc_status(&self) -> Response<Full<Bytes>> {
        let problem = &*self.0;
        let mut response = Response::new(Full::default());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(problem.error.grpc_status()));
        let mut message = format!("{}: {}", problem.error.name(), problem.detail);
        if !problem.reason.is_empty() {
            message = format!("{message} ({})", problem.reason);
        }
        let message = HeaderValue::try_from(percent_encoded(&message)).expect("only visible ASCII and blanks");
        headers.insert("grpc-message", message);
        response
    }
}

impl Code {
    /// The status in gRPC's own list of codes.
    pub(crate) fn grpc_status(self) -> u16 {
        const INVALID_ARGUMENT: u16 = 3;
        const PERMISSION_DENIED: u16 = 7;
        const RESOURCE_EXHAUSTED: u16 = 8;
        const UNAVAILABLE: u16 = 14;
        match self.status() {
            StatusCode::BAD_REQUEST => INVALID_ARGUMENT,
            StatusCode::PAYLOAD_TOO_LARGE => RESOURCE_EXHAUSTED,
            status if status.is_server_error() => UNAVAILABLE,
            _ => PERMISSION_DENIED,
        }
    }
}

/// `Percent-Encoded` of the gRPC protocol: blanks and visible ASCII without `%` stand for themselves.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Ends a TLS client's attempt with a fatal `access_denied` alert (RFC 8446, section 6.2), before any key is agreed on.
pub(crate) async fn alert<S: AsyncWrite + Unpin>(mut io: S) {
    const ACCESS_DENIED: [u8; 7] = [21, 3, 3, 0, 2, 2, 49];
    // The client may have gone; then there is nobody to tell.
    let _ = io.write_all(&ACCESS_DENIED).await;
    let _ = io.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::super::{Asked, Refusal};
    use super::*;

    #[test]
    fn d10_grpc_hears_its_own_status() {
        let refusal = Refusal::request(Code::PolicyDenied, "100% \u{e9}\n", Asked::default());
        let answer = refusal.answer(Dialect::Grpc);
        assert_eq!(answer.status(), StatusCode::OK);
        assert_eq!(answer.headers()["grpc-status"], "7");
        assert_eq!(answer.headers()["grpc-message"], "policy_denied: 100%25 %C3%A9%0A");
        let refusal = Refusal::request(Code::UpstreamTimeout, "late", Asked::default());
        assert_eq!(refusal.answer(Dialect::Grpc).headers()["grpc-status"], "14");
        assert_eq!(refusal.answer(Dialect::Http).status(), StatusCode::GATEWAY_TIMEOUT);
    }
}
