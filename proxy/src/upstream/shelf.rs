//! The connections to one place: which protocol it speaks, which are free, who opens the next.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use tokio::sync::{Notify, Semaphore};

use super::line::{self, Line, Loan, Peer, Streams, Turn};
use super::pool::{Key, SendError};
use super::{Dialer, Offer};
use crate::Limits;
use crate::limits::seconds;
use crate::upload::Upload;
use crate::workers;

/// The connections of one [`Key`].
#[derive(Debug)]
pub(super) struct Shelf {
    stock: Mutex<Stock>,
    /// Held by whoever opens a connection that others will share, or that shows which protocol is spoken.
    opening: tokio::sync::Mutex<()>,
    /// Requests that may be on HTTP/1 connections at a time.
    slots: Arc<Semaphore>,
    /// Told when a stream of a shared connection has ended.
    freed: Arc<Notify>,
    patience: Duration,
}

#[derive(Debug, Default)]
struct Stock {
    spoken: Option<super::Spoken>,
    idle: Vec<Idle>,
    shared: Vec<Shared>,
    failure: Option<(Instant, SendError)>,
}

#[derive(Debug)]
struct Idle {
    sender: http1::SendRequest<Upload>,
    since: Instant,
    /// It has answered a request.
    proven: bool,
}

#[derive(Debug)]
struct Shared {
    /// Whose threads it runs on, which use it before others do.
    worker: usize,
    sender: http2::SendRequest<Upload>,
    peer: Arc<Peer>,
    streams: Streams,
    used: Instant,
}

enum Found {
    Loan(Loan),
    /// The place speaks HTTP/1: everyone opens their own.
    Own,
    /// Nobody knows yet, or every connection is full and there may be more.
    Open,
    /// There are as many connections as there may be, and all are full.
    Full,
}

/// Idle connections that are kept for one place.
const MAX_IDLE: usize = 64;

/// HTTP/2 connections to one place, of all workers; when all are full, requests wait until a stream ends.
const MAX_SHARED: usize = 8;

/// Requests on one HTTP/2 connection, where the upstream allows more: one lost packet holds up all of them.
const MAX_STREAMS: usize = 256;

/// An upstream that closes each connection as soon as it is open.
const MAX_OPENINGS: usize = 3;

impl Shelf {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            stock: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            slots: Arc::new(Semaphore::new(usize::try_from(limits.upstream_connections).unwrap_or(usize::MAX >> 3))),
            freed: Arc::default(),
            patience: seconds(limits.connect_seconds),
        }
    }

    /// A connection for one request: one that is free, or one that is opened now.
    pub(super) async fn borrow(self: &Arc<Self>, dialer: &Dialer, key: &Key) -> Result<Loan, SendError> {
        let mut begun = None;
        for _ in 0..MAX_OPENINGS {
            match self.find_with_room(key).await? {
                Found::Loan(loan) => return Ok(loan),
                Found::Own => return self.borrow_own(dialer, key).await,
                Found::Open | Found::Full => {}
            }
            let begun = *begun.get_or_insert_with(Instant::now);
            let _opening = self.opening.lock().await;
            // Somebody else has tried meanwhile: what they learned is true for this request as well.
            if let Some(failure) = self.failed_since(begun) {
                return Err(failure);
            }
            match self.find() {
                Found::Loan(loan) => return Ok(loan),
                Found::Own | Found::Full => continue,
                // What is rare has a place of its own: every request would take up its kilobytes as well.
                Found::Open => Box::pin(self.open_shared(dialer, key)).await?,
            }
        }
        Err(SendError::Broken {
            authority: key.place.authority.clone(),
            reason: "it closes each connection at once".into(),
        })
    }

    /// HTTP/1: an idle connection, or one more within the bound.
    async fn borrow_own(self: &Arc<Self>, dialer: &Dialer, key: &Key) -> Result<Loan, SendError> {
        let slot = tokio::time::timeout(self.patience, Arc::clone(&self.slots).acquire_owned()).await;
        let Ok(Ok(slot)) = slot else { return Err(SendError::Busy(key.place.authority.clone())) };
        let turn = Turn::Connection { _slot: slot };
        while let Some((mut sender, proven)) = self.take_idle() {
            if sender.ready().await.is_ok() {
                return Ok(Loan { proven, ..self.loan(Line::Http1(sender), true, turn) });
            }
        }
        let line = Box::pin(line::open(dialer, key, Offer::Both)).await?;
        if let Line::Http2(sender, peer) = &line {
            let turn = Turn::Stream(self.share(sender.clone(), Arc::clone(peer)).one_more());
            return Ok(self.loan(line, false, turn));
        }
        Ok(self.loan(line, false, turn))
    }

    async fn open_shared(&self, dialer: &Dialer, key: &Key) -> Result<(), SendError> {
        match line::open(dialer, key, Offer::Both).await {
            Ok(Line::Http1(sender)) => {
                self.stock().spoken = Some(super::Spoken::Http1);
                self.keep(sender, false);
                Ok(())
            }
            Ok(Line::Http2(sender, peer)) => {
                self.share(sender, peer);
                Ok(())
            }
            Err(error) => {
                self.stock().failure = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn share(&self, sender: http2::SendRequest<Upload>, peer: Arc<Peer>) -> Streams {
        let mut stock = self.stock();
        let streams = Streams::none(&self.freed);
        stock.spoken = Some(super::Spoken::Http2);
        let worker = workers::current();
        stock.shared.push(Shared { worker, sender, peer, streams: streams.same(), used: Instant::now() });
        streams
    }

    /// Waits while every connection is full. What waits here can still be taken back; what waits for a stream inside the
    /// HTTP library is sent in any case.
    async fn find_with_room(self: &Arc<Self>, key: &Key) -> Result<Found, SendError> {
        // With nobody to wait for, as nearly always, there is no clock to look at.
        match self.find() {
            Found::Full => {}
            found => return Ok(found),
        }
        let found = async {
            loop {
                let mut freed = std::pin::pin!(self.freed.notified());
                // Counts from now on, not only once it waits.
                freed.as_mut().enable();
                match self.find() {
                    Found::Full => freed.await,
                    found => return found,
                }
            }
        };
        tokio::time::timeout(self.patience, found).await.map_err(|_| SendError::Busy(key.place.authority.clone()))
    }

    fn find(self: &Arc<Self>) -> Found {
        let mut stock = self.stock();
        stock.shared.retain(|shared| !shared.sender.is_closed());
        if stock.shared.is_empty() && stock.spoken == Some(super::Spoken::Http1) {
            return Found::Own;
        }
        let may_open = stock.shared.len() < MAX_SHARED;
        let here = workers::current();
        let usable = stock.shared.iter_mut().filter(|shared| shared.has_room() && (shared.worker == here || !may_open));
        let Some(shared) = usable.min_by_key(|shared| (shared.worker != here, shared.streams.open())) else {
            return if may_open { Found::Open } else { Found::Full };
        };
        shared.used = Instant::now();
        let (line, turn) = (shared.line(), Turn::Stream(shared.streams.one_more()));
        drop(stock);
        Found::Loan(self.loan(line, true, turn))
    }

    fn loan(self: &Arc<Self>, line: Line, reused: bool, turn: Turn) -> Loan {
        Loan { line, shelf: Arc::clone(self), reused, proven: false, _turn: turn }
    }

    /// A connection that takes extended CONNECT.
    pub(super) fn extended(&self) -> Option<(Line, Turn)> {
        let mut stock = self.stock();
        let mut open = stock.shared.iter_mut().filter(|shared| !shared.sender.is_closed() && shared.has_room());
        let shared = open.find(|shared| shared.peer.takes_extended_connect())?;
        shared.used = Instant::now();
        Some((shared.line(), Turn::Stream(shared.streams.one_more())))
    }

    fn take_idle(&self) -> Option<(http1::SendRequest<Upload>, bool)> {
        let mut stock = self.stock();
        loop {
            let idle = stock.idle.pop()?;
            if !idle.sender.is_closed() {
                return Some((idle.sender, idle.proven));
            }
        }
    }

    /// Keeps a connection that has no request; `proven` where it has answered one.
    pub(super) fn keep(&self, sender: http1::SendRequest<Upload>, proven: bool) {
        let mut stock = self.stock();
        if stock.idle.len() == MAX_IDLE {
            stock.idle.remove(0);
        }
        stock.idle.push(Idle { sender, since: Instant::now(), proven });
    }

    /// Forgets what has been idle too long; false when nothing is left.
    pub(super) fn sweep(&self, now: Instant, idle: Duration) -> bool {
        let mut stock = self.stock();
        stock.idle.retain(|kept| now.duration_since(kept.since) < idle && !kept.sender.is_closed());
        stock.shared.retain(|shared| {
            !shared.sender.is_closed() && (shared.streams.open() > 0 || now.duration_since(shared.used) < idle)
        });
        !stock.idle.is_empty() || !stock.shared.is_empty()
    }

    fn failed_since(&self, begun: Instant) -> Option<SendError> {
        self.stock().failure.as_ref().filter(|(at, _)| *at >= begun).map(|(_, error)| error.clone())
    }

    fn stock(&self) -> MutexGuard<'_, Stock> {
        self.stock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    fn line(&self) -> Line {
        Line::Http2(self.sender.clone(), Arc::clone(&self.peer))
    }

    fn has_room(&self) -> bool {
        self.streams.open() < self.peer.streams().min(MAX_STREAMS)
    }
}
