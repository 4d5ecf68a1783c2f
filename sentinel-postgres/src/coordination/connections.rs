//! Which connection each kind of work uses, for a store of this many connections.

use crate::batch::slot::Slot;

/// The fewest connections of a store: one listens, one sends heartbeats, and one does everything else.
pub(crate) const MIN: usize = 3;
/// The connections of a store unless set. No work shares one then.
pub(crate) const DEFAULT: usize = 13;
/// More would only wait for locks on single records.
pub(crate) const MAX: usize = 100;

/// The slots of a store's connections, without the one that listens. Clones of one slot are one connection.
#[derive(Debug)]
pub(crate) struct Connections {
    /// Claims of absent keys and completions, in batches; the second under a backlog.
    pub(crate) insert_complete: [Slot; 2],
    /// Replays, in batches; the second under a backlog.
    pub(crate) results: [Slot; 2],
    /// Other reads, in batches.
    pub(crate) reads: Slot,
    /// Begins, releases and claims of existing rows, in batches.
    pub(crate) updates: Slot,
    /// Statements on one record, and maintenance: each may wait for a lock.
    pub(crate) single_statements: Vec<Slot>,
    /// Heartbeats. The second waits for rows that a transaction of the user's has locked.
    pub(crate) heartbeats: Vec<Slot>,
}

impl Connections {
    /// Distributes connections, at least [`MIN`]. What comes later in the list shares one if there are too few.
    pub(crate) fn distribute(connections: usize) -> Self {
        let mut left = connections.saturating_sub(MIN);
        let mut own = || {
            left = left.checked_sub(1)?;
            Some(Slot::default())
        };
        // Heartbeats never share: a statement that waits for a lock must not let leases lapse.
        let (claims, heartbeats) = (Slot::default(), Slot::default());
        let single = own().unwrap_or_else(|| claims.clone());
        let replays = own().unwrap_or_else(|| claims.clone());
        let updates = own().unwrap_or_else(|| claims.clone());
        let reads = own().unwrap_or_else(|| replays.clone());
        let mut all_heartbeats = vec![heartbeats];
        all_heartbeats.extend(own());
        let more_claims = own().unwrap_or_else(|| claims.clone());
        let more_replays = own().unwrap_or_else(|| replays.clone());
        let mut single_statements = vec![single];
        single_statements.extend(std::iter::from_fn(own));
        Self {
            insert_complete: [claims, more_claims],
            results: [replays, more_replays],
            reads,
            updates,
            single_statements,
            heartbeats: all_heartbeats,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use super::*;
    use crate::batch::slot::SharedConnection;

    #[test]
    fn a_store_has_as_many_connections_as_are_set() {
        for connections in [MIN, 4, 5, 6, 7, 8, 9, 10, 11, 12, DEFAULT, 14, MAX] {
            let plan = Connections::distribute(connections);
            let batches = [&plan.insert_complete[..], &plan.results[..]].concat();
            let alone =
                [plan.single_statements.clone(), vec![plan.reads.clone(), plan.updates.clone()]].concat();
            let joined =
                |slots: &[Slot]| -> Vec<Arc<SharedConnection>> { slots.iter().map(Slot::join).collect() };
            let (work, heartbeats) = (joined(&[batches, alone].concat()), joined(&plan.heartbeats));
            let distinct =
                |slots: &[Arc<SharedConnection>]| slots.iter().map(Arc::as_ptr).collect::<HashSet<_>>();
            let (work, heartbeats) = (distinct(&work), distinct(&heartbeats));
            assert!(work.is_disjoint(&heartbeats), "{connections}: heartbeats have connections of their own");
            assert_eq!(work.len() + heartbeats.len() + 1, connections, "with the one that listens");
            assert_eq!(plan.heartbeats.len(), if connections < 8 { 1 } else { 2 });
        }
        assert_eq!(Connections::distribute(DEFAULT).single_statements.len(), 4);
    }
}
