//! The checks at the end: journals, effects, logs and records must agree.

use std::collections::HashMap;

use sentinel::record::{Address, Change, Event, Kind, Record};
use sentinel::store::{CoordinationStore, ErrorKind, StoreError, VisibleState};
use sentinel::{Key, Sentinel};
use sentinel_conformance::{Entry, History, RunLog};

use crate::journal::{self, Note};
use crate::lost_heartbeats;
use crate::plan::Plan;
use crate::worker::{execution, key, lease};

/// Up to this many requests on one key are searched for an order, without trusting the stamps.
const MAX_SEARCHED: usize = 14;

/// What remains of everything that was acknowledged, after the faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    All,
    /// Crashes may have taken back heartbeats of executions.
    AllButHeartbeats,
    /// The same, and those of leases: the end of a file is gone, and a lost heartbeat is not detected.
    AllButAnyHeartbeats,
    /// Anything may be lost, and that was reported; tokens still order the grants.
    Tokens,
}

/// Everything that was recorded.
pub(crate) struct Evidence {
    pub(crate) history: History,
    pub(crate) run_log: RunLog,
}

impl Evidence {
    /// Reads what this many workers, and one more, have written.
    pub(crate) fn read(plan: &Plan, workers: u32) -> Result<Self, String> {
        let mut evidence = Self { history: History::default(), run_log: RunLog::default() };
        for number in 0..=workers {
            let notes = journal::read(&Plan { number, ..plan.clone() }.journal())?;
            evidence.add(number, notes);
        }
        evidence.run_log.effects = journal::read(&plan.effects())?;
        Ok(evidence)
    }

    fn add(&mut self, worker: u32, notes: Vec<Note>) {
        let Self { history, run_log } = self;
        let mut positions = HashMap::new();
        for note in notes {
            match note {
                Note::Sent(number, invoked, address, op) => {
                    positions.insert(number, history.entries.len());
                    let entry = Entry { caller: worker, address, op, invoked, returned: None, reply: None };
                    history.entries.push(entry);
                }
                Note::Answered(number, at, answer) => {
                    let entry = &mut history.entries[positions[&number]];
                    let error = |none: journal::NoReply| match none.ambiguous {
                        true => StoreError::ambiguous(ErrorKind::LostReply, none.text),
                        false => StoreError::not_applied(ErrorKind::Busy, none.text),
                    };
                    (entry.returned, entry.reply) = (Some(at), Some(answer.map_err(error)));
                }
                Note::Started(start) => run_log.starts.push(start),
                Note::Failed(key, failure) => run_log.failures.push((key, failure)),
                Note::Returned(answer) => run_log.outcomes.push(answer),
                Note::Decided(key, value) => run_log.decided.push((key, value)),
            }
        }
    }

    /// Checks everything. Where what was acknowledged may have been lost, and that was reported, only the tokens are
    /// left to be checked. How many histories a search explained besides.
    pub(crate) async fn judge(
        &mut self,
        plan: &Plan,
        sentinel: &Sentinel,
        kept: Kept,
    ) -> Result<u64, String> {
        let store = &**sentinel.store();
        let mut searched = 0;
        for address in addresses(plan, sentinel) {
            self.history.tokens_grow(&address)?;
            if kept == Kept::Tokens {
                continue;
            }
            let loses_beats = match kept {
                Kept::AllButHeartbeats => address.kind == Kind::Execution,
                Kept::AllButAnyHeartbeats => true,
                Kept::All | Kept::Tokens => false,
            };
            if loses_beats {
                let found = store.inspect(&address).await.map_err(|error| error.to_string())?;
                let rev = found.record.map_or(0, |record| record.rev);
                lost_heartbeats::remove_lost(&mut self.history.entries, &address, rev);
            }
            self.history.check(store, &address).await?;
            if address.kind == Kind::Execution {
                let events = store.history(&address, 100_000).await.map_err(|error| error.to_string())?;
                self.run_log.check(&address, &events)?;
            }
            searched += u64::from(self.search(store, &address).await?);
        }
        Ok(searched)
    }

    /// Whether a search explained the history of one key.
    async fn search(&self, store: &dyn CoordinationStore, address: &Address) -> Result<bool, String> {
        let of_it = self.history.entries.iter().filter(|entry| entry.address == *address);
        let mut entries: Vec<_> = of_it.cloned().collect();
        if entries.is_empty() || entries.len() > MAX_SEARCHED {
            return Ok(false);
        }
        one_at_a_time(&mut entries);
        History { entries, reads: Vec::new() }.search(store, address).await
    }

    /// Each doubt has its reason: its log ends with a begin or with an abandon, under the token in doubt, and no
    /// caller got the answer that this run is recorded. How many there are.
    pub(crate) async fn explain_doubts(&self, sentinel: &Sentinel, kept: Kept) -> Result<u64, String> {
        let listing = sentinel.list(Kind::Execution, Some(VisibleState::Uncertain), None, 1_000).await;
        let listing = listing.map_err(|error| error.to_string())?;
        for (key, record) in &listing.records {
            let events = sentinel.history(Kind::Execution, key.as_str(), 100_000).await;
            let events = events.map_err(|error| error.to_string())?;
            if kept != Kept::Tokens {
                self.explain(key, record, &events)?;
            }
        }
        Ok(listing.records.len() as u64)
    }

    fn explain(&self, key: &Key, record: &Record, events: &[Event]) -> Result<(), String> {
        let unexplained = |why: &str| {
            let log: String = events.iter().map(|event| format!("  {event:?}\n")).collect();
            Err(format!("{key} is uncertain, and {why}: {record:?}\n{log}"))
        };
        let Some(last) = events.last() else { return unexplained("has no log") };
        let explains_doubt = matches!(
            last.change,
            Change::Begun | Change::Abandoned { .. } | Change::Claimed { begun: true, .. }
        );
        if !explains_doubt || last.token != record.token {
            return unexplained("its log does not show why");
        }
        let mut starts =
            self.run_log.starts.iter().filter(|start| Some(start.grant.claim_id) == record.claim_id);
        let Some(start) = starts.next() else { return Ok(()) };
        let answer = self.run_log.outcomes.iter().find(|answer| answer.call == start.call);
        match answer.map(|answer| (&*answer.name, &answer.value)) {
            // Nothing happened, and the process ended before it could report to the store.
            None | Some(("ran_uncertain" | "unconfirmed", _) | ("failed", None)) => Ok(()),
            Some((name, _)) => unexplained(&format!("the call that ran returned {name}")),
        }
    }
}

/// Numbers callers so that each waits for a reply before its next request.
fn one_at_a_time(entries: &mut [Entry]) {
    entries.sort_by_key(|entry| entry.invoked);
    let mut callers: Vec<Option<u64>> = Vec::new();
    for entry in entries {
        let free = callers.iter().position(|until| until.is_some_and(|until| until < entry.invoked));
        let caller = free.unwrap_or(callers.len());
        callers.resize(callers.len().max(caller + 1), None);
        callers[caller] = entry.returned;
        entry.caller = caller as u32;
    }
}

/// All addresses of a schedule.
fn addresses(plan: &Plan, sentinel: &Sentinel) -> Vec<Address> {
    let namespace = sentinel.current_namespace();
    let executions = (0..plan.keys).map(|n| Address::execution(namespace.clone(), key(&execution(n))));
    let leases = (0..plan.leases).map(|n| Address::lease(namespace.clone(), key(&lease(n))));
    executions.chain(leases).collect()
}
