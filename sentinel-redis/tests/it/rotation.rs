//! Passwords and certificates that are replaced while a program runs. It reads them again when it connects.

use std::fs;
use std::path::{Path, PathBuf};

use sentinel_core::operation::*;
use sentinel_core::{CoordinationStore as _, ErrorKind, Grant, StoreError};
use sentinel_redis::RedisStore;
use sentinel_testbed::Redis;
use sentinel_testbed::redis::Options;

use crate::faults::*;
use crate::promotion::until_reached;

/// A folder with one file, which is replaced as a whole.
struct Rotated {
    folder: tempfile::TempDir,
}

impl Rotated {
    fn new(bytes: &[u8]) -> Self {
        let rotated = Self { folder: tempfile::TempDir::new().unwrap() };
        rotated.replace(bytes);
        rotated
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("file")
    }

    fn replace(&self, bytes: &[u8]) {
        let fresh = self.folder.path().join("fresh");
        fs::write(&fresh, bytes).unwrap();
        fs::rename(fresh, self.path()).unwrap();
    }
}

/// A store that has used both of its connections: for requests and for heartbeats.
async fn in_use(url: &str) -> (RedisStore, Grant) {
    let store = RedisStore::init(url).await.unwrap();
    let grant = hold(&store, &execution("known"), Phase::Executing).await;
    store.heartbeat(&[Beat { address: execution("known"), grant }]).await.unwrap();
    (store, grant)
}

/// Requests and heartbeats are answered, once both have connected again.
async fn goes_on(store: &RedisStore, grant: Grant) {
    let address = execution("known");
    let beat = Beat { address: address.clone(), grant };
    let received = until_connected(|| store.heartbeat(std::slice::from_ref(&beat))).await.unwrap();
    assert!(matches!(received[0].reply, HeartbeatReply::Kept { .. }), "{received:?}");
    assert!(until_connected(|| store.inspect(&address)).await.unwrap().record.is_some());
}

/// What the store answers when the server has let it in.
async fn until_connected<T, F>(ask: impl Fn() -> F) -> Result<T, StoreError>
where
    F: Future<Output = Result<T, StoreError>>,
{
    let let_in = async {
        loop {
            match until_reached(&ask).await {
                Err(error) if error.kind() == ErrorKind::AccessDenied => {}
                reply => return reply,
            }
        }
    };
    tokio::time::timeout(AT_LAST, let_in).await.expect("it is let in")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_password_is_read_from_its_file() {
    let server = Redis::start(Options::default().password("root").acl("app", "old", "~* &* +@all"));
    let file = Rotated::new(b"old\n");
    let url = |file: &Path| {
        format!("redis://app@127.0.0.1:{}?sentinel_password_file={}", server.port(), file.display())
    };
    let (store, grant) = in_use(&url(&file.path())).await;
    server.cli(&["ACL", "SETUSER", "app", "resetpass", ">new"]);
    server.drop_connections();
    // The file still has the old one: the store is refused, and a refusal proves that nothing was done.
    let address = execution("known");
    is_not_applied(until_reached(|| store.inspect(&address)).await, ErrorKind::AccessDenied);
    file.replace(b"new\n");
    goes_on(&store, grant).await;
    fs::remove_file(file.path()).unwrap();
    let error = RedisStore::connect(&url(&file.path())).await.unwrap_err();
    assert!(
        error.kind() == ErrorKind::InvalidRequest && error.to_string().contains("password in"),
        "{error}"
    );
}

#[cfg(feature = "tls")]
#[tokio::test(flavor = "multi_thread")]
async fn a_new_authority_is_read_from_its_file() {
    let server = Redis::start(Options::default().tls());
    let file = Rotated::new(&fs::read(server.authority()).unwrap());
    let url = format!("{}?sentinel_ca={}", server.url(), file.path().display());
    let (store, grant) = in_use(&url).await;
    server.renew_certificates();
    server.drop_connections();
    let refused = until_unreachable(&store).await;
    assert!(refused.to_string().contains("nothing was changed"), "{refused}");
    file.replace(&fs::read(server.authority()).unwrap());
    goes_on(&store, grant).await;
}

/// What the store answers when its connection has ended, and the server's certificate is not trusted.
#[cfg(feature = "tls")]
async fn until_unreachable(store: &RedisStore) -> StoreError {
    let report = async {
        loop {
            match store.inspect(&execution("known")).await {
                Err(error) if error.kind() == ErrorKind::Unreachable => return error,
                _ => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(AT_LAST, report).await.expect("the old authority does not vouch for it")
}
