//! Asking a sandbox over its control socket.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use nix::unistd::Uid;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;
use tollgate_wire::policy::Problem;

/// Why a sandbox gave no answer, or not the one that was asked for.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens: it has ended.
    #[error("it is not running")]
    NotRunning,
    /// It does not answer in time.
    #[error("it gives no answer: it took too long")]
    TimedOut,
    /// What stands in its place is not to be trusted.
    #[error("its socket {path} is not to be trusted: {why}")]
    Untrusted {
        /// The socket.
        path: PathBuf,
        /// Why.
        why: &'static str,
    },
    /// It does not answer as it should.
    #[error("it gives no answer: {0}")]
    Broken(String),
    /// It says why it did not do it.
    #[error("{}", .1.message)]
    Refused(StatusCode, Problem),
}

/// What is asked, and how long the answer may take.
struct Question<'a> {
    method: Method,
    path: &'a str,
    body: Bytes,
    timeout: Duration,
}

/// A sandbox that is alive answers at once.
const TIMEOUT: Duration = Duration::from_secs(5);

/// More than any answer has: the text of a policy may be written six times as long in JSON.
const MAX_ANSWER_BYTES: usize = 16 << 20;

/// `GET path` on a control socket.
pub async fn fetch<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, ClientError> {
    ask(socket, Method::GET, path).await
}

/// `METHOD path` on a control socket.
pub async fn ask<T: DeserializeOwned>(socket: &Path, method: Method, path: &str) -> Result<T, ClientError> {
    answer(socket, Question { method, path, body: Bytes::new(), timeout: TIMEOUT }).await
}

/// `METHOD path` with a JSON body, on a control socket.
pub async fn send<T: DeserializeOwned>(
    socket: &Path,
    (method, path): (Method, &str),
    body: &impl Serialize,
    timeout: Duration,
) -> Result<T, ClientError> {
    let body = serde_json::to_vec(body).map_err(|e| ClientError::Broken(e.to_string()))?;
    answer(socket, Question { method, path, body: body.into(), timeout }).await
}

async fn answer<T: DeserializeOwned>(socket: &Path, question: Question<'_>) -> Result<T, ClientError> {
    let timeout = question.timeout;
    check_socket(socket)?;
    let stream = UnixStream::connect(socket).await.map_err(|_| ClientError::NotRunning)?;
    let exchanged = tokio::time::timeout(timeout, exchange(stream, question)).await;
    let (status, body) =
        exchanged.map_err(|_| ClientError::TimedOut)?.map_err(|e| ClientError::Broken(e.to_string()))?;
    if status.is_success() {
        return serde_json::from_slice(&body).map_err(|e| ClientError::Broken(e.to_string()));
    }
    match serde_json::from_slice(&body) {
        Ok(problem) => Err(ClientError::Refused(status, problem)),
        Err(_) => Err(ClientError::Broken(format!("it says {status}"))),
    }
}

/// Whoever could put another socket in its place would be told what its owner says.
///
/// # Errors
/// Where there is none, or one that is another user's or that others may use.
pub fn check_socket(path: &Path) -> Result<(), ClientError> {
    let untrusted = |why| Err(ClientError::Untrusted { path: path.to_owned(), why });
    let Ok(found) = std::fs::symlink_metadata(path) else { return Err(ClientError::NotRunning) };
    match found.mode() & 0o077 {
        _ if !found.file_type().is_socket() => untrusted("it is no socket"),
        _ if found.uid() != Uid::effective().as_raw() => untrusted("it belongs to another user"),
        0 => Ok(()),
        _ => untrusted("others may use it; it has to have mode 0600"),
    }
}

async fn exchange(
    stream: UnixStream,
    question: Question<'_>,
) -> Result<(StatusCode, Bytes), Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = http::Request::builder()
        .method(question.method)
        .uri(question.path)
        .header(http::header::HOST, "tollgate")
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Full::new(question.body))?;
    let reply = sender.send_request(request).await?;
    let status = reply.status();
    let body = Limited::new(reply.into_body(), MAX_ANSWER_BYTES).collect().await?.to_bytes();
    connection.abort();
    Ok((status, body))
}
