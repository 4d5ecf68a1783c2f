//! Operators: they list keys in doubt, ask the provider, and decide. They may be slow, late, and killed midway.

use sentinel_client::{DecisionOutcome, Holding, ReconcileOutcome, Reconciler, Refused};
use sentinel_core::store::VisibleState;
use sentinel_core::{Clock as _, Key, Kind, Record, State};
use tokio::time::sleep;

use crate::world::{Actor, address};

impl Actor {
    /// Settles doubts until faults are over.
    pub(crate) async fn operate(self) {
        while !self.world.faults_are_over() {
            sleep(self.rng.up_to(4 * self.world.options.ttl)).await;
            self.process.wait_until_running().await;
            let state =
                if self.rng.percent(80) { VisibleState::Uncertain } else { VisibleState::Reconciling };
            let Ok(listing) = self.sentinel.list(Kind::Execution, Some(state), None, 10).await else {
                continue;
            };
            for (key, record) in listing.records {
                self.process.wait_until_running().await;
                if self.rng.percent(70) {
                    self.reconcile_key(&key, &record).await;
                }
            }
        }
        self.process.wait_until_running().await;
    }

    /// Takes a key in doubt, from another operator if need be, and decides by what the provider has recorded.
    pub(crate) async fn reconcile_key(&self, key: &Key, record: &Record) {
        let options = &self.world.options;
        // What was read may be old by now.
        sleep(self.rng.up_to(options.ttl)).await;
        self.process.wait_until_running().await;
        let name = format!("operator {}", self.process.number);
        let seeking = self.sentinel.reconciler(key.as_str()).operator(name).expect(record.token);
        let seeking = if record.state == State::Reconciling { seeking.steal() } else { seeking };
        let Ok(ReconcileOutcome::Taken(held)) = seeking.reconcile().await else { return };
        sleep(self.rng.up_to(options.ttl)).await;
        self.process.wait_until_running().await;
        self.decide(key, record, &held).await;
    }

    async fn decide(&self, key: &Key, record: &Record, held: &Reconciler<Holding>) {
        let under = record.idempotency_key(&address(Kind::Execution, key.as_str()));
        for _ in 0..100 {
            self.process.wait_until_running().await;
            if let Some(effect) = self.world.truth.effect_under(&under) {
                // Logged before it is sent: the reply may be lost, and others replay the result by then.
                self.world.truth.log().decided.push((key.clone(), effect.value.clone()));
                drop(held.force_complete(&effect.value).await);
                return;
            }
            match held.reset_to_claimed().await {
                Ok(DecisionOutcome::Refused(Refused::EffectsMayLand { until: at })) => {
                    sleep(at.since(self.world.clock.now()).max(self.world.options.ttl / 10)).await;
                }
                _ => return,
            }
        }
    }
}
