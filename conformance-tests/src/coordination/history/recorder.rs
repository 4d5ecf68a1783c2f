//! Records the requests to a store, their callers, their order, and the replies.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::Inspection;
use sentinel_core::{Address, CoordinationStore, Event, Layer, StoreError};

/// A store that records every operation and every read of a record, and passes it on. Clones and
/// [`as_caller`](Self::as_caller) share one log. Lists and purges are passed on without being recorded.
///
/// Put it *below* [`Faulty`](crate::Faulty) to record what the store did, above to record what a client received.
#[derive(Debug, Clone)]
pub struct Recorder {
    inner: Arc<dyn CoordinationStore>,
    caller: u32,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    entries: Vec<Entry>,
    reads: Vec<Read>,
    order: u64,
}

/// One request and its reply.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Which caller sent it: see [`Recorder::as_caller`].
    pub caller: u32,
    /// Of which record.
    pub address: Address,
    /// What.
    pub op: Op,
    /// When it was sent, in the one order of all invocations and replies.
    pub invoked: u64,
    /// When it was answered, in the same order; None: the caller did not wait for the reply.
    pub returned: Option<u64>,
    /// The reply; None: the caller did not wait for it.
    pub reply: Option<Result<Stamped<Reply>, StoreError>>,
}

/// One successful read of a record. Reads that fail are not recorded: they change nothing and return nothing.
#[derive(Debug, Clone)]
pub struct Read {
    /// Of which record.
    pub address: Address,
    /// When it was sent, in the one order of all invocations and replies.
    pub invoked: u64,
    /// When it was answered, in the same order.
    pub returned: u64,
    /// What it returned.
    pub result: ReadResult,
}

/// What a read returned.
#[derive(Debug, Clone)]
pub enum ReadResult {
    /// The record, by `inspect`.
    Record(Box<Inspection>),
    /// The newest events, by `history`.
    Events(Vec<Event>),
}

impl Recorder {
    /// Records the requests to `inner`, as caller 0.
    pub fn new(inner: Arc<dyn CoordinationStore>) -> Self {
        Self { inner, caller: 0, log: Arc::default() }
    }

    /// The same store and log, for another caller.
    #[must_use]
    pub fn as_caller(&self, caller: u32) -> Self {
        Self { caller, ..self.clone() }
    }

    /// What was recorded so far, in the order in which it was sent.
    pub fn entries(&self) -> Vec<Entry> {
        self.log().entries.clone()
    }

    /// The reads that were recorded so far, in the order in which they returned.
    pub fn reads(&self) -> Vec<Read> {
        self.log().reads.clone()
    }

    /// The store whose requests it records.
    pub(super) fn store(&self) -> &dyn CoordinationStore {
        &*self.inner
    }

    fn now(&self) -> u64 {
        let mut log = self.log();
        log.order += 1;
        log.order
    }

    fn read_returned(&self, address: &Address, invoked: u64, result: ReadResult) {
        let read = Read { address: address.clone(), invoked, returned: self.now(), result };
        self.log().reads.push(read);
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes requests that are sent together; returns their positions in the log.
    fn sent(&self, requests: impl Iterator<Item = (Address, Op)>) -> Vec<usize> {
        let mut log = self.log();
        log.order += 1;
        let (caller, invoked) = (self.caller, log.order);
        let first = log.entries.len();
        log.entries.extend(requests.map(|(address, op)| Entry {
            caller,
            address,
            op,
            invoked,
            returned: None,
            reply: None,
        }));
        (first..log.entries.len()).collect()
    }

    fn answered(
        &self,
        positions: &[usize],
        replies: impl Iterator<Item = Result<Stamped<Reply>, StoreError>>,
    ) {
        let mut log = self.log();
        log.order += 1;
        let returned = log.order;
        for (position, reply) in positions.iter().zip(replies) {
            let entry = &mut log.entries[*position];
            (entry.returned, entry.reply) = (Some(returned), Some(reply));
        }
    }
}

#[async_trait]
impl Layer for Recorder {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.inner
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        let positions = self.sent([(address.clone(), op.clone())].into_iter());
        let reply = op.send(&*self.inner, address).await;
        self.answered(&positions, [reply.clone()].into_iter());
        reply
    }

    async fn on_heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        let op = |beat: &Beat| (beat.address.clone(), Op::Heartbeat(Heartbeat { grant: beat.grant }));
        let positions = self.sent(beats.iter().map(op));
        let reply = self.inner.heartbeat(beats).await;
        match &reply {
            Ok(replies) => {
                let replies = replies.iter().map(|stamped| Ok(stamped.clone().map(Reply::Heartbeat)));
                self.answered(&positions, replies);
            }
            Err(error) => self.answered(&positions, beats.iter().map(|_| Err(error.clone()))),
        }
        reply
    }

    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        let invoked = self.now();
        let inspection = self.inner.inspect(address).await?;
        self.read_returned(address, invoked, ReadResult::Record(Box::new(inspection.clone())));
        Ok(inspection)
    }

    async fn on_history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        let invoked = self.now();
        let events = self.inner.history(address, limit).await?;
        self.read_returned(address, invoked, ReadResult::Events(events.clone()));
        Ok(events)
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let returned = self.returned.map_or("-".to_owned(), |at| at.to_string());
        write!(
            f,
            "[{}..{returned}] caller {} {}: {:?}\n      -> ",
            self.invoked, self.caller, self.address.key, self.op
        )?;
        match &self.reply {
            Some(Ok(Stamped { reply, stamp })) => {
                let changed = if stamp.changed { "changed" } else { "unchanged" };
                let Stamp { now, rev, token, state, .. } = stamp;
                write!(f, "{reply:?} (now {}, rev {rev}, token {token}, {state}, {changed})", now.as_micros())
            }
            Some(Err(error)) => write!(f, "{error}"),
            None => f.write_str("the caller did not wait for the reply"),
        }
    }
}
