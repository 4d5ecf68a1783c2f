//! What tests do with a server and with every statement of a store.

use sentinel_core::operation::*;
use sentinel_core::store::{List, Purge};
use sentinel_core::*;
use sentinel_postgres::PostgresStore;
use sentinel_store_tests::fixtures::*;
use sentinel_testbed::{Postgres, until};

/// How often a server has come up.
pub(crate) fn starts(server: &Postgres) -> usize {
    server.log().matches("ready to accept connections").count()
}

/// `kill -9` of a backend; returns when the server has recovered from it.
pub(crate) fn crash(server: &Postgres, backend: u32) {
    let before = starts(server);
    server.kill_backend(backend);
    until("it has recovered", || starts(server) > before);
}

/// One use of each statement.
pub(crate) async fn use_every_statement(store: &PostgresStore) {
    let (done, decided, freed) = (execution("done"), execution("decided"), execution("freed"));
    let grant = hold(store, &done, Phase::Claimed).await;
    store.begin(&done, &Begin { grant }).await.unwrap();
    store.heartbeat(&[Beat { address: done.clone(), grant }]).await.unwrap();
    store.complete(&done, &complete(grant, "done")).await.unwrap();
    assert!(matches!(store.claim(&done, &call()).await.unwrap().reply, ClaimReply::Completed { .. }));
    let grant = hold(store, &decided, Phase::Executing).await;
    store.abandon(&decided, &abandon(grant)).await.unwrap();
    let taken = store.reconcile(&decided, &reconcile(grant.token)).await.unwrap();
    store.force_complete(&decided, &force(taken.stamp.token, "decided")).await.unwrap();
    let grant = hold(store, &freed, Phase::Executing).await;
    store.release(&freed, &Release { grant, vouched: true }).await.unwrap();
    let grant = hold(store, &freed, Phase::Executing).await;
    store.abandon(&freed, &abandon(grant)).await.unwrap();
    let taken = store.reconcile(&freed, &reconcile(grant.token)).await.unwrap();
    let reset = ResetToClaimed {
        op_id: OpId::random(),
        token: taken.stamp.token,
        operator: label("ada"),
        reason: None,
        accept_overlap: true,
    };
    store.reset_to_claimed(&freed, &reset).await.unwrap();
    let seen = hold(store, &lease("held"), Phase::Claimed).await.token;
    let evict = Evict { op_id: OpId::random(), operator: label("ada"), reason: None, expect: seen };
    store.evict(&lease("held"), &evict).await.unwrap();
    for cancelled in [execution("freed"), execution("unheard of")] {
        store.cancel(&cancelled, &Cancel { claim_id: ClaimId::random() }).await.unwrap();
    }
    let namespace = done.namespace.clone();
    for dry_run in [true, false] {
        store.purge(&Purge { namespace: namespace.clone(), limit: 10, dry_run }).await.unwrap();
    }
    let list = List { namespace, kind: Kind::Execution, state: None, after: None, limit: 10 };
    assert!(!store.list(&list).await.unwrap().records.is_empty());
    assert!(!store.history(&done, 10).await.unwrap().is_empty());
    assert!(store.inspect(&done).await.unwrap().record.is_some());
}
