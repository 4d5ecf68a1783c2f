//! Recording what a store was asked, by whom, in which order, and what it answered.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::Inspection;
use sentinel_core::{Address, CoordinationStore, Event, Layer, StoreError};

/// A store that writes down every operation and look at a record, and passes it on. Clones and
/// [`as_caller`](Self::as_caller) share one log. Lists and purges are passed on without being written down.
///
/// Put it *below* [`Faulty`](crate::Faulty) to see what was really carried out, above to see what a client was told.
#[derive(Debug, Clone)]
pub struct Recorder {
    inner: Arc<dyn CoordinationStore>,
    caller: u32,
    log: Arc<Mutex<Log>>,
}

#[derive(Debug, Default)]
struct Log {
    entries: Vec<Entry>,
    looks: Vec<Look>,
    order: u64,
}

/// One request and what became of it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Who asked: see [`Recorder::as_caller`].
    pub caller: u32,
    /// Of which record.
    pub address: Address,
    /// What.
    pub op: Op,
    /// When it was sent, in the one order of all that was sent and answered.
    pub invoked: u64,
    /// When it was answered, in the same order; None: the caller did not wait for the answer.
    pub returned: Option<u64>,
    /// The answer; None: the caller did not wait for it.
    pub answer: Option<Result<Stamped<Reply>, StoreError>>,
}

/// One answered look at a record. Looks that fail are not written down: they change and tell nothing.
#[derive(Debug, Clone)]
pub struct Look {
    /// At which record.
    pub address: Address,
    /// When it was sent, in the one order of all that was sent and answered.
    pub invoked: u64,
    /// When it was answered, in the same order.
    pub returned: u64,
    /// What it saw.
    pub saw: Saw,
}

/// What a look saw.
#[derive(Debug, Clone)]
pub enum Saw {
    /// The record, by `inspect`.
    Record(Box<Inspection>),
    /// The newest events, by `history`.
    Events(Vec<Event>),
}

impl Recorder {
    /// Records what `inner` is asked, as caller 0.
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

    /// The looks that were recorded so far, in the order in which they were answered.
    pub fn looks(&self) -> Vec<Look> {
        self.log().looks.clone()
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

    fn looked(&self, address: &Address, invoked: u64, saw: Saw) {
        let look = Look { address: address.clone(), invoked, returned: self.now(), saw };
        self.log().looks.push(look);
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes requests that go out together; their places in the log.
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
            answer: None,
        }));
        (first..log.entries.len()).collect()
    }

    fn answered(&self, places: &[usize], answers: impl Iterator<Item = Result<Stamped<Reply>, StoreError>>) {
        let mut log = self.log();
        log.order += 1;
        let returned = log.order;
        for (place, answer) in places.iter().zip(answers) {
            let entry = &mut log.entries[*place];
            (entry.returned, entry.answer) = (Some(returned), Some(answer));
        }
    }
}

#[async_trait]
impl Layer for Recorder {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.inner
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        let places = self.sent([(address.clone(), op.clone())].into_iter());
        let answer = op.send(&*self.inner, address).await;
        self.answered(&places, [answer.clone()].into_iter());
        answer
    }

    async fn on_heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        let op = |beat: &Beat| (beat.address.clone(), Op::Heartbeat(Heartbeat { grant: beat.grant }));
        let places = self.sent(beats.iter().map(op));
        let answer = self.inner.heartbeat(beats).await;
        match &answer {
            Ok(replies) => {
                let replies = replies.iter().map(|stamped| Ok(stamped.clone().map(Reply::Heartbeat)));
                self.answered(&places, replies);
            }
            Err(error) => self.answered(&places, beats.iter().map(|_| Err(error.clone()))),
        }
        answer
    }

    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        let invoked = self.now();
        let inspection = self.inner.inspect(address).await?;
        self.looked(address, invoked, Saw::Record(Box::new(inspection.clone())));
        Ok(inspection)
    }

    async fn on_history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        let invoked = self.now();
        let events = self.inner.history(address, limit).await?;
        self.looked(address, invoked, Saw::Events(events.clone()));
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
        match &self.answer {
            Some(Ok(Stamped { reply, stamp })) => {
                let changed = if stamp.changed { "changed" } else { "unchanged" };
                let Stamp { now, rev, token, state, .. } = stamp;
                write!(f, "{reply:?} (now {}, rev {rev}, token {token}, {state}, {changed})", now.as_micros())
            }
            Some(Err(error)) => write!(f, "{error}"),
            None => f.write_str("nobody waited for the answer"),
        }
    }
}
