//! The markers of the buckets.

use bytes::Bytes;
use sentinel_core::{Kind, Namespace, StoreError};

use super::setup_script::{self, REMOVE_LOST_NAMES, SET_BUCKET_MARKERS};
use crate::connection::{Command, Connection, Reply, unexpected_reply};
use crate::error::broken_store;
use crate::schema::{BEFORE_ALL, Bucket, Names};

/// The most names that one script call checks.
const PAGE: usize = 128;

const KINDS: [Kind; 2] = [Kind::Execution, Kind::Lease];

/// Sets the markers of a namespace, and returns how many were not right. Where one was not, records were dropped, and
/// their names are removed from the indexes.
pub(super) async fn set(
    connection: &dyn Connection,
    names: &Names,
    store: &str,
    buckets: u32,
    namespace: &Namespace,
) -> Result<usize, StoreError> {
    let marked = (0..buckets).map(|number| async move {
        let [executions, leases] = KINDS.map(|kind| names.bucket(namespace, number, kind));
        let marker = Command::new("GET", executions.to()).arg(executions.marker());
        let is_right = connection.call(marker).await?.text() == Some(store);
        if !is_right {
            remove_lost_names(connection, store, &executions).await?;
            remove_lost_names(connection, store, &leases).await?;
        }
        let mut keys = vec![executions.marker(), executions.touch()];
        keys.extend([executions.index(), leases.index(), executions.undecided(), leases.undecided()]);
        let args = vec![store.to_owned().into(), Bytes::from_static(&BEFORE_ALL)];
        setup_script::run(connection, SET_BUCKET_MARKERS, executions.to(), keys, args).await?;
        Ok::<_, StoreError>(usize::from(!is_right))
    });
    Ok(futures_util::future::try_join_all(marked).await?.into_iter().sum())
}

/// Removes the names that have no record from the indexes, page by page.
async fn remove_lost_names(
    connection: &dyn Connection,
    store: &str,
    bucket: &Bucket,
) -> Result<(), StoreError> {
    let mut after = Bytes::new();
    loop {
        let from = Bytes::from([b"(", after.as_ref()].concat());
        let page = Command::new("ZRANGEBYLEX", bucket.to()).arg(bucket.index()).arg(from).word("+");
        let page = names_of(connection, page.word("LIMIT").number(0).number(PAGE)).await?;
        let Some(last) = page.last().cloned() else { return Ok(()) };
        remove_lost_names_of_page(connection, store, bucket, page).await?;
        after = last;
    }
}

async fn remove_lost_names_of_page(
    connection: &dyn Connection,
    store: &str,
    bucket: &Bucket,
    page: Vec<Bytes>,
) -> Result<(), StoreError> {
    let mut keys = vec![bucket.marker(), bucket.index(), bucket.undecided(), bucket.due()];
    for name in &page {
        let name = std::str::from_utf8(name).map_err(|error| broken_store(error.to_string()))?;
        keys.push(bucket.record(name));
    }
    let args = [Bytes::from(store.to_owned())].into_iter().chain(page).collect();
    setup_script::run(connection, REMOVE_LOST_NAMES, bucket.to(), keys, args).await.map(drop)
}

async fn names_of(connection: &dyn Connection, page: Command) -> Result<Vec<Bytes>, StoreError> {
    let page: Vec<Reply> = connection.call(page).await?.list()?;
    page.iter().map(|name| name.bytes().cloned().ok_or_else(|| unexpected_reply(name))).collect()
}
