//! The layer between a worker's client and its store, which records requests and replies.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use sentinel::kernel::{Op, Reply};
use sentinel::record::Address;
use sentinel::store::operation::*;
use sentinel::store::{Applied, CoordinationStore, StoreError};
use sentinel_conformance::Layer;

use crate::journal::{Journal, NoReply, Note, now};

/// Records each request before it is sent, and its reply before the client gets it.
#[derive(Debug)]
pub(crate) struct Recorder {
    store: Arc<dyn CoordinationStore>,
    journal: Arc<Journal>,
    requests: AtomicU64,
}

impl Recorder {
    pub(crate) fn new(store: Arc<dyn CoordinationStore>, journal: Arc<Journal>) -> Self {
        Self { store, journal, requests: AtomicU64::new(0) }
    }

    fn sent(&self, address: &Address, op: Op) -> u64 {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        self.journal.note(&Note::Sent(number, now(), address.clone(), op));
        number
    }

    fn answered(&self, number: u64, at: u64, answer: Result<Stamped<Reply>, &StoreError>) {
        let answer = answer.map_err(|error| NoReply {
            ambiguous: error.applied() == Applied::Ambiguous,
            text: error.to_string(),
        });
        self.journal.note(&Note::Answered(number, at, answer));
    }
}

#[async_trait]
impl Layer for Recorder {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.store
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        let number = self.sent(address, op.clone());
        let answer = op.send(&*self.store, address).await;
        self.answered(number, now(), answer.as_ref().cloned());
        answer
    }

    async fn on_heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        let op = |beat: &Beat| Op::Heartbeat(Heartbeat { grant: beat.grant });
        let numbers: Vec<_> = beats.iter().map(|beat| self.sent(&beat.address, op(beat))).collect();
        let answer = self.store.heartbeat(beats).await;
        let at = now();
        for (n, number) in numbers.into_iter().enumerate() {
            let one = answer.as_ref().map(|replies| replies[n].clone().map(Reply::Heartbeat));
            self.answered(number, at, one);
        }
        answer
    }
}
