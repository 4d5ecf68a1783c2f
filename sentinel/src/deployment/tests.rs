use sentinel_core::ErrorKind;

use super::*;

#[test]
fn known_schemes_are_accepted() {
    for (url, kind, shown) in [
        ("memory:", StoreKind::Memory, "memory:"),
        ("sqlite:/a/b.db", StoreKind::Sqlite, "sqlite:/a/b.db"),
        ("sqlite:///a/b.db?sentinel_create=false", StoreKind::Sqlite, "sqlite:/a/b.db?sentinel_create=false"),
        ("sqlite:a#b?sentinel_max_events=9", StoreKind::Sqlite, "sqlite:a#b?sentinel_max_events=9"),
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
        "postgres://u:a%23b%40%3A@h/db",
        "postgres://u@%2frun%2Fpostgresql/db",
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
        "postgres://u@h/db#x",
        "postgres://u@h/db?password=a#b&sslmode=verify-full",
        "postgres://u:12#3@h/db",
        "postgres://u@h,i#/db",
        "redis://u:12#3@h",
        "redis://h#x",
        "redis-cluster://h?node=i:1#x",
        "redis+unix:///run/redis.sock#x",
        "postgres://h,me%3Ax%40i/db",
        "postgres://u@%2Frun%3Ax%40h/db",
        "postgres://u%2Fx/db",
        "redis://me%3ax%40h",
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
        "postgres://me:1#hunter2@host/db",
        "postgres://hunter2#3@host/db",
        "postgres://me%3Ahunter2%40localhost/db",
        "postgres://me%3ahunter2%2f%40localhost/db",
        "postgres://me%253Ahunter2%2540localhost/db",
        "redis://me%3Ahunter2%40localhost",
        "redis-cluster://:%23@me%3Ahunter2%40localhost:1",
    ];
    for url in urls {
        let shown = match Deployment::parse(url) {
            Ok(deployment) => format!("{deployment} {deployment:?}"),
            Err(error) => format!("{error} {error:?}"),
        };
        assert!(!shown.contains("hunter2") && !shown.contains("ter2"), "{url}: {shown}");
    }
}

#[test]
fn a_raw_number_sign_is_refused_with_its_encoding() {
    for url in ["postgres://u:hunter2#3@h/db", "redis://h?node=hunter2#x", "redis+unix:///s#hunter2"] {
        let error = Deployment::parse(url).unwrap_err().to_string();
        assert!(error.contains("a # must be written as %23") && !error.contains("hunter2"), "{url}: {error}");
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
    let path = folder.path().join("store.db");
    std::fs::write(&path, "").unwrap();
    for access in [Access::Write, Access::Read] {
        let error = file.clone().access(access).open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotInitialised, "{error}");
    }
    assert!(!file.health().await.unwrap().accepted);
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0, "the empty file was set up");
    file.open().await.unwrap();
    for access in [Access::Write, Access::Read, Access::Create] {
        file.clone().access(access).open().await.unwrap();
    }
    assert!(file.health().await.unwrap().accepted);
}
