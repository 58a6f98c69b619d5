//! Asking a sandbox over its control socket.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

/// Why a sandbox gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens: it has ended.
    #[error("it is not running")]
    NotRunning,
    /// It does not answer as it should.
    #[error("it gives no answer: {0}")]
    Broken(String),
}

/// A sandbox that is alive answers at once.
const TIMEOUT: Duration = Duration::from_secs(5);

/// More than any answer has.
const MAX_ANSWER_BYTES: usize = 4 << 20;

/// `GET path` on a control socket.
pub async fn fetch<T: DeserializeOwned>(socket: &Path, path: &str) -> Result<T, ClientError> {
    ask(socket, http::Method::GET, path).await
}

/// `METHOD path` on a control socket.
pub async fn ask<T: DeserializeOwned>(socket: &Path, method: http::Method, path: &str) -> Result<T, ClientError> {
    let stream = UnixStream::connect(socket).await.map_err(|_| ClientError::NotRunning)?;
    tokio::time::timeout(TIMEOUT, exchange(stream, method, path))
        .await
        .map_err(|_| ClientError::Broken("it took too long".to_owned()))?
        .map_err(|e| ClientError::Broken(e.to_string()))
}

async fn exchange<T: DeserializeOwned>(
    stream: UnixStream,
    method: http::Method,
    path: &str,
) -> Result<T, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::HOST, "tollgate")
        .body(Empty::<Bytes>::new())?;
    let reply = sender.send_request(request).await?;
    let body = Limited::new(reply.into_body(), MAX_ANSWER_BYTES).collect().await?.to_bytes();
    connection.abort();
    Ok(serde_json::from_slice(&body)?)
}
