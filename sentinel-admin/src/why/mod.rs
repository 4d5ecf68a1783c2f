//! Why a key is in its state, and what can be done now. A pure function of what was read: [`Facts`] in, [`Story`] out.

mod catalogue;
mod deployment;
mod facts;
mod groups;
mod headline;
mod layout;
mod log;
mod sentences;
mod steps;
mod story;
mod text;

use sentinel_core::store::VisibleState;
use sentinel_core::{ErrorKind, Record, State, StoreError};

pub use catalogue::Id;
pub use facts::{Facts, LeaseFacts, Link};
pub use layout::layout;
pub use story::{Act, Actor, Call, Gap, Headline, Rev, Risk, Sentence, Step, Story};
pub use text::{Recorded, Slot, Text};

/// The story of a key.
///
/// It first checks the log: if the record cannot be rebuilt from its events, or the store reports that it may have lost
/// data, it offers no decision. Each event that was read is in exactly one sentence. A step is offered if and only if
/// the store accepts its request on this record now, or from the stated time on.
pub fn why(facts: &Facts) -> Story {
    let absent = Record::absent();
    let record = facts.record.as_ref().unwrap_or(&absent);
    let log = log::read(facts);
    let mut sentences = sentences::write(facts, &log);
    let present = |text| Sentence { at: None, who: None, text, revs: Vec::new() };
    let (headline, next) = match (&facts.store, log.agrees) {
        (Err(error), _) => {
            sentences.push(present(deployment::distrusted(error)));
            (headline::distrusted(facts), steps::no_decision(is_data_loss(error)))
        }
        (Ok(()), false) => (headline::log_differs(facts), steps::no_decision(false)),
        (Ok(()), true) => {
            sentences.push(present(headline::callers(facts)));
            sentences.extend(headline::reconciler(facts).map(present));
            sentences.extend(deployment::findings(facts).map(present));
            (headline::headline(facts), steps::steps(facts))
        }
    };
    let may_run =
        matches!(record.state, State::Executing | State::Reconciling) && record.is_within_hard(facts.now);
    Story {
        headline,
        sentences,
        state: VisibleState::of(record, facts.now),
        may_still_run: may_run.then_some(record.hard_until),
        next,
        gaps: gaps(facts, &log),
    }
}

fn is_data_loss(error: &StoreError) -> bool {
    matches!(error.kind(), ErrorKind::DataLoss | ErrorKind::PossibleDataLoss)
}

fn gaps(facts: &Facts, log: &log::Log<'_>) -> Vec<Gap> {
    let dropped = log.cut.map(|before_rev| Gap::EventsDropped { before_rev });
    let unread = log.unread.map(|_| Gap::EventsNotRead);
    let differs = (!log.agrees).then_some(Gap::LogDiffers);
    let distrusted = facts.store.is_err().then_some(Gap::StoreDistrusted);
    [dropped, unread, differs, distrusted].into_iter().flatten().collect()
}
