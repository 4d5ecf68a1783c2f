//! What was done outside of the store: whether it agrees with what callers were told, and with the log of the key.

use std::borrow::Cow;
use std::collections::BTreeSet;

use sentinel_core::{Address, Change, ClaimId, Event, Grant, Key};
use serde::{Deserialize, Serialize};

use crate::history::authorised_runs;

/// All that functions, operators and callers did and were told while somebody watched. What runs many calls of `once` under
/// faults keeps one, and has it [judged](Self::judge) when all is over.
#[derive(Debug, Clone, Default)]
pub struct Deeds {
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

impl Deeds {
    /// What the provider did under an idempotency key.
    pub fn effect_under(&self, idempotency_key: &str) -> Option<&Effect> {
        self.effects.iter().find(|effect| effect.under == idempotency_key)
    }

    /// Judges what was done for one key of executions by its whole log, from its first event on. No more functions started
    /// than the log authorises, one for each grant and none without; an effect for each run at most; what the store was told
    /// of a run is true, and so is what callers were told. The error says what is wrong, with the log.
    pub fn judge(&self, address: &Address, events: &[Event]) -> Result<(), String> {
        let case = Case { deeds: self, address, events };
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
    deeds: &'a Deeds,
    address: &'a Address,
    events: &'a [Event],
}

impl<'a> Case<'a> {
    fn starts(self) -> impl Iterator<Item = &'a Start> {
        self.deeds.starts.iter().filter(move |start| start.key == self.address.key)
    }

    fn effects_on(self) -> impl Iterator<Item = &'a Effect> {
        self.deeds.effects.iter().filter(move |effect| effect.key == self.address.key)
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
        for answer in self.deeds.answers.iter().filter(|answer| answer.key == self.address.key) {
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
        let Deeds { decided, failures, .. } = self.deeds;
        let said = decided.iter().chain(failures).filter(|(key, _)| *key == self.address.key);
        self.effects_on()
            .map(|effect| effect.value.as_str())
            .chain(said.map(|(_, value)| value.as_str()))
            .collect()
    }
}
