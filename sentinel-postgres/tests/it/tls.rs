//! TLS, where the crate is built with it.

use sentinel_core::{Applied, CoordinationStore as _, ErrorKind};
use sentinel_postgres::PostgresStore;
use sentinel_testbed::Postgres;
use sentinel_testbed::postgres::Options;

fn server() -> Postgres {
    let refuse_plain = "hostnossl all all all reject";
    Postgres::start(Options::default().tls().hba(refuse_plain).conf("log_connections = on"))
}

async fn encryption(url: &str) -> String {
    let store = PostgresStore::builder(url).init().await.unwrap();
    let health = store.health().await.unwrap();
    health.checks.into_iter().find(|check| check.name == "encryption").unwrap().found
}

#[tokio::test]
async fn the_way_to_the_server_is_encrypted() {
    let server = server();
    let url = server.url();
    assert!(encryption(&format!("{url}?sslmode=require")).await.starts_with("TLSv1."));
    let authority = server.authority().display().to_string();
    let verified = format!("{url}?sslmode=verify-full&sslrootcert={authority}");
    assert!(encryption(&verified).await.starts_with("TLSv1."));
}

#[tokio::test]
async fn a_server_with_a_certificate_of_another_authority_is_sent_nothing() {
    let (server, other) = (server(), Postgres::start(Options::default().tls()));
    let wrong = other.authority().display().to_string();
    let before = server.log().len();
    let opened =
        PostgresStore::connect(&format!("{}?sslmode=verify-full&sslrootcert={wrong}", server.url())).await;
    let error = opened.expect_err("its certificate is not vouched for");
    assert_eq!((error.applied(), error.kind()), (Applied::No, ErrorKind::Unreachable), "{error}");
    assert!(error.to_string().contains("certificate") && !error.to_string().contains("testbed"), "{error}");
    let log = server.log();
    assert!(!log[before..].contains("authenticated") && !log[before..].contains("no encryption"), "{log}");
}
