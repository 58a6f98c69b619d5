//! What waits to be written: records one behind the other in one buffer, which the writer takes whole and gives back empty.
//!
//! Nothing is allocated for a record, and the writer is woken once for many.

use std::sync::mpsc::SyncSender;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tollgate_audit::Event;

/// Between those who record and the one who writes.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    /// Told what the writer waits for.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    batch: Batch,
    /// Records that the writer has taken and may not have written.
    taken: usize,
    /// Nothing comes any more.
    ended: bool,
}

/// Records, and who waits until they are written.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bodies: Vec<u8>,
    /// The time of each record, and where its body ends.
    records: Vec<(i64, usize)>,
    pub(super) syncs: Vec<SyncSender<()>>,
}

/// Why the writer is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    /// There is something to write.
    Write,
    /// Nothing came in time.
    Nothing,
    /// There is nothing to write and there never will be.
    End,
}

/// There is no room for a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full;

/// Records that may wait for the disk: at 500 bytes each about 4 MiB.
pub(super) const QUEUE_RECORDS: usize = 8192;

/// Records of ends that may wait behind them: as many as connections and streams that end at once.
pub(super) const QUEUE_ENDS: usize = 8192;

/// Records that wait for no others to be written with them.
const BATCH_RECORDS: usize = 512;

/// How long a record waits for others to be written with it.
const GATHERING: Duration = Duration::from_millis(5);

/// What a burst has left of a buffer's memory is given back.
const KEPT_BYTES: usize = 256 * 1024;

impl Queue {
    /// Adds one record, stamped with the time of this call.
    ///
    /// # Errors
    /// When there is no room for it.
    pub(super) fn push(&self, event: &Event<'_>) -> Result<(), Full> {
        let mut waiting = self.waiting();
        let room = if event.is_an_end() { QUEUE_RECORDS + QUEUE_ENDS } else { QUEUE_RECORDS };
        if waiting.ended || waiting.batch.records.len() + waiting.taken >= room {
            return Err(Full);
        }
        let Batch { bodies, records, .. } = &mut waiting.batch;
        event.write_body(bodies);
        records.push((now(), bodies.len()));
        let count = records.len();
        drop(waiting);
        if count == 1 || count == BATCH_RECORDS {
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Has `done` told once everything that waits now is written. When the writer has ended, it is dropped.
    pub(super) fn sync(&self, done: SyncSender<()>) {
        let mut waiting = self.waiting();
        if !waiting.ended {
            waiting.batch.syncs.push(done);
            self.changed.notify_one();
        }
    }

    /// Takes no more. What waits can still be taken.
    pub(super) fn end(&self) {
        self.waiting().ended = true;
        self.changed.notify_one();
    }

    /// Exchanges `batch`, which has been written, for what waits; waits for something at most for `patience`.
    pub(super) fn take(&self, batch: &mut Batch, patience: Duration) -> Call {
        batch.clear();
        let mut waiting = self.waiting();
        waiting.taken = 0;
        let is_idle = |waiting: &mut Waiting| waiting.batch.is_empty() && !waiting.ended;
        waiting = self.wait(waiting, patience, is_idle);
        let is_gathering = |waiting: &mut Waiting| {
            let Batch { records, syncs, .. } = &waiting.batch;
            (1..BATCH_RECORDS).contains(&records.len()) && syncs.is_empty() && !waiting.ended
        };
        waiting = self.wait(waiting, GATHERING, is_gathering);
        if waiting.batch.is_empty() {
            return if waiting.ended { Call::End } else { Call::Nothing };
        }
        std::mem::swap(&mut waiting.batch, batch);
        waiting.taken = batch.records.len();
        Call::Write
    }

    fn wait<'a>(
        &self,
        waiting: MutexGuard<'a, Waiting>,
        patience: Duration,
        condition: impl FnMut(&mut Waiting) -> bool,
    ) -> MutexGuard<'a, Waiting> {
        self.changed.wait_timeout_while(waiting, patience, condition).unwrap_or_else(PoisonError::into_inner).0
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Batch {
    /// Each record's time, in microseconds since the Unix epoch, and its body.
    pub(super) fn records(&self) -> impl Iterator<Item = (i64, &[u8])> {
        let mut begin = 0;
        self.records.iter().map(move |(time, end)| (*time, &self.bodies[std::mem::replace(&mut begin, *end)..*end]))
    }

    fn is_empty(&self) -> bool {
        self.records.is_empty() && self.syncs.is_empty()
    }

    fn clear(&mut self) {
        self.bodies.clear();
        self.bodies.shrink_to(KEPT_BYTES);
        self.records.clear();
        self.records.shrink_to(BATCH_RECORDS);
        self.syncs.clear();
    }
}

/// In microseconds since the Unix epoch.
pub(super) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTICE: Event<'_> = Event::Notice { detail: "" };

    #[test]
    fn what_the_writer_has_taken_counts_until_it_is_written() {
        let (queue, mut batch) = (Queue::default(), Batch::default());
        for _ in 0..QUEUE_RECORDS {
            queue.push(&NOTICE).expect("there is room");
        }
        assert_eq!(queue.take(&mut batch, Duration::ZERO), Call::Write);
        assert_eq!((batch.records().count(), queue.push(&NOTICE)), (QUEUE_RECORDS, Err(Full)));
        assert_eq!(queue.take(&mut batch, Duration::ZERO), Call::Nothing);
        assert_eq!(queue.push(&NOTICE), Ok(()));
    }

    #[test]
    fn what_waits_is_taken_after_the_end_and_nothing_more_comes() {
        let (queue, mut batch) = (Queue::default(), Batch::default());
        queue.push(&Event::Notice { detail: "a" }).expect("there is room");
        queue.push(&Event::Notice { detail: "b" }).expect("there is room");
        queue.end();
        assert_eq!(queue.push(&NOTICE), Err(Full));
        assert_eq!(queue.take(&mut batch, Duration::MAX), Call::Write);
        let bodies: Vec<_> = batch.records().map(|(_, body)| String::from_utf8_lossy(body)).collect();
        assert_eq!(bodies, [r#"{"event":"notice","detail":"a"}"#, r#"{"event":"notice","detail":"b"}"#]);
        assert_eq!(queue.take(&mut batch, Duration::MAX), Call::End);
        let (done, wait) = std::sync::mpsc::sync_channel(1);
        queue.sync(done);
        assert!(wait.recv().is_err(), "nobody writes any more");
    }
}
