//! The continuation of some histories: hours later callers send more requests, while a purge deletes records.

use std::sync::Arc;
use std::time::Duration;

use sentinel_core::kernel;
use sentinel_core::store::{Purge, Purged};
use sentinel_core::{Address, Change, CoordinationStore, PURGE_REST, Token};

use super::actor::Completed;
use super::callers::{Setting, act};
use super::checker::{End, by_stamps_from};
use super::invariants;
use super::recorder::{Entry, Recorder};
use crate::coordination::harness::Harness;
use crate::rng::Rng;

/// Longer than every retention that callers request, and than the time without change after which a record may be
/// purged.
const LATER: Duration = Duration::from_secs(3 * PURGE_REST.as_secs());

/// Continues with records that are hours old, and purges them at the same time. Each record is purged at most once: a
/// record that changes here is not old enough to be purged again.
pub(super) async fn continue_later<H: Harness>(
    harness: &Arc<H>,
    setting: Setting,
    rng: &mut Rng,
    addresses: &[Address],
    completed: Vec<Completed>,
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
    let completed_later = act(harness, setting, rng, addresses, &recorder).await?;
    let deleted = purging.await.map_err(|error| format!("the purge failed: {error}"))??;
    let (entries, reads) = (recorder.entries(), recorder.reads());
    let mut purged = 0;
    for (address, before) in addresses.iter().zip(&before) {
        let end = End::read(&*store, address).await.map_err(|error| error.to_string())?;
        invariants::explained(address, &completed_later, &entries)?;
        invariants::effect_of_once(address, &end.events)?;
        let both = || completed.iter().chain(&completed_later);
        if end.events.first().is_some_and(|event| event.change == Change::Purged) {
            purged += 1;
            two_lives(address, &entries, before, &end)?;
            invariants::single_run(address, &completed_later, &end.events)?;
        } else {
            by_stamps_from(address, &entries, &reads, before, &end)?;
            invariants::single_run(address, both(), &end.events)?;
        }
    }
    if deleted != purged {
        return Err(format!("the purge reported {deleted} deleted records, and {purged} are missing"));
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

/// Checks the end of the life that was purged, and the life after it. No request of the later life was answered before
/// one of the earlier life was sent.
fn two_lives(address: &Address, entries: &[Entry], before: &End, end: &End) -> Result<(), String> {
    let event = &end.events[0];
    match kernel::purge(&before.record, event.at) {
        Some((_, expected)) if expected == *event => {}
        expected => {
            return Err(format!("{address} was purged with {event:?}, and the kernel requires {expected:?}"));
        }
    }
    // A tombstone of calls that never held a claim is the same in both lives.
    if before.record.token == Token::NONE {
        return Ok(());
    }
    let earlier = |entry: &&Entry| {
        let stamped = entry.reply.as_ref().and_then(|reply| reply.as_ref().ok());
        stamped.is_some_and(|stamped| stamped.stamp.token == before.record.token)
    };
    let here = || entries.iter().filter(|entry| entry.address == *address);
    let (old, new): (Vec<Entry>, Vec<Entry>) = here().cloned().partition(|entry| earlier(&entry));
    by_stamps_from(address, &old, &[], before, before)?;
    by_stamps_from(address, &new, &[], &End::after_purge(event.clone()), end)?;
    for entry in &old {
        if let Some(early) = new.iter().find(|new| new.returned.is_some_and(|at| at < entry.invoked)) {
            return Err(format!(
                "a reply already showed the purge, and it had returned before this request was sent:\n{early}\n{entry}"
            ));
        }
    }
    Ok(())
}
