//! What happened outside of the store: whether it agrees with the outcomes of calls, and with the log of the key.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use sentinel_client::{Error, Failure, Outcome};
use sentinel_core::{Address, Change, ClaimId, Event, Grant, Key};
use serde::{Deserialize, Serialize};

use crate::coordination::history::authorised_runs;

/// What functions and operators did, and the outcomes that callers got. A test that runs many calls of `once` under
/// faults keeps one, and [checks](Self::check) it at the end.
#[derive(Debug, Clone, Default)]
pub struct RunLog {
    /// Functions that were started.
    pub starts: Vec<Start>,
    /// Side effects, as the provider receives them.
    pub effects: Vec<Effect>,
    /// What the calls returned.
    pub outcomes: Vec<CallOutcome>,
    /// What operators decided to be the result of a key. Noted before the request is sent: the reply may be lost.
    pub decided: Vec<(Key, String)>,
    /// Failures that functions returned as permanent.
    pub failures: Vec<(Key, String)>,
}

/// A function that was started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// By which call of `once`; each has a number of its own.
    pub call: u64,
    /// For which key.
    pub key: Key,
    /// Under which right.
    pub grant: Grant,
    /// By its own clock, the lease was over when the function started.
    pub late: bool,
}

/// A side effect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    /// For which key.
    pub key: Key,
    /// The idempotency key that the provider was given.
    pub under: String,
    /// Under which grant.
    pub grant: Grant,
    /// What was done. The function's result, where it came to one.
    pub value: String,
}

/// What a call returned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallOutcome {
    /// Which call.
    pub call: u64,
    /// For which key.
    pub key: Key,
    /// The outcome's name, or `error`.
    pub name: Cow<'static, str>,
    /// Whether the outcome reports that this call's function ran.
    pub ran: bool,
    /// The result that it returned, its own or another call's.
    pub value: Option<String>,
}

impl CallOutcome {
    /// What a call returned whose results are texts. The value of a recorded failure is the error's text.
    pub fn of<E: fmt::Display>(call: u64, key: Key, outcome: &Result<Outcome<String, E>, Error>) -> Self {
        let name = outcome.as_ref().map_or("error", Outcome::name).into();
        let ran = outcome.as_ref().is_ok_and(Outcome::ran);
        let value = match outcome {
            Ok(
                Outcome::Completed(value) | Outcome::CompletedNotStored(value, _) | Outcome::Replayed(value),
            ) => Some(value.clone()),
            Ok(Outcome::Failed(Failure::ForGood(error))) => Some(error.to_string()),
            Ok(Outcome::Failed(Failure::Replayed(failure))) => Some(failure.to_string()),
            _ => None,
        };
        Self { call, key, name, ran, value }
    }
}

impl RunLog {
    /// What the provider did under an idempotency key.
    pub fn effect_under(&self, idempotency_key: &str) -> Option<&Effect> {
        self.effects.iter().find(|effect| effect.under == idempotency_key)
    }

    /// Checks what was done for one key of executions against its whole log, from its first event on. No more functions
    /// started than the log authorises, one for each grant and none without; an effect for each run at most; what was
    /// reported to the store about a run is true, and so are the outcomes of calls. The error contains the
    /// contradiction and the log.
    pub fn check(&self, address: &Address, events: &[Event]) -> Result<(), String> {
        let case = Case { run_log: self, address, events };
        let checked = case.runs().and_then(|()| case.reports()).and_then(|()| case.effects());
        checked.and_then(|()| case.outcomes()).map_err(|wrong| {
            let log: String = events.iter().map(|event| format!("  {event:?}\n")).collect();
            format!("{wrong}: {address}\n{log}")
        })
    }
}

/// One key.
#[derive(Clone, Copy)]
struct Case<'a> {
    run_log: &'a RunLog,
    address: &'a Address,
    events: &'a [Event],
}

impl<'a> Case<'a> {
    fn starts(self) -> impl Iterator<Item = &'a Start> {
        self.run_log.starts.iter().filter(move |start| start.key == self.address.key)
    }

    fn effects_on(self) -> impl Iterator<Item = &'a Effect> {
        self.run_log.effects.iter().filter(move |effect| effect.key == self.address.key)
    }

    fn ran(self) -> BTreeSet<ClaimId> {
        self.starts().map(|start| start.grant.claim_id).collect()
    }

    /// No more runs than were authorised, one for each grant, and none without one.
    fn runs(self) -> Result<(), String> {
        let most = authorised_runs(self.events);
        let count = self.starts().count();
        if count > most {
            return Err(format!("{count} functions started where {most} were authorised"));
        }
        let mut grants = BTreeSet::new();
        for start in self.starts() {
            let begun = |event: &Event| {
                event.claim_id == Some(start.grant.claim_id)
                    && matches!(event.change, Change::Begun | Change::Claimed { begun: true, .. })
            };
            if !self.events.iter().any(begun) {
                return Err(format!("call {} ran and had never begun", start.call));
            }
            if !grants.insert(start.grant.claim_id) {
                return Err(format!("call {} ran twice", start.call));
            }
        }
        Ok(())
    }

    /// What was reported to the store about a run is true: a call that vouched made no effect, a call that cancelled
    /// never ran, a call that recorded a result did.
    fn reports(self) -> Result<(), String> {
        let ran = self.ran();
        let acted: BTreeSet<_> = self.effects_on().map(|effect| effect.grant.claim_id).collect();
        for event in self.events {
            let Some(id) = event.claim_id else { continue };
            let contradiction = match event.change {
                Change::Released { vouched: true } => {
                    acted.contains(&id).then_some("vouched that nothing happened")
                }
                Change::Cancelled => ran.contains(&id).then_some("withdrew, and ran"),
                Change::Completed { .. } => {
                    (!ran.contains(&id)).then_some("recorded a result, and never ran")
                }
                _ => None,
            };
            if let Some(contradiction) = contradiction {
                return Err(format!("the call under {id} {contradiction}"));
            }
        }
        Ok(())
    }

    /// One effect for each run at most, and a run of each.
    fn effects(self) -> Result<(), String> {
        let ran = self.ran();
        let mut acted = BTreeSet::new();
        for effect in self.effects_on() {
            let id = effect.grant.claim_id;
            if !ran.contains(&id) || !acted.insert(id) {
                return Err(format!("an effect without a run of its own, {effect:?}"));
            }
        }
        Ok(())
    }

    /// The outcomes of calls are true.
    fn outcomes(self) -> Result<(), String> {
        let values = self.values();
        for reply in self.run_log.outcomes.iter().filter(|reply| reply.key == self.address.key) {
            let start = self.starts().find(|start| start.call == reply.call);
            let CallOutcome { call, name, .. } = reply;
            match &**name {
                _ if reply.ran && start.is_none() => {
                    return Err(format!("the outcome of call {call} is that it ran, and it did not"));
                }
                "completed" if !self.recorded(start) => {
                    return Err(format!(
                        "the outcome of call {call} is that its result is recorded, and it is not"
                    ));
                }
                "in_progress" | "reconciling" | "uncertain" | "not_run" | "replayed" | "error"
                    if start.is_some() =>
                {
                    return Err(format!("the outcome of call {call} is {name}, and its function ran"));
                }
                _ => {}
            }
            if let Some(value) = &reply.value
                && !values.contains(value.as_str())
            {
                return Err(format!("call {call} returned {value:?}, which is no result of this key"));
            }
        }
        Ok(())
    }

    fn recorded(self, start: Option<&Start>) -> bool {
        let id = start.map(|start| start.grant.claim_id);
        self.events
            .iter()
            .any(|event| matches!(event.change, Change::Completed { .. }) && event.claim_id == id)
    }

    /// All that can be the result of the key.
    fn values(self) -> BTreeSet<&'a str> {
        let RunLog { decided, failures, .. } = self.run_log;
        let reported = decided.iter().chain(failures).filter(|(key, _)| *key == self.address.key);
        self.effects_on()
            .map(|effect| effect.value.as_str())
            .chain(reported.map(|(_, value)| value.as_str()))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use sentinel_core::kernel::Op;
    use sentinel_core::operation::*;
    use sentinel_core::{CoordinationStore as _, Label};
    use sentinel_memory::MemoryStore;

    use super::*;
    use crate::coordination::generate;
    use crate::coordination::sequences::model::fresh_namespace;

    const CALL: u64 = 7;

    /// A call that ran, made its effect, and whose outcome is that its result is recorded; the log agrees.
    async fn consistent_log() -> (Address, Vec<Event>, RunLog) {
        let store = MemoryStore::new();
        let address = Address::execution(fresh_namespace("run_log"), Key::new("key").unwrap());
        let claim = Claim {
            cause: None,
            about: None,
            claim_id: ClaimId::from_bits(1),
            terms: generate::terms(2),
            retention: None,
            fingerprint: None,
            accepts: generate::accepts(0),
            worker: Label::lossy("worker"),
            phase: Phase::Executing,
        };
        let token = store.claim(&address, &claim).await.unwrap().stamp.token;
        let grant = Grant { token, claim_id: claim.claim_id };
        let value = "charged".to_owned();
        let key = address.key.clone();
        let complete = Complete { grant, result: generate::result(0) };
        Op::from(complete).send(&store, &address).await.unwrap();
        let run_log = RunLog {
            starts: vec![Start { call: CALL, key: key.clone(), grant, late: false }],
            effects: vec![Effect { key: key.clone(), under: "snl".into(), grant, value: value.clone() }],
            outcomes: vec![CallOutcome {
                call: CALL,
                key,
                name: "completed".into(),
                ran: true,
                value: Some(value),
            }],
            ..RunLog::default()
        };
        (address.clone(), store.history(&address, 100).await.unwrap(), run_log)
    }

    #[tokio::test]
    async fn a_consistent_log_passes() {
        let (address, events, run_log) = consistent_log().await;
        run_log.check(&address, &events).unwrap();
        assert!(run_log.effect_under("snl").is_some() && run_log.effect_under("other").is_none());
    }

    /// The log with one change, and the contradiction that is found.
    async fn finding(change: impl FnOnce(&mut RunLog, &mut Vec<Event>)) -> String {
        let (address, mut events, mut run_log) = consistent_log().await;
        change(&mut run_log, &mut events);
        run_log.check(&address, &events).unwrap_err()
    }

    #[tokio::test]
    async fn each_contradiction_about_a_run_is_detected() {
        let stranger = Grant { token: sentinel_core::Token::NONE, claim_id: ClaimId::from_bits(2) };
        let again = finding(|run_log, _| run_log.starts.push(run_log.starts[0].clone())).await;
        assert!(again.contains("2 functions started where 1 were authorised"), "{again}");
        let never_begun = finding(|run_log, _| run_log.starts[0].grant = stranger).await;
        assert!(never_begun.contains("had never begun"), "{never_begun}");
        let twice = finding(|run_log, _| run_log.effects.push(run_log.effects[0].clone())).await;
        assert!(twice.contains("an effect without a run of its own"), "{twice}");
        let no_run = finding(|run_log, _| run_log.effects[0].grant = stranger).await;
        assert!(no_run.contains("an effect without a run of its own"), "{no_run}");
        let vouched = finding(|_, events| events[1].change = Change::Released { vouched: true }).await;
        assert!(vouched.contains("vouched that nothing happened"), "{vouched}");
        let withdrew = finding(|_, events| events[1].change = Change::Cancelled).await;
        assert!(withdrew.contains("withdrew, and ran"), "{withdrew}");
        let never_ran = finding(|run_log, _| run_log.starts.clear()).await;
        assert!(never_ran.contains("recorded a result, and never ran"), "{never_ran}");
    }

    #[tokio::test]
    async fn each_wrong_outcome_is_detected() {
        let not_recorded = finding(|_, events| drop(events.pop())).await;
        assert!(not_recorded.contains("is that its result is recorded, and it is not"), "{not_recorded}");
        let did_not_run = finding(|run_log, _| run_log.outcomes[0].call = 8).await;
        assert!(did_not_run.contains("is that it ran, and it did not"), "{did_not_run}");
        let ran = finding(|run_log, _| {
            run_log.outcomes[0].name = "in_progress".into();
            run_log.outcomes[0].ran = false;
        });
        let ran = ran.await;
        assert!(ran.contains("is in_progress, and its function ran"), "{ran}");
        let made_up = finding(|run_log, _| run_log.outcomes[0].value = Some("other".into())).await;
        assert!(made_up.contains("which is no result of this key"), "{made_up}");
    }
}
