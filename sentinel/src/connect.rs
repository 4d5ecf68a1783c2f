use std::sync::Arc;

use sentinel_core::{CoordinationStore, ErrorKind, StoreError, check_store_address};

/// Opens the store at an address: `memory:`, `sqlite:PATH` with the feature `sqlite`, `postgres://..` (or
/// `postgresql://..`) with the feature `postgres`, or `redis://..` with the feature `redis` (`rediss://` for TLS, and
/// `redis-cluster://`, `rediss-cluster://`, `redis-sentinel://`, `rediss-sentinel://`, `redis+unix://`).
///
/// An address is used exactly as written or refused. A SQLite address may have options
/// (`sqlite:PATH?sentinel_create=false`); `SqliteStore::at` lists them.
///
/// **Effect:** a SQLite file is created and migrated if necessary (with `sentinel_create=false` it must exist); its
/// directory is not created. In a PostgreSQL database or on a Redis server nothing is created: use `init` of the
/// store's builder, or `sentinel init`. A Redis server that was restarted without losing anything is accepted again.
/// **Repeating it** opens another handle; `memory:` is a new and empty store each time. **Errors:** the address has
/// control characters, blanks around it, or an unknown scheme or option; the feature of the store is not enabled; or
/// the store cannot be opened. Nothing was changed then. Errors state the scheme but not the rest of the address, which
/// may include a password.
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
                "no store has the scheme {scheme:?}; known are memory:, sqlite:PATH, postgres://user@host/database and \
                 redis://host"
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
