//! The network of one process: what it sends takes time, and may be lost, repeated, late or refused.

use std::fmt::Debug;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use sentinel_conformance::Layer;
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::{Inspection, List, Listing};
use sentinel_core::{Address, CoordinationStore, ErrorKind, StoreError};
use tokio::time::sleep;

use crate::options::Faults;
use crate::process::Process;
use crate::rng::Rng;

/// How long a request or a reply takes at most, without faults.
const LATENCY: Duration = Duration::from_millis(4);

/// How long a store waits for a reply.
const DEADLINE: Duration = Duration::from_secs(5);

/// What goes wrong with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// The connection breaks before it arrives, or before the reply comes: known at once.
    RequestLost,
    ReplyLost,
    /// The same, without an error.
    RequestSwallowed,
    ReplySwallowed,
    /// The connection breaks; what was sent arrives later.
    Late,
    /// It arrives twice.
    Repeated,
    /// It is refused before it is sent.
    Refused,
}

#[derive(Debug)]
pub(crate) struct Network {
    below: Arc<dyn CoordinationStore>,
    process: Process,
    rng: Rng,
    faults: Faults,
    /// The longest that something is late.
    latest: Duration,
    /// Whether faults are over.
    faults_over: Arc<AtomicBool>,
}

/// A request that can be sent more than once.
trait Request<T>: Fn() -> Self::Sent + Send + Sync + 'static {
    type Sent: Future<Output = Result<T, StoreError>> + Send + 'static;
}

impl<T, F, S> Request<T> for F
where
    F: Fn() -> S + Send + Sync + 'static,
    S: Future<Output = Result<T, StoreError>> + Send + 'static,
{
    type Sent = S;
}

impl Network {
    pub(crate) fn new(
        below: Arc<dyn CoordinationStore>,
        process: Process,
        rng: Rng,
        (faults, latest): (Faults, Duration),
        faults_over: Arc<AtomicBool>,
    ) -> Self {
        Self { below, process, rng, faults, latest, faults_over }
    }

    fn fault(&self) -> Option<Fault> {
        if self.faults_over.load(Ordering::Relaxed) {
            return None;
        }
        let Faults {
            request_lost,
            reply_lost,
            request_swallowed,
            reply_swallowed,
            late,
            repeated,
            refused,
            ..
        } = self.faults;
        let kinds = [
            (Fault::RequestLost, request_lost),
            (Fault::ReplyLost, reply_lost),
            (Fault::RequestSwallowed, request_swallowed),
            (Fault::ReplySwallowed, reply_swallowed),
            (Fault::Late, late),
            (Fault::Repeated, repeated),
            (Fault::Refused, refused),
        ];
        kinds.into_iter().find(|(_, percent)| self.rng.percent(*percent)).map(|(fault, _)| fault)
    }

    /// How long one direction takes.
    fn latency(&self) -> Duration {
        let starved = !self.faults_over.load(Ordering::Relaxed) && self.rng.percent(self.faults.starved);
        self.rng.up_to(if starved { self.latest } else { LATENCY })
    }

    /// Sends a request: what is on its way arrives, also if its sender ends.
    async fn exchange<T: Send + 'static>(
        &self,
        changes: bool,
        request: impl Request<T>,
    ) -> Result<T, StoreError> {
        self.process.wait_until_running().await;
        let (there, back) = (self.latency(), self.latency());
        let fault = self.fault();
        if fault == Some(Fault::Refused) {
            return Err(StoreError::not_applied(ErrorKind::Busy, "the network took nothing"));
        }
        let late = match fault {
            Some(Fault::Late | Fault::Repeated) => Some(self.rng.up_to(self.latest)),
            _ => None,
        };
        let arrives = !matches!(fault, Some(Fault::RequestLost | Fault::RequestSwallowed | Fault::Late));
        let wire = tokio::spawn(async move {
            if let Some(late) = late {
                let again = request();
                tokio::spawn(async move {
                    sleep(there + late).await;
                    drop(again.await);
                });
            }
            sleep(there).await;
            let answer = if arrives { Some(request().await) } else { None };
            sleep(back).await;
            answer
        });
        let answer = wire.await.unwrap_or(None);
        // A process that was paused or killed meanwhile does not get it now.
        self.process.wait_until_running().await;
        match (fault, answer) {
            (Some(Fault::RequestSwallowed | Fault::ReplySwallowed), _) => {
                // A store that hangs: for changes the client has a deadline of its own.
                if changes && self.rng.percent(50) {
                    return pending().await;
                }
                sleep(DEADLINE).await;
                Err(StoreError::ambiguous(ErrorKind::LostReply, "no reply came"))
            }
            (Some(Fault::ReplyLost), _) | (_, None) => {
                Err(StoreError::ambiguous(ErrorKind::LostReply, "the connection broke"))
            }
            (_, Some(answer)) => answer,
        }
    }
}

#[async_trait]
impl Layer for Network {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.below
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        let (below, address) = (self.below.clone(), address.clone());
        let request = move || {
            let (below, address, op) = (below.clone(), address.clone(), op.clone());
            async move { op.send(&*below, &address).await }
        };
        self.exchange(true, request).await
    }

    async fn on_heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        let (below, beats) = (self.below.clone(), beats.to_vec());
        let request = move || {
            let (below, beats) = (below.clone(), beats.clone());
            async move { below.heartbeat(&beats).await }
        };
        self.exchange(true, request).await
    }

    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        let (below, address) = (self.below.clone(), address.clone());
        let request = move || {
            let (below, address) = (below.clone(), address.clone());
            async move { below.inspect(&address).await }
        };
        self.exchange(false, request).await
    }

    async fn on_list(&self, list: &List) -> Result<Listing, StoreError> {
        let (below, list) = (self.below.clone(), list.clone());
        let request = move || {
            let (below, list) = (below.clone(), list.clone());
            async move { below.list(&list).await }
        };
        self.exchange(false, request).await
    }
}
