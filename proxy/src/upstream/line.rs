//! One connection to an upstream, of either protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use atomic_waker::AtomicWaker;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper_util::rt::TokioTimer;
use tokio::sync::{Notify, OwnedSemaphorePermit};

use super::dial::Stream;
use super::pool::{Key, SendError, broken, in_words};
use super::shelf::Shelf;
use super::{Dialer, Offer, Spoken};
use crate::tasks::Tasks;
use crate::upload::Upload;

/// A connection on which a request can be sent.
#[derive(Debug)]
pub(crate) enum Line {
    /// One request at a time.
    Http1(http1::SendRequest<Upload>),
    /// Many.
    Http2(http2::SendRequest<Upload>, Arc<Peer>),
}

/// What an HTTP/2 upstream allows (RFC 9113, section 6.5.2), as its settings say; they may change.
#[derive(Debug)]
pub(crate) struct Peer {
    streams: AtomicUsize,
    extended_connect: AtomicBool,
    /// Has the connection look at its settings again: nothing else wakes it when they come.
    look: AtomicWaker,
}

/// A connection, or a stream of one, in the hands of one request.
#[derive(Debug)]
pub(crate) struct Loan {
    pub(super) line: Line,
    pub(super) shelf: Arc<Shelf>,
    /// False for one that was opened for this request.
    pub(super) reused: bool,
    /// True for one that has answered a request before.
    pub(super) proven: bool,
    /// Among the requests that one upstream may have at a time.
    pub(super) _turn: Turn,
}

/// What a loan keeps others from having.
#[derive(Debug)]
pub(crate) enum Turn {
    /// One of the connections that the upstream gets.
    Connection { _slot: OwnedSemaphorePermit },
    /// One of the streams of a connection.
    Stream(Streams),
}

/// Counts the requests that are on an HTTP/2 connection; each holds one.
#[derive(Debug)]
pub(crate) struct Streams {
    open: Arc<AtomicUsize>,
    freed: Arc<Notify>,
}

/// A request that did not get its reply; whole where nothing of it was sent.
pub(super) struct Unsent {
    pub(super) fault: Fault,
    pub(super) request: Option<Box<Request<Upload>>>,
}

/// What went wrong with it.
#[derive(Debug)]
pub(super) enum Fault {
    /// As the HTTP library says.
    Library(hyper::Error),
    /// One interim reply after the other (RFC 9110, section 15.2).
    Interim,
}

/// Interim replies before the reply: real servers send one or two.
const MAX_INTERIM: usize = 16;

/// More than any real server sends; of headers, hyper takes a hundred.
const MAX_REPLY_HEADER_BYTES: usize = 256 * 1024;

/// What an upstream may send ahead of what the client has read: on one stream, and on all of a connection.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 4 * 1024 * 1024;

/// What waits to be sent on one stream.
const SEND_BUFFER: usize = 256 * 1024;

/// Requests that an upstream is taken to allow at a time until its settings come, as hyper takes it.
const ASSUMED_STREAMS: usize = 100;

/// Nothing tells when an upstream's settings have come, so they are looked for, for a second in all.
const SETTINGS_LOOK: Duration = Duration::from_millis(10);
const SETTINGS_LOOKS: u32 = 100;

/// An upstream that has gone silently is noticed while a request waits for it.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// Opens a connection.
pub(crate) async fn open(dialer: &Dialer, key: &Key, offer: Offer) -> Result<Line, SendError> {
    let (stream, spoken) = dialer.dial(key.place.scheme, &key.place.authority, &key.reach, offer).await?;
    match spoken {
        Spoken::Http1 => {
            let (sender, connection) = http1::Builder::new()
                .max_header_size(MAX_REPLY_HEADER_BYTES)
                .max_buf_size(MAX_REPLY_HEADER_BYTES)
                .handshake(stream)
                .await
                .map_err(|e| broken(key, &e))?;
            tokio::spawn(run(key.place.authority.clone(), connection.with_upgrades()));
            Ok(Line::Http1(sender))
        }
        Spoken::Http2 => {
            let (sender, connection) = http2::Builder::new(Tasks)
                .timer(TokioTimer::new())
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .max_send_buf_size(SEND_BUFFER)
                .max_header_list_size(u32::try_from(MAX_REPLY_HEADER_BYTES).unwrap_or(u32::MAX))
                .keep_alive_interval(KEEP_ALIVE_INTERVAL)
                .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
                .handshake(stream)
                .await
                .map_err(|e| broken(key, &e))?;
            let peer = Arc::new(Peer {
                streams: AtomicUsize::new(ASSUMED_STREAMS),
                extended_connect: AtomicBool::new(false),
                look: AtomicWaker::new(),
            });
            tokio::spawn(run(key.place.authority.clone(), watched(connection, Arc::clone(&peer))));
            Ok(Line::Http2(sender, peer))
        }
    }
}

/// Runs the connection and notes what its settings say; only the connection itself knows them.
async fn watched(connection: http2::Connection<Stream, Upload, Tasks>, peer: Arc<Peer>) -> hyper::Result<()> {
    let mut connection = std::pin::pin!(connection);
    std::future::poll_fn(|cx| {
        peer.look.register(cx.waker());
        let done = connection.as_mut().poll(cx);
        peer.streams.store(connection.current_max_send_streams(), Ordering::Relaxed);
        peer.extended_connect.store(connection.is_extended_connect_protocol_enabled(), Ordering::Relaxed);
        done
    })
    .await
}

impl Peer {
    /// Requests that it takes at a time.
    pub(super) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Whether it takes extended CONNECT (RFC 8441, section 3).
    pub(super) fn takes_extended_connect(&self) -> bool {
        self.extended_connect.load(Ordering::Relaxed)
    }
}

async fn run(authority: tollgate_model::Authority, connection: impl Future<Output = hyper::Result<()>>) {
    if let Err(error) = connection.await {
        tracing::debug!(%authority, %error, "upstream connection ended");
    }
}

impl Line {
    /// Whether extended CONNECT may be used. A new connection waits for the settings that say so: they are the first that
    /// the upstream sends (RFC 9113, section 3.4).
    pub(super) async fn takes_extended_connect(&self) -> bool {
        let Self::Http2(_, peer) = self else { return true };
        let mut looks = tokio::time::interval(SETTINGS_LOOK);
        for _ in 0..SETTINGS_LOOKS {
            looks.tick().await;
            if peer.takes_extended_connect() {
                return true;
            }
            peer.look.wake();
        }
        false
    }

    /// Sends one request that is sent only here.
    pub(crate) async fn ask(&mut self, key: &Key, request: Request<Upload>) -> Result<Response<Incoming>, SendError> {
        self.send(request).await.map_err(|unsent| unsent.fault.into_error(key))
    }

    /// Sends one request.
    pub(super) async fn send(&mut self, mut request: Request<Upload>) -> Result<Response<Incoming>, Unsent> {
        let sent = match self {
            Self::Http1(sender) => {
                let flooded = watch_interim(&mut request);
                tokio::select! {
                    biased;
                    () = flooded.notified() => return Err(Unsent { fault: Fault::Interim, request: None }),
                    sent = sender.try_send_request(request) => sent,
                }
            }
            Self::Http2(sender, _) => sender.try_send_request(request).await,
        };
        sent.map_err(|mut error: TrySendError<_>| {
            let request = error.take_message().map(Box::new);
            Unsent { fault: Fault::Library(error.into_error()), request }
        })
    }
}

/// Counts interim replies, which the HTTP library drops, and notifies when there are too many.
fn watch_interim(request: &mut Request<Upload>) -> Arc<Notify> {
    let flooded = Arc::new(Notify::new());
    let (count, notified) = (AtomicUsize::new(0), Arc::clone(&flooded));
    hyper::ext::on_informational(request, move |_| {
        if count.fetch_add(1, Ordering::Relaxed) == MAX_INTERIM {
            notified.notify_one();
        }
    });
    flooded
}

impl Fault {
    /// True where the connection ended, with or without a word, before there was a reply.
    pub(super) fn is_closed_early(&self) -> bool {
        let Self::Library(error) = self else { return false };
        let io = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
        let is_gone = |error: &std::io::Error| {
            use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
            matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
        };
        error.is_incomplete_message() || io.is_some_and(is_gone)
    }

    /// What the client is told.
    pub(super) fn into_error(self, key: &Key) -> SendError {
        match self {
            Self::Library(error) if error.is_user() => SendError::Upload(in_words(&error)),
            Self::Library(error) => broken(key, &error),
            Self::Interim => SendError::Broken {
                authority: key.place.authority.clone(),
                reason: format!("more than {MAX_INTERIM} interim replies came before a reply"),
            },
        }
    }
}

impl Loan {
    pub(super) fn is_http2(&self) -> bool {
        matches!(self.line, Line::Http2(..))
    }

    pub(super) fn is_proven(&self) -> bool {
        self.proven
    }

    pub(super) fn is_reused(&self) -> bool {
        self.reused
    }

    pub(super) async fn send(&mut self, request: Request<Upload>) -> Result<Response<Incoming>, Unsent> {
        self.line.send(request).await
    }

    /// Gives the connection back: the reply has been read to its end. One that is dropped instead is closed.
    pub(crate) fn give_back(self) {
        let Self { line, shelf, .. } = self;
        match line {
            Line::Http1(sender) if sender.is_ready() => shelf.keep(sender, true),
            // What is still going up after its reply has ended decides whether the connection can be used again.
            Line::Http1(mut sender) if !sender.is_closed() => {
                tokio::spawn(async move {
                    if let Ok(Ok(())) = tokio::time::timeout(LATE_UPLOAD, sender.ready()).await {
                        shelf.keep(sender, true);
                    }
                });
            }
            Line::Http1(_) | Line::Http2(..) => {}
        }
    }
}

/// The connection's own task ends a request a moment after its body has been read; an upload that goes on is not waited for.
const LATE_UPLOAD: Duration = Duration::from_millis(100);

impl Streams {
    /// None; `freed` is told whenever one ends.
    pub(super) fn none(freed: &Arc<Notify>) -> Self {
        Self { open: Arc::default(), freed: Arc::clone(freed) }
    }

    /// The same count, for whoever only looks at it.
    pub(super) fn same(&self) -> Self {
        Self { open: Arc::clone(&self.open), freed: Arc::clone(&self.freed) }
    }

    /// The same count, one higher until the [`Turn`] that it goes into is dropped.
    pub(super) fn one_more(&self) -> Self {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.same()
    }

    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Self::Stream(streams) = self {
            streams.open.fetch_sub(1, Ordering::Relaxed);
            streams.freed.notify_one();
        }
    }
}
