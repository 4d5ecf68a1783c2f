//! Keeps the events of a record within their limit. The oldest event that is kept carries the state that the dropped ones
//! rebuild; the kernel computes it.

use sentinel_core::{Address, ErrorKind, Event, EventLimit, StoreError, kernel};
use uuid::Uuid;

use crate::link::Link;
use crate::row::{Cells, Unreadable};
use crate::statement::{Sql, Statement};
use crate::transition::insist;

/// After an event was appended, of which this is the number: drops the oldest events if there are too many. The transition
/// took effect whatever happens here; what fails is done by a later transition.
pub(crate) async fn after(link: &mut Link, sql: &Sql, address: &Address, last: i64) {
    let Some(allowed) = allowed(sql.events, last) else { return };
    if let Err(error) = trim(link, sql, address, last, allowed).await {
        tracing::warn!(%address, %error, "older events of a record were not dropped: a later transition drops them");
    }
}

/// How many events a record may have after the event of this number; None: it need not be looked at.
///
/// Events are numbered from 1 in each life of a record, so the first event above the limit, and after a trim the next one,
/// have numbers that are known. A few more numbers are looked at in case a trim failed, or an event was appended in a
/// transaction of the user's. At the known numbers a record may have no more than a trim leaves: it is not looked at for
/// as many events as a trim drops.
fn allowed(limit: EventLimit, last: i64) -> Option<i64> {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let (max, kept) = (number(limit.max()), number(limit.kept()));
    let (above, between) = (last - max - 1, max - kept + 1);
    match above {
        ..0 => None,
        _ if above % between == 0 => Some(kept),
        _ if above % between % (between / 8).max(1) == 0 => Some(max),
        _ => None,
    }
}

async fn trim(
    link: &mut Link,
    sql: &Sql,
    address: &Address,
    last: i64,
    allowed: i64,
) -> Result<(), StoreError> {
    let due = || {
        sqlx::query(sql.get(Statement::TrimDue))
            .bind(address.namespace.as_str())
            .bind(address.kind.as_str())
            .bind(address.key.as_str())
            .bind(last - allowed)
    };
    let rows = insist(link, due).await.map_err(StoreError::from)?;
    let Some(row) = rows.first() else { return Ok(()) };
    let record = Cells::from(row, 0).take()?;
    let kept = i64::try_from(sql.events.kept()).unwrap_or(i64::MAX);
    drop_before(link, sql, record, last - kept + 1).await
}

/// Drops a record's events before this one.
pub(crate) async fn drop_before(
    link: &mut Link,
    sql: &Sql,
    record: Uuid,
    first: i64,
) -> Result<(), StoreError> {
    let dropped = || sqlx::query(sql.get(Statement::Dropped)).bind(record).bind(first);
    let rows = insist(link, dropped).await.map_err(StoreError::from)?;
    let events: Result<Vec<Event>, Unreadable> = rows.iter().map(|row| Cells::from(row, 0).event()).collect();
    let base = kernel::rebuild(&events?);
    let base = serde_json::to_string(&base)
        .map_err(|error| StoreError::not_applied(ErrorKind::BrokenStore, error.to_string()))?;
    let trim = || sqlx::query(sql.get(Statement::Trim)).bind(record).bind(first).bind(base.as_str());
    insist(link, trim).await.map(drop).map_err(StoreError::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a store does it: at most the limit are kept, and at least three quarters once there were more.
    #[test]
    fn a_record_is_trimmed_when_it_has_too_many_events_and_only_then() {
        for max in [8, 9, 10, 11, 31, 100, 1_000] {
            let limit = EventLimit::new(max).unwrap();
            let mut first = 1;
            for last in 1..10 * i64::from(max) {
                let count = last - first + 1;
                if allowed(limit, last).is_some_and(|allowed| count > allowed) {
                    assert_eq!(count, i64::from(max) + 1, "at {last} of {max}");
                    first = last - limit.kept() as i64 + 1;
                }
                assert!(last - first < i64::from(max), "too many at {last} of {max}");
            }
        }
    }

    /// A trim that failed, and events that were dropped because of their age.
    #[test]
    fn a_record_that_was_not_trimmed_is_trimmed_soon() {
        for max in [8, 11, 100] {
            let limit = EventLimit::new(max).unwrap();
            let (max, kept) = (i64::from(max), limit.kept() as i64);
            for lost in 0..3 * max {
                let mut first = 1 + lost;
                for last in (first + kept)..first + 10 * max {
                    let count = last - first + 1;
                    if allowed(limit, last).is_some_and(|allowed| count > allowed) {
                        first = last - kept + 1;
                    }
                    let late = last - first + 1 - max;
                    assert!(late <= 0, "{late} too many at {last} of {max}, {lost} lost");
                }
            }
            let mut first = 1;
            for last in max + 2..3 * max {
                if allowed(limit, last).is_some_and(|allowed| last - first + 1 > allowed) {
                    first = last - kept + 1;
                }
                let late = last - first + 1 - max;
                assert!(late <= 1 + (max - kept) / 8, "{late} too many at {last} of {max}");
            }
        }
    }
}
