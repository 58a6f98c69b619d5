//! Request bodies on their way up: streamed as they come, or read whole where the policy judges by what is in them.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;

/// What goes up. Trailers do not: nothing judges them, and servers may take them for headers (RFC 9110, section 6.5.1).
#[derive(Debug)]
pub(crate) enum Upload {
    /// As the client sends it.
    Passed(Incoming),
    /// What was judged, byte for byte.
    Read(Full<Bytes>),
}

/// Why a body could not be read whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UploadError {
    /// It has more than the endpoint's limit: what cannot be judged does not pass.
    #[error("the body is larger than the {0} bytes that this endpoint judges")]
    TooLarge(u32),
    /// The client stopped sending.
    #[error("the body did not come within {} seconds", READ_TIMEOUT.as_secs())]
    TooSlow,
    /// The client broke off, or its framing is wrong.
    #[error("the body could not be read: {0}")]
    Broken(String),
}

/// Bodies that are judged are small; a client that trickles one holds memory meanwhile.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads a body to its end.
pub(crate) async fn read(body: Incoming, limit: u32) -> Result<Bytes, UploadError> {
    let bound = usize::try_from(limit).unwrap_or(usize::MAX);
    let whole = tokio::time::timeout(READ_TIMEOUT, Limited::new(body, bound).collect()).await;
    let whole = whole.map_err(|_| UploadError::TooSlow)?;
    whole.map(http_body_util::Collected::to_bytes).map_err(|error| {
        if error.is::<http_body_util::LengthLimitError>() {
            return UploadError::TooLarge(limit);
        }
        UploadError::Broken(error.to_string())
    })
}

impl Body for Upload {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut *self {
            Self::Read(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Passed(body) => Poll::Ready(match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_trailers() => None,
                frame => frame,
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Passed(body) => body.is_end_stream(),
            Self::Read(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Passed(body) => body.size_hint(),
            Self::Read(body) => body.size_hint(),
        }
    }
}
