//! Finds the PostgreSQL store of a client.

use std::any::Any;
use std::sync::Arc;

use sentinel_client::ReplayCache;
use sentinel_core::{CoordinationStore, ErrorKind, StoreError};
use sentinel_postgres::PostgresStore;

use crate::store::Store;

/// The PostgreSQL store that a client was built on; any other store is an error.
pub(super) fn store_of(store: &dyn CoordinationStore) -> Result<&PostgresStore, StoreError> {
    find(store).ok_or_else(|| another(store))
}

/// Looks through what changes no answer: `Arc`s, and a cache, which only repeats what the store has answered before. A
/// layer may change requests and answers, so a store behind one is not found.
fn find(store: &dyn CoordinationStore) -> Option<&PostgresStore> {
    let any: &dyn Any = store;
    let shared = || any.downcast_ref::<Arc<PostgresStore>>().map(|store| &**store);
    let chosen_at_run_time =
        || any.downcast_ref::<Arc<dyn CoordinationStore>>().and_then(|store| find(&**store));
    let connected = || any.downcast_ref::<Arc<dyn Store>>().and_then(|store| find(&**store));
    let inner = || cached::<PostgresStore>(any).or_else(|| cached::<Arc<PostgresStore>>(any));
    let inner = || inner().or_else(|| cached::<Arc<dyn CoordinationStore>>(any));
    let inner = || inner().or_else(|| cached::<Arc<dyn Store>>(any));
    let direct = any.downcast_ref().or_else(shared).or_else(chosen_at_run_time).or_else(connected);
    direct.or_else(|| inner().and_then(find))
}

fn cached<S: CoordinationStore>(any: &dyn Any) -> Option<&dyn CoordinationStore> {
    any.downcast_ref::<ReplayCache<S>>().map(|cache| cache.inner() as &dyn CoordinationStore)
}

fn another(store: &dyn CoordinationStore) -> StoreError {
    let detail = match store.describe().backend {
        "postgres" => {
            "this client's store wraps a PostgreSQL store in a layer, which a transaction of yours would bypass; if \
             that is right, call the method of the PostgresStore itself"
                .to_owned()
        }
        backend => format!(
            "a transaction of PostgreSQL needs a client of a PostgresStore; this client's store is {backend}"
        ),
    };
    StoreError::not_applied(ErrorKind::InvalidRequest, detail)
}
