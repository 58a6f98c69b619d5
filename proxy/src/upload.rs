//! Request bodies on their way up: streamed as they come, with credentials exchanged where the policy opens fields for them,
//! or read whole where the policy judges by what is in them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tollgate_secrets::{InjectError, Rewriter};

use crate::Limits;
use crate::course::Course;
use crate::live::Side;

/// A body as it was judged.
#[derive(Debug)]
pub(crate) enum Payload {
    /// Unread.
    Streamed(Incoming),
    /// By what is in it.
    Read(Bytes),
}

/// What goes up. Trailers do not: nothing judges them, and servers may take them for headers (RFC 9110, section 6.5.1).
#[derive(Debug)]
pub(crate) enum Upload {
    /// As the client sends it.
    Streamed(Box<Streamed>),
    /// What was judged, or nothing.
    Read(Full<Bytes>),
}

/// A body that streams past.
#[derive(Debug)]
pub(crate) struct Streamed {
    inner: Incoming,
    rewriter: Option<Rewriter>,
    ended: bool,
    course: Arc<Course>,
}

/// Why a body could not be read whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UploadError {
    /// It has more than the endpoint's limit: what cannot be judged does not pass.
    #[error("the body is larger than the {0} bytes that this endpoint judges")]
    TooLarge(u32),
    /// All the room for such bodies is taken.
    #[error("there is no room for another body to be judged; try again")]
    NoRoom,
    /// The client stopped sending.
    #[error("the body did not come within {} seconds", READ_TIMEOUT.as_secs())]
    TooSlow,
    /// The client broke off, or its framing is wrong.
    #[error("the body could not be read: {0}")]
    Broken(String),
}

/// Why a body breaks off on its way.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BrokenUpload {
    /// The client broke off.
    #[error(transparent)]
    Client(#[from] hyper::Error),
    /// The rules changed.
    #[error("the policy changed and no longer permits this")]
    Lost,
    /// A placeholder stands where its credential may not.
    #[error("the body holds a placeholder that cannot be exchanged")]
    Unexchanged,
}

/// Bodies that are judged are small; a client that trickles one holds memory meanwhile.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// Room for the bodies that are judged by what is in them, all together: each is kept as long as its request is open.
#[derive(Debug)]
pub(crate) struct Bodies(Arc<Semaphore>);

/// Part of that room.
#[derive(Debug)]
pub(crate) struct Room(OwnedSemaphorePermit);

impl Bodies {
    pub(crate) fn new(limits: &Limits) -> Self {
        let most = usize::try_from(limits.judged_kibibytes).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self(Arc::new(Semaphore::new(most)))
    }

    /// Room for a body of at most `limit` bytes.
    ///
    /// # Errors
    /// Where there is none.
    pub(crate) fn room(&self, limit: u32) -> Result<Room, UploadError> {
        Arc::clone(&self.0).try_acquire_many_owned(kibibytes(limit)).map(Room).map_err(|_| UploadError::NoRoom)
    }
}

impl Room {
    /// Gives back what a body of this length does not take.
    pub(crate) fn shrink(&mut self, length: usize) {
        let taken = u32::try_from(length).map_or(self.0.num_permits(), |length| kibibytes(length) as usize);
        let rest = self.0.num_permits().saturating_sub(taken);
        drop(self.0.split(rest));
    }
}

fn kibibytes(bytes: u32) -> u32 {
    bytes.div_ceil(1024)
}

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

impl Upload {
    /// No body.
    pub(crate) fn none() -> Self {
        Self::Read(Full::default())
    }

    /// What was judged, on its way; a body that streams keeps its `course` open.
    pub(crate) fn new(payload: Payload, rewriter: Option<Rewriter>, course: &Arc<Course>) -> Self {
        match payload {
            Payload::Streamed(inner) if inner.is_end_stream() => Self::none(),
            Payload::Streamed(inner) => {
                Self::Streamed(Box::new(Streamed { inner, rewriter, ended: false, course: Arc::clone(course) }))
            }
            Payload::Read(whole) => {
                course.note(|notes| notes.sent = whole.len() as u64);
                Self::Read(Full::new(whole))
            }
        }
    }
}

impl Streamed {
    fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BrokenUpload>>> {
        while !self.ended {
            if self.course.hold.poll_lost(Side::Up, cx).is_ready() {
                self.ended = true;
                return Poll::Ready(Some(Err(BrokenUpload::Lost)));
            }
            let passed = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) if frame.is_data() => self.pass(frame.into_data().unwrap_or_default()),
                Some(Err(error)) => Err(error.into()),
                Some(Ok(_)) | None => self.end(),
            };
            match passed {
                Ok(data) if data.is_empty() => {}
                Ok(data) => {
                    self.course.note(|notes| notes.sent += data.len() as u64);
                    return Poll::Ready(Some(Ok(data)));
                }
                Err(error) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        Poll::Ready(None)
    }

    fn pass(&mut self, data: Bytes) -> Result<Bytes, BrokenUpload> {
        let Some(rewriter) = &mut self.rewriter else { return Ok(data) };
        let passed = rewriter.push(&data);
        // Before the piece goes: whatever happens next, the credential was sent.
        self.course.note(|notes| rewriter.exchanged().clone_into(&mut notes.exchanged));
        passed.map(Bytes::from).map_err(|error| self.break_off(error))
    }

    fn end(&mut self) -> Result<Bytes, BrokenUpload> {
        self.ended = true;
        let Some(rewriter) = &mut self.rewriter else { return Ok(Bytes::new()) };
        let rest = rewriter.finish();
        self.course.note(|notes| rewriter.exchanged().clone_into(&mut notes.exchanged));
        rest.map(Bytes::from).map_err(|error| self.break_off(error))
    }

    fn break_off(&self, error: InjectError) -> BrokenUpload {
        self.course.end(format!("the request's body broke off: {error}"));
        self.course.note(|notes| notes.unexchanged = Some(error));
        BrokenUpload::Unexchanged
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BrokenUpload;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BrokenUpload>>> {
        match &mut *self {
            Self::Read(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Streamed(body) => body.poll_passed(cx).map(|data| data.map(|data| data.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Read(body) => body.is_end_stream(),
            Self::Streamed(body) => body.ended || (body.rewriter.is_none() && body.inner.is_end_stream()),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Read(body) => body.size_hint(),
            Self::Streamed(body) if body.rewriter.is_some() => SizeHint::default(),
            Self::Streamed(body) => body.inner.size_hint(),
        }
    }
}
