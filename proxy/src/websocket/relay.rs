//! Both directions of an open socket, until one side ends it or the rules do.

use std::time::Duration;

use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::watch;
use tollgate_inspect::websocket::{Deflate, Sender};

use super::Socket;
use super::frames::{Close, Deflated, Direction, Treatment};
use super::handshake::Extensions;
use crate::limits::seconds;
use crate::search::Search;
use crate::tunnel::{Counts, pass};

type Io = TokioIo<Upgraded>;

/// How a direction ended.
enum End {
    /// Its sender is done.
    Closed,
    /// One of the connections broke, or was not read for too long.
    Broken(String),
    /// What was sent may not be.
    Refused(Close),
    /// The other direction has ended.
    Stopped,
}

/// What one direction leaves behind.
struct Rest {
    end: End,
    writer: WriteHalf<Io>,
    clean: bool,
    scrubbed: u64,
}

/// Bytes that are read at a time.
const READ: usize = 16 * 1024;

/// How long the other side has to answer a close (RFC 6455, section 7.1.1).
const CLOSING: Duration = Duration::from_secs(5);

/// How long a cut socket has to take its close frame; the whole cut stays below a second.
const FAREWELL: Duration = Duration::from_millis(300);

/// Passes frames on until the socket ends.
pub(super) async fn run(mut socket: Socket, client: Upgraded, upstream: OnUpgrade, extensions: Extensions) {
    let upstream = match upstream.await {
        Ok(upstream) => TokioIo::new(upstream),
        Err(error) => return socket.course.end(format!("broken off by the upstream: {error}")),
    };
    let client = TokioIo::new(client);
    let deflate = match extensions {
        Extensions::Opaque => return copy(socket, client, upstream).await,
        Extensions::Deflate(deflate) => Some(deflate),
        Extensions::None => None,
    };
    let search = socket.search.take();
    let outcome = relay(&socket, search, deflate, client, upstream).await;
    socket.course.end(outcome);
}

/// Frames that nobody reads.
async fn copy(socket: Socket, client: Io, upstream: Io) {
    let counts = Counts::default();
    let outcome = tokio::select! {
        biased;
        reason = socket.course.hold.lost() => format!("cut: {reason}"),
        passed = pass(client, upstream, &counts, seconds(socket.gate.limits.stall_seconds)) => match passed {
            Ok(()) => "complete".to_owned(),
            Err(error) => format!("broken off: {error}"),
        },
    };
    socket.course.note(|notes| (notes.sent, notes.bytes) = counts.both());
    socket.course.end(outcome);
}

async fn relay(
    socket: &Socket,
    mut search: Option<Search>,
    deflate: Option<Deflate>,
    client: Io,
    upstream: Io,
) -> String {
    let (client_reader, client_writer) = tokio::io::split(client);
    let (upstream_reader, upstream_writer) = tokio::io::split(upstream);
    let read = |text: &str| socket.read(text).map_err(|refusal| policy(&refusal.problem().detail));
    let up = if socket.reads_messages() { Treatment::Read(&read) } else { Treatment::Pass };
    let down = search.as_mut().map_or(Treatment::Pass, Treatment::Scrub);
    let stall = seconds(socket.gate.limits.stall_seconds);
    let stop = watch::Sender::new(false);
    let sent = |count| socket.course.note(|notes| notes.sent += count);
    let received = |count| socket.course.note(|notes| notes.bytes += count);
    let up = Lane::new(Sender::Client, up, deflate);
    let down = Lane::new(Sender::Server, down, deflate);
    let up = pump(client_reader, upstream_writer, up, &sent, &stop, stall);
    let down = pump(upstream_reader, client_writer, down, &received, &stop, stall);
    let both = async {
        tokio::pin!(up, down);
        tokio::select! {
            rest = &mut up => { let down = other(down, rest.patience(), &stop).await; (rest, down) }
            rest = &mut down => { let up = other(up, rest.patience(), &stop).await; (up, rest) }
        }
    };
    tokio::pin!(both);
    let (cut, ended) = tokio::select! {
        biased;
        reason = socket.course.hold.lost() => {
            stop.send_replace(true);
            (Some(reason.to_owned()), tokio::time::timeout(FAREWELL, &mut both).await.ok())
        }
        ended = &mut both => (None, Some(ended)),
    };
    match ended {
        Some((up, down)) => {
            socket.course.note(|notes| notes.scrubbed += down.scrubbed);
            farewell(cut, up, down).await
        }
        None => format!("cut: {}", cut.unwrap_or_default()),
    }
}

/// One direction, with the compression of both its legs where they have any.
struct Lane<'a> {
    direction: Direction<'a>,
    deflated: Option<Deflated>,
}

impl<'a> Lane<'a> {
    fn new(sender: Sender, treatment: Treatment<'a>, deflate: Option<Deflate>) -> Self {
        let deflated = deflate.map(|deflate| Deflated::new(sender, deflate));
        Self { direction: Direction::new(sender, treatment), deflated }
    }

    fn take(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), Close> {
        match &mut self.deflated {
            Some(deflated) => deflated.take(&mut self.direction, input, out),
            None => self.direction.take(input, out),
        }
    }
}

impl Rest {
    /// How long the other direction may take to its end: none where there is nobody to wait for.
    fn patience(&self) -> Duration {
        if matches!(self.end, End::Broken(_)) { Duration::ZERO } else { CLOSING }
    }
}

/// Lets the other direction come to its end.
async fn other(rest: impl Future<Output = Rest>, patience: Duration, stop: &watch::Sender<bool>) -> Rest {
    tokio::pin!(rest);
    match tokio::time::timeout(patience, &mut rest).await {
        Ok(rest) => rest,
        Err(_) => {
            stop.send_replace(true);
            rest.await
        }
    }
}

/// Says to both sides why it is over, where that is not their own doing.
async fn farewell(cut: Option<String>, mut up: Rest, mut down: Rest) -> String {
    let refused = [&up.end, &down.end].into_iter().find_map(|end| match end {
        End::Refused(close) => Some(close.clone()),
        _ => None,
    });
    let close = cut.as_ref().map(|_| policy("the policy changed")).or(refused);
    if let Some(close) = &close {
        for (rest, key) in [(&mut down, None), (&mut up, Some(UNMASKED))] {
            if rest.clean {
                // A peer that does not take it is cut off without.
                let _ = tokio::time::timeout(FAREWELL, rest.writer.write_all(&close.to_frame(key))).await;
            }
        }
    }
    for rest in [&mut up, &mut down] {
        let _ = tokio::time::timeout(FAREWELL, rest.writer.shutdown()).await;
    }
    let broken = [&up.end, &down.end].into_iter().find_map(|end| match end {
        End::Broken(reason) => Some(format!("broken off: {reason}")),
        _ => None,
    });
    match (cut, close) {
        (Some(reason), _) => format!("cut: {reason}"),
        (None, Some(close)) => format!("closed with {}: {}", close.code, close.reason),
        (None, None) => broken.unwrap_or_else(|| "complete".to_owned()),
    }
}

/// The key of close frames of our own: they hold nothing that a cache in between could be fooled with.
const UNMASKED: [u8; 4] = [0; 4];

fn policy(reason: &str) -> Close {
    const POLICY_VIOLATION: u16 = 1008;
    Close { code: POLICY_VIOLATION, reason: reason.to_owned() }
}

async fn pump(
    mut reader: ReadHalf<Io>,
    mut writer: WriteHalf<Io>,
    mut lane: Lane<'_>,
    count: &(dyn Fn(u64) + Sync),
    stop: &watch::Sender<bool>,
    stall: Duration,
) -> Rest {
    let mut stopped = stop.subscribe();
    let mut input = Vec::with_capacity(READ);
    let mut out = Vec::new();
    let end = loop {
        input.clear();
        let read = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => break End::Stopped,
            read = reader.read_buf(&mut input) => read,
        };
        match read {
            Ok(0) => break End::Closed,
            Ok(_) => {}
            Err(error) => {
                // Many servers end TLS without saying so; whoever waits for the end of the connection should see it.
                let _ = tokio::time::timeout(FAREWELL, writer.shutdown()).await;
                break End::Broken(error.to_string());
            }
        }
        let taken = lane.take(&input, &mut out);
        count(out.len() as u64);
        let written = async {
            writer.write_all(&out).await?;
            // TLS may hold the end of a frame back until then.
            writer.flush().await
        };
        match tokio::time::timeout(stall, written).await {
            Ok(Ok(())) => out.clear(),
            Ok(Err(error)) => break End::Broken(error.to_string()),
            Err(_) => break End::Broken("what was sent was not read in time".to_owned()),
        }
        if let Err(close) = taken {
            stop.send_replace(true);
            break End::Refused(close);
        }
    };
    if matches!(end, End::Closed) {
        // The peer may have gone as well.
        let _ = tokio::time::timeout(stall, writer.shutdown()).await;
    }
    let clean = lane.direction.is_between_frames() && matches!(end, End::Stopped | End::Refused(_));
    Rest { end, writer, clean, scrubbed: lane.direction.scrubbed }
}
