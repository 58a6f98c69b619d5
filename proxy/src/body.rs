//! Reply bodies on their way to the agent: streamed, scrubbed, counted, and recorded when they end.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tollgate_audit::Event;
use tollgate_secrets::{Needles, Scrubber};

use crate::Journal;

/// What the agent gets.
#[derive(Debug)]
pub(crate) enum ReplyBody {
    /// Our own words.
    Own(Full<Bytes>),
    /// An upstream's.
    Passed(Box<Passed>),
}

/// An upstream's body.
#[derive(Debug)]
pub(crate) struct Passed {
    inner: Incoming,
    scrub: Option<Scrub>,
    trailers: Option<HeaderMap>,
    ended: bool,
    record: Record,
}

#[derive(Debug)]
struct Scrub {
    scrubber: Scrubber,
    needles: Arc<Needles>,
}

/// What the journal will say of the reply. Said when it is dropped, so that no reply ends unrecorded.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) journal: Arc<Journal>,
    pub(crate) request: u64,
    pub(crate) begun: Instant,
    pub(crate) status: u16,
    pub(crate) bytes: u64,
    pub(crate) scrubbed: u64,
    pub(crate) outcome: String,
}

impl ReplyBody {
    pub(crate) fn empty() -> Self {
        Self::Own(Full::default())
    }

    pub(crate) fn own(body: Full<Bytes>) -> Self {
        Self::Own(body)
    }

    /// Passes an upstream's body on; `needles` are what it is searched for.
    pub(crate) fn passed(inner: Incoming, needles: Option<Arc<Needles>>, record: Record) -> Self {
        let scrub = needles.map(|needles| Scrub { scrubber: Scrubber::new(Arc::clone(&needles)), needles });
        Self::Passed(Box::new(Passed { inner, scrub, trailers: None, ended: false, record }))
    }
}

impl Passed {
    fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        loop {
            if let Some(trailers) = self.trailers.take() {
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let frame = match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    self.record.outcome = format!("broken off by the upstream: {error}");
                    return Poll::Ready(Some(Err(error)));
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

    /// One frame as it may be passed on; nothing when all of it is held back for now.
    fn take(&mut self, frame: Frame<Bytes>) -> Option<Frame<Bytes>> {
        match frame.into_data() {
            Ok(data) => {
                let mut clean = match &mut self.scrub {
                    Some(scrub) => scrub.scrubber.push(&data).map_or(data, Bytes::from),
                    None => data,
                };
                self.record.bytes += clean.len() as u64;
                // Whoever reads a body of known length stops at its last byte and does not ask for an end.
                if self.inner.is_end_stream()
                    && let Some(rest) = self.end()
                {
                    clean = Bytes::from([clean, rest].concat());
                }
                (!clean.is_empty()).then(|| Frame::data(clean))
            }
            Err(frame) => {
                let trailers = frame.into_trailers().ok()?;
                let rest = self.end();
                self.trailers = Some(match &self.scrub {
                    Some(scrub) => scrub_headers(trailers, &scrub.needles, &mut self.record.scrubbed),
                    None => trailers,
                });
                rest.map(Frame::data)
            }
        }
    }

    /// Notes the end and gives what was held back.
    fn end(&mut self) -> Option<Bytes> {
        self.ended = true;
        "complete".clone_into(&mut self.record.outcome);
        let scrub = self.scrub.as_mut()?;
        let rest = scrub.scrubber.finish();
        self.record.bytes += rest.len() as u64;
        self.record.scrubbed += scrub.scrubber.found();
        (!rest.is_empty()).then(|| Bytes::from(rest))
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
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
            Self::Passed(passed) => match &passed.scrub {
                Some(scrub) if !scrub.needles.keeps_length() => SizeHint::default(),
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
