//! H15: handlers whose transaction holds effect and record.

use sentinel::postgres::commit;
use sentinel::prelude::*;
use sentinel_http::NothingHappened;
use sqlx::{Connection as _, PgConnection};

use crate::harness::{Bed, Front, Got, Handler, StoreKind, text};

/// How a handler ends its transaction.
const ENDS: [&str; 5] = ["commit", "rollback", "vanish", "failed", "402"];

async fn handler(url: String, table: &'static str) -> Handler {
    Handler::new(move |request: http::Request<bytes::Bytes>, call| {
        let url = url.clone();
        async move {
            let run = request.extensions().get::<Run>().unwrap().clone();
            let end = String::from_utf8_lossy(request.body()).into_owned();
            let mut connection = PgConnection::connect(&url).await.unwrap();
            let mut transaction = connection.begin().await.unwrap();
            let insert = format!("insert into {table} values ('{}')", run.key());
            sqlx::query(sqlx::AssertSqlSafe(insert)).execute(&mut *transaction).await.unwrap();
            let status = end.parse().unwrap_or(201);
            let response = text(status, format!("call {call}"));
            let response = run.record_in(&mut transaction, response).await.unwrap();
            match end.as_str() {
                "rollback" => {
                    transaction.rollback().await.unwrap();
                    response
                }
                "vanish" => panic!("on purpose, before the commit"),
                "failed" => {
                    // The server answers this transaction's COMMIT with ROLLBACK.
                    let _ = sqlx::query("select 1/0").execute(&mut *transaction).await.unwrap_err();
                    let error = commit(transaction).await.unwrap_err();
                    assert!(error.nothing_was_applied());
                    let mut response = text(503, "rolled back");
                    response.extensions_mut().insert(NothingHappened);
                    response
                }
                _ => {
                    commit(transaction).await.unwrap();
                    response
                }
            }
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_is_an_effect_if_and_only_if_there_is_a_record() {
    for (front, table) in [(Front::Axum, "http_effects_a"), (Front::Tower, "http_effects_t")] {
        let bed = Bed::new(StoreKind::Postgres, front).await;
        let server = sentinel_testbed::postgres();
        server.psql(&format!("create table {table} (key text)"));
        let app = bed.app(bed.layer(), &handler(server.url(), table).await);
        let effects =
            |key: &str| server.psql(&format!("select count(*) from {table} where key = 'acme/{key}'"));
        for end in ENDS {
            let first = app.post(end, end).await;
            let again = app.post(end, end).await;
            check(end, &first, &again);
            let expected = if ["commit", "402"].contains(&end) { "1" } else { "0" };
            assert_eq!(effects(end), expected, "{end}");
        }
    }
}

fn check(end: &str, first: &Got, again: &Got) {
    match end {
        "commit" | "402" => {
            assert!(!first.is_replay() && again.is_replay(), "{end}");
            assert_eq!((first.status, first.text()), (again.status, again.text()));
        }
        "failed" => {
            assert_eq!((first.status, again.status), (503, 503));
            assert!(!again.is_replay());
        }
        // The handler's response claims a success that was not committed: the caller learns that it is not known.
        _ => {
            first.assert_problem(500, "uncertain");
            assert!(first.header("sentinel-support").is_some(), "{end}: {first:?}");
            again.assert_problem(500, "uncertain");
        }
    }
}
