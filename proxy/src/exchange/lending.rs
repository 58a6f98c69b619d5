//! Credentials in what follows the head of a request: in its body, and in the messages of a WebSocket.

use std::sync::Arc;

use http_body::Body;
use tollgate_policy::Decision;
use tollgate_secrets::{Encoding, InjectError, Outbound, Rewriter, message_fields};

use super::{Asking, unreadable};
use crate::Generation;
use crate::refusal::{Code, Refusal};
use crate::upload::{self, Payload};

/// A body, with the credentials that were put in, and what puts in the others while it streams.
pub(super) struct Lent {
    pub(super) payload: Payload,
    pub(super) exchanged: Vec<String>,
    pub(super) rewriter: Option<Rewriter>,
}

/// A body of a known length up to this is read before anything is sent, so that what is wrong with it is answered with a
/// refusal; a longer one breaks off in the middle.
const READ_AHEAD: u32 = 64 * 1024;

/// Exchanges what is due in the body.
///
/// # Errors
/// Where a placeholder stands in an open field and is not due there, or the body cannot be read.
pub(super) async fn lend(asking: &Asking, outbound: &Outbound, payload: Payload) -> Result<Lent, Refusal> {
    let Some((fields, encoding)) = outbound.body() else {
        return Ok(Lent { payload, exchanged: Vec::new(), rewriter: None });
    };
    let rewriter = Rewriter::new(fields.clone(), encoding);
    let whole = match payload {
        Payload::Read(whole) => whole,
        Payload::Streamed(body) if body.size_hint().exact().is_some_and(|length| length <= READ_AHEAD.into()) => {
            upload::read(body, READ_AHEAD).await.map_err(|error| unreadable(asking, &error))?
        }
        streamed => return Ok(Lent { payload: streamed, exchanged: Vec::new(), rewriter: Some(rewriter) }),
    };
    let (filled, exchanged) = fill(rewriter, &whole).map_err(|error| refuse(asking, &error))?;
    Ok(Lent { payload: Payload::Read(filled.into()), exchanged, rewriter: None })
}

/// Exchanges what is due in one text message by the rules in force now; nothing where they open no field.
///
/// # Errors
/// Where a placeholder stands in an open field and is not due there, or the socket has lost its permission.
pub(crate) fn fill_message(rules: &Generation, asking: &Asking, text: &str) -> Result<Option<Filled>, Refusal> {
    let Decision::Allow(permit) = asking.decide(rules) else { return Err(super::reply::lost(asking, "")) };
    let destination = rules.broker.destination(&asking.place.authority);
    let Some(fields) = message_fields(&permit, &asking.ask(), &destination) else { return Ok(None) };
    let filled = fill(Rewriter::new(fields, Encoding::Json), text.as_bytes());
    filled.map(Some).map_err(|error| refuse(asking, &error))
}

/// What is sent, and the credentials in it.
type Filled = (Vec<u8>, Vec<String>);

/// Names of the credentials that a request carries, or may come to carry in its messages and, `later`, in its body.
pub(super) fn lendable(exchanged: &Arc<[String]>, outbound: &Outbound, later: bool) -> Arc<[String]> {
    let body = outbound.body().map(|(fields, _)| fields).filter(|_| later);
    let fields: Vec<_> = body.into_iter().chain(outbound.messages()).collect();
    if fields.is_empty() {
        return Arc::clone(exchanged);
    }
    let names = fields.into_iter().flat_map(|fields| fields.credentials()).map(str::to_owned);
    exchanged.iter().cloned().chain(names).collect()
}

fn fill(mut rewriter: Rewriter, whole: &[u8]) -> Result<Filled, InjectError> {
    let mut filled = rewriter.push(whole)?;
    filled.extend(rewriter.finish()?);
    Ok((filled, rewriter.exchanged().to_vec()))
}

/// The refusal of a request whose credentials are not due.
pub(crate) fn refuse(asking: &Asking, error: &InjectError) -> Refusal {
    let code = match error {
        InjectError::Unbound { .. } => Code::CredentialEndpointMismatch,
        InjectError::Misplaced { .. } | InjectError::Foreign { .. } => Code::InvalidCredentialPlaceholder,
        InjectError::Cleartext { .. } => Code::CredentialCleartext,
        InjectError::Unknown { .. } | InjectError::Unfit { .. } | InjectError::Unavailable { .. } => {
            Code::CredentialUnavailable
        }
    };
    Refusal::request(code, error.to_string(), asking.asked())
}
