//! Operators: they list keys in doubt, ask the provider, and decide. They may be late, and killed midway.

use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use sentinel::Key;
use sentinel::reconcile::{DecisionOutcome, Holding, ReconcileOutcome, Reconciler, Refused};
use sentinel::record::{Address, Kind, Record, State};
use sentinel::store::VisibleState;
use sentinel_conformance::Effect;
use tokio::time::sleep;

use crate::journal::{self, Note};
use crate::worker::Worker;

impl Worker {
    /// Settles doubts until faults stop.
    pub(crate) async fn operate(self, mut rng: StdRng) {
        while !self.faults_are_over() {
            sleep(Duration::from_millis(rng.random_range(20..=200))).await;
            let shown =
                if rng.random_ratio(4, 5) { VisibleState::Uncertain } else { VisibleState::Reconciling };
            let Ok(listing) = self.sentinel.list(Kind::Execution, Some(shown), None, 10).await else {
                continue;
            };
            for (key, record) in listing.records {
                if !self.faults_are_over() && rng.random_ratio(7, 10) {
                    self.reconcile_key(&key, &record).await;
                }
            }
        }
    }

    /// Takes a key in doubt, from another operator if need be, and decides by what the provider has recorded.
    pub(crate) async fn reconcile_key(&self, key: &Key, record: &Record) {
        let name = format!("operator {}", self.plan.number);
        let seeking = self.sentinel.reconciler(key.as_str()).operator(name).expect(record.token);
        let seeking = if record.state == State::Reconciling { seeking.steal() } else { seeking };
        let Ok(ReconcileOutcome::Taken(held)) = seeking.reconcile().await else { return };
        self.decide(key, record, &held).await;
    }

    async fn decide(&self, key: &Key, record: &Record, held: &Reconciler<Holding>) {
        let address = Address::execution(self.sentinel.current_namespace().clone(), key.clone());
        let under = record.idempotency_key(&address);
        for _ in 0..50 {
            if let Some(effect) = self.effect_under(&under) {
                self.journal.note(&Note::Decided(key.clone(), effect.value.clone()));
                drop(held.force_complete(&effect.value).await);
                return;
            }
            match held.reset_to_claimed().await {
                Ok(DecisionOutcome::Refused(Refused::EffectsMayLand { .. })) => {
                    sleep(self.plan.hard_ttl / 4).await;
                }
                _ => return,
            }
        }
    }

    /// What the provider has recorded under an idempotency key.
    fn effect_under(&self, idempotency_key: &str) -> Option<Effect> {
        let effects = journal::read::<Effect>(&self.plan.effects());
        let effects = effects.unwrap_or_else(|strange| panic!("{strange}"));
        effects.into_iter().find(|effect| effect.under == idempotency_key)
    }
}
