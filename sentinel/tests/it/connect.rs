//! `connect`: one address, one store.

use sentinel::{CoordinationStore as _, Trouble, connect};

#[tokio::test]
async fn an_address_that_nobody_knows_is_refused_without_being_repeated() {
    for address in ["mysql://me:hunter2@h/db", "hunter2:x", "memory:hunter2", "redis://:hunter2@h"] {
        let error = connect(address).await.unwrap_err();
        let known = matches!(error.trouble(), Trouble::InvalidRequest | Trouble::DeploymentRefused);
        assert!(known && !error.to_string().contains("hunter2@"), "{error}");
    }
    assert_eq!(connect("memory:").await.unwrap().describe().backend, "memory");
}

#[cfg(not(feature = "postgres"))]
#[tokio::test]
async fn a_store_that_is_not_built_in_is_named() {
    let error = connect("postgres://me:hunter2@127.0.0.1:1/db").await.unwrap_err();
    assert_eq!(error.trouble(), Trouble::DeploymentRefused);
    assert!(error.to_string().contains("postgres") && !error.to_string().contains("hunter2"), "{error}");
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_file_is_made() {
    let folder = tempfile::TempDir::new().unwrap();
    let address = format!("sqlite:{}", folder.path().join("store.db").display());
    assert_eq!(connect(&address).await.unwrap().describe().backend, "sqlite");
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_database_is_used_once_it_was_set_up() {
    use sentinel::PostgresStore;

    let url = format!("{}?sentinel_schema=facade", sentinel_testbed::postgres().url());
    let error = connect(&url).await.unwrap_err();
    assert_eq!(error.trouble(), Trouble::NotInitialised, "{error}");
    PostgresStore::builder(&url).init().await.unwrap();
    for url in [url.clone(), url.replacen("postgres:", "postgresql:", 1)] {
        let sentinel = sentinel::Sentinel::from_arc(connect(&url).await.unwrap());
        let once = sentinel.once("k").run(|_| async { Ok::<_, std::io::Error>(7) });
        let outcome = once.await.unwrap();
        assert!(matches!(outcome, sentinel::Outcome::Completed(7) | sentinel::Outcome::Replayed(7)));
    }

    for (url, trouble) in [
        ("postgres://me:hunter2@127.0.0.1:1/db", Trouble::Unreachable),
        ("postgres://me:hunter2@127.0.0.1:1/db?sslmod=require", Trouble::InvalidRequest),
        ("postgres://me:hunter2@127.0.0.1:x/db", Trouble::InvalidRequest),
    ] {
        let error = connect(url).await.unwrap_err();
        assert_eq!(error.trouble(), trouble, "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}
