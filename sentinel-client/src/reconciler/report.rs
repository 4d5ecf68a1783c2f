//! What a reconciler reports about a decision.

use sentinel_core::operation::Stamp;
use sentinel_core::survey::in_doubt_since;
use sentinel_core::{Address, Label, OpId, State, StoreTime, Token};

use super::{Holding, Reconciler};
use crate::signals::events::Origin;
use crate::signals::meters::{By, Decided};

impl<S> Reconciler<S> {
    pub(super) fn report(&self, address: &Address, token: Token, report: impl FnOnce(&Origin<'_>, &Label)) {
        let span = tracing::Span::current();
        if let Ok(operator) = &self.operator {
            report(&self.sentinel.core.origin(address, token, &span), operator);
        }
    }
}

impl Reconciler<Holding> {
    /// Since when the key has been in doubt. Only a metric needs this, so it is read only if there is a recorder, and
    /// an error is ignored.
    pub(super) async fn in_doubt_since(&self, address: &Address) -> Option<StoreTime> {
        if !self.sentinel.core.meters.is_recorded() {
            return None;
        }
        let found = self.sentinel.store().inspect(address).await.ok()?;
        found.record.filter(|record| record.state == State::Reconciling).as_ref().map(in_doubt_since)
    }

    pub(super) fn settled(
        &self,
        address: &Address,
        decided: Decided,
        op_id: OpId,
        stamp: &Stamp,
        since: Option<StoreTime>,
    ) {
        let seconds = since.map(|since| stamp.now.since(since).as_secs_f64());
        self.sentinel.core.meters.settled(self.by, decided, seconds);
        self.report(address, stamp.token, |origin, operator| match self.by {
            By::Code => {
                let evidence = self.reason.as_ref().and_then(|reason| reason.as_ref().ok());
                origin.decided_by_code(decided.word(), evidence);
            }
            By::Operator => origin.decided_by_operator(operator, op_id, decided.word()),
        });
    }
}
