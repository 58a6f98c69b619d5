//! Connections kept for the next request to the same place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use tollgate_model::{Authority, Scheme};
use tollgate_policy::Reach;
use tollgate_secrets::Outbound;

use super::Dialer;
use super::dial::DialError;
use crate::upload::Upload;

/// Sends what may leave, over connections that it opens and keeps.
///
/// A connection is shared only by requests to the same scheme and authority that were judged by the same generation, so
/// none outlives the rules, the addresses and the credentials it was opened under.
#[derive(Debug)]
pub struct Pool {
    dialer: Dialer,
    idle: Arc<Mutex<HashMap<Key, Vec<Idle>>>>,
}

/// Why no reply came.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke before a reply, or the reply is not HTTP.
    #[error("the upstream {authority} broke off: {reason}")]
    Broken {
        /// Where to.
        authority: Authority,
        /// What the HTTP library said.
        reason: String,
    },
}

/// Where a request goes and under which rules.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) scheme: Scheme,
    pub(crate) authority: Authority,
    pub(crate) generation: u64,
}

#[derive(Debug)]
struct Idle {
    sender: SendRequest<Upload>,
    since: Instant,
}

/// Idle connections kept for one key, and how long: most servers close after a minute.
const IDLE_PER_KEY: usize = 32;
const IDLE_TIME: Duration = Duration::from_secs(50);

/// Keys with idle connections; beyond that connections are not kept.
const IDLE_KEYS: usize = 1024;

impl Pool {
    /// An empty pool over a dialer.
    #[must_use]
    pub fn new(dialer: Dialer) -> Self {
        Self { dialer, idle: Arc::default() }
    }

    /// Sends a request that was judged and injected, and waits for the head of its reply.
    pub(crate) async fn send(
        &self,
        key: Key,
        reach: &Reach,
        outbound: Outbound,
        body: Upload,
    ) -> Result<Response<Incoming>, SendError> {
        let mut request = Request::from_parts(outbound.into_parts(), body);
        while let Some(mut sender) = self.take(&key) {
            match sender.try_send_request(request).await {
                Ok(reply) => return Ok(self.keep(key, sender, reply)),
                Err(mut error) => match error.take_message() {
                    // Closed while idle: nothing was sent, so another connection may try.
                    Some(unsent) => request = unsent,
                    None => return Err(broken(&key, &error.into_error())),
                },
            }
        }
        let mut sender = self.open(&key, reach).await?;
        let reply = sender.send_request(request).await.map_err(|e| broken(&key, &e))?;
        Ok(self.keep(key, sender, reply))
    }

    async fn open(&self, key: &Key, reach: &Reach) -> Result<SendRequest<Upload>, SendError> {
        let stream = self.dialer.dial(key.scheme, &key.authority, reach).await?;
        let (sender, connection) = http1::Builder::new()
            .max_headers(MAX_REPLY_HEADERS)
            .handshake(stream)
            .await
            .map_err(|e| broken(key, &e))?;
        let authority = key.authority.clone();
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%authority, %error, "upstream connection ended");
            }
        });
        Ok(sender)
    }

    fn take(&self, key: &Key) -> Option<SendRequest<Upload>> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = idle.get_mut(key)?;
        while let Some(candidate) = waiting.pop() {
            if candidate.since.elapsed() < IDLE_TIME && candidate.sender.is_ready() {
                return Some(candidate.sender);
            }
        }
        idle.remove(key);
        None
    }

    /// Puts the connection back once the reply has been read to its end.
    fn keep(&self, key: Key, mut sender: SendRequest<Upload>, reply: Response<Incoming>) -> Response<Incoming> {
        let idle = Arc::clone(&self.idle);
        tokio::spawn(async move {
            if sender.ready().await.is_err() {
                return;
            }
            let mut idle = idle.lock().unwrap_or_else(PoisonError::into_inner);
            if idle.len() >= IDLE_KEYS && !idle.contains_key(&key) {
                idle.retain(|_, waiting| waiting.iter().any(|w| w.since.elapsed() < IDLE_TIME));
            }
            if idle.len() >= IDLE_KEYS {
                return;
            }
            let waiting = idle.entry(key).or_default();
            waiting.retain(|w| w.since.elapsed() < IDLE_TIME);
            if waiting.len() < IDLE_PER_KEY {
                waiting.push(Idle { sender, since: Instant::now() });
            }
        });
        reply
    }
}

/// More than any real server sends.
const MAX_REPLY_HEADERS: usize = 256;

fn broken(key: &Key, error: &hyper::Error) -> SendError {
    SendError::Broken { authority: key.authority.clone(), reason: error.to_string() }
}
