use sentinel_core::ErrorKind;

use super::*;

#[test]
fn known_schemes_are_accepted() {
    for (url, kind, shown) in [
        ("memory:", StoreKind::Memory, "memory:"),
        ("sqlite:/a/b.db", StoreKind::Sqlite, "sqlite:/a/b.db"),
        ("sqlite:///a/b.db?sentinel_create=false", StoreKind::Sqlite, "sqlite:/a/b.db"),
        ("postgres://u:p@h:5432/db?sslmode=require", StoreKind::Postgres, "postgres://h:5432/db"),
        (
            "postgresql://h/db?sentinel_schema=a&sslmode=disable&sentinel_table_prefix=b_",
            StoreKind::Postgres,
            "postgresql://h/db?sentinel_schema=a&sentinel_table_prefix=b_",
        ),
        ("postgres:///db?host=/run/postgresql", StoreKind::Postgres, "postgres:///db"),
        ("rediss://h", StoreKind::Redis, "rediss://h"),
        ("redis-cluster://u:p@h:7000?node=h:7001", StoreKind::Redis, "redis-cluster://h:7000"),
        (
            "redis+unix://u:p@/run/redis.sock?sentinel_key_prefix=a",
            StoreKind::Redis,
            "redis+unix:///run/redis.sock?sentinel_key_prefix=a",
        ),
    ] {
        let deployment: Deployment = url.parse().unwrap();
        assert_eq!((deployment.kind(), deployment.to_string().as_str()), (kind, shown), "{url}");
    }
    for good in [
        "postgres://h/db",
        "postgres://u:p@h:5432/db?sslmode=require",
        "postgresql://h/db?sentinel_schema=a&sentinel_table_prefix=b_",
        "postgres:///db?host=/run/postgresql",
        "postgres://u@%2Frun%2Fpostgresql:7/db",
        "postgres://u@[::1]:5432/db",
        "redis://[::1]:6379/0",
        "rediss://h",
        "redis-cluster://u:p@h:7000?node=h:7001",
        "rediss-sentinel://h:26379?sentinelServiceName=main&sentinelPassword=p",
        "redis+unix:///run/redis.sock",
        "redis+unix://u:p@/run/redis.sock?sentinel_key_prefix=a",
    ] {
        assert!(Deployment::parse(good).is_ok(), "{good}");
    }
}

#[test]
fn a_url_that_cannot_be_meant_is_refused() {
    for bad in [
        "memory:x",
        "memory://",
        "",
        "x",
        "mysql://h/db",
        "postgres:h",
        "postgres:///db",
        "postgres://h/db?sslmode=maybe",
        "postgres://h/db?sslmod=require",
        "postgres://h/db?sentinel_schema=",
        "postgres://h/db?sentinel_schema=a-b",
        "sqlite:",
        "sqlite::memory:",
        "sqlite://",
        "sqlite:x.db\n",
        " sqlite:x.db",
        "sqlite: x.db",
        "sqlite:x.db ",
        "sqlite:x\t.db",
        "sqlite:x.db?mode=rwc",
        "sqlite:x.db?",
        "postgres://h/db\n",
        "postgres://h/db ",
        "postgres://h/d b",
        "redis://h\n",
        "rediss://h\t",
        " redis-cluster://h",
        "redis-sentinel://h?sentinelServiceName=a\r\n",
        "redis+unix:///run/redis.sock\n",
        "redis://",
        "redis:h",
        "redis://h:port",
        "redis://h/x",
        "redis://h,i",
        "redis://h?db=1",
        "redis://h?sentinel_key_prefix=a%20",
        "redis+unix://",
        "redis+unix://h/run/redis.sock",
        "redis+tls://h",
    ] {
        let refused = match Deployment::parse(bad).unwrap_err() {
            Error::Invalid(_) => true,
            Error::Store(error) => error.kind() == ErrorKind::InvalidRequest,
            _ => false,
        };
        assert!(refused, "{bad}");
    }
}

#[test]
fn a_password_is_never_shown() {
    let urls = [
        "postgres://me:hunter2@host/db",
        "postgres://me:hunter2@host:port/db",
        "postgres://me:hunter2",
        "postgres://me:hun ter2@host/db",
        "postgres://me:hunter2%zz@host/db",
        "postgres://me:a/hunter2@host/db",
        "redis://:hunter2@host",
        "redis://me:hunter2@host:port",
        "redis://me:hunter2@host/hunter2",
        "redis-sentinel://host?sentinelServiceName=a&sentinelPassword=hunter2",
        "redis+unix://me:hunter2@/run/redis.sock",
        "redis+unix://me:hunter2@host/run/redis.sock",
        "redis://host?password=hunter2",
        "mysql://me:hunter2@host/db",
        "me:hunter2@host",
        "postgres://host/db?password=hunter2",
        "postgres://host/db?password=hunter2&sentinel_schema=a",
        "postgres://host/db?sentinel_schema=hunter2%20",
    ];
    for url in urls {
        let shown = match Deployment::parse(url) {
            Ok(deployment) => format!("{deployment} {deployment:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!shown.contains("hunter2") && !shown.contains("ter2"), "{url}: {shown}");
    }
}

#[tokio::test]
async fn a_store_in_memory_is_opened_set_up_and_checked() {
    let deployment = Deployment::parse("memory:").unwrap();
    let (store, initialised) = deployment.init().await.unwrap();
    assert_eq!((store.describe().backend, initialised), ("memory", Initialised::UpToDate));
    assert!(store.namespaces(None, 1).await.unwrap().is_empty() && store.doubt().is_none());
    assert!(deployment.health().await.unwrap().accepted);
    assert!(deployment.schema_sql().is_err());
}

#[tokio::test]
async fn access_decides_whether_a_file_is_created() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = Deployment::sqlite_file(folder.path().join("store.db"));
    for access in [Access::Write, Access::Read] {
        let error = file.clone().access(access).open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unreachable, "{error}");
    }
    assert_eq!(file.health().await.unwrap_err().kind(), ErrorKind::Unreachable);
    file.open().await.unwrap();
    for access in [Access::Write, Access::Read, Access::Create] {
        file.clone().access(access).open().await.unwrap();
    }
    assert!(file.health().await.unwrap().accepted);
}
