//! How many connections a store opens, and what goes on while work of several kinds shares one.

use std::time::Duration;

use sentinel_client::{Outcome, Sentinel, Waited};
use sentinel_core::operation::*;
use sentinel_core::store::CoordinationStore as _;
use sentinel_core::{ErrorKind, Kind};
use sentinel_postgres::PostgresStore;
use sentinel_store_tests::fixtures::{abandon, fused};
use tokio::task::JoinSet;

use crate::harness::Fixture;

const MINUTE: Duration = Duration::from_secs(60);

/// Claims and results, replays, begins, releases, reads, heartbeats and waiting, many at a time.
async fn everything(fixture: &Fixture) {
    let sentinel = Sentinel::new(fixture.store.clone()).namespace(&fixture.namespace).unwrap();
    let (end, ended) = tokio::sync::watch::channel(false);
    let mut callers = JoinSet::new();
    for n in 0..200 {
        let (sentinel, mut ended) = (sentinel.clone(), ended.clone());
        callers.spawn(async move {
            let key = format!("k{}", n % 100);
            match n {
                // Runs that last, and callers that wait for them.
                0..20 => {
                    let once = sentinel.once::<String>(&key).ttl(MINUTE).prepare(|_| async { Ok(()) });
                    let run = once.run(|_, ()| async move {
                        ended.wait_for(|ended| *ended).await.map_err(|error| error.to_string())?;
                        Ok(7)
                    });
                    assert!(matches!(run.await.unwrap(), Outcome::Completed(7)));
                }
                100..120 => {
                    let ended = async {
                        // It may come before its run does.
                        while sentinel.wait(&key).at_most(MINUTE).await.unwrap() == Waited::Absent {
                            tokio::time::sleep(Duration::from_millis(10)).await;
                        }
                    };
                    tokio::time::timeout(MINUTE, ended).await.expect("its run ends in a minute");
                    let waited = sentinel.wait(&key).await.unwrap();
                    assert!(matches!(waited, Waited::Completed(_)), "{waited:?}");
                }
                20..60 | 120..160 => {
                    let once = sentinel.once::<String>(&key).wait(MINUTE);
                    let outcome = once.run(|_| async { Ok(7) }).await.unwrap();
                    assert!(matches!(outcome, Outcome::Completed(7) | Outcome::Replayed(7)), "{outcome:?}");
                }
                _ => {
                    let lease = sentinel.lease(&key).ttl(MINUTE).wait(MINUTE).acquire().await.unwrap();
                    let sentinel_client::LeaseOutcome::Held(lease) = lease else { panic!("{lease:?}") };
                    assert!(sentinel.inspect(Kind::Lease, &key).await.unwrap().record.is_some());
                    lease.release().await.unwrap();
                }
            }
        });
    }
    let begun = async {
        while sentinel.list(Kind::Execution, None, None, 1_000).await.unwrap().records.len() < 60 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(MINUTE, begun).await.expect("all keys have a record in a minute");
    end.send(true).unwrap();
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_connections_are_opened_than_are_set() {
    for connections in [3, 5, 13] {
        let schema = format!("connections_{connections}");
        let fixture = Fixture::open(&schema, |builder| builder.connections(connections)).await;
        let mut stranger = fixture.stranger().await;
        let open = fixture.connections("true");
        everything(&fixture).await;
        let after = stranger.number(&open).await;
        assert!((2..=connections as i64).contains(&after), "{after} connections of {connections}");
    }
}

/// A statement that waits for a lock holds up what shares its connection, and no heartbeat.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_for_a_lock_delays_no_heartbeat() {
    let open = |builder: sentinel_postgres::PostgresStoreBuilder| {
        builder.connections(3).lock_timeout(MINUTE).deadline(MINUTE)
    };
    let fixture = Fixture::open("connections_locked", open).await;
    let [alive, locked, other] = ["alive", "locked", "other"].map(|key| fixture.execution(key));
    let alive_grant = fixture.granted(&alive, &fused()).await;
    let locked_grant = fixture.granted(&locked, &fused()).await;
    let mut holder = fixture.hold(&locked, None).await;
    let store = fixture.store.clone();
    let waits = tokio::spawn(async move { store.abandon(&locked, &abandon(locked_grant)).await });
    fixture.waits(&mut holder, 1).await;
    let (store, claimed) = (fixture.store.clone(), other.clone());
    let delayed = tokio::spawn(async move { store.claim(&claimed, &fused()).await });
    let beat = Beat { address: alive, grant: alive_grant };
    for _ in 0..3 {
        let replies = fixture.store.heartbeat(std::slice::from_ref(&beat)).await.unwrap();
        assert!(matches!(replies[0].reply, HeartbeatReply::Kept { .. }), "{replies:?}");
    }
    assert!(!waits.is_finished() && !delayed.is_finished());
    holder.run("COMMIT").await;
    assert_eq!(waits.await.unwrap().unwrap().reply, AbandonReply::Abandoned);
    assert!(matches!(delayed.await.unwrap().unwrap().reply, ClaimReply::Granted(_)));
}

#[tokio::test]
async fn a_number_out_of_range_is_refused_before_a_connection_is_made() {
    for url in ["postgres://h/db?sentinel_connections=2", "postgres://h/db?sentinel_connections=101"] {
        let refused = PostgresStore::connect(url).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidRequest);
        assert!(refused.to_string().contains("3 to 100"), "{refused}");
    }
}
