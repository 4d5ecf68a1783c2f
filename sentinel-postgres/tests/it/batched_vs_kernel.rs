//! Many operations on as many records at once, so that they share statements, each compared with the kernel: what else
//! is in a statement must not matter to an operation.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use sentinel_core::kernel::{self, Op, Reading, Rebuilt};
use sentinel_core::operation::*;
use sentinel_core::{
    Address, ClaimId, CoordinationStore, Grant, Key, Kind, Label, Namespace, Payload, Record, RecordedResult,
    State, Terms, Token,
};
use sentinel_postgres::PostgresStore;
use sentinel_store_tests::deployment::Deployment;
use sentinel_store_tests::rng::Rng;
use sentinel_testbed::postgres;

use crate::deployments::{bouncer, init};
use crate::mutants::blind;

const ADDRESSES: usize = 60;
const ROUNDS: usize = 60;

/// Draws operations.
struct Draw(Rng);

impl Draw {
    fn below(&mut self, n: u64) -> u64 {
        self.0.below(n)
    }

    /// Something that a worker might ask of a record, often rightly.
    fn operation(&mut self, kind: Kind, record: &Record) -> Op {
        let id = match (self.below(4), record.claim_id.or(record.past_claims.iter().next())) {
            (0, Some(id)) => id,
            _ => ClaimId::from_bits(u128::from(self.below(u64::MAX))),
        };
        let token = match self.below(5) {
            0 => Token::new(1 + self.below(1000)).unwrap(),
            _ => record.token,
        };
        let holder = record.claim_id.filter(|_| self.below(5) > 0).unwrap_or(id);
        let grant = Grant { token, claim_id: holder };
        let lease = kind == Kind::Lease;
        match self.below(10) {
            0..=3 => self.claim(id, lease).into(),
            4 | 5 if !lease => Begin { grant }.into(),
            6 if !lease => Complete { grant, result: self.result() }.into(),
            7 => Heartbeat { grant }.into(),
            8 => Cancel { claim_id: id }.into(),
            _ => Release { grant, vouched: self.below(2) == 0 }.into(),
        }
    }

    fn claim(&mut self, claim_id: ClaimId, lease: bool) -> Claim {
        let terms = [(100, 100), (100, 250), (400, 900)][self.below(3) as usize];
        let millis = std::time::Duration::from_millis;
        Claim {
            claim_id,
            terms: Terms::new(millis(terms.0), millis(terms.1)).unwrap(),
            retention: [None, Some(millis(200)), Some(std::time::Duration::MAX)][self.below(3) as usize],
            fingerprint: None,
            worker: Label::new(["ann", "bob"][self.below(2) as usize]).unwrap(),
            phase: if lease || self.below(2) == 0 { Phase::Claimed } else { Phase::Executing },
            accepts: sentinel_core::Accepts::any(),
            cause: None,
            about: None,
        }
    }

    fn result(&mut self) -> RecordedResult {
        let payload = Payload::new(Payload::OCTETS, vec![self.below(256) as u8; self.below(40) as usize]);
        if self.below(3) == 0 {
            RecordedResult::failure(Some(7), payload)
        } else {
            RecordedResult::success(payload)
        }
    }
}

fn addresses(seed: u64) -> Vec<Address> {
    let namespaces = ["batches-a", "batches-b"].map(|name| Namespace::new(format!("{name}-{seed}")).unwrap());
    let address = |n: usize| Address {
        namespace: namespaces[n % 2].clone(),
        kind: if n.is_multiple_of(3) { Kind::Lease } else { Kind::Execution },
        key: Key::new(format!("key-{n}")).unwrap(),
    };
    (0..ADDRESSES).map(address).collect()
}

async fn run(Deployment { store, offset, .. }: &Deployment<PostgresStore>, seed: u64) {
    let mut draw = Draw(Rng(seed));
    let addresses = addresses(seed);
    let mut records: HashMap<&Address, Record> = addresses.iter().map(|a| (a, Record::absent())).collect();
    for round in 0..ROUNDS {
        offset.fetch_add([0, 60_000, 150_000][draw.below(3) as usize], Ordering::SeqCst);
        let asked: Vec<(&Address, Op)> = addresses
            .iter()
            .map(|address| (address, draw.operation(address.kind, &records[address])))
            .collect();
        let answers = join_all(asked.iter().map(|(address, op)| op.send(store, address))).await;
        for ((address, op), answer) in asked.iter().zip(answers) {
            let reply = answer.unwrap();
            let record = records.get_mut(address).unwrap();
            let before = record.clone();
            let at = Reading { kind: address.kind, now: reply.stamp.now, floor: Token::NONE };
            let meant = op.apply(record, at).unwrap().stamped;
            assert_eq!(reply, meant, "round {round} of seed {seed}: {address}: {op:?} on {before:?}");
        }
    }
    for (address, record) in records {
        let kept = store.inspect(address).await.unwrap().record;
        assert_eq!(kept.as_ref().unwrap_or(&Record::absent()), &record, "{address}");
        let events = store.history(address, 1000).await.unwrap();
        assert_eq!(kernel::rebuild(&events), Rebuilt::from(&record), "the events of {address}");
        assert_eq!(record.state == State::Free && record.is_absent(), events.is_empty());
    }
}

async fn compare(store: Deployment<PostgresStore>) {
    for seed in 0..4 {
        run(&store, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_has_the_results_of_the_kernel() {
    compare(init(PostgresStore::builder(&postgres().url()).schema("batches")).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_has_the_results_of_the_kernel_behind_a_pooler() {
    compare(init(PostgresStore::builder(&bouncer().url()).schema("bounced_batches")).await).await;
}

/// Guards that stand in a statement of many, each with what is left when it is gone.
const GUARDS: &[(&str, &str, &str)] = &[
    ("update", "WHERE r.ctid = h.place AND h.operation = 'begin'", "WHERE h.operation = 'begin'"),
    ("update", "WHERE r.ctid = h.place AND h.operation = 'release'", "WHERE h.operation = 'release'"),
    ("update", "WHERE r.ctid = h.place AND h.operation = 'claim'", "WHERE h.operation = 'claim'"),
    ("update", "WHERE r.ctid = h.place AND h.operation = 'begin'", "WHERE r.ctid = h.place"),
    ("update", "WHERE r.ctid = h.place AND h.operation = 'release'", "WHERE r.ctid = h.place"),
    // Without `operation = 'claim'` a begin or release has no terms to claim with: the statement fails as a whole.
    ("update", "AND at.now < h.lease_until AND at.now < h.hard_until", ""),
    ("update", "AND h.claim_id IS DISTINCT FROM h.presented_by", ""),
    ("update", "AND NOT h.presented_by = ANY (coalesce(h.past_claims, '{}'))", ""),
    ("update", "h.state = 'claimed' AND at.now >= h.lease_until", "h.state = 'claimed'"),
    (
        "update",
        "token = (greatest(h.token, at.floor, at.now) + 1),",
        "token = (greatest(h.token, at.floor) + 1),",
    ),
    (
        "update",
        "token = (greatest(h.token, at.floor, at.now) + 1),",
        "token = greatest(h.token, at.floor, at.now),",
    ),
    ("update", "lease_until = at.now + h.new_ttl", "lease_until = at.now + h.new_ttl + 1"),
    ("insert_complete", "WHERE r.ctid = h.place\n      AND ", "WHERE "),
    ("insert_complete", "h.state = 'executing' AND h.token = h.presented", "h.token = h.presented"),
    ("insert_complete", "AND h.token = h.presented ", ""),
    ("insert_complete", "AND h.claim_id = h.presented_by", ""),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_guard_of_a_batch_is_noticed() {
    for (n, (name, guard, left)) in GUARDS.iter().enumerate() {
        let edit = move |file: &str, text: String| {
            // Claims read before they lock: what a lock is there for shows only where the read was of no use.
            if file == "read" && *name == "update" {
                return blind(&text);
            }
            if file != *name {
                return text;
            }
            assert!(text.contains(guard), "{name} does not contain {guard:?}");
            text.replacen(guard, left, 1)
        };
        let builder = PostgresStore::builder(&postgres().url()).schema(format!("guards_{n}"));
        let store = init(builder.edit_statements(Arc::new(edit))).await;
        let mut noticed = false;
        for seed in 0..4 {
            noticed = noticed || AssertUnwindSafe(run(&store, seed)).catch_unwind().await.is_err();
        }
        assert!(noticed, "{name} with {left:?} for {guard:?} is not noticed");
    }
}
