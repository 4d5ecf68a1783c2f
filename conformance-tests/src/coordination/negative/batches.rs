//! Batches of heartbeats, with one flaw each.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{Address, CoordinationStore, Layer, Layered, StoreError};

use super::mutation::Mutation;

/// What is wrong with a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    SortsByKey,
    ExecutionsFirst,
    GroupsByNamespace,
    OneNamespace,
    OneKind,
    EndsAt(usize),
    RepliesBeyond(usize),
    RepeatsOnce,
    LastGrantCounts,
    OneLossFailsAll,
    FirstLossForAll,
    OneTtl,
    ByToken,
    Throttled,
    PastHard,
}

#[derive(Debug)]
struct Batches(Arc<dyn CoordinationStore>, Fault);

impl Batches {
    /// Sends beats in another order, and does not put the replies back in order.
    async fn ordered(&self, beats: &[Beat], order: fn(&Beat, &Beat) -> std::cmp::Ordering) -> Replies {
        let mut beats = beats.to_vec();
        beats.sort_by(order);
        self.0.heartbeat(&beats).await
    }

    /// Sends some of the beats; the others are answered as if they had been kept or were unknown.
    async fn some(&self, beats: &[Beat], sent: impl Fn(usize, &Beat) -> bool + Send, kept: bool) -> Replies {
        let chosen: Vec<Beat> = beats
            .iter()
            .enumerate()
            .filter(|(n, beat)| sent(*n, beat))
            .map(|(_, beat)| beat.clone())
            .collect();
        let mut replies = self.0.heartbeat(&chosen).await?.into_iter();
        let mut all: Vec<Stamped<HeartbeatReply>> = Vec::new();
        for (n, beat) in beats.iter().enumerate() {
            if sent(n, beat) {
                all.extend(replies.next());
                continue;
            }
            let read = self.0.inspect(&beat.address).await?;
            let record = read.record.unwrap_or(sentinel_core::Record::absent());
            let lease_until = record.lease_until;
            let stamp = Stamp {
                now: read.now,
                rev: record.rev,
                token: record.token,
                state: record.state,
                changed: false,
            };
            let reply = if kept { HeartbeatReply::Kept { lease_until } } else { HeartbeatReply::Unknown };
            all.push(Stamped { reply, stamp });
        }
        Ok(all)
    }
}

type Replies = Result<Vec<Stamped<HeartbeatReply>>, StoreError>;

#[async_trait]
impl Layer for Batches {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.0
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        op.send(&*self.0, address).await
    }

    async fn on_heartbeat(&self, beats: &[Beat]) -> Replies {
        let Some(first) = beats.first() else { return Ok(Vec::new()) };
        let first = first.address.clone();
        match self.1 {
            Fault::SortsByKey => self.ordered(beats, |a, b| a.address.key.cmp(&b.address.key)).await,
            Fault::ExecutionsFirst => self.ordered(beats, |a, b| a.address.kind.cmp(&b.address.kind)).await,
            Fault::GroupsByNamespace => {
                self.ordered(beats, |a, b| a.address.namespace.cmp(&b.address.namespace)).await
            }
            Fault::OneNamespace => {
                self.some(beats, |_, b| b.address.namespace == first.namespace, true).await
            }
            Fault::OneKind => self.some(beats, |_, b| b.address.kind == first.kind, true).await,
            Fault::EndsAt(limit) => self.some(beats, |n, _| n < limit, false).await,
            Fault::RepliesBeyond(limit) => self.some(beats, |n, _| n < limit, true).await,
            Fault::RepeatsOnce => {
                let mut known: HashMap<Address, Stamped<HeartbeatReply>> = HashMap::new();
                let mut replies = Vec::new();
                for beat in beats {
                    if !known.contains_key(&beat.address) {
                        let reply = self.0.heartbeat(std::slice::from_ref(beat)).await?.swap_remove(0);
                        known.insert(beat.address.clone(), reply);
                    }
                    replies.push(known[&beat.address].clone());
                    if let Some(known) = known.get_mut(&beat.address) {
                        known.stamp.changed = false;
                    }
                }
                Ok(replies)
            }
            Fault::LastGrantCounts => {
                let last: HashMap<_, _> =
                    beats.iter().map(|beat| (beat.address.clone(), beat.grant)).collect();
                let with_last = |beat: &Beat| Beat { grant: last[&beat.address], ..beat.clone() };
                self.0.heartbeat(&beats.iter().map(with_last).collect::<Vec<_>>()).await
            }
            Fault::OneLossFailsAll => {
                let mut replies = self.0.heartbeat(beats).await?;
                if beats.len() > 2 && replies.iter().any(|one| matches!(one.reply, HeartbeatReply::Lost(_))) {
                    replies.iter_mut().for_each(|one| one.reply = HeartbeatReply::Unknown);
                }
                Ok(replies)
            }
            Fault::FirstLossForAll => {
                let mut replies = self.0.heartbeat(beats).await?;
                let lost = |one: &Stamped<HeartbeatReply>| matches!(one.reply, HeartbeatReply::Lost(_));
                let loss = replies.iter().find(|one| lost(one)).map(|one| one.reply);
                replies
                    .iter_mut()
                    .filter(|one| lost(one))
                    .for_each(|one| one.reply = loss.unwrap_or(one.reply));
                Ok(replies)
            }
            Fault::OneTtl => {
                let mut replies = self.0.heartbeat(beats).await?;
                let until = replies.iter().find_map(|one| match one.reply {
                    HeartbeatReply::Kept { lease_until } => Some(lease_until),
                    _ => None,
                });
                for one in &mut replies {
                    if let (HeartbeatReply::Kept { lease_until }, Some(until)) = (&mut one.reply, until) {
                        *lease_until = until;
                    }
                }
                Ok(replies)
            }
            Fault::ByToken if beats.len() > 1 => {
                let mut beats = beats.to_vec();
                for beat in &mut beats {
                    let record = self.0.inspect(&beat.address).await?.record;
                    if let Some(id) = record.filter(|r| r.token == beat.grant.token).and_then(|r| r.claim_id)
                    {
                        beat.grant.claim_id = id;
                    }
                }
                self.0.heartbeat(&beats).await
            }
            Fault::ByToken => self.0.heartbeat(beats).await,
            Fault::PastHard => {
                let mut replies = self.0.heartbeat(beats).await?;
                for (beat, one) in beats.iter().zip(&mut replies).filter(|_| beats.len() > 1) {
                    let terms = self.0.inspect(&beat.address).await?.record.and_then(|record| record.terms);
                    if let (HeartbeatReply::Kept { lease_until }, Some(terms)) = (&mut one.reply, terms) {
                        *lease_until = one.stamp.now.plus(terms.ttl());
                    }
                }
                Ok(replies)
            }
            Fault::Throttled => {
                let mut soon = Vec::new();
                for beat in beats {
                    let read = self.0.inspect(&beat.address).await?;
                    let last = read.record.map(|record| record.last_now).unwrap_or_default();
                    soon.push(read.now.since(last) < std::time::Duration::from_secs(1));
                }
                self.some(beats, |n, _| !soon[n], true).await
            }
        }
    }
}

pub(super) fn all() -> Vec<Mutation> {
    macro_rules! controls {
        ($($name:literal: $fault:expr;)*) => {
            vec![$(Mutation::new($name, "spec §3, heartbeat")
                .layer(|store| Arc::new(Layered(Batches(store, $fault)))),)*]
        };
    }
    controls! {
        "returns the replies of a batch in the order of keys, of several namespaces": Fault::SortsByKey;
        "returns the replies of a batch executions first": Fault::ExecutionsFirst;
        "returns the replies of a batch namespace by namespace": Fault::GroupsByNamespace;
        "extends one namespace of a batch": Fault::OneNamespace;
        "extends one kind of a batch": Fault::OneKind;
        "ignores all but the first 100 beats of a batch": Fault::EndsAt(100);
        "ignores all but the first 1,000 beats of a batch": Fault::EndsAt(1_000);
        "ignores all but the first 2,000 beats of a batch": Fault::EndsAt(2_000);
        "extends the first 1,024 leases of a batch and confirms all": Fault::RepliesBeyond(1_024);
        "replies to a repeated address of a batch once": Fault::RepeatsOnce;
        "takes the last grant of an address in a batch for all of them": Fault::LastGrantCounts;
        "fails a whole batch for one loss": Fault::OneLossFailsAll;
        "gives one reason for all losses of a batch": Fault::FirstLossForAll;
        "reports one deadline for a whole batch": Fault::OneTtl;
        "compares only tokens in a batch": Fault::ByToken;
        "passes the hard deadline in a batch": Fault::PastHard;
        "leaves out heartbeats that come within a second": Fault::Throttled;
    }
}
