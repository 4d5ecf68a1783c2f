//! Many operations on as many records at once, so that they share statements, each held against the kernel: what stands
//! beside an operation in a statement must not matter to it.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use sentinel_core::kernel::{self, Op, Reading, Rebuilt};
use sentinel_core::operation::*;
use sentinel_core::{
    Address, ClaimId, CoordinationStore, Grant, Key, Kind, Label, Namespace, Payload, Record, Recorded,
    State, Terms, Token,
};
use sentinel_postgres::PostgresStore;
use sentinel_testbed::postgres;

use crate::harness::{Store, bouncer};
use crate::mutants::blind;

const ADDRESSES: usize = 60;
const WAVES: usize = 60;

/// SplitMix64: the same seed, the same waves.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % n
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
        }
    }

    fn result(&mut self) -> Recorded {
        let payload = Payload::new(Payload::OCTETS, vec![self.below(256) as u8; self.below(40) as usize]);
        if self.below(3) == 0 { Recorded::failure(Some(7), payload) } else { Recorded::success(payload) }
    }
}

fn addresses(seed: u64) -> Vec<Address> {
    let namespaces = ["waves-a", "waves-b"].map(|name| Namespace::new(format!("{name}-{seed}")).unwrap());
    let address = |n: usize| Address {
        namespace: namespaces[n % 2].clone(),
        kind: if n.is_multiple_of(3) { Kind::Lease } else { Kind::Execution },
        key: Key::new(format!("key-{n}")).unwrap(),
    };
    (0..ADDRESSES).map(address).collect()
}

async fn roll(Store { store, offset, .. }: &Store, seed: u64) {
    let mut dice = Dice(seed);
    let addresses = addresses(seed);
    let mut records: HashMap<&Address, Record> = addresses.iter().map(|a| (a, Record::absent())).collect();
    for wave in 0..WAVES {
        offset.fetch_add([0, 60_000, 150_000][dice.below(3) as usize], Ordering::SeqCst);
        let asked: Vec<(&Address, Op)> = addresses
            .iter()
            .map(|address| (address, dice.operation(address.kind, &records[address])))
            .collect();
        let answers = join_all(asked.iter().map(|(address, op)| op.send(store, address))).await;
        for ((address, op), answer) in asked.iter().zip(answers) {
            let told = answer.unwrap();
            let record = records.get_mut(address).unwrap();
            let before = record.clone();
            let at = Reading { kind: address.kind, now: told.stamp.now, floor: Token::NONE };
            let meant = op.apply(record, at).unwrap().stamped;
            assert_eq!(told, meant, "wave {wave} of seed {seed}: {address}: {op:?} on {before:?}");
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

async fn waves(store: Store) {
    for seed in 0..4 {
        roll(&store, seed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn company_in_a_statement_does_not_matter() {
    waves(Store::init(PostgresStore::builder(&postgres().url()).schema("waves")).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn company_in_a_statement_does_not_matter_behind_a_pooler() {
    waves(Store::init(PostgresStore::builder(&bouncer().url()).schema("bounced_waves")).await).await;
}

/// Guards that stand in a statement of many, each with what is left when it is gone.
const GUARDS: &[(&str, &str, &str)] = &[
    ("turn", "WHERE r.ctid = h.place AND h.asked = 'begin'", "WHERE h.asked = 'begin'"),
    ("turn", "WHERE r.ctid = h.place AND h.asked = 'release'", "WHERE h.asked = 'release'"),
    ("turn", "WHERE r.ctid = h.place AND h.asked = 'claim'", "WHERE h.asked = 'claim'"),
    ("turn", "WHERE r.ctid = h.place AND h.asked = 'begin'", "WHERE r.ctid = h.place"),
    ("turn", "WHERE r.ctid = h.place AND h.asked = 'release'", "WHERE r.ctid = h.place"),
    // Without `asked = 'claim'` a begin or release has no terms to claim with: the statement fails as a whole.
    ("turn", "AND at.now < h.lease_until AND at.now < h.hard_until", ""),
    ("turn", "AND h.claim_id IS DISTINCT FROM h.presented_by", ""),
    ("turn", "AND NOT h.presented_by = ANY (coalesce(h.past_claims, '{}'))", ""),
    ("turn", "h.state = 'claimed' AND at.now >= h.lease_until", "h.state = 'claimed'"),
    (
        "turn",
        "token = (greatest(h.token, at.floor, at.now) + 1),",
        "token = (greatest(h.token, at.floor) + 1),",
    ),
    (
        "turn",
        "token = (greatest(h.token, at.floor, at.now) + 1),",
        "token = greatest(h.token, at.floor, at.now),",
    ),
    ("turn", "lease_until = at.now + h.new_ttl", "lease_until = at.now + h.new_ttl + 1"),
    ("flush", "WHERE r.ctid = h.place\n      AND ", "WHERE "),
    ("flush", "h.state = 'executing' AND h.token = h.presented", "h.token = h.presented"),
    ("flush", "AND h.token = h.presented ", ""),
    ("flush", "AND h.claim_id = h.presented_by", ""),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_that_is_gone_is_noticed_in_company() {
    for (n, (name, guard, left)) in GUARDS.iter().enumerate() {
        let edit = move |file: &str, text: String| {
            // Claims look before they lock: what a lock is there for shows only where the look was of no use.
            if file == "look" && *name == "turn" {
                return blind(&text);
            }
            if file != *name {
                return text;
            }
            assert!(text.contains(guard), "{name} does not say {guard:?}");
            text.replacen(guard, left, 1)
        };
        let builder = PostgresStore::builder(&postgres().url()).schema(format!("guards_{n}"));
        let store = Store::init(builder.edit_statements(Arc::new(edit))).await;
        let mut noticed = false;
        for seed in 0..4 {
            noticed = noticed || AssertUnwindSafe(roll(&store, seed)).catch_unwind().await.is_err();
        }
        assert!(noticed, "{name} with {left:?} for {guard:?} is not noticed");
    }
}
