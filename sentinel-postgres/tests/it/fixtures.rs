//! Requests that tests send to a store, and what they read on its server.

use std::time::Duration;

use sentinel_core::operation::*;
use sentinel_core::store::{List, Purge};
use sentinel_core::*;
use sentinel_postgres::PostgresStore;
use sentinel_testbed::{Postgres, until};

const TTL: Duration = Duration::from_secs(600);

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

pub(crate) fn result(text: &str) -> Recorded {
    Recorded::success(Payload::new("text/plain", text.to_owned()))
}

pub(crate) fn complete(grant: Grant, text: &str) -> Complete {
    Complete { grant, result: result(text) }
}

pub(crate) fn reconcile(seen: Token) -> Reconcile {
    Reconcile {
        op_id: OpId::random(),
        operator: label("ada"),
        reason: None,
        expect: seen,
        even_if_alive: false,
        steal: false,
    }
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

/// Claims an address that nobody holds.
pub(crate) async fn hold(store: &PostgresStore, address: &Address, phase: Phase) -> Grant {
    let claim = call(phase);
    granted(&claim, &store.claim(address, &claim).await.unwrap().reply)
}

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
    assert!(matches!(
        store.claim(&done, &call(Phase::Claimed)).await.unwrap().reply,
        ClaimReply::Completed { .. }
    ));
    let grant = hold(store, &decided, Phase::Executing).await;
    store
        .abandon(
            &decided,
            &Abandon { grant, cause: label("it broke"), late_effects: std::time::Duration::ZERO },
        )
        .await
        .unwrap();
    let taken = store.reconcile(&decided, &reconcile(grant.token)).await.unwrap();
    store.force_complete(&decided, &force(taken.stamp.token, "decided")).await.unwrap();
    let grant = hold(store, &freed, Phase::Executing).await;
    store.release(&freed, &Release { grant, vouched: true }).await.unwrap();
    let grant = hold(store, &freed, Phase::Executing).await;
    store
        .abandon(
            &freed,
            &Abandon { grant, cause: label("it broke"), late_effects: std::time::Duration::ZERO },
        )
        .await
        .unwrap();
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
