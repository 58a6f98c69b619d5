//! Access tokens from a token endpoint (RFC 6749): client credentials (4.4) and refresh token (6).
//!
//! Described by a JSON file that only its owner can read:
//!
//! ```json
//! {"token_url": "https://id.example.com/token", "client_id": "agent", "client_secret_from": "store:CLIENT_SECRET", "scope": "read"}
//! ```
//!
//! With `refresh_token` or `refresh_token_from` it is a refresh-token grant. An endpoint may give a new refresh token with each
//! access token and take back the one before; the new one is kept in the store before the access token is used, and sandboxes
//! that share a description take turns. The files that `gcloud` keeps for applications
//! (`"type": "authorized_user"`) are taken as they are.

use std::fs::File;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Request, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tollgate_audit::digest::{hex, sha256};
use zeroize::Zeroizing;

use super::fetch::{Fetch, FetchError, Fetched, Stamp, read_file, stamp};
use super::network::{Io, LOOPBACK};
use super::source::{Access, Opened, Source};
use super::store::Entry;

/// A token endpoint and what to say to it.
pub struct TokenEndpoint {
    path: PathBuf,
    access: Access,
    url: Uri,
    described: Described,
    client_secret: Option<Opened>,
    refresh_token: Option<Opened>,
    /// The refresh token that the endpoint gave last, where the store could not take it.
    unkept: Mutex<Option<Zeroizing<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Described {
    #[serde(default)]
    token_url: String,
    client_id: String,
    #[serde(default)]
    client_secret: Option<Zeroizing<String>>,
    #[serde(default)]
    client_secret_from: Option<String>,
    #[serde(default)]
    refresh_token: Option<Zeroizing<String>>,
    #[serde(default)]
    refresh_token_from: Option<String>,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    audience: Option<String>,
    /// How the client says who it is (RFC 6749, section 2.3.1).
    #[serde(default)]
    client_auth: ClientAuth,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default, rename = "account")]
    _account: Option<String>,
    #[serde(default, rename = "quota_project_id")]
    _quota_project: Option<String>,
    #[serde(default, rename = "universe_domain")]
    _universe: Option<String>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum ClientAuth {
    #[default]
    Basic,
    Post,
}

/// RFC 6749, section 5.1.
#[derive(Deserialize)]
struct Granted {
    access_token: Zeroizing<String>,
    #[serde(default)]
    expires_in: Option<u64>,
    #[serde(default)]
    refresh_token: Option<Zeroizing<String>>,
}

/// RFC 6749, section 5.2.
#[derive(Deserialize)]
struct Refused {
    error: String,
}

/// The endpoint of files whose `type` is `authorized_user`.
const AUTHORIZED_USER_ENDPOINT: &str = "https://oauth2.googleapis.com/token";

/// A token endpoint answers in less than a second; one that does not is down.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A reply with a token in it has one or two kilobytes.
const MAX_REPLY_BYTES: usize = 64 * 1024;

impl TokenEndpoint {
    /// Reads the description.
    pub fn open(path: &Path, access: &Access) -> Result<Self, FetchError> {
        let unusable = |reason: String| FetchError::File(path.to_owned(), reason);
        let about = std::fs::metadata(path).map_err(|e| unusable(e.to_string()))?;
        if std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o077 != 0 {
            return Err(unusable(format!("others may read it; run: chmod 600 {}", path.display())));
        }
        let text = read_file(path)?;
        let mut described: Described = serde_json::from_str(&text).map_err(|e| {
            unusable(format!("line {} is not as it should be; see `tollgate credential --help`", e.line()))
        })?;
        if described.kind.as_deref() == Some("authorized_user") && described.token_url.is_empty() {
            AUTHORIZED_USER_ENDPOINT.clone_into(&mut described.token_url);
            described.client_auth = ClientAuth::Post;
        }
        let url = endpoint(&described.token_url).map_err(unusable)?;
        let opened = |from: &Option<String>| -> Result<Option<Opened>, FetchError> {
            let source = from.as_deref().map(str::parse::<Source>).transpose().map_err(unusable)?;
            source.map(|source| source.open(access)).transpose()
        };
        let (client_secret, refresh_token) =
            (opened(&described.client_secret_from)?, opened(&described.refresh_token_from)?);
        let (path, access) = (path.to_owned(), access.clone());
        Ok(Self { path, access, url, described, client_secret, refresh_token, unkept: Mutex::default() })
    }

    async fn ask(&self) -> Result<Fetched, FetchError> {
        let secret = value(&self.described.client_secret, self.client_secret.as_ref()).await?;
        let given = value(&self.described.refresh_token, self.refresh_token.as_ref()).await?;
        let Some(given) = given else { return self.grant(secret.as_deref(), None).await.map(fetched) };
        // Whoever comes second uses the token that the first one was given.
        let _turn = self.turn().await?;
        let current = self.renewed(&given)?;
        let granted = self.grant(secret.as_deref(), Some(current.as_deref().unwrap_or(&given))).await?;
        if let Some(token) = &granted.refresh_token {
            self.keep(&given, token);
        }
        Ok(fetched(granted))
    }

    async fn grant(&self, secret: Option<&String>, refresh: Option<&String>) -> Result<Granted, FetchError> {
        let request = self.request(secret, refresh)?;
        let reply = tokio::time::timeout(TIMEOUT, self.send(request)).await;
        reply.map_err(|_| self.failed(format!("did not answer within {} seconds", TIMEOUT.as_secs())))?
    }

    /// Waits until no other process of this user asks with the same description.
    async fn turn(&self) -> Result<File, FetchError> {
        let digest = hex(&sha256(self.key().as_bytes()));
        let path = self.access.store.path().with_file_name(format!("oauth-{}.lock", &digest[..16]));
        let locked = tokio::task::spawn_blocking(move || {
            let file = File::options().create(true).truncate(false).write(true).open(path)?;
            file.lock().map(|()| file)
        });
        let late = || self.failed("is being asked by another process that does not come to an end".to_owned());
        let locked = tokio::time::timeout(3 * TIMEOUT, locked).await.map_err(|_| late())?;
        locked
            .map_err(|e| e.to_string())
            .and_then(|file| file.map_err(|e| e.to_string()))
            .map_err(|e| FetchError::Store(format!("the lock of {} cannot be taken: {e}", self.path.display())))
    }

    /// The refresh token that took the place of the given one; nothing where none has.
    fn renewed(&self, given: &str) -> Result<Option<Zeroizing<String>>, FetchError> {
        let unkept = self.unkept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(token) = &*unkept {
            return Ok(Some(token.clone()));
        }
        let entries = self.access.store.read().map_err(|failure| FetchError::Store(failure.message().to_owned()))?;
        let of = fingerprint(given);
        // A token that the operator has put in since is a new beginning.
        let entry = entries.0.get(&self.key()).filter(|entry| entry.renews.as_ref() == Some(&of) && !entry.revoked);
        Ok(entry.and_then(|entry| entry.value.clone()))
    }

    fn keep(&self, given: &str, token: &Zeroizing<String>) {
        let entry = Entry { value: Some(token.clone()), renews: Some(fingerprint(given)), ..Entry::default() };
        let kept = self.access.store.change(|entries| {
            entries.0.insert(self.key(), entry);
            Ok(())
        });
        let failure = kept.err();
        if let Some(failure) = &failure {
            tracing::error!(
                reason = failure.message(),
                "a new refresh token cannot be kept: it is lost with this process"
            );
        }
        *self.unkept.lock().unwrap_or_else(PoisonError::into_inner) = failure.map(|_| token.clone());
    }

    /// Its name in the store, which no credential can have.
    fn key(&self) -> String {
        format!("oauth:{}", self.path.display())
    }

    fn request(&self, secret: Option<&String>, refresh: Option<&String>) -> Result<Request<Full<Bytes>>, FetchError> {
        let Described { client_id, scope, audience, client_auth, .. } = &self.described;
        let mut form = Form::default();
        match refresh {
            Some(token) => form.add("grant_type", "refresh_token").add("refresh_token", token),
            None => form.add("grant_type", "client_credentials"),
        };
        form.add_some("scope", scope.as_deref()).add_some("audience", audience.as_deref());
        let is_basic = *client_auth == ClientAuth::Basic && secret.is_some();
        if !is_basic {
            form.add("client_id", client_id).add_some("client_secret", secret.map(String::as_str));
        }
        let host = self.url.authority().map_or("", http::uri::Authority::as_str);
        let mut request = Request::post(self.url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str))
            .header(header::HOST, host)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        if let Some(secret) = secret.filter(|_| is_basic) {
            let pair = Zeroizing::new(format!("{}:{}", encoded(client_id), encoded(secret)));
            let basic = format!("Basic {}", STANDARD.encode(pair.as_bytes()));
            let mut basic = HeaderValue::try_from(basic).map_err(|e| self.failed(e.to_string()))?;
            basic.set_sensitive(true);
            request = request.header(header::AUTHORIZATION, basic);
        }
        request.body(Full::new(Bytes::from(form.0))).map_err(|e| self.failed(e.to_string()))
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Result<Granted, FetchError> {
        let stream: Box<dyn Io> = self.access.network.connect(&self.url).await.map_err(|e| self.failed(e))?;
        let broken = |e: hyper::Error| self.failed(format!("broke off: {e}"));
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let driver = tokio::spawn(connection);
        let reply = sender.send_request(request).await.map_err(broken)?;
        let status = reply.status();
        let body = Limited::new(reply.into_body(), MAX_REPLY_BYTES).collect().await;
        driver.abort();
        let body = body.map_err(|_| self.failed(format!("answered with {status} and no readable body")))?.to_bytes();
        if !status.is_success() {
            return Err(self.failed(format!("answered with {status}{}", told(&body))));
        }
        serde_json::from_slice(&body).map_err(|_| self.failed("answered without an access token".to_owned()))
    }

    fn failed(&self, reason: String) -> FetchError {
        let host = self.url.authority().map_or("", http::uri::Authority::as_str);
        let scheme = self.url.scheme_str().unwrap_or_default();
        FetchError::Endpoint { endpoint: format!("{scheme}://{host}{}", self.url.path()), reason }
    }
}

impl Fetch for TokenEndpoint {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = Result<Fetched, FetchError>> + Send + '_>> {
        Box::pin(self.ask())
    }

    fn stamp(&self) -> Option<Stamp> {
        Some(stamp(&self.path))
    }
}

fn fetched(granted: Granted) -> Fetched {
    let life = granted.expires_in.map(Duration::from_secs);
    Fetched { value: SecretString::from(granted.access_token.as_str()), life }
}

fn fingerprint(token: &str) -> String {
    hex(&sha256(token.as_bytes()))
}

/// What is written in the file, or what its source gives.
async fn value(
    written: &Option<Zeroizing<String>>,
    source: Option<&Opened>,
) -> Result<Option<Zeroizing<String>>, FetchError> {
    match (written, source) {
        (Some(written), _) => Ok(Some(written.clone())),
        (None, Some(source)) => {
            let fetched = source.fetch.fetch().await?;
            Ok(Some(Zeroizing::new(fetched.value.expose_secret().to_owned())))
        }
        (None, None) => Ok(None),
    }
}

/// RFC 6749, section 3.2: TLS, except where nobody can listen.
fn endpoint(text: &str) -> Result<Uri, String> {
    let url: Uri = text.parse().map_err(|_| "`token_url` is no URL".to_owned())?;
    let is_loopback = url.host().is_some_and(|host| LOOPBACK.contains(&host));
    match url.scheme_str() {
        Some("https") if url.host().is_some() => Ok(url),
        Some("http") if is_loopback => Ok(url),
        _ => Err("`token_url` must begin with https://".to_owned()),
    }
}

/// The error code of an endpoint, where it looks like one: other text may hold what was sent.
fn told(body: &[u8]) -> String {
    let is_code = |error: &str| error.len() <= 64 && error.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let refused = serde_json::from_slice::<Refused>(body).ok().filter(|refused| is_code(&refused.error));
    refused.map(|refused| format!(", {}", refused.error)).unwrap_or_default()
}

/// `application/x-www-form-urlencoded`.
#[derive(Default)]
struct Form(String);

impl Form {
    fn add(&mut self, name: &str, value: &str) -> &mut Self {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(&format!("{name}={}", encoded(value)));
        self
    }

    fn add_some(&mut self, name: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.add(name, value),
            None => self,
        }
    }
}

fn encoded(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    text.bytes().map(|b| if is_plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests;
