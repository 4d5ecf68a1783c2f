//! The checks at the end of a world.

use std::collections::BTreeMap;

use super::answer::Said;
use super::world::{End, Ended, State};

/// What the judge knows besides the state of the world.
#[derive(Debug)]
pub(super) struct Terms<'a> {
    /// The effects of the world without faults.
    pub(super) due: &'a BTreeMap<String, u32>,
    pub(super) at_most: u32,
    /// Whether code of the user's reconciles every uncertain key.
    pub(super) reconciled: bool,
    /// Whether any result was recorded.
    pub(super) settled: bool,
}

impl Terms<'_> {
    /// The first promise that was broken; None: all were kept.
    pub(super) fn broken(&self, state: &State) -> Option<String> {
        let twice = || self.happened_too_often(state);
        twice()
            .or_else(|| state.overdue.clone())
            .or_else(|| state.ends.iter().find_map(|end| self.lied(end)))
            .or_else(|| self.unsettled(state))
    }

    fn happened_too_often(&self, state: &State) -> Option<String> {
        let (key, times) = state.effects.iter().find(|(_, times)| **times > self.at_most)?;
        let most = self.at_most;
        Some(format!("the effect on {key:?} happened {times} times; allowed are {most}"))
    }

    /// Whether a process reported *done* wrongly.
    fn lied(&self, Ended { process, end, effects, doubts }: &Ended) -> Option<String> {
        match end {
            End::Hung => Some(format!("process {process} never said anything")),
            End::Said(Said::Done) => {
                let missing = self.due.keys().find(|key| !effects.contains_key(*key));
                let missing = missing.map(|key| {
                    format!(
                        "process {process} said that it is done, and the effect on {key:?} had not happened"
                    )
                });
                missing.or_else(|| {
                    let doubt = doubts.first()?;
                    Some(format!(
                        "process {process} said that it is done, while {doubt} is in doubt: doubt was hidden"
                    ))
                })
            }
            _ => None,
        }
    }

    /// Whether work was lost: not done, although nothing reports it.
    fn unsettled(&self, state: &State) -> Option<String> {
        let Ended { process, end, doubts, .. } = state.ends.last()?;
        let in_doubt = doubts.first();
        match in_doubt {
            Some(doubt) if self.reconciled => {
                Some(format!("{doubt} is in doubt still, after it was reconciled"))
            }
            Some(_) => None,
            None if *end == End::Said(Said::Done) => None,
            None if !state.effects.is_empty() => Some(format!(
                "an effect happened, nothing is in doubt, and process {process} was not told that it is done: doubt \
                 was lost"
            )),
            None if self.settled => None,
            None => Some(format!(
                "nothing went wrong for process {process}, and it is not done: the work was lost"
            )),
        }
    }
}
