//! Spec §3, events: a bounded number of the newest is kept, and the oldest of them carries what came before.

use std::collections::BTreeMap;

use sentinel_core::kernel::{Op, Reading, Rebuilt, rebuild};
use sentinel_core::operation::*;
use sentinel_core::{ClaimId, EventLimit, Record, Token};

use crate::coordination::fixtures::*;
use crate::coordination::law_context::{LawContext, Subject};
use crate::diff::{assert_eq, same};

/// A record, what the kernel makes of it beside the store, and what its events rebuild up to each rev.
struct Followed<'a> {
    /// Its address.
    key: Subject<'a>,
    /// What the kernel makes of it.
    record: Record,
    /// What the events up to each rev rebuild.
    rebuilt: BTreeMap<u64, Rebuilt>,
}

impl<'a> Followed<'a> {
    /// An address without a record.
    fn new(key: Subject<'a>) -> Self {
        Self { key, record: Record::absent(), rebuilt: BTreeMap::new() }
    }

    /// Sends an operation that changes the record, to the store and to the kernel.
    async fn send(&mut self, op: impl Into<Op>) {
        let op = op.into();
        let stamp = self.key.send(op.clone()).await.stamp;
        let at = Reading { kind: self.key.address.kind, now: stamp.now, floor: Token::NONE };
        let outcome = op.apply(&mut self.record, at).expect("an operation");
        assert_eq!(outcome.stamped.stamp, stamp, "{op:?}");
        assert!(stamp.changed, "{op:?} changed nothing");
        self.rebuilt.insert(stamp.rev, Rebuilt::from(&self.record));
    }

    /// Transitions that change no more than the memory of claim ids, until there were this many.
    async fn fill(&mut self, rev: u64) {
        while self.record.rev < rev {
            self.send(Cancel { claim_id: ClaimId::random() }).await;
        }
    }

    /// The events that are kept are the newest, without a gap. The oldest has a base if earlier ones were dropped: what
    /// they rebuild. From it on they rebuild the record.
    async fn check(&self) -> usize {
        let events = self.key.events().await;
        let revs: Vec<u64> = events.iter().map(|event| event.rev).collect();
        let first = *revs.first().expect("an event");
        let newest: Vec<u64> = (first..=self.record.rev).collect();
        same("the revs of the events that are kept", &newest, &revs);
        let base = self.rebuilt.get(&(first - 1)).cloned().map(Box::new);
        same("the base of the oldest event", &base, &events[0].base);
        let others = events[1..].iter().filter(|event| event.base.is_some()).count();
        assert_eq!(others, 0, "of {} events, more than the oldest have a base", events.len());
        same("what the events rebuild", &Rebuilt::from(&self.record), &rebuild(&events));
        same("the record", &self.record, &self.key.record().await);
        let last: Vec<u64> = self.key.newest_events(5).await.iter().map(|event| event.rev).collect();
        same("the revs of the newest five", &newest[newest.len() - 5..].to_vec(), &last);
        events.len()
    }
}

/// At most 1,000 events of a record are kept, and at least three quarters of them once there were more. Every state
/// that a base may carry is rebuilt.
pub(crate) async fn the_newest_events_are_kept_with_their_base(context: &LawContext) {
    let limit = EventLimit::default();
    let mut followed = Followed::new(context.execution("k"));
    // So the oldest event that is kept at first comes from the middle of a run that has every field.
    let first = (limit.max() - limit.kept()) as u64;
    followed.fill(first - 3).await;
    let terms = call("ann").terms.with_late_effects(LATE).expect("terms");
    let ann = Claim { terms, fingerprint: about("a request"), retention: Some(KEPT), ..call("ann") };
    followed.send(ann.clone()).await;
    let grant = sentinel_core::Grant { token: followed.record.token, claim_id: ann.claim_id };
    followed.send(Begin { grant }).await;
    followed.send(Abandon { grant, cause: label("lost contact"), late_effects: LATE }).await;
    followed.send(reconcile("olga", grant.token)).await;
    let decision = ResetToClaimed { accept_overlap: true, ..reset("olga", followed.record.token) };
    followed.send(decision).await;
    followed.fill(limit.kept() as u64).await;
    assert_eq!(followed.check().await, limit.kept(), "three quarters of the limit are never too many");
    followed.fill(limit.max() as u64 - 1).await;
    for more in [1, 1, 1, 40] {
        followed.fill(followed.record.rev + more).await;
        let kept = followed.check().await;
        assert!((limit.kept()..=limit.max()).contains(&kept), "{kept} events are kept");
    }
}

/// Events belong to one life of one record: after a purge the next life has its own, from rev 1 on, and a base of the
/// old life is nothing to it. Other records keep theirs.
pub(crate) async fn a_purged_key_has_only_the_events_of_its_new_life(context: &LawContext) {
    let (key, beside) = (context.execution("k"), context.lease("k"));
    beside.granted(&call("eve")).await;
    for life in 1..4 {
        let grant = key.granted(&call(&format!("life {life}"))).await;
        expect_reply!(key.release(grant).await, ReleaseReply::Released);
        let events = key.events().await;
        let own = events.iter().filter(|event| event.worker.is_some());
        let workers: Vec<_> = own.map(|event| event.worker.clone()).collect();
        same("the workers of this life", &vec![Some(label(&format!("life {life}"))); 2], &workers);
        assert!(events.len() <= 3 && events.iter().all(|event| event.base.is_none()), "{events:?}");
        key.assert_rebuilt().await;
        context.advance(REST).await;
        assert_eq!(context.purge().await.records, 1);
        assert_eq!(key.changes().await, ["purged"]);
        if life == 2 {
            // The event of the purge is older than an hour, so it may be deleted.
            context.advance(REST).await;
            context.purge().await;
        }
    }
    assert_eq!(beside.changes().await, ["claimed"]);
}
