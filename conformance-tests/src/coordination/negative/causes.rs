//! How a flawed store keeps causes and finds records by them, and the flaws of both.

use async_trait::async_trait;
use sentinel_core::kernel::Op;
use sentinel_core::store::List;
use sentinel_core::survey::{CausePage, Undecided, UndecidedPage};
use sentinel_core::{Address, Cause, CauseQuery, Fingerprint, Kind, Namespace, Record, StoreError, Survey};

use super::mutation::{Mutation, Snapshot, StorageFault, Written};
use super::store::{FlawedStore, Rows};
use super::workers::{only, written};

impl FlawedStore {
    /// Keeps the index of causes, as a store that has one does.
    pub(super) fn index_cause(
        &self,
        rows: &mut Rows,
        address: &Address,
        record: &mut Record,
        op: &Op,
        changed: bool,
    ) {
        let Op::Claim(claim) = op else { return };
        if !changed {
            if !self.is(StorageFault::RefusedClaimsSetTheCause) || record.is_absent() {
                return;
            }
            record.cause.clone_from(&claim.cause);
        }
        match &record.cause {
            Some(cause) => drop(rows.caused.insert(address.clone(), cause.clone())),
            None if self.is(StorageFault::CausesStay) => {}
            None => drop(rows.caused.remove(address)),
        }
    }

    fn is_found(&self, query: &CauseQuery, cause: &Cause) -> bool {
        match (query, self.mutation.flaw) {
            (CauseQuery::Trace(_), Some(StorageFault::CausesHaveNoTrace)) => false,
            (CauseQuery::Root(root), Some(StorageFault::CausesAreFoundByTheirBeginning)) => {
                cause.root().as_str().starts_with(root.as_str())
            }
            (CauseQuery::Root(root), Some(StorageFault::CausesAreCut)) if root.as_str().len() > 100 => false,
            _ => query.matches(cause),
        }
    }
}

#[async_trait]
impl Survey for FlawedStore {
    async fn namespaces(&self, after: Option<&Namespace>, limit: u32) -> Result<Vec<Namespace>, StoreError> {
        let mut all: Vec<_> = self.rows().entries.keys().map(|address| address.namespace.clone()).collect();
        all.dedup();
        all.retain(|namespace| after.is_none_or(|after| namespace > after));
        all.truncate(limit as usize);
        Ok(all)
    }

    async fn undecided(&self, filter: &Undecided) -> Result<UndecidedPage, StoreError> {
        sentinel_core::survey::undecided_by_listing(self, filter).await
    }

    async fn by_cause(
        &self,
        query: &CauseQuery,
        after: Option<&Address>,
        limit: u32,
    ) -> Result<CausePage, StoreError> {
        let (rows, now) = (self.rows(), self.clock.now());
        let after = after.filter(|_| !self.is(StorageFault::CausesIgnoreAfter));
        let is_after = |address: &Address| after.is_none_or(|after| address > after);
        let of = |(address, _): (&Address, &Cause)| {
            let mut record = rows.entries.get(address)?.0.clone();
            if let Some(result) = &mut record.result
                && !self.is(StorageFault::CausesCarryBytes)
            {
                result.payload.bytes = Default::default();
            }
            Some((address.clone(), record))
        };
        let found =
            rows.caused.iter().filter(|(address, cause)| is_after(address) && self.is_found(query, cause));
        let mut records: Vec<_> = found.filter_map(of).collect();
        if self.is(StorageFault::CausesOfExecutions) {
            records.retain(|(address, _)| address.kind == Kind::Execution);
        }
        if self.is(StorageFault::CausesOfOneNamespace) {
            let first = records.first().map(|(address, _)| address.namespace.clone());
            records.retain(|(address, _)| Some(&address.namespace) == first.as_ref());
        }
        if self.is(StorageFault::CausesAreUnordered) {
            records
                .sort_by_key(|(address, _)| (address.namespace.clone(), address.key.clone(), address.kind));
        }
        records.truncate(limit.clamp(1, List::MAX) as usize);
        let now = records.iter().map(|(_, record)| record.last_now).fold(now, Ord::max);
        Ok(CausePage { records, now, incomplete: false })
    }
}

pub(super) fn all() -> Vec<Mutation> {
    let s = |name| Mutation::new(name, "spec §2, cause");
    let flaw = |name, flaw| Mutation::new(name, "survey contract, by_cause").flaw(flaw);
    vec![
        s("forgets causes").write(written!(Claim, |w| w.after.cause = None)),
        s("forgets what claims are about").write(written!(Claim, |w| w.after.about = None)),
        s("forgets the cause of what is released").write(written!(Release, |w| w.after.cause = None)),
        s("forgets the cause of what is reset").write(written!(ResetToClaimed, |w| w.after.cause = None)),
        s("keeps an earlier cause where a claim has none").write(written!(Claim, |w| {
            w.after.cause = w.after.cause.take().or(w.before.cause.clone());
        })),
        s("treats another cause as another fingerprint").guard(only!(Claim, |s| {
            if let Op::Claim(claim) = &mut s.op
                && claim.cause != s.record.cause
            {
                claim.fingerprint = Fingerprint::new("another").ok();
            }
        })),
        flaw("takes the cause of a refused claim", StorageFault::RefusedClaimsSetTheCause),
        flaw("finds records by an earlier cause", StorageFault::CausesStay),
        flaw("finds purged records", StorageFault::CausesOutliveAPurge),
        flaw("finds the records of one namespace", StorageFault::CausesOfOneNamespace),
        flaw("finds executions alone", StorageFault::CausesOfExecutions),
        flaw("begins every page of a cause at the start", StorageFault::CausesIgnoreAfter),
        flaw("orders the records of a cause by key", StorageFault::CausesAreUnordered),
        flaw("returns the bytes of results with the records of a cause", StorageFault::CausesCarryBytes),
        flaw("finds nothing by trace", StorageFault::CausesHaveNoTrace),
        flaw("finds roots by their beginning", StorageFault::CausesAreFoundByTheirBeginning),
        flaw("finds no long roots", StorageFault::CausesAreCut),
    ]
}
