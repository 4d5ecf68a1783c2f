//! The least in memory: the same record, the same events, no rules.

use std::collections::HashMap;
use std::sync::Mutex;

use sentinel_core::operation::Claim;
use sentinel_core::{Address, Change, Event, Record, RecordedResult, State, StoreTime, Token, Verdict};

/// A hash map under a mutex.
#[derive(Default)]
pub(crate) struct Map(Mutex<HashMap<Address, (Record, Vec<Event>), foldhash::fast::RandomState>>);

impl Map {
    /// Claims, unlocks the map, and completes.
    pub(crate) fn fresh(&self, address: &Address, claim: &Claim, result: RecordedResult) {
        let now = now();
        let token = Token::new(now.as_micros()).unwrap();
        let record = Record {
            state: State::Executing,
            token,
            claim_id: Some(claim.claim_id),
            incarnation: token.get(),
            worker: Some(claim.worker.clone()),
            terms: Some(claim.terms),
            claimed_at: Some(now),
            begun_at: Some(now),
            lease_until: now.plus(claim.terms.ttl()),
            hard_until: now.plus(claim.terms.hard_ttl()),
            rev: 1,
            last_now: now,
            ..Record::absent()
        };
        let (terms, incarnation) = (claim.terms, record.incarnation);
        let claimed = Change::Claimed {
            cause: None,
            about: None,
            terms,
            retention: None,
            fingerprint: None,
            accepts: claim.accepts.clone(),
            incarnation,
            begun: true,
        };
        let events = vec![event(&record, claimed, None)];
        self.0.lock().unwrap().insert(address.clone(), (record, events));
        self.complete(address, now, result);
    }

    fn complete(&self, address: &Address, now: StoreTime, result: RecordedResult) {
        let mut map = self.0.lock().unwrap();
        let (record, events) = map.get_mut(address).unwrap();
        record.state = State::Completed;
        record.rev += 1;
        record.completed_at = Some(now);
        record.result = Some(result);
        let completed = Change::Completed { verdict: Verdict::Success, code: None, late: false };
        events.push(event(record, completed, Some(State::Executing)));
    }

    pub(crate) fn replay(&self, address: &Address) -> Option<RecordedResult> {
        self.0.lock().unwrap().get(address).and_then(|(record, _)| record.result.clone())
    }

    /// Writes a new end of the lease into the record.
    pub(crate) fn beat(&self, address: &Address, claim: &Claim) {
        let now = now();
        if let Some((record, _)) = self.0.lock().unwrap().get_mut(address) {
            record.lease_until = now.plus(claim.terms.ttl());
            record.last_now = now;
        }
    }
}

fn event(record: &Record, change: Change, from: Option<State>) -> Event {
    Event {
        rev: record.rev,
        change,
        from,
        to: Some(record.state),
        token: record.token,
        claim_id: record.claim_id,
        op_id: None,
        worker: record.worker.clone(),
        operator: None,
        base: None,
        reason: None,
        at: record.last_now,
    }
}

fn now() -> StoreTime {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    StoreTime::from_micros(since.as_micros() as u64)
}
