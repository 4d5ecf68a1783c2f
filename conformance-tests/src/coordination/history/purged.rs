//! The second act of some histories: hours later callers go on, while maintenance deletes what has rested.

use std::sync::Arc;
use std::time::Duration;

use sentinel_core::kernel;
use sentinel_core::store::{Purge, Purged};
use sentinel_core::{Address, Change, CoordinationStore, PURGE_REST, Token};

use super::judge::{End, by_stamps_from};
use super::record::{Entry, Recorder};
use super::{Setting, Told, act, truth};
use crate::coordination::harness::Harness;
use crate::rng::Rng;

/// Far beyond every retention that callers ask for, and beyond the rest that a record needs.
const LATER: Duration = Duration::from_secs(3 * PURGE_REST.as_secs());

/// Goes on with records that are hours old, and purges them at the same time. Each record is purged at most once: what
/// was changed in this act has not rested.
pub(super) async fn second_act<H: Harness>(
    harness: &Arc<H>,
    setting: Setting,
    rng: &mut Rng,
    addresses: &[Address],
    told: Vec<Told>,
) -> Result<(), String> {
    let store = harness.store();
    let mut before = Vec::new();
    for address in addresses {
        before.push(End::read(&*store, address).await.map_err(|error| error.to_string())?);
    }
    harness.advance(LATER).await;
    let recorder = Recorder::new(store.clone());
    let setting = Setting { first_caller: 100, ..setting };
    let purging = tokio::spawn(purge(store.clone(), addresses[0].clone(), rng.below(16)));
    let told_later = act(harness, setting, rng, addresses, &recorder).await?;
    let deleted = purging.await.map_err(|error| format!("the purge failed: {error}"))??;
    let (entries, looks) = (recorder.entries(), recorder.looks());
    let mut purged = 0;
    for (address, before) in addresses.iter().zip(&before) {
        let end = End::read(&*store, address).await.map_err(|error| error.to_string())?;
        truth::explained(address, &told_later, &entries)?;
        truth::effect_of_once(address, &end.events)?;
        let both = || told.iter().chain(&told_later);
        if end.events.first().is_some_and(|event| event.change == Change::Purged) {
            purged += 1;
            two_lives(address, &entries, before, &end)?;
            truth::single_run(address, &told_later, &end.events)?;
        } else {
            by_stamps_from(address, &entries, &looks, before, &end)?;
            truth::single_run(address, both(), &end.events)?;
        }
    }
    if deleted != purged {
        return Err(format!("the purge said that it deleted {deleted} records, and {purged} are gone"));
    }
    Ok(())
}

/// Purges a few times; how many records were deleted.
async fn purge(store: Arc<dyn CoordinationStore>, of: Address, pause: u64) -> Result<u64, String> {
    let mut deleted = 0;
    for _ in 0..3 {
        for _ in 0..pause {
            tokio::task::yield_now().await;
        }
        let purge = Purge { namespace: of.namespace.clone(), limit: 1000, dry_run: false };
        let Purged { records, .. } =
            store.purge(&purge).await.map_err(|error| format!("the purge failed: {error}"))?;
        deleted += records;
    }
    Ok(deleted)
}

/// Judges the end of the life that was purged, and the life after it. No request of the later life was answered before
/// one of the earlier life was sent.
fn two_lives(address: &Address, entries: &[Entry], before: &End, end: &End) -> Result<(), String> {
    let event = &end.events[0];
    match kernel::purge(&before.record, event.at) {
        Some((_, expected)) if expected == *event => {}
        expected => {
            return Err(format!("{address} was purged with {event:?}, and the kernel says {expected:?}"));
        }
    }
    // A tombstone of calls that never held a claim looks the same in both lives.
    if before.record.token == Token::NONE {
        return Ok(());
    }
    let earlier = |entry: &&Entry| {
        let stamped = entry.answer.as_ref().and_then(|answer| answer.as_ref().ok());
        stamped.is_some_and(|stamped| stamped.stamp.token == before.record.token)
    };
    let here = || entries.iter().filter(|entry| entry.address == *address);
    let (old, new): (Vec<Entry>, Vec<Entry>) = here().cloned().partition(|entry| earlier(&entry));
    by_stamps_from(address, &old, &[], before, before)?;
    by_stamps_from(address, &new, &[], &End::born_of(event.clone()), end)?;
    for entry in &old {
        if let Some(early) = new.iter().find(|new| new.returned.is_some_and(|at| at < entry.invoked)) {
            return Err(format!("answered after the purge, and sent before it was seen:\n{early}\n{entry}"));
        }
    }
    Ok(())
}
