//! The connection from a process to the store of its world.

use std::sync::Arc;

use async_trait::async_trait;

use super::fault::{Fault, FaultPoint};
use super::world::{Late, World};
use crate::kernel::{Op, Reply};
use crate::record::{Address, Event, Kind, State};
use crate::store::operation::{Beat, BeginReply, ClaimReply, Granted, HeartbeatReply, Stamped};
use crate::store::{
    CoordinationStore, ErrorKind, Inspection, Layer, List, Listing, Purge, Purged, StoreError,
};

/// Passes requests on while their process lives, and injects the planned faults.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) store: Arc<dyn CoordinationStore>,
    pub(super) world: Arc<World>,
    pub(super) process: u32,
}

impl Gate {
    async fn through<T>(
        &self,
        what: &'static str,
        request: impl Future<Output = Result<T, StoreError>>,
        describe: impl Fn(&Result<T, StoreError>) -> String,
    ) -> Result<(T, bool), StoreError> {
        self.alive().await;
        let fault = self.world.reach(FaultPoint::Store(what)).await;
        let what = what.replace('_', " ");
        match fault {
            Some(Fault::CrashBefore) => return self.world.crash(&format!("before the {what} is sent")).await,
            Some(Fault::LoseRequest) => {
                self.world.record(format!("sends a {what}, which is lost"));
                return Err(StoreError::ambiguous(ErrorKind::LostReply, "the request was lost"));
            }
            _ => {}
        }
        let answer = request.await;
        self.world.record(describe(&answer));
        match fault {
            Some(Fault::CrashAfter) => self.world.crash("before the reply arrives").await,
            Some(Fault::LoseReply) => {
                self.world.record("its reply is lost");
                Err(StoreError::ambiguous(ErrorKind::LostReply, "the reply was lost"))
            }
            _ => answer.map(|answer| (answer, fault == Some(Fault::LateCopy))),
        }
    }

    /// Never returns if the process is dead, so that it does nothing more.
    async fn alive(&self) {
        if !self.world.lives(self.process) {
            std::future::pending().await
        }
    }
}

/// Whether a process that sends this operation has no function running under the address any more.
fn ends_a_run(op: &Op) -> bool {
    matches!(op, Op::Complete(_) | Op::Release(_) | Op::Abandon(_) | Op::Cancel(_))
}

/// The grant under which a function may start now.
fn begun(reply: &Reply) -> Option<&Granted> {
    match reply {
        Reply::Claim(ClaimReply::Granted(granted)) if granted.state == State::Executing => Some(granted),
        Reply::Begin(BeginReply::Begun(granted)) => Some(granted),
        _ => None,
    }
}

/// A line for the trace: what a request was about, and its reply in one word.
fn describe(op: &Op, address: &Address, answer: &Result<Stamped<Reply>, StoreError>) -> String {
    let what = op.name().replace('_', " ");
    let of = match address.kind {
        Kind::Execution => format!("{:?}", address.key.as_str()),
        Kind::Lease => format!("the lease {:?}", address.key.as_str()),
    };
    match answer {
        Ok(stamped) => {
            // The name of the reply's variant, which is inside the name of its operation.
            let reply = format!("{:?}", stamped.reply);
            let word = reply.split(['(', ')', ' ']).nth(1).unwrap_or_default();
            format!("{what} of {of}: {word}; it is {}", stamped.stamp.state)
        }
        Err(error) => format!("{what} of {of}: {error}"),
    }
}

#[async_trait]
impl Layer for Gate {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.store
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        self.world.sees(address);
        let request = op.send(&*self.store, address);
        if ends_a_run(&op) {
            self.world.run_ended(address);
        }
        let (stamped, late) =
            self.through(op.name(), request, |answer| describe(&op, address, answer)).await?;
        if let Some(granted) = begun(&stamped.reply) {
            self.world.runs_until(address, granted.hard_until);
        }
        if late {
            self.world.record("a copy of it arrives later");
            self.world.state().late.push(Late { address: address.clone(), op });
        }
        Ok(stamped)
    }

    async fn on_heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        let request = self.store.heartbeat(beats);
        let describe = |_: &_| format!("heartbeat of {}", beats.len());
        Ok(self.through("heartbeat", request, describe).await?.0)
    }

    async fn on_purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        self.alive().await;
        self.store.purge(purge).await
    }

    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        self.alive().await;
        self.store.inspect(address).await
    }

    async fn on_list(&self, list: &List) -> Result<Listing, StoreError> {
        self.alive().await;
        self.store.list(list).await
    }

    async fn on_history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.alive().await;
        self.store.history(address, limit).await
    }
}
