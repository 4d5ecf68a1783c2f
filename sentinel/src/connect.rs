use std::sync::Arc;

use sentinel_core::{CoordinationStore, ErrorKind, StoreError, check_store_address};

/// Opens the store at an address: `memory:`, `sqlite:PATH` with the feature `sqlite`, `postgres://..` (also written
/// `postgresql://..`) with the feature `postgres`, or `redis://..` with the feature `redis` (`rediss://` for TLS, and
/// `redis-cluster://`, `rediss-cluster://`, `redis-sentinel://`, `rediss-sentinel://`, `redis+unix://`).
///
/// An address is taken literally or refused. A SQLite address may have options (`sqlite:PATH?sentinel_create=false`): they
/// are listed at the SQLite store's `SqliteStore::at`.
///
/// **Effect:** a SQLite file is created and migrated if need be (with `sentinel_create=false` it must be there), its
/// directory is not. In a PostgreSQL database or on a
/// Redis server nothing is created: that is done by the store's builder's `init`, or by `sentinel init`. A Redis server
/// that lost nothing when it was restarted is trusted again. **Repeating it** opens another
/// handle; `memory:` is a new and empty store each time. **Errors:** an address with control characters or blanks
/// around it, or with a scheme or an option that is not known, a store whose feature is not built in, or one that cannot be opened; nothing was changed then. The address may hold a password and is not
/// repeated in errors, but for its scheme.
pub async fn connect(address: &str) -> Result<Arc<dyn CoordinationStore>, StoreError> {
    check_store_address(address)?;
    let (scheme, rest) = address.split_once(':').unwrap_or((address, ""));
    match scheme {
        "memory" => memory(rest),
        "sqlite" => sqlite(address).await,
        "postgres" | "postgresql" => postgres(address).await,
        "redis" | "rediss" | "redis+unix" => redis(address).await,
        "redis-cluster" | "rediss-cluster" | "redis-sentinel" | "rediss-sentinel" => redis(address).await,
        _ => {
            let detail = format!(
                "no store has the scheme {scheme:?}; known are memory:, sqlite:PATH, postgres://user@host/database and redis://host"
            );
            Err(StoreError::not_applied(ErrorKind::InvalidRequest, detail))
        }
    }
}

#[cfg(feature = "memory")]
fn memory(rest: &str) -> Result<Arc<dyn CoordinationStore>, StoreError> {
    match rest {
        "" => Ok(Arc::new(sentinel_memory::MemoryStore::new())),
        _ => Err(StoreError::not_applied(ErrorKind::InvalidRequest, "memory: has no path")),
    }
}

#[cfg(not(feature = "memory"))]
fn memory(_: &str) -> Result<Arc<dyn CoordinationStore>, StoreError> {
    Err(not_built_in("memory"))
}

#[cfg(feature = "sqlite")]
async fn sqlite(address: &str) -> Result<Arc<dyn CoordinationStore>, StoreError> {
    Ok(Arc::new(sentinel_sqlite::SqliteStore::at(address)?.open().await?))
}

#[cfg(not(feature = "sqlite"))]
async fn sqlite(_: &str) -> Result<Arc<dyn CoordinationStore>, StoreError> {
    Err(not_built_in("sqlite"))
}

#[cfg(feature = "postgres")]
async fn postgres(url: &str) -> Result<Arc<dyn CoordinationStore>, StoreError> {
    Ok(Arc::new(sentinel_postgres::PostgresStore::connect(url).await?))
}

#[cfg(not(feature = "postgres"))]
async fn postgres(_: &str) -> Result<Arc<dyn CoordinationStore>, StoreError> {
    Err(not_built_in("postgres"))
}

#[cfg(feature = "redis")]
async fn redis(url: &str) -> Result<Arc<dyn CoordinationStore>, StoreError> {
    Ok(Arc::new(sentinel_redis::RedisStore::connect(url).await?))
}

#[cfg(not(feature = "redis"))]
async fn redis(_: &str) -> Result<Arc<dyn CoordinationStore>, StoreError> {
    Err(not_built_in("redis"))
}

#[cfg(not(all(feature = "memory", feature = "sqlite", feature = "postgres", feature = "redis")))]
fn not_built_in(scheme: &str) -> StoreError {
    StoreError::not_applied(ErrorKind::DeploymentRefused, format!("no store for {scheme}: is built in"))
}
