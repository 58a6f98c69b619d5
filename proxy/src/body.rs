//! Reply bodies on their way to the agent: streamed, decoded and scrubbed where secrets may be in them, counted.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tollgate_secrets::{Coding, DecodeError, Decoder};

use crate::course::Course;
use crate::exchange::headers::clean_trailers;
use crate::live::Side;
use crate::refusal::Code;
use crate::search::{Search, Sieve};
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
    pub(crate) search: Option<Search>,
    pub(crate) course: Arc<Course>,
    /// The connection it comes on; nothing where that is used once.
    pub(crate) loan: Option<Loan>,
    /// Whether the client would take a status from trailers.
    pub(crate) grpc: bool,
}

/// An upstream's body.
#[derive(Debug)]
pub(crate) struct Passed {
    inner: Incoming,
    decoding: Option<Decoding>,
    searched: Option<(Search, Sieve)>,
    trailers: Option<HeaderMap>,
    ended: bool,
    /// What comes out may have another length than what goes in.
    changes_length: bool,
    passage: Passage,
}

/// A coding that is taken off, piece by piece: what came may be a thousand times smaller than what is in it.
#[derive(Debug)]
struct Decoding {
    decoder: Decoder,
    input: Bytes,
    /// More must come first.
    drained: bool,
}

/// Why a body breaks off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The upstream broke off.
    #[error(transparent)]
    Upstream(#[from] hyper::Error),
    /// What came cannot be read, and so not searched.
    #[error(transparent)]
    Undecodable(#[from] DecodeError),
    /// The rules changed.
    #[error("the policy changed and no longer permits this")]
    Cut,
}

impl ReplyBody {
    pub(crate) fn empty() -> Self {
        Self::Own(Full::default())
    }

    pub(crate) fn own(body: Full<Bytes>) -> Self {
        Self::Own(body)
    }

    /// Passes an upstream's body on; a `coding` is taken off.
    pub(crate) fn passed(inner: Incoming, coding: Option<Coding>, mut passage: Passage) -> Self {
        let changes_length = coding.is_some() || passage.search.as_mut().is_some_and(|search| !search.keeps_length());
        let searched = passage.search.take().map(|search| {
            let sieve = search.sieve();
            (search, sieve)
        });
        let decoding =
            coding.map(|coding| Decoding { decoder: Decoder::new(coding), input: Bytes::new(), drained: true });
        let mut passed = Passed { inner, decoding, searched, trailers: None, ended: false, changes_length, passage };
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
            if let Poll::Ready(reason) = self.passage.course.hold.poll_lost(Side::Down, cx) {
                self.passage.course.end(format!("cut: {reason}"));
                return Poll::Ready(Some(self.cut()));
            }
            let passed = match self.decoded() {
                Ok(Some(piece)) => Ok(self.pass(piece)),
                Ok(None) => match ready!(Pin::new(&mut self.inner).poll_frame(cx)) {
                    Some(Ok(frame)) => self.take(frame),
                    Some(Err(error)) => Err(self.break_off("broken off by the upstream", error.into())),
                    None => self.come_to_end(),
                },
                Err(error) => Err(self.break_off("cannot be searched", error.into())),
            };
            match passed {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    fn break_off(&mut self, what: &str, error: BodyError) -> BodyError {
        self.ended = true;
        self.passage.course.end(format!("{what}: {error}"));
        error
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

    /// The next piece of what has come and is coded.
    fn decoded(&mut self) -> Result<Option<Bytes>, DecodeError> {
        let Some(Decoding { decoder, input, drained }) = &mut self.decoding else { return Ok(None) };
        if *drained {
            return Ok(None);
        }
        // Asked until it gives nothing: it may hold more than it has been given input for.
        let mut rest = &input[..];
        let piece = decoder.next(&mut rest)?;
        let taken = input.len() - rest.len();
        input.advance(taken);
        *drained = piece.is_none();
        Ok(piece.map(Bytes::from))
    }

    /// What may be passed on of a frame; nothing when all of it is held back for now.
    fn take(&mut self, frame: Frame<Bytes>) -> Result<Bytes, BodyError> {
        match (frame.into_data(), &mut self.decoding) {
            (Ok(data), Some(decoding)) => {
                (decoding.input, decoding.drained) = (data, false);
                Ok(Bytes::new())
            }
            (Ok(data), None) => {
                // Whoever reads a body of known length stops at its last byte and does not ask for an end.
                let is_last = self.inner.is_end_stream();
                let clean = self.search(data, if is_last { Sieve::push_last } else { Sieve::push });
                if is_last {
                    self.end();
                }
                Ok(clean)
            }
            (Err(frame), _) => {
                let mut trailers = frame.into_trailers().unwrap_or_default();
                clean_trailers(&mut trailers);
                if let Some((search, _)) = &mut self.searched {
                    let scrubbed = scrub_headers(&mut trailers, search);
                    self.passage.course.note(|notes| notes.scrubbed += scrubbed);
                }
                let rest = self.come_to_end()?;
                self.trailers = Some(trailers);
                Ok(rest)
            }
        }
    }

    /// What may be passed on of plain data.
    fn pass(&mut self, data: Bytes) -> Bytes {
        self.search(data, Sieve::push)
    }

    fn search(&mut self, data: Bytes, push: fn(&mut Sieve, &mut Search, &[u8]) -> Option<Vec<u8>>) -> Bytes {
        let clean = match &mut self.searched {
            Some((search, sieve)) => push(sieve, search, &data).map_or(data, Bytes::from),
            None => data,
        };
        self.passage.course.note(|notes| notes.bytes += clean.len() as u64);
        clean
    }

    fn come_to_end(&mut self) -> Result<Bytes, BodyError> {
        let whole = self.decoding.as_ref().map_or(Ok(()), |decoding| decoding.decoder.finish());
        whole.map_err(|error| self.break_off("cannot be searched", error.into()))?;
        Ok(self.end())
    }

    /// Notes the end, gives the connection back and returns what was held back.
    fn end(&mut self) -> Bytes {
        self.ended = true;
        self.passage.course.end("complete");
        if let Some(loan) = self.passage.loan.take() {
            loan.give_back();
        }
        let Some((_, sieve)) = &mut self.searched else { return Bytes::new() };
        let rest = sieve.finish();
        let found = sieve.found();
        self.passage.course.note(|notes| {
            notes.bytes += rest.len() as u64;
            notes.scrubbed += found;
        });
        rest.into()
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        // All that was announced has come, and only the upstream's word that it was all is missing.
        if !self.ended && self.decoding.is_none() && self.inner.size_hint().exact() == Some(0) {
            self.end();
        }
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
            Self::Passed(passed) if passed.changes_length => SizeHint::default(),
            Self::Passed(passed) => passed.inner.size_hint(),
        }
    }
}

/// Replaces every secret in headers; says in how many there was one.
pub(crate) fn scrub_headers(headers: &mut HeaderMap, search: &mut Search) -> u64 {
    let texts = headers.keys().map(|name| name.as_str().as_bytes());
    if !search.any(texts.chain(headers.values().map(HeaderValue::as_bytes))) {
        return 0;
    }
    let mut scrubbed = 0;
    let mut clean = HeaderMap::with_capacity(headers.len());
    for (name, value) in &*headers {
        // A name cannot be repaired: it goes, with its value. Names are lower-case here, and so is one of the spellings.
        if search.whole(name.as_str().as_bytes()).is_some() {
            scrubbed += 1;
            continue;
        }
        let value = match search.whole(value.as_bytes()) {
            Some(text) => {
                scrubbed += 1;
                // Placeholders are visible ASCII, so this fails for no value that was valid before; if it did, the
                // header is left out rather than passed on.
                let Ok(value) = text.try_into() else { continue };
                value
            }
            None => value.clone(),
        };
        clean.append(name, value);
    }
    *headers = clean;
    scrubbed
}
