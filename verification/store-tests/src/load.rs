//! Workers that use a store while its server fails, and what the store acknowledged to them.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use sentinel_core::{Address, CoordinationStore, Grant, State, StoreError, Token};
use tokio::task::JoinHandle;

use crate::fixtures::{abandon, complete, execution, force, fused, granted, reconcile, result};

/// What was acknowledged about one key.
#[derive(Debug, Clone)]
pub struct Acknowledged {
    /// The key.
    pub address: Address,
    /// The grant of its run.
    pub begun: Grant,
    reconciling: Option<Token>,
    completed: Option<String>,
}

impl Acknowledged {
    /// The newest token that was granted to any caller.
    pub fn token(&self) -> Token {
        self.reconciling.unwrap_or(self.begun.token)
    }
}

/// Workers that begin, complete and decide one key after the other, and go on where the store does not answer.
#[derive(Debug)]
pub struct Load {
    acknowledged: Arc<AtomicUsize>,
    log: Arc<Mutex<Vec<Acknowledged>>>,
    stop: Arc<AtomicBool>,
    workers: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts eight workers, which take turns with the stores. Their keys begin with the name.
    pub fn start<S: CoordinationStore + Clone + 'static>(stores: &[S], name: &str) -> Self {
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

    /// How many changes were acknowledged until now.
    pub fn count(&self) -> usize {
        self.acknowledged.load(Ordering::SeqCst)
    }

    /// Stops the workers. A key that is in progress still ends.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    /// Stops the workers and returns what was acknowledged.
    pub async fn end(self) -> Vec<Acknowledged> {
        self.stop();
        for worker in self.workers {
            worker.await.unwrap();
        }
        std::mem::take(&mut *self.log.lock().unwrap())
    }
}

async fn one(
    store: &dyn CoordinationStore,
    key: &str,
    what: u32,
    log: &Mutex<Vec<Acknowledged>>,
    acknowledged: &AtomicUsize,
) -> Result<(), StoreError> {
    let (address, claim) = (execution(key), fused());
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

/// Checks that the store still has what it acknowledged.
///
/// # Panics
/// If it has not.
pub async fn is_kept(store: &dyn CoordinationStore, entry: &Acknowledged) {
    let record = store.inspect(&entry.address).await.unwrap().record;
    let record = record.unwrap_or_else(|| panic!("lost: {entry:?}"));
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
