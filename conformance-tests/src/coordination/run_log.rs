//! What was done outside of the store: whether it agrees with what callers were told, and with the log of the key.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use sentinel_client::{Error, Failure, Outcome};
use sentinel_core::{Address, Change, ClaimId, Event, Grant, Key};
use serde::{Deserialize, Serialize};

use crate::coordination::history::authorised_runs;

/// All that functions, operators and callers did and were told while somebody watched. What runs many calls of `once`
/// under faults keeps one, and has it [judged](Self::judge) when all is over.
#[derive(Debug, Clone, Default)]
pub struct RunLog {
    /// Functions that were started.
    pub starts: Vec<Start>,
    /// Side effects, as the provider sees them.
    pub effects: Vec<Effect>,
    /// What callers were answered.
    pub answers: Vec<Answer>,
    /// What operators decided to be the result of a key. Noted before it is asked for: the answer may be lost.
    pub decided: Vec<(Key, String)>,
    /// Failures that functions asked to be recorded for good.
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
    /// By whose right.
    pub grant: Grant,
    /// What was done. The function's result, where it came to one.
    pub value: String,
}

/// What a call was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Which call.
    pub call: u64,
    /// For which key.
    pub key: Key,
    /// The outcome's name, or `error`.
    pub name: Cow<'static, str>,
    /// Whether the outcome says that this call's function ran.
    pub ran: bool,
    /// The result that it was told, its own or another's.
    pub value: Option<String>,
}

impl Answer {
    /// What a call of a function was answered whose results are texts. Of a failure that was recorded it is the error's
    /// text.
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

    /// Judges what was done for one key of executions by its whole log, from its first event on. No more functions
    /// started than the log authorises, one for each grant and none without; an effect for each run at most; what the
    /// store was told of a run is true, and so is what callers were told. The error says what is wrong, with the log.
    pub fn judge(&self, address: &Address, events: &[Event]) -> Result<(), String> {
        let case = Case { run_log: self, address, events };
        let judged = case.runs().and_then(|()| case.words()).and_then(|()| case.effects());
        judged.and_then(|()| case.answers()).map_err(|wrong| {
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

    /// What the store was told of a run is true: who vouched that nothing happened made no effect, who withdrew never
    /// ran, who recorded a result did.
    fn words(self) -> Result<(), String> {
        let ran = self.ran();
        let acted: BTreeSet<_> = self.effects_on().map(|effect| effect.grant.claim_id).collect();
        for event in self.events {
            let Some(id) = event.claim_id else { continue };
            let lie = match event.change {
                Change::Released { vouched: true } => {
                    acted.contains(&id).then_some("vouched that nothing happened")
                }
                Change::Cancelled => ran.contains(&id).then_some("withdrew, and ran"),
                Change::Completed { .. } => {
                    (!ran.contains(&id)).then_some("recorded a result, and never ran")
                }
                _ => None,
            };
            if let Some(lie) = lie {
                return Err(format!("the call under {id} {lie}"));
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

    /// What callers were told is true.
    fn answers(self) -> Result<(), String> {
        let values = self.values();
        for answer in self.run_log.answers.iter().filter(|answer| answer.key == self.address.key) {
            let start = self.starts().find(|start| start.call == answer.call);
            let Answer { call, name, .. } = answer;
            match &**name {
                _ if answer.ran && start.is_none() => {
                    return Err(format!("call {call} was told that it ran, and it did not"));
                }
                "completed" if !self.recorded(start) => {
                    return Err(format!("call {call} was told that it is recorded, and it is not"));
                }
                "in_progress" | "reconciling" | "uncertain" | "not_run" | "replayed" | "error"
                    if start.is_some() =>
                {
                    return Err(format!("call {call} was told {name} and its function ran"));
                }
                _ => {}
            }
            if let Some(value) = &answer.value
                && !values.contains(value.as_str())
            {
                return Err(format!("call {call} was told {value:?}, which nobody did under this key"));
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
        let said = decided.iter().chain(failures).filter(|(key, _)| *key == self.address.key);
        self.effects_on()
            .map(|effect| effect.value.as_str())
            .chain(said.map(|(_, value)| value.as_str()))
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

    /// A call that ran, made its effect, and was told that its result is recorded; the log says the same.
    async fn true_story() -> (Address, Vec<Event>, RunLog) {
        let store = MemoryStore::new();
        let address = Address::execution(fresh_namespace("run_log"), Key::new("key").unwrap());
        let claim = Claim {
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
            answers: vec![Answer {
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
    async fn a_true_story_is_believed() {
        let (address, events, run_log) = true_story().await;
        run_log.judge(&address, &events).unwrap();
        assert!(run_log.effect_under("snl").is_some() && run_log.effect_under("other").is_none());
    }

    /// A story with one thing changed, and what is said of it.
    async fn told(change: impl FnOnce(&mut RunLog, &mut Vec<Event>)) -> String {
        let (address, mut events, mut run_log) = true_story().await;
        change(&mut run_log, &mut events);
        run_log.judge(&address, &events).unwrap_err()
    }

    #[tokio::test]
    async fn no_deed_can_be_hidden() {
        let stranger = Grant { token: sentinel_core::Token::NONE, claim_id: ClaimId::from_bits(2) };
        let again = told(|run_log, _| run_log.starts.push(run_log.starts[0].clone())).await;
        assert!(again.contains("2 functions started where 1 were authorised"), "{again}");
        let never_begun = told(|run_log, _| run_log.starts[0].grant = stranger).await;
        assert!(never_begun.contains("had never begun"), "{never_begun}");
        let twice = told(|run_log, _| run_log.effects.push(run_log.effects[0].clone())).await;
        assert!(twice.contains("an effect without a run of its own"), "{twice}");
        let no_run = told(|run_log, _| run_log.effects[0].grant = stranger).await;
        assert!(no_run.contains("an effect without a run of its own"), "{no_run}");
        let vouched = told(|_, events| events[1].change = Change::Released { vouched: true }).await;
        assert!(vouched.contains("vouched that nothing happened"), "{vouched}");
        let withdrew = told(|_, events| events[1].change = Change::Cancelled).await;
        assert!(withdrew.contains("withdrew, and ran"), "{withdrew}");
        let unheard = told(|run_log, _| run_log.starts.clear()).await;
        assert!(unheard.contains("recorded a result, and never ran"), "{unheard}");
    }

    #[tokio::test]
    async fn no_caller_can_be_lied_to() {
        let not_recorded = told(|_, events| drop(events.pop())).await;
        assert!(not_recorded.contains("told that it is recorded, and it is not"), "{not_recorded}");
        let did_not_run = told(|run_log, _| run_log.answers[0].call = 8).await;
        assert!(did_not_run.contains("was told that it ran, and it did not"), "{did_not_run}");
        let ran = told(|run_log, _| {
            run_log.answers[0].name = "in_progress".into();
            run_log.answers[0].ran = false;
        });
        let ran = ran.await;
        assert!(ran.contains("was told in_progress and its function ran"), "{ran}");
        let made_up = told(|run_log, _| run_log.answers[0].value = Some("other".into())).await;
        assert!(made_up.contains("which nobody did under this key"), "{made_up}");
    }
}
