//! What the tests of faults send to a store, and what they remember of its replies.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::{
    Address, Applied, ClaimId, CoordinationStore as _, ErrorKind, Grant, Key, Kind, Label, Namespace, OpId,
    Payload, Recorded, State, StoreError, Terms, Token,
};
use sentinel_redis::RedisStore;

const TTL: Duration = Duration::from_secs(600);

/// So soon the store gives up, where a test is about that.
pub(crate) const SOON: Duration = Duration::from_secs(2);

/// Whether it does: a test never waits as long as that.
pub(crate) const AT_LAST: Duration = Duration::from_secs(60);

pub(crate) fn execution(key: &str) -> Address {
    Address::execution(Namespace::new("tests").unwrap(), Key::new(key).unwrap())
}

pub(crate) fn lease(key: &str) -> Address {
    Address { kind: Kind::Lease, ..execution(key) }
}

pub(crate) fn label(text: &str) -> Label {
    Label::new(text).unwrap()
}

pub(crate) fn call(phase: Phase) -> Claim {
    Claim {
        claim_id: ClaimId::random(),
        terms: Terms::new(TTL, TTL * 6).unwrap(),
        retention: None,
        fingerprint: None,
        worker: label("worker"),
        phase,
        accepts: sentinel_core::Accepts::any(),
    }
}

pub(crate) fn complete(grant: Grant, text: &str) -> Complete {
    Complete { grant, result: result(text) }
}

pub(crate) fn result(text: &str) -> Recorded {
    Recorded::success(Payload::new("text/plain", text.to_owned()))
}

pub(crate) fn abandon(grant: Grant) -> Abandon {
    Abandon { grant, cause: label("it broke"), late_effects: std::time::Duration::ZERO }
}

pub(crate) fn reconcile(seen: Token) -> Reconcile {
    let (op_id, operator) = (OpId::random(), label("ada"));
    Reconcile { op_id, operator, reason: None, expect: seen, even_if_alive: false, steal: false }
}

pub(crate) fn force(token: Token, text: &str) -> ForceComplete {
    ForceComplete {
        op_id: OpId::random(),
        token,
        operator: label("ada"),
        reason: None,
        result: result(text),
        as_is: false,
    }
}

/// The grant that a reply holds.
#[track_caller]
pub(crate) fn granted(claim: &Claim, reply: &ClaimReply) -> Grant {
    match reply {
        ClaimReply::Granted(granted) => Grant { token: granted.token, claim_id: claim.claim_id },
        other => panic!("not granted: {other:?}"),
    }
}

/// Claims an address that is free.
pub(crate) async fn hold(store: &RedisStore, address: &Address, phase: Phase) -> Grant {
    let claim = call(phase);
    granted(&claim, &store.claim(address, &claim).await.unwrap().reply)
}

#[track_caller]
pub(crate) fn is_ambiguous<T: std::fmt::Debug>(reply: Result<T, StoreError>) {
    let error = reply.expect_err("there is no answer");
    assert_eq!((error.applied(), error.kind()), (Applied::Ambiguous, ErrorKind::LostReply), "{error}");
}

#[track_caller]
pub(crate) fn is_not_applied<T: std::fmt::Debug>(reply: Result<T, StoreError>, error_kind: ErrorKind) {
    let error = reply.expect_err("there is no answer");
    assert_eq!((error.applied(), error.kind()), (Applied::No, error_kind), "{error}");
}

/// Opens the store as a new process would, and checks that it is refused with this error.
pub(crate) async fn new_client_is_refused_with(url: &str, error_kind: ErrorKind) {
    is_not_applied(RedisStore::connect(url).await, error_kind);
}

/// Advances the clock without waiting, so that the deployment is checked again.
pub(crate) async fn a_while_later() {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(6)).await;
    tokio::time::resume();
}

/// What was acknowledged about one key.
#[derive(Debug, Clone)]
pub(crate) struct Acknowledged {
    pub(crate) address: Address,
    pub(crate) begun: Grant,
    reconciling: Option<Token>,
    completed: Option<String>,
}

impl Acknowledged {
    /// The newest token that was granted to any caller.
    pub(crate) fn token(&self) -> Token {
        self.reconciling.unwrap_or(self.begun.token)
    }
}

/// Workers that begin, complete and decide one key after the other, and go on where the store does not answer.
pub(crate) struct Load {
    pub(crate) acknowledged: Arc<AtomicUsize>,
    log: Arc<Mutex<Vec<Acknowledged>>>,
    stop: Arc<AtomicBool>,
    workers: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    pub(crate) fn start(stores: &[RedisStore], name: &str) -> Self {
        let (acknowledged, log, stop) = <(Arc<AtomicUsize>, Arc<Mutex<Vec<_>>>, Arc<AtomicBool>)>::default();
        let workers = (0..8).map(|n| {
            let (store, name) = (stores[n % stores.len()].clone(), format!("{name}-{n}"));
            let (acknowledged, log, stop) = (acknowledged.clone(), log.clone(), stop.clone());
            tokio::spawn(async move {
                for round in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let done = one(&store, &format!("{name}-{round}"), round % 3, &log, &acknowledged).await;
                    if let Err(error) = done {
                        assert!(error.is_worth_repeating(), "{error}");
                    }
                }
            })
        });
        let workers = workers.collect();
        Self { acknowledged, log, stop, workers }
    }

    pub(crate) fn count(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Stops them; one that is in progress still ends.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// What was acknowledged.
    pub(crate) async fn end(self) -> Vec<Acknowledged> {
        self.stop();
        for worker in self.workers {
            worker.await.unwrap();
        }
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

async fn one(
    store: &RedisStore,
    key: &str,
    what: u32,
    log: &Mutex<Vec<Acknowledged>>,
    acknowledged: &AtomicUsize,
) -> Result<(), StoreError> {
    let (address, claim) = (execution(key), call(Phase::Executing));
    let begun = granted(&claim, &store.claim(&address, &claim).await?.reply);
    let mut entry = Acknowledged { address: address.clone(), begun, reconciling: None, completed: None };
    let outcome = async {
        acknowledged.fetch_add(1, Ordering::SeqCst);
        if what == 0 {
            store.complete(&address, &complete(begun, key)).await?;
            entry.completed = Some(key.to_owned());
        } else if what == 1 {
            store.abandon(&address, &abandon(begun)).await?;
            let token = store.reconcile(&address, &reconcile(begun.token)).await?.stamp.token;
            entry.reconciling = Some(token);
            acknowledged.fetch_add(1, Ordering::SeqCst);
            store.force_complete(&address, &force(token, key)).await?;
            entry.completed = Some(key.to_owned());
        }
        acknowledged.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    .await;
    log.lock().unwrap().push(entry);
    outcome
}

/// The store still knows all that it acknowledged.
pub(crate) async fn is_kept(store: &RedisStore, entry: &Acknowledged) {
    let record = store.inspect(&entry.address).await.unwrap().record;
    let record = record.unwrap_or_else(|| panic!("forgotten: {entry:?}"));
    if let Some(text) = &entry.completed {
        let reply = (record.state, record.result.as_ref());
        assert_eq!(reply, (State::Completed, Some(&result(text))), "{entry:?}");
    } else if let Some(token) = entry.reconciling {
        assert!(matches!(record.state, State::Reconciling | State::Completed), "{entry:?}: {record:?}");
        assert_eq!(record.token, token, "{entry:?}");
    } else {
        let later = matches!(record.state, State::Reconciling | State::Completed);
        assert!(later || record.state == State::Executing, "{entry:?}: {record:?}");
        assert!(later || record.token == entry.begun.token, "{entry:?}: {record:?}");
    }
}
