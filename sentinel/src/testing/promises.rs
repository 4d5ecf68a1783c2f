//! The checks at the end of a world.

use std::collections::BTreeMap;

use super::reported::Reported;
use super::world::{End, Ended, State};

/// What a world must reach, besides the promises themselves.
#[derive(Debug)]
pub(super) struct Expected<'a> {
    /// The effects of the world without faults.
    pub(super) due: &'a BTreeMap<String, u32>,
    pub(super) at_most: u32,
    /// Whether code of the user's reconciles every uncertain key.
    pub(super) reconciled: bool,
    /// Whether any result was recorded.
    pub(super) has_result: bool,
}

impl Expected<'_> {
    /// The first promise that was broken; None: all were kept.
    pub(super) fn broken(&self, state: &State) -> Option<String> {
        let twice = || self.happened_too_often(state);
        twice()
            .or_else(|| state.overdue.clone())
            .or_else(|| state.ends.iter().find_map(|end| self.reported_wrongly(end)))
            .or_else(|| self.lost_work(state))
    }

    fn happened_too_often(&self, state: &State) -> Option<String> {
        let (key, times) = state.effects.iter().find(|(_, times)| **times > self.at_most)?;
        let most = self.at_most;
        Some(format!("the effect on {key:?} happened {times} times; at most {most} is allowed"))
    }

    /// Whether a process reported *done* wrongly.
    fn reported_wrongly(&self, Ended { process, end, effects, doubts }: &Ended) -> Option<String> {
        match end {
            End::Hung => Some(format!("process {process} never ended")),
            End::Reported(Reported::Done) => {
                let missing = self.due.keys().find(|key| !effects.contains_key(*key));
                let missing = missing.map(|key| {
                    format!(
                        "process {process} reported that it is done, but the effect on {key:?} had not \
                            happened"
                    )
                });
                missing.or_else(|| {
                    let doubt = doubts.first()?;
                    Some(format!(
                        "process {process} reported that it is done, while {doubt} is uncertain: doubt \
                            was hidden"
                    ))
                })
            }
            _ => None,
        }
    }

    /// Whether work was lost: not done, although nothing reports it.
    fn lost_work(&self, state: &State) -> Option<String> {
        let Ended { process, end, doubts, .. } = state.ends.last()?;
        let in_doubt = doubts.first();
        match in_doubt {
            Some(doubt) if self.reconciled => {
                Some(format!("{doubt} is still uncertain after it was reconciled"))
            }
            Some(_) => None,
            None if *end == End::Reported(Reported::Done) => None,
            None if !state.effects.is_empty() => Some(format!(
                "an effect happened, no key is uncertain, and process {process} did not report that it \
                    is done: doubt was lost"
            )),
            None if self.has_result => None,
            None => Some(format!(
                "process {process} had no faults, and did not report that it is done: the work was lost"
            )),
        }
    }
}
