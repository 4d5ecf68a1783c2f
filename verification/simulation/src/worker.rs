//! Workers: callers of `once` and `lease`, and the functions that they run.

use std::fmt;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sentinel_client::{LeaseOutcome, Run};
use tokio::time::{sleep, timeout};

use sentinel_conformance::{Answer, Effect, Start};

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
    /// Asks for work, again and again, until faults are over.
    pub(crate) async fn work(self) {
        while !self.world.is_calm() {
            sleep(self.dice.up_to(self.world.options.ttl)).await;
            self.process.pass().await;
            let leases = self.world.options.leases;
            match leases > 0 && self.dice.percent(25) {
                true => self.hold(self.dice.within(0, leases - 1)).await,
                false => drop(self.call(self.dice.within(0, self.world.options.keys - 1)).await),
            }
        }
        self.process.pass().await;
    }

    /// One call of `once`; what it was answered, if the caller waited for it.
    pub(crate) async fn call(&self, n: u64) -> Option<Answer> {
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
        let once = match self.dice.percent(50) {
            true => once.wait(self.dice.up_to(3 * options.hard_ttl)),
            false => once,
        };
        let function = self.function(call, &name);
        let calling: BoxFuture<'static, _> = match self.dice.percent(30) {
            true => {
                let (process, long) = (self.process.clone(), self.dice.up_to(2 * options.ttl));
                let end = self.end();
                let prepare = move |_: Run| async move {
                    sleep(long).await;
                    process.pass().await;
                    ended(end, ())
                };
                once.prepare(prepare).run(move |run, ()| function(run)).boxed()
            }
            false => once.run(function).boxed(),
        };
        let outcome = match !self.world.is_calm() && self.dice.percent(options.faults.caller_gone) {
            true => timeout(self.dice.up_to(2 * options.ttl), calling).await.ok()?,
            false => calling.await,
        };
        self.process.pass().await;
        let answer = Answer::of(call, key(&name), &outcome);
        self.world.truth.told().answers.push(answer.clone());
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
                process.pass().await;
                world.truth.told().starts.push(Start {
                    call,
                    key: key.clone(),
                    grant: run.grant(),
                    late: run.remaining().is_zero(),
                });
                sleep(act.first).await;
                process.pass().await;
                if act.effect {
                    let (under, grant) = (run.idempotency_key(), run.grant());
                    let effect = Effect { key: key.clone(), under, grant, value: value.clone() };
                    world.truth.told().effects.push(effect);
                }
                sleep(act.then).await;
                process.pass().await;
                if act.end == End::Fails(FunctionError::Final) {
                    world.truth.told().failures.push((key, FunctionError::Final.to_string()));
                }
                ended(act.end, value)
            }
            .boxed()
        }
    }

    /// A function tells the truth: who says that nothing happened made no effect, and who succeeds made one.
    fn act(&self) -> Act {
        let end = self.end();
        let effect = match end {
            End::Success => true,
            End::Fails(FunctionError::Nothing | FunctionError::Final) => false,
            End::Fails(FunctionError::Unknown) | End::Panics => self.dice.percent(50),
        };
        let long = self.world.options.hard_ttl;
        Act { first: self.dice.up_to(long), effect, then: self.dice.up_to(long), end }
    }

    fn end(&self) -> End {
        if self.world.is_calm() {
            return End::Success;
        }
        match self.dice.within(0, 99) {
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
        let Ok(LeaseOutcome::Held(held)) = asked.wait(self.dice.up_to(options.hard_ttl)).acquire().await
        else {
            return;
        };
        let long = self.dice.up_to(options.hard_ttl);
        drop(timeout(long, held.cancelled().cancelled()).await);
        self.process.pass().await;
        match self.dice.percent(70) {
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
