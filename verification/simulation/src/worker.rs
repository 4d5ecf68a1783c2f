//! Workers: callers of `once` and `lease`, and the functions that they run.

use std::fmt;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sentinel_client::{LeaseOutcome, Run};
use tokio::time::{sleep, timeout};

use sentinel_conformance::{CallOutcome, Effect, Start};

use crate::world::{Actor, execution, key, lease};

/// How a function ended that did not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FunctionError {
    /// Nothing happened, and the function knows it.
    Nothing,
    /// It failed for good.
    Final,
    /// It does not know.
    Unknown,
}

impl fmt::Display for FunctionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// What a function does, and how long it takes for each part.
#[derive(Debug, Clone, Copy)]
struct Act {
    first: Duration,
    effect: bool,
    then: Duration,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Success,
    Fails(FunctionError),
    Panics,
}

impl Actor {
    /// Calls `once` and `lease` until faults are over.
    pub(crate) async fn work(self) {
        while !self.world.faults_are_over() {
            sleep(self.rng.up_to(self.world.options.ttl)).await;
            self.process.wait_until_running().await;
            let leases = self.world.options.leases;
            match leases > 0 && self.rng.percent(25) {
                true => self.hold(self.rng.within(0, leases - 1)).await,
                false => drop(self.call(self.rng.within(0, self.world.options.keys - 1)).await),
            }
        }
        self.process.wait_until_running().await;
    }

    /// One call of `once`; what it was answered, if the caller waited for it.
    pub(crate) async fn call(&self, n: u64) -> Option<CallOutcome> {
        let options = &self.world.options;
        let (name, call) = (execution(n), self.world.truth.next_call());
        let once = self.sentinel.once::<FunctionError>(&name).ttl(options.ttl).hard_ttl(options.hard_ttl);
        let once = once.late_effects(options.ttl);
        let once = once.nothing_happened_if(|error| *error == FunctionError::Nothing);
        let once = once.failed_for_good_if(|error| *error == FunctionError::Final);
        let once = match options.retention {
            Some(retention) => once.retention(retention),
            None => once,
        };
        let once = match self.rng.percent(50) {
            true => once.wait(self.rng.up_to(3 * options.hard_ttl)),
            false => once,
        };
        let function = self.function(call, &name);
        let calling: BoxFuture<'static, _> = match self.rng.percent(30) {
            true => {
                let (process, long) = (self.process.clone(), self.rng.up_to(2 * options.ttl));
                let end = self.end();
                let prepare = move |_: Run| async move {
                    sleep(long).await;
                    process.wait_until_running().await;
                    ended(end, ())
                };
                once.prepare(prepare).run(move |run, ()| function(run)).boxed()
            }
            false => once.run(function).boxed(),
        };
        let outcome = match !self.world.faults_are_over() && self.rng.percent(options.faults.caller_gone) {
            true => timeout(self.rng.up_to(2 * options.ttl), calling).await.ok()?,
            false => calling.await,
        };
        self.process.wait_until_running().await;
        let answer = CallOutcome::of(call, key(&name), &outcome);
        self.world.truth.log().outcomes.push(answer.clone());
        Some(answer)
    }

    /// The function of a call: it stops and dies with its process.
    fn function(
        &self,
        call: u64,
        name: &str,
    ) -> impl FnOnce(Run) -> BoxFuture<'static, Result<String, FunctionError>> + use<> {
        let (world, process, act) = (self.world.clone(), self.process.clone(), self.act());
        let (key, value) = (key(name), format!("{name} by call {call}"));
        move |run| {
            async move {
                process.wait_until_running().await;
                world.truth.log().starts.push(Start {
                    call,
                    key: key.clone(),
                    grant: run.grant(),
                    late: run.remaining().is_zero(),
                });
                sleep(act.first).await;
                process.wait_until_running().await;
                if act.effect {
                    let (under, grant) = (run.idempotency_key(), run.grant());
                    let effect = Effect { key: key.clone(), under, grant, value: value.clone() };
                    world.truth.log().effects.push(effect);
                }
                sleep(act.then).await;
                process.wait_until_running().await;
                if act.end == End::Fails(FunctionError::Final) {
                    world.truth.log().failures.push((key, FunctionError::Final.to_string()));
                }
                ended(act.end, value)
            }
            .boxed()
        }
    }

    /// A function reports truly: one that vouches that nothing happened made no effect, and one that succeeds made one.
    fn act(&self) -> Act {
        let end = self.end();
        let effect = match end {
            End::Success => true,
            End::Fails(FunctionError::Nothing | FunctionError::Final) => false,
            End::Fails(FunctionError::Unknown) | End::Panics => self.rng.percent(50),
        };
        let long = self.world.options.hard_ttl;
        Act { first: self.rng.up_to(long), effect, then: self.rng.up_to(long), end }
    }

    fn end(&self) -> End {
        if self.world.faults_are_over() {
            return End::Success;
        }
        match self.rng.within(0, 99) {
            0..60 => End::Success,
            60..70 => End::Fails(FunctionError::Nothing),
            70..80 => End::Fails(FunctionError::Final),
            80..90 => End::Fails(FunctionError::Unknown),
            _ => End::Panics,
        }
    }

    /// Takes a lease, holds it for a while, and gives it back or drops it.
    pub(crate) async fn hold(&self, n: u64) {
        let options = &self.world.options;
        let asked = self.sentinel.lease(lease(n)).ttl(options.ttl).hard_ttl(options.hard_ttl);
        let Ok(LeaseOutcome::Held(held)) = asked.wait(self.rng.up_to(options.hard_ttl)).acquire().await
        else {
            return;
        };
        let long = self.rng.up_to(options.hard_ttl);
        drop(timeout(long, held.cancelled().cancelled()).await);
        self.process.wait_until_running().await;
        match self.rng.percent(70) {
            true => drop(held.release().await),
            false => drop(held),
        }
    }
}

fn ended<T>(end: End, value: T) -> Result<T, FunctionError> {
    match end {
        End::Success => Ok(value),
        End::Fails(error) => Err(error),
        // Without the hook, which would write to the terminal.
        End::Panics => std::panic::resume_unwind(Box::new("a function panicked")),
    }
}
