//! Reply bodies on their way to the agent: streamed, scrubbed, counted, and recorded when they end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tollgate_audit::Event;
use tollgate_secrets::{Needles, Scrubber};

use crate::Journal;
use crate::exchange::headers::clean_trailers;
use crate::live::Hold;
use crate::refusal::Code;
use crate::upstream::Loan;

/// What the agent gets.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    /// Our own words.
    Own(Full<Bytes>),
    /// An upstream's.
    Passed(Box<Passed>),
}

/// What goes with a reply until its body has ended.
#[derive(Debug)]
pub(crate) struct Passage {
    /// What it is searched for.
    pub(crate) needles: Option<Arc<Needles>>,
    pub(crate) record: Record,
    pub(crate) hold: Hold,
    /// The connection it comes on; nothing where that is used once.
    pub(crate) loan: Option<Loan>,
    /// Whether the client would take a status from trailers.
    pub(crate) grpc: bool,
}

/// An upstream's body.
#[derive(Debug)]
pub(crate) struct Passed {
    inner: Incoming,
    scrubber: Option<Scrubber>,
    trailers: Option<HeaderMap>,
    ended: bool,
    passage: Passage,
}

/// Why a body breaks off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The upstream broke off.
    #[error(transparent)]
    Upstream(#[from] hyper::Error),
    /// The rules changed.
    #[error("the policy changed and no longer permits this")]
    Cut,
}

/// What the journal will say of the reply. Said when it is dropped, so that no reply ends unrecorded.
#[derive(Debug)]
pub(crate) struct Record {
    journal: Arc<Journal>,
    request: u64,
    begun: Instant,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) scrubbed: u64,
    outcome: String,
}

impl ReplyBody {
    pub(crate) fn empty() -> Self {
        Self::Own(Full::default())
    }

    pub(crate) fn own(body: Full<Bytes>) -> Self {
        Self::Own(body)
    }

    /// Passes an upstream's body on.
    pub(crate) fn passed(inner: Incoming, passage: Passage) -> Self {
        let scrubber = passage.needles.as_ref().map(|needles| Scrubber::new(Arc::clone(needles)));
        let mut passed = Passed { inner, scrubber, trailers: None, ended: false, passage };
        // A reply without a body is not asked for its end.
        if passed.inner.is_end_stream() {
            passed.end();
        }
        Self::Passed(Box::new(passed))
    }
}

impl Passed {
    fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(trailers) = self.trailers.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            if let Poll::Ready(reason) = self.passage.hold.poll_lost(cx) {
                self.passage.record.outcome = format!("cut: {reason}");
                return Poll::Ready(Some(self.cut()));
            }
            let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    self.ended = true;
                    self.passage.record.outcome = format!("broken off by the upstream: {error}");
                    return Poll::Ready(Some(Err(error.into())));
                }
                None => {
                    if let Some(rest) = self.end() {
                        return Poll::Ready(Some(Ok(Frame::data(rest))));
                    }
                    continue;
                }
            };
            if let Some(frame) = self.take(frame) {
                return Poll::Ready(Some(Ok(frame)));
            }
        }
    }

    /// Breaks off, or says why where the client can hear it. What was held back of the upstream's bytes is dropped.
    fn cut(&mut self) -> Result<Frame<Bytes>, BodyError> {
        self.ended = true;
        if !self.passage.grpc {
            return Err(BodyError::Cut);
        }
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from(Code::PolicyDenied.grpc_status()));
        trailers.insert("grpc-message", HeaderValue::from_static("policy_denied: the policy changed"));
        Ok(Frame::trailers(trailers))
    }

    /// One frame as it may be passed on; nothing when all of it is held back for now.
    fn take(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        match frame.into_data() {
            Ok(data) => {
                let mut clean = match &mut self.scrubber {
                    Some(scrubber) => scrubber.push(&data).map_or(data, Bytes::from),
                    None => data,
                };
                self.passage.record.bytes += clean.len() as u64;
                // Whoever reads a body of known length stops at its last byte and does not ask for an end.
                if self.inner.is_end_stream()
                    && let Some(rest) = self.end()
                {
                    clean = Bytes::from([clean, rest].concat());
                }
                (!clean.is_empty()).then(|| Frame::data(clean))
            }
            Err(frame) => {
                let mut trailers = frame.into_trailers().ok()?;
                clean_trailers(&mut trailers);
                let rest = self.end();
                self.trailers = Some(match &self.passage.needles {
                    Some(needles) => scrub_headers(trailers, needles, &mut self.passage.record.scrubbed),
                    None => trailers,
                });
                rest.map(Frame::data)
            }
        }
    }

    /// Notes the end, gives the connection back and returns what was held back.
    fn end(&mut self) -> Option<Bytes> {
        self.ended = true;
        self.passage.record.end("complete".to_owned());
        if let Some(loan) = self.passage.loan.take() {
            loan.give_back();
        }
        let scrubber = self.scrubber.as_mut()?;
        let rest = scrubber.finish();
        self.passage.record.bytes += rest.len() as u64;
        self.passage.record.scrubbed += scrubber.found();
        (!rest.is_empty()).then(|| Bytes::from(rest))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Passed(passed) => passed.poll_passed(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Own(body) => body.is_end_stream(),
            Self::Passed(passed) => passed.ended && passed.trailers.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Own(body) => body.size_hint(),
            Self::Passed(passed) => match &passed.passage.needles {
                Some(needles) if !needles.keeps_length() => SizeHint::default(),
                _ => passed.inner.size_hint(),
            },
        }
    }
}

/// Headers with every secret replaced.
pub(crate) fn scrub_headers(headers: HeaderMap, needles: &Needles, scrubbed: &mut u64) -> HeaderMap {
    let mut clean = HeaderMap::with_capacity(headers.len());
    for (name, value) in &headers {
        // A name cannot be repaired: it goes, with its value. Names are lower-case here, and so is one of the spellings.
        if needles.scrub_whole(name.as_str().as_bytes()).is_some() {
            *scrubbed += 1;
            continue;
        }
        let value = match needles.scrub_whole(value.as_bytes()) {
            Some(text) => {
                *scrubbed += 1;
                // Placeholders are visible ASCII, so this fails for no value that was valid before; if it did, the
                // header is left out rather than passed on.
                let Ok(value) = text.try_into() else { continue };
                value
            }
            None => value.clone(),
        };
        clean.append(name, value);
    }
    clean
}

impl Record {
    pub(crate) fn new(journal: Arc<Journal>, request: u64, begun: Instant) -> Self {
        Self { journal, request, begun, status: 0, bytes: 0, scrubbed: 0, outcome: String::new() }
    }

    /// How it ended.
    pub(crate) fn end(&mut self, outcome: String) {
        self.outcome = outcome;
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let milliseconds = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let outcome = if self.outcome.is_empty() { "aborted" } else { &self.outcome };
        let (request, status, bytes, scrubbed) = (self.request, self.status, self.bytes, self.scrubbed);
        let event = Event::Reply { request, status, bytes, scrubbed, milliseconds, outcome };
        if let Err(error) = self.journal.record(&event) {
            tracing::warn!(%error, request, "a reply could not be recorded");
        }
    }
}
