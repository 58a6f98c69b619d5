//! The bytes of an HTTP/1 client, shown to [`Follower`] before the HTTP library reads them.
//!
//! What the library would repair is refused here, in the order of the connection: it is handed a request of our own in
//! place of the one that is wrong, and [`Heads`] answers that one with the reason. The connection ends with the answer.

use std::future::poll_fn;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, HeaderValue};
use http::{Method, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tollgate_inspect::framing::{Bounds, Follower, Wrong};

use crate::Limits;
use crate::body::ReplyBody;
use crate::refusal::{Asked, Code, Dialect, Refusal};

/// A client's stream that holds sound HTTP/1 alone, up to a switch of protocols.
#[derive(Debug)]
pub(crate) struct Framed<S> {
    io: S,
    follower: Follower,
    /// Read and not passed on: the beginning of a head, for the most part.
    held: BytesMut,
    /// How much of it may be passed on.
    cleared: usize,
    over: Option<Over>,
    heads: Arc<Heads>,
}

/// Why nothing more is read.
#[derive(Debug, Clone, Copy)]
enum Over {
    /// A head is wrong and was replaced.
    Refused(Wrong),
    /// A body is wrong in its middle: the HTTP library breaks it off.
    Body(Wrong),
    End,
}

/// What the requests of a connection are to be answered with, in their order.
#[derive(Debug, Default)]
pub(crate) struct Heads {
    answered: AtomicU64,
    last: OnceLock<(u64, Last)>,
    /// Requests whose replies the HTTP library has not taken to their ends.
    under_way: AtomicUsize,
    is_quiet: AtomicBool,
}

/// One request, until the last byte of its reply is taken.
#[derive(Debug)]
pub(crate) struct UnderWay(Arc<Heads>);

/// The last request of a connection that cannot be followed any further.
#[derive(Debug, Clone, Copy)]
enum Last {
    Refused(Wrong),
    Switching,
}

/// Stands for a request that is refused. It has no meaning of its own.
const REPLACEMENT: &[u8] = b"GET / HTTP/1.1\r\nHost: refused.invalid\r\nConnection: close\r\n\r\n";

/// What is read at a time where the reader's own buffer cannot be used.
const READ: usize = 8192;

impl<S> Framed<S> {
    pub(crate) fn new(io: S, limits: &Limits) -> (Self, Arc<Heads>) {
        let size = |limit| usize::try_from(limit).unwrap_or(usize::MAX);
        let bounds = Bounds { head_bytes: size(limits.header_bytes), headers: size(limits.headers) };
        let heads = Arc::new(Heads::default());
        let (follower, held) = (Follower::new(bounds), BytesMut::new());
        (Self { io, follower, held, cleared: 0, over: None, heads: Arc::clone(&heads) }, heads)
    }

    /// What its requests are answered with.
    pub(crate) fn heads(&self) -> &Arc<Heads> {
        &self.heads
    }

    /// The stream itself, once it has switched protocols, and what has been read of it.
    pub(crate) fn into_parts(self) -> (Bytes, S) {
        (self.held.freeze(), self.io)
    }

    /// Notes whether nothing is under way: all that was passed on has been answered, and all answers are out.
    fn note_flushed(&self) {
        let follows_nothing = self.held.is_empty() && self.over.is_none();
        let is_between = follows_nothing && !self.follower.is_in_body() && !self.follower.is_switching();
        let is_answered = self.heads.answered() == self.follower.heads();
        let none_open = self.heads.under_way.load(Ordering::Relaxed) == 0;
        self.heads.is_quiet.store(is_between && is_answered && none_open, Ordering::Relaxed);
    }

    fn note_busy(&self) {
        self.heads.is_quiet.store(false, Ordering::Relaxed);
    }

    /// How many of these bytes may be passed on. Where that ends for good, it is noted.
    fn follow(&mut self, bytes: &[u8]) -> usize {
        let was_switching = self.follower.is_switching();
        let (count, followed) = self.follower.follow(bytes);
        if self.follower.is_switching() && !was_switching {
            self.heads.end(self.follower.heads(), Last::Switching);
        }
        match followed {
            Ok(()) => {}
            Err(wrong) if self.follower.is_in_body() => self.over = Some(Over::Body(wrong)),
            Err(wrong) => self.over = Some(Over::Refused(wrong)),
        }
        count
    }

    /// Follows what is held and has not been cleared.
    fn clear(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.cleared = self.follow(&held);
        self.held = held;
        self.settle();
    }

    /// Behind what is cleared comes a request of our own, if one is refused.
    fn settle(&mut self) {
        if let Some(Over::Refused(wrong)) = self.over {
            self.heads.end(self.follower.heads() + 1, Last::Refused(wrong));
            self.held.truncate(self.cleared);
            self.held.extend_from_slice(REPLACEMENT);
            self.cleared = self.held.len();
        }
    }

    /// The client has ended.
    fn end(&mut self) {
        self.over = Some(if self.held.is_empty() { Over::End } else { Over::Refused(Wrong::BrokenOff) });
        self.settle();
    }
}

impl<S: AsyncRead + Unpin> Framed<S> {
    /// Waits, where nothing is under way, until there is something to be read. False where the client has ended instead.
    pub(crate) async fn arrival(&mut self) -> io::Result<bool> {
        let ended = poll_fn(|cx| self.poll_behind(cx)).await?;
        self.clear();
        if ended {
            self.end();
        }
        Ok(!ended)
    }

    /// Reads into the reader's buffer and takes back what may not be passed on. True at the end.
    fn poll_into(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<bool>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let read = buf.filled().len() - before;
        let count = self.follow(&buf.filled()[before..]);
        self.held.extend_from_slice(&buf.filled()[before + count..]);
        buf.set_filled(before + count);
        self.settle();
        Poll::Ready(Ok(read == 0))
    }

    /// Reads behind what is held. True at the end.
    fn poll_behind(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [0; READ];
        let mut buf = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buf))?;
        self.held.extend_from_slice(buf.filled());
        Poll::Ready(Ok(buf.filled().is_empty()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Framed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buf.filled().len();
        loop {
            if this.cleared > 0 {
                let count = this.cleared.min(buf.remaining());
                buf.put_slice(&this.held.split_to(count));
                this.cleared -= count;
                if this.held.is_empty() {
                    // Gives the memory back: the connection may live for days.
                    this.held = BytesMut::new();
                }
            }
            if buf.filled().len() > before || buf.remaining() == 0 {
                this.note_busy();
                return Poll::Ready(Ok(()));
            }
            match this.over {
                Some(Over::Body(wrong)) => return Poll::Ready(Err(io::Error::new(ErrorKind::InvalidData, wrong))),
                // The answer closes the connection; an end would look as if the client did not wait for it.
                Some(Over::Refused(_)) => return Poll::Pending,
                Some(Over::End) => return Poll::Ready(Ok(())),
                None => {}
            }
            let ended = if this.held.is_empty() {
                ready!(this.poll_into(cx, buf))?
            } else {
                let ended = ready!(this.poll_behind(cx))?;
                this.clear();
                ended
            };
            if ended {
                this.end();
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Framed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.note_busy();
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.note_flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.note_busy();
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

impl Heads {
    /// Begins a request.
    pub(crate) fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// How many requests have begun to be answered.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Whether the HTTP library holds nothing of any request or reply, as far as each of them was begun with [`Self::begin`].
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_quiet.load(Ordering::Relaxed)
    }

    /// Nothing behind this request is followed.
    fn end(&self, number: u64, last: Last) {
        // A connection ends once: behind a switch nothing is refused.
        let _ = self.last.set((number, last));
    }

    /// Answers the next request: by `serve` where it is sound, by `refuse` where it is not. The last one of a connection
    /// closes it, unless it switches protocols (RFC 9110, sections 7.8 and 9.3.6).
    pub(crate) async fn answer<R: Future<Output = Refusal>>(
        &self,
        method: &Method,
        serve: impl Future<Output = Response<ReplyBody>>,
        refuse: impl FnOnce(Wrong) -> R,
    ) -> Response<ReplyBody> {
        let number = self.answered.fetch_add(1, Ordering::Relaxed) + 1;
        let mut answer = match self.last.get() {
            Some((last, Last::Switching)) if number == *last => serve.await,
            Some((last, Last::Refused(wrong))) if number == *last => own(&refuse(*wrong).await),
            // The HTTP library has read on although the last answer closed the connection.
            Some((last, _)) if number > *last => own(&refuse(Wrong::NotHttp1).await),
            _ => return serve.await,
        };
        let connected = method == Method::CONNECT && answer.status().is_success();
        if !connected && answer.status() != StatusCode::SWITCHING_PROTOCOLS {
            answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        answer
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}

fn own(refusal: &Refusal) -> Response<ReplyBody> {
    refusal.answer(Dialect::Http).map(ReplyBody::own)
}

/// The refusal of a request that cannot be read.
pub(crate) fn refusal(wrong: Wrong, asked: Asked) -> Refusal {
    let code = match wrong {
        Wrong::HeadTooLarge => Code::RequestHeadTooLarge,
        Wrong::Version => Code::UnsupportedHttpVersion,
        _ => Code::InvalidRequest,
    };
    Refusal::connection(code, wrong.to_string(), asked)
}
