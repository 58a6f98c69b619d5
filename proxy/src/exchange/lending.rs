//! Credentials in what follows the head of a request: in its body, and in the messages of a WebSocket.

use http_body::Body;
use tollgate_secrets::{Encoding, Fields, InjectError, Outbound, Rewriter};

use super::{Asking, unreadable};
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

/// Exchanges what is due in one text message.
///
/// # Errors
/// Where a placeholder stands in an open field and is not due there.
pub(crate) fn fill_message(fields: &std::sync::Arc<Fields>, text: &str) -> Result<(Vec<u8>, Vec<String>), InjectError> {
    fill(Rewriter::new(fields.clone(), Encoding::Json), text.as_bytes())
}

fn fill(mut rewriter: Rewriter, whole: &[u8]) -> Result<(Vec<u8>, Vec<String>), InjectError> {
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
