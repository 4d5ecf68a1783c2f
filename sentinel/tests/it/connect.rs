//! `connect`: one URL, one store.

use sentinel::store::{CoordinationStore as _, ErrorKind, Survey as _};
use sentinel::{Deployment, Error, Sentinel, connect};

/// What a caller who matches on the kind of error sees.
fn kind_of(error: &Error) -> Option<ErrorKind> {
    match error {
        Error::Invalid(_) => Some(ErrorKind::InvalidRequest),
        Error::Store(error) => Some(error.kind()),
        _ => None,
    }
}

#[tokio::test]
async fn an_unknown_url_is_refused_without_being_repeated() {
    for url in ["mysql://me:hunter2@h/db", "hunter2:x", "memory:hunter2"] {
        let error = connect(url).await.unwrap_err();
        assert_eq!(kind_of(&error), Some(ErrorKind::InvalidRequest), "{error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    assert_eq!(connect("memory:").await.unwrap().describe().backend, "memory");
}

#[cfg(not(feature = "postgres"))]
#[tokio::test]
async fn the_feature_of_a_store_that_is_not_built_in_is_named() {
    let error = connect("postgres://me:hunter2@127.0.0.1:1/db").await.unwrap_err();
    assert!(error.to_string().contains("`postgres`") && !error.to_string().contains("hunter2"), "{error}");
}

#[cfg(not(feature = "redis"))]
#[tokio::test]
async fn the_feature_of_a_kind_of_server_that_is_not_built_in_is_named() {
    for scheme in ["redis", "rediss", "redis-cluster", "rediss-cluster", "redis-sentinel", "redis+unix"] {
        let error = connect(&format!("{scheme}://me:hunter2@127.0.0.1:1")).await.unwrap_err();
        assert!(error.to_string().contains("`redis`") && !error.to_string().contains("hunter2"), "{error}");
    }
}

#[cfg(feature = "sqlite")]
#[tokio::test]
async fn a_file_is_created() {
    let folder = tempfile::TempDir::new().unwrap();
    let address = format!("sqlite:{}", folder.path().join("store.db").display());
    let store = connect(&address).await.unwrap();
    assert_eq!(store.describe().backend, "sqlite");
    assert!(store.namespaces(None, 1).await.unwrap().is_empty() && store.doubt().is_none());
}

/// An opened store is passed to the client in each form that a program may have it in.
#[tokio::test]
async fn a_client_takes_what_was_opened() {
    let opened = connect("memory:").await.unwrap();
    let shared: std::sync::Arc<dyn sentinel::store::CoordinationStore> = opened.clone();
    let clients = [Sentinel::new(opened.clone()), Sentinel::from_arc(opened), Sentinel::from_arc(shared)];
    let mut outcomes = Vec::new();
    for client in clients {
        outcomes.push(client.once("k").run(|_| async { Ok::<_, std::io::Error>(7) }).await.unwrap().name());
    }
    assert_eq!(outcomes, ["completed", "replayed", "replayed"]);
}

#[cfg(feature = "postgres")]
#[tokio::test]
async fn a_database_is_used_once_it_was_set_up() {
    use sentinel::PostgresStore;

    let url = format!("{}?sentinel_schema=facade", sentinel_testbed::postgres().url());
    let error = connect(&url).await.unwrap_err();
    assert_eq!(kind_of(&error), Some(ErrorKind::NotInitialised), "{error}");
    PostgresStore::builder(&url).init().await.unwrap();
    for url in [url.clone(), url.replacen("postgres:", "postgresql:", 1)] {
        let sentinel = sentinel::Sentinel::from_arc(connect(&url).await.unwrap());
        let once = sentinel.once("k").run(|_| async { Ok::<_, std::io::Error>(7) });
        let outcome = once.await.unwrap();
        assert!(matches!(outcome, sentinel::Outcome::Completed(7) | sentinel::Outcome::Replayed(7)));
    }

    for (url, error_kind) in [
        ("postgres://me:hunter2@127.0.0.1:1/db", ErrorKind::Unreachable),
        ("postgres://me:hunter2@127.0.0.1:1/db?sslmod=require", ErrorKind::InvalidRequest),
        ("postgres://me:hunter2@127.0.0.1:x/db", ErrorKind::InvalidRequest),
    ] {
        let error = connect(url).await.unwrap_err();
        assert_eq!(kind_of(&error), Some(error_kind), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[cfg(feature = "redis")]
#[tokio::test]
async fn a_server_is_used_once_it_was_set_up() {
    use sentinel::RedisStore;

    let server = sentinel_testbed::redis();
    let ours = |url: String| format!("{url}?sentinel_key_prefix=facade");
    let error = connect(&ours(server.url())).await.unwrap_err();
    assert_eq!(kind_of(&error), Some(ErrorKind::NotInitialised), "{error}");
    RedisStore::builder(&ours(server.url())).init().await.unwrap();
    for url in [server.url(), server.socket_url()] {
        let sentinel = sentinel::Sentinel::from_arc(connect(&ours(url)).await.unwrap());
        let once = sentinel.once("k").run(|_| async { Ok::<_, std::io::Error>(7) });
        let outcome = once.await.unwrap();
        assert!(matches!(outcome, sentinel::Outcome::Completed(7) | sentinel::Outcome::Replayed(7)));
    }

    for (url, error_kind) in [
        ("redis://me:hunter2@127.0.0.1:1/0", ErrorKind::Unreachable),
        ("redis-cluster://me:hunter2@127.0.0.1:1", ErrorKind::Unreachable),
        ("redis-sentinel://me:hunter2@127.0.0.1:1/0?sentinelServiceName=s", ErrorKind::Unreachable),
        ("redis+unix:///nowhere/redis.sock", ErrorKind::Unreachable),
        ("redis://me:hunter2@127.0.0.1:1/0?timeout=hunter2", ErrorKind::InvalidRequest),
        ("redis://me:hunter2@127.0.0.1:x", ErrorKind::InvalidRequest),
    ] {
        let error = connect(url).await.unwrap_err();
        assert_eq!(kind_of(&error), Some(error_kind), "{url}: {error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
}

#[test]
fn an_error_that_main_returns_is_a_sentence() {
    let refused = Deployment::parse("mysql://me@h/db").unwrap_err();
    assert_eq!(format!("{refused:?}"), refused.to_string());
    assert!(refused.to_string().contains("memory:, sqlite:PATH"), "{refused}");
    let boxed: Box<dyn std::error::Error> = refused.into();
    assert!(!format!("{boxed:?}").contains("Invalid"), "{boxed:?}");
}
