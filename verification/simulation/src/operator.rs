//! Operators: they look for doubt, ask the provider, and decide. They may be slow, late, and killed midway.

use sentinel_client::{Decided, Holding, Reconciled, Reconciler, Refused};
use sentinel_core::store::Shown;
use sentinel_core::{Clock as _, Key, Kind, Record, State};
use tokio::time::sleep;

use crate::world::{Actor, address};

impl Actor {
    /// Settles doubts until faults are over.
    pub(crate) async fn operate(self) {
        while !self.world.is_calm() {
            sleep(self.dice.up_to(4 * self.world.options.ttl)).await;
            self.process.pass().await;
            let state = if self.dice.percent(80) { Shown::Uncertain } else { Shown::Reconciling };
            let Ok(listing) = self.sentinel.list(Kind::Execution, Some(state), None, 10).await else {
                continue;
            };
            for (key, seen) in listing.records {
                self.process.pass().await;
                if self.dice.percent(70) {
                    self.settle(&key, &seen).await;
                }
            }
        }
        self.process.pass().await;
    }

    /// Takes a key in doubt, from another operator if need be, and decides by what the provider says.
    pub(crate) async fn settle(&self, key: &Key, seen: &Record) {
        let options = &self.world.options;
        // What was seen may be old by now.
        sleep(self.dice.up_to(options.ttl)).await;
        self.process.pass().await;
        let name = format!("operator {}", self.process.number);
        let seeking = self.sentinel.reconciler(key.as_str()).operator(name).expect(seen.token);
        let seeking = if seen.state == State::Reconciling { seeking.steal() } else { seeking };
        let Ok(Reconciled::Taken(held)) = seeking.reconcile().await else { return };
        sleep(self.dice.up_to(options.ttl)).await;
        self.process.pass().await;
        self.decide(key, seen, &held).await;
    }

    async fn decide(&self, key: &Key, seen: &Record, held: &Reconciler<Holding>) {
        let under = seen.idempotency_key(&address(Kind::Execution, key.as_str()));
        for _ in 0..100 {
            self.process.pass().await;
            if let Some(effect) = self.world.truth.effect_under(&under) {
                // Told before it is asked for: the answer may be lost, and others replay it by then.
                self.world.truth.told().decided.push((key.clone(), effect.value.clone()));
                drop(held.force_complete(&effect.value).await);
                return;
            }
            match held.reset_to_claimed().await {
                Ok(Decided::Refused(Refused::EffectsMayLand { until: at })) => {
                    sleep(at.since(self.world.clock.now()).max(self.world.options.ttl / 10)).await;
                }
                _ => return,
            }
        }
    }
}
