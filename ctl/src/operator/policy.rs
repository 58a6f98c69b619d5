//! `/v1/policy` of a sandbox: replacing its policy while it runs, looking at it, and going back.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::connect_info::{ConnectInfo, Connected};
use axum::extract::{DefaultBodyLimit, State};
use axum::serve::IncomingStream;
use http::{StatusCode, Uri};
use nix::unistd::Uid;
use serde::de::DeserializeOwned;
use tollgate_policy::Diagnostics;
use tollgate_wire::policy::{Applied, Mistake, Problem, Replacement, Revisions, Rollback, Shown};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::OwnersOnly;
use super::network::TokenOnly;
use crate::policies::{MAX_POLICY_BYTES, Policies, Refused, Text};

/// The policy in force.
pub const POLICY: &str = "/v1/policy";

/// What was in force before.
pub const REVISIONS: &str = "/v1/policy/revisions";

/// Going back.
pub const ROLLBACK: &str = "/v1/policy/rollback";

/// JSON may write each byte of a policy as six.
const MAX_REQUEST_BYTES: usize = 6 * MAX_POLICY_BYTES as usize + 1024;

/// Fewer digits of a hash may mean several policies.
const MIN_HASH_DIGITS: usize = 12;

/// Who asks, as SO_PEERCRED says (unix(7)); nothing where the kernel does not tell.
#[derive(Debug, Clone, Copy)]
pub struct Peer(Option<u32>);

impl Connected<IncomingStream<'_, OwnersOnly>> for Peer {
    fn connect_info(stream: IncomingStream<'_, OwnersOnly>) -> Self {
        Self(stream.io().peer_cred().ok().map(|peer| peer.uid()))
    }
}

/// Whoever knows the token is as good as the owner: only the owner can read it.
impl Connected<IncomingStream<'_, TokenOnly>> for Peer {
    fn connect_info(_: IncomingStream<'_, TokenOnly>) -> Self {
        Self(Some(Uid::effective().as_raw()))
    }
}

/// An answer, or why there is none.
pub(super) type Answer<T> = Result<Json<T>, (StatusCode, Json<Problem>)>;

/// The routes.
pub fn router(policies: Arc<Policies>) -> OpenApiRouter {
    OpenApiRouter::new()
        .routes(routes!(show, replace))
        .routes(routes!(list))
        .routes(routes!(roll_back))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(policies)
}

/// Puts a policy in force: all of it, or nothing.
#[utoipa::path(put, path = "/v1/policy", request_body = Replacement, responses(
    (status = 200, description = "It is in force for every request from now on", body = Applied),
    (status = 400, description = "Not a request", body = Problem),
    (status = 409, description = "Another policy is in force than the one that it was to replace", body = Problem),
    (status = 413, description = "It is too large", body = Problem),
    (status = 422, description = "The policy has mistakes, or changes what cannot change while the sandbox runs", body = Problem),
    (status = 500, description = "It cannot be kept", body = Problem),
))]
async fn replace(
    State(policies): State<Arc<Policies>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Bytes,
) -> Answer<Applied> {
    let Replacement { text, expected } = read(&body)?;
    check_hash(expected.as_deref())?;
    let author = author(peer)?;
    blocking(move || policies.set(&text, expected.as_deref(), author)).await
}

/// Puts a policy in force again that was in force before.
#[utoipa::path(post, path = "/v1/policy/rollback", request_body = Rollback, responses(
    (status = 200, description = "It is in force for every request from now on", body = Applied),
    (status = 400, description = "Not a request", body = Problem),
    (status = 404, description = "There is no such revision", body = Problem),
    (status = 409, description = "Another policy is in force than the one that it was to replace", body = Problem),
    (status = 413, description = "The request is too large", body = Problem),
    (status = 422, description = "The policy does not load any more", body = Problem),
    (status = 500, description = "It cannot be kept", body = Problem),
))]
async fn roll_back(
    State(policies): State<Arc<Policies>>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    body: Bytes,
) -> Answer<Applied> {
    let Rollback { revision, expected } = read(&body)?;
    check_hash(expected.as_deref())?;
    let author = author(peer)?;
    blocking(move || policies.roll_back(revision, expected.as_deref(), author)).await
}

/// The policy in force, or an earlier one.
#[utoipa::path(get, path = "/v1/policy",
    params(
        ("revision" = Option<u64>, Query, description = "Another than the one in force"),
        ("text" = Option<String>, Query, description = "`effective` for its text with what providers bring, `base` for what was set"),
    ),
    responses(
        (status = 200, description = "It", body = Shown),
        (status = 400, description = "Another query", body = Problem),
        (status = 404, description = "There is no such revision", body = Problem),
        (status = 500, description = "It cannot be read", body = Problem),
    ))]
async fn show(State(policies): State<Arc<Policies>>, uri: Uri) -> Answer<Shown> {
    let (revision, text) = wanted(&uri).map_err(not_a_request)?;
    blocking(move || policies.show(revision, text)).await
}

/// All policies that were ever accepted and are kept, newest first.
#[utoipa::path(get, path = "/v1/policy/revisions", responses((status = 200, description = "They", body = Revisions)))]
async fn list(State(policies): State<Arc<Policies>>) -> Json<Revisions> {
    Json(policies.revisions())
}

/// Compiling a policy and waiting for a disk would hold up everything else on this thread, so its other tasks go on elsewhere. The
/// work stays, since it is waited for, and passing it on would be two waits for the scheduler more.
async fn blocking<T>(work: impl FnOnce() -> Result<T, Refused>) -> Answer<T> {
    tokio::task::block_in_place(work).map(Json).map_err(|refused| problem(&refused))
}

pub(super) fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, (StatusCode, Json<Problem>)> {
    serde_json::from_slice(body).map_err(|error| not_a_request(format!("this is not what is expected here: {error}")))
}

fn check_hash(expected: Option<&str>) -> Result<(), (StatusCode, Json<Problem>)> {
    let is_hash = |text: &str| {
        let digits = text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        digits && (MIN_HASH_DIGITS..=64).contains(&text.len())
    };
    match expected.is_none_or(is_hash) {
        true => Ok(()),
        false => {
            Err(not_a_request(format!("`expected` has to be {MIN_HASH_DIGITS} to 64 hexadecimal digits of a hash")))
        }
    }
}

fn author(peer: Peer) -> Result<u32, (StatusCode, Json<Problem>)> {
    peer.0.ok_or_else(|| answer(StatusCode::FORBIDDEN, "the kernel does not tell who asks; nothing changed"))
}

/// The query of `GET /v1/policy`.
fn wanted(uri: &Uri) -> Result<(Option<u64>, Option<Text>), String> {
    let (mut revision, mut text) = (None, None);
    for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("revision", number)) if revision.is_none() => {
                revision = Some(number.parse().map_err(|_| format!("`{number}` is not a revision's number"))?);
            }
            Some(("text", "effective")) if text.is_none() => text = Some(Text::Effective),
            Some(("text", "base")) if text.is_none() => text = Some(Text::Base),
            _ => return Err(format!("`{pair}` means nothing here; use revision=N and text=effective or text=base")),
        }
    }
    Ok((revision, text))
}

fn problem(refused: &Refused) -> (StatusCode, Json<Problem>) {
    let status = match refused {
        Refused::Invalid(_) | Refused::Fixed(_) => StatusCode::UNPROCESSABLE_ENTITY,
        Refused::Conflict(_) => StatusCode::CONFLICT,
        Refused::NoRevision { .. } => StatusCode::NOT_FOUND,
        Refused::Large { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        Refused::Unkept(_) | Refused::Unreadable(_) | Refused::Unrecorded(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let (message, mistakes) = match refused {
        Refused::Invalid(diagnostics) => ("the policy is not valid; nothing changed".to_owned(), mistakes(diagnostics)),
        Refused::Fixed(changes) => {
            let whole = |message: &String| Mistake { line: None, column: None, message: message.clone(), hint: None };
            let message = "the policy changes what a running sandbox cannot; nothing changed".to_owned();
            (message, changes.iter().map(whole).collect())
        }
        other => (other.to_string(), Vec::new()),
    };
    (status, Json(Problem { message, mistakes }))
}

fn mistakes(diagnostics: &Diagnostics) -> Vec<Mistake> {
    let mistake = |one: &tollgate_policy::Diagnostic| Mistake {
        line: Some(one.line),
        column: Some(one.column),
        message: one.message.clone(),
        hint: one.hint.clone(),
    };
    diagnostics.iter().map(mistake).collect()
}

fn not_a_request(message: String) -> (StatusCode, Json<Problem>) {
    answer(StatusCode::BAD_REQUEST, &message)
}

pub(super) fn answer(status: StatusCode, message: &str) -> (StatusCode, Json<Problem>) {
    (status, Json(Problem { message: message.to_owned(), mistakes: Vec::new() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries() {
        #[track_caller]
        fn check(query: &str, expected: Option<(Option<u64>, Option<Text>)>) {
            let uri: Uri = format!("/v1/policy{query}").parse().expect("a URI");
            assert_eq!(wanted(&uri).ok(), expected, "{query}");
        }
        check("", Some((None, None)));
        check("?", Some((None, None)));
        check("?revision=7", Some((Some(7), None)));
        check("?revision=7&text=base", Some((Some(7), Some(Text::Base))));
        check("?text=effective", Some((None, Some(Text::Effective))));
        for wrong in
            ["?revision=", "?revision=-1", "?revision=x", "?revision=1&revision=2", "?text=all", "?other=1", "?text"]
        {
            check(wrong, None);
        }
    }

    #[test]
    fn hashes() {
        for (text, expected) in [("0123456789ab", true), ("0123456789a", false), ("0123456789AB", false), ("", false)] {
            assert_eq!(check_hash(Some(text)).is_ok(), expected, "{text}");
        }
        assert!(check_hash(Some(&"a".repeat(65))).is_err() && check_hash(None).is_ok());
    }
}
