//! The quick way: what most claims and completions come to is made in one go, and is byte for byte what the rules make
//! of them one by one.

use std::sync::Arc;
use std::time::Duration;

use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::{
    Accepts, Cause, Change, ClaimId, CoordinationStore as _, EventLimit, Fingerprint, Grant, Payload,
    RecordedResult, Root, State, Terms, Token, TraceId,
};

use crate::harness::{DAY, HARD, StoreHarness, TTL, call, fused, label, result};
use crate::mutants::with_fixed_clock;

/// Two stores with the same fixed clock: the second has no quick path.
struct Both {
    stores: [StoreHarness; 2],
}

impl Both {
    async fn beside(harness: &StoreHarness) -> Self {
        let at = harness.change(&harness.lease("clock"), call()).await.now.as_micros();
        let edit = move |_: &str, text: String| {
            let text = text
                .replace("local after, to, change = quick(", "local after, to, change = (function() end)(");
            with_fixed_clock(&text, i64::try_from(at).unwrap())
        };
        let long = StoreHarness::open(move |builder| {
            let events = EventLimit::new(100).unwrap();
            builder.max_events(events).edit_scripts(Arc::new(edit))
        })
        .await;
        long.change(&long.lease("clock"), call()).await;
        Self { stores: [harness.clone(), long] }
    }

    fn move_clock(&self, micros: i64) {
        self.stores.iter().for_each(|harness| harness.move_clock(micros));
    }

    /// Asks both, which must answer the same and keep the same.
    async fn ask(&self, key: &str, op: impl Into<Op>) -> Stamped<Reply> {
        let op = op.into();
        let [quick, long] = &self.stores;
        let stamped = [
            (quick.ask(&quick.execution(key), op.clone()).await, kept(quick, key)),
            (long.ask(&long.execution(key), op.clone()).await, kept(long, key)),
        ];
        assert_eq!(stamped[0], stamped[1], "{op:?}");
        let [(stamped, _), _] = stamped;
        stamped
    }

    /// Asks both for all of it at once: it goes out in one call.
    async fn ask_at_once(&self, asked: &[(String, Op)]) -> Vec<Stamped<Reply>> {
        let mut stamped = Vec::new();
        for harness in &self.stores {
            let each =
                asked.iter().map(async |(key, op)| harness.ask(&harness.execution(key), op.clone()).await);
            let replies = futures_util::future::join_all(each).await;
            let kept: Vec<String> = asked.iter().map(|(key, _)| kept(harness, key)).collect();
            stamped.push((replies, kept));
        }
        assert_eq!(stamped[0], stamped[1], "{asked:?}");
        stamped.swap_remove(0).0
    }

    async fn granted(&self, key: &str, claim: &Claim) -> Grant {
        let stamped = self.ask(key, claim.clone()).await;
        Grant { token: stamped.stamp.token, claim_id: claim.claim_id }
    }
}

/// All that a bucket has of a key, and of all keys, in hexadecimal digits.
fn kept(harness: &StoreHarness, key: &str) -> String {
    let address = harness.execution(key);
    let script = "local all = { redis.call('GET', KEYS[1]) or '', redis.call('GET', KEYS[3]) or '' }
        for _, one in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do all[#all + 1] = one end
        for n = 4, 6 do
          all[#all + 1] = '|'
          for _, one in ipairs(redis.call('ZRANGE', KEYS[n], 0, -1, 'WITHSCORES')) do all[#all + 1] = one end
        end
        return (string.gsub(table.concat(all, '/'), '.', \
        function(c) return string.format('%02x', string.byte(c)) end))";
    let indexes = ["index:e", "undecided:e", "due:e"].map(|what| harness.named(what));
    let [record, events] = ['r', 'v'].map(|what| harness.key(what, &address));
    let floor = harness.named("floor");
    harness.raw(&["EVAL", script, "6", &record, &events, &floor, &indexes[0], &indexes[1], &indexes[2]])
}

fn failure() -> RecordedResult {
    RecordedResult::failure(Some(7), Payload::new("text/plain", "no".to_owned()))
}

fn cause() -> Cause {
    Cause::new(Root::new("order-42").unwrap()).with_trace(TraceId::from_bits(42).unwrap())
}

/// Claims of each kind.
fn claims() -> Vec<Claim> {
    let fingerprint = |text: &str| Some(Fingerprint::new(text).unwrap());
    let late = |secs| Terms::new(TTL, HARD).unwrap().with_late_effects(Duration::from_secs(secs)).unwrap();
    let mut claims = vec![call(), fused()];
    for claim in [call(), fused()] {
        claims.extend([
            Claim { claim_id: ClaimId::random(), retention: Some(DAY), ..claim.clone() },
            Claim { claim_id: ClaimId::random(), fingerprint: fingerprint("what"), ..claim.clone() },
            Claim { claim_id: ClaimId::random(), terms: late(0), accepts: Accepts::json(), ..claim.clone() },
            Claim { claim_id: ClaimId::random(), about: Some(label("an order")), ..claim.clone() },
            Claim { claim_id: ClaimId::random(), cause: Some(cause()), ..claim.clone() },
            Claim {
                claim_id: ClaimId::random(),
                fingerprint: fingerprint(&"f".repeat(1024)),
                worker: label(&"w".repeat(1024)),
                retention: Some(TTL),
                terms: late(7),
                accepts: Accepts::new(["text/plain", &"a".repeat(1000)]).unwrap(),
                ..claim
            },
        ]);
    }
    claims
}

/// What a claim writes for a fresh key.
pub(crate) async fn a_quick_claim_writes_what_the_full_path_writes(harness: &StoreHarness, _: &str) {
    let both = Both::beside(harness).await;
    for (n, claim) in claims().into_iter().enumerate() {
        let key = format!("k{n}");
        both.ask(&key, claim.clone()).await;
        both.ask(&key, claim.clone()).await;
        both.ask(&key, call()).await;
        both.move_clock(n as i64 - 3);
    }
}

/// Claims of one call, of which each two that follow one another differ in one thing.
pub(crate) async fn quick_claims_of_one_call_write_what_the_full_path_writes(
    harness: &StoreHarness,
    _: &str,
) {
    let both = Both::beside(harness).await;
    let mut asked: Vec<(String, Op)> = Vec::new();
    for (n, claim) in claims().into_iter().enumerate() {
        for text in if n % 2 == 0 { ["what", "whatever"] } else { ["whatever", "what"] } {
            let fingerprint = Some(Fingerprint::new(text).unwrap());
            let claim = Claim { claim_id: ClaimId::random(), fingerprint, ..claim.clone() };
            asked.push((format!("k{}", asked.len()), claim.into()));
        }
    }
    both.ask_at_once(&asked).await;
}

/// Completions of one call, of which each differs from the one before in its worker, its age or its result.
pub(crate) async fn quick_completions_of_one_call_write_what_the_full_path_writes(
    harness: &StoreHarness,
    _: &str,
) {
    let both = Both::beside(harness).await;
    let mut asked: Vec<(String, Op)> = Vec::new();
    for (worker, beaten) in [("one", false), ("other", false), ("other", true), ("one", false)] {
        for result in [result("done"), failure()] {
            let key = format!("k{}", asked.len());
            let claim = Claim { worker: label(worker), claim_id: ClaimId::random(), ..fused() };
            let grant = both.granted(&key, &claim).await;
            if beaten {
                both.move_clock(7);
                both.ask(&key, Heartbeat { grant }).await;
            }
            asked.push((key, Complete { grant, result }.into()));
        }
    }
    both.move_clock(1);
    both.ask_at_once(&asked).await;
}

/// Claims and completions of one call, which is in the order of neither. One of the completions raises the floor.
pub(crate) async fn claims_and_completions_go_together(harness: &StoreHarness, _: &str) {
    let both = Both::beside(harness).await;
    let mut asked: Vec<(String, Op)> = Vec::new();
    for (n, retention) in [None, Some(DAY), None, Some(TTL)].into_iter().enumerate() {
        let claim = || Claim { claim_id: ClaimId::random(), retention, ..fused() };
        let held = claim();
        let grant = both.granted(&format!("held{n}"), &held).await;
        asked.push((format!("held{n}"), Complete { grant, result: result("done") }.into()));
        asked.push((format!("new{n}"), claim().into()));
        both.granted(&format!("taken{n}"), &claim()).await;
        asked.push((format!("taken{n}"), claim().into()));
    }
    both.ask_at_once(&asked).await;
}

/// What a completion makes of each record that it can find.
pub(crate) async fn a_quick_completion_writes_what_the_full_path_writes(harness: &StoreHarness, _: &str) {
    let both = Both::beside(harness).await;
    let done = |grant: Grant| Complete { grant, result: result("done") };
    for (n, claim) in claims().into_iter().enumerate() {
        let key = format!("k{n}");
        let grant = both.granted(&key, &claim).await;
        if claim.phase == Phase::Claimed {
            both.ask(&key, done(grant)).await;
            both.move_clock(1);
            both.ask(&key, Begin { grant }).await;
        }
        both.move_clock(1);
        let done =
            |grant: Grant| Complete { grant, result: if n % 2 == 0 { result("done") } else { failure() } };
        both.ask(&key, done(Grant { claim_id: ClaimId::random(), ..grant })).await;
        both.ask(&key, done(Grant { token: Token::NONE, ..grant })).await;
        both.ask(&key, done(grant)).await;
        both.ask(&key, done(grant)).await;
    }
    both.ask("unclaimed", done(Grant { token: Token::NONE, claim_id: ClaimId::random() })).await;
}

/// A completion at each instant: after the clock was set back, just before the lease ends, and from then on.
pub(crate) async fn a_completion_at_each_instant_writes_what_the_full_path_writes(
    harness: &StoreHarness,
    _: &str,
) {
    let both = Both::beside(harness).await;
    let micros = |time: Duration| i64::try_from(time.as_micros()).unwrap();
    for (n, after) in [-1, 0, micros(TTL) - 1, micros(TTL), micros(HARD), micros(DAY)].into_iter().enumerate()
    {
        for beaten in [false, true] {
            let key = format!("k{n}{beaten}");
            let grant = both.granted(&key, &fused()).await;
            if beaten {
                both.move_clock(7);
                both.ask(&key, Heartbeat { grant }).await;
            }
            both.move_clock(after);
            let result = if beaten { failure() } else { result("done") };
            both.ask(&key, Complete { grant, result }).await;
        }
    }
    let grant = both.granted("doubted", &fused()).await;
    both.ask("doubted", Abandon { grant, cause: label("no contact"), late_effects: Duration::ZERO }).await;
    both.ask("doubted", Complete { grant, result: result("done") }).await;
}

/// A completion of a record whose events just fit into it, and just do not.
pub(crate) async fn a_completion_of_each_length_writes_what_the_full_path_writes(
    harness: &StoreHarness,
    _: &str,
) {
    let both = Both::beside(harness).await;
    for length in 486..494 {
        let key = format!("k{length}");
        let claim = Claim { worker: label(&"w".repeat(length)), ..fused() };
        let grant = both.granted(&key, &claim).await;
        both.ask(&key, Complete { grant, result: result("done") }).await;
    }
}

/// A claim of a key that has a record writes all of its terms, in the record and in the event.
pub(crate) async fn a_claim_anew_is_recorded_in_full(harness: &StoreHarness, _: &str) {
    for (n, claim) in claims().into_iter().enumerate() {
        let address = harness.execution(&format!("k{n}"));
        let before = harness.tombstone(&address).await;
        harness.move_clock(7);
        let reply = harness.change(&address, claim.clone()).await;
        let (record, now) = (harness.record(&address).await, reply.now);
        let Claim { claim_id, terms, retention, fingerprint, worker, phase, accepts, cause, about } = claim;
        let begun = phase == Phase::Executing;
        let incarnation = before.get();
        assert_eq!(record.state, if begun { State::Executing } else { State::Claimed });
        assert_eq!(
            (record.claim_id, record.terms, record.retention),
            (Some(claim_id), Some(terms), retention)
        );
        assert_eq!((record.fingerprint, record.worker), (fingerprint.clone(), Some(worker.clone())));
        assert_eq!((record.claimed_at, record.begun_at), (Some(now), begun.then_some(now)));
        assert_eq!(record.lease_until, now.plus(terms.ttl()));
        assert_eq!(record.hard_until, now.plus(terms.hard_ttl()));
        assert_eq!(record.effects_until, record.hard_until.plus(terms.late_effects()));
        assert_eq!(record.accepts, accepts);
        assert_eq!((&record.cause, &record.about), (&cause, &about));
        assert_eq!((record.incarnation, record.doubt, record.result), (incarnation, None, None));
        let event = harness.store.history(&address, 1).await.unwrap().remove(0);
        assert_eq!((event.from, event.worker), (Some(State::Free), Some(worker)));
        assert_eq!(
            event.change,
            Change::Claimed { terms, retention, fingerprint, accepts, incarnation, begun, cause, about }
        );
    }
}

mod checks {
    crate::mutants::own_tests! {
        a_quick_claim_writes_what_the_full_path_writes for "with a fixed clock";
        quick_claims_of_one_call_write_what_the_full_path_writes for "with a fixed clock";
        quick_completions_of_one_call_write_what_the_full_path_writes for "with a fixed clock";
        claims_and_completions_go_together for "with a fixed clock";
        a_quick_completion_writes_what_the_full_path_writes for "with a fixed clock";
        a_completion_at_each_instant_writes_what_the_full_path_writes for "with a fixed clock";
        a_completion_of_each_length_writes_what_the_full_path_writes for "with a fixed clock";
        a_claim_anew_is_recorded_in_full;
    }
}
