//! The store's setup, and whether the servers are trusted to have its records.

use sentinel_core::store::Check;
use sentinel_core::{ErrorKind, Kind, StoreError};
use sentinel_store_kit::health::check;

use super::access::Access;
use crate::connection::{Command, Connection};
use crate::data_loss::DataLossGuard;
use crate::data_loss::metadata::StoreMetadata;
use crate::data_loss::server::{Class, Server, class, identities};

/// The findings, each with whether it is as it should be.
pub(super) struct StoreState {
    metadata: (bool, String),
    servers: Option<(bool, String)>,
    markers: Option<(bool, String)>,
}

impl StoreState {
    pub(super) async fn read(
        connection: &dyn Connection,
        data_loss: &DataLossGuard,
        servers: &[Server],
        access: &Access,
    ) -> Result<Self, StoreError> {
        let prefix = data_loss.names.prefix();
        let bare = |found: String| Ok(Self { metadata: (false, found), servers: None, markers: None });
        let metadata = match StoreMetadata::read(connection, &data_loss.names).await {
            Ok(Some(metadata)) => metadata,
            Ok(None) => {
                let gone = data_loss.last_acknowledged.lost_store(&identities(servers));
                return bare(gone.map_or_else(
                    || format!("{prefix:?} is not initialised: run `sentinel init`"),
                    |gone| {
                        format!(
                            "{prefix:?}: {gone}; its records are lost: find out what ran, then run \
                            `sentinel init`"
                        )
                    },
                ));
            }
            Err(_) if !access.suffices() => return bare(format!("{prefix:?} may not be read")),
            Err(error) if matches!(error.kind(), ErrorKind::NewerSchema | ErrorKind::Corrupt) => {
                return bare(format!("{prefix:?}: {error}"));
            }
            Err(error) => return Err(error),
        };
        let found = format!(
            "{prefix:?}, buckets: {}, registered as {}, epoch {}",
            metadata.buckets, metadata.class, metadata.epoch
        );
        Ok(Self {
            servers: Some(identity(&metadata, servers, data_loss.allow_lossy)),
            markers: Some(match markers(connection, data_loss, &metadata).await {
                Err(_) if !access.suffices() => (false, "may not be read".into()),
                markers => markers?,
            }),
            metadata: (true, found),
        })
    }

    pub(super) fn suffices(&self) -> bool {
        let parts = [Some(&self.metadata), self.servers.as_ref(), self.markers.as_ref()];
        parts.into_iter().flatten().all(|(ok, _)| *ok)
    }

    pub(super) fn checks(self) -> impl Iterator<Item = Check> {
        let parts = [("store", Some(self.metadata)), ("identity", self.servers), ("markers", self.markers)];
        parts.into_iter().filter_map(|(name, found)| found.map(|(ok, found)| check(name, ok, found)))
    }
}

/// Whether they are the servers that were registered, as [`DataLossGuard`] decides it.
fn identity(metadata: &StoreMetadata, servers: &[Server], allow_lossy: bool) -> (bool, String) {
    let who = identities(servers);
    let is_registered = who.iter().all(|one| metadata.servers.contains(one));
    let keeps_all = metadata.class == Class::Always && class(servers) == Class::Always;
    match &metadata.doubt {
        Some(why) if allow_lossy => (true, format!("in doubt, and allowed: {why}")),
        Some(why) => (false, format!("in doubt: {why}; find out what is missing, then run `sentinel init`")),
        None if is_registered => (true, format!("as registered: {}", who.join(" "))),
        None if keeps_all => (
            true,
            "restarted since it was registered; it keeps all that it \
            acknowledges"
                .into(),
        ),
        None if allow_lossy => (true, "restarted or promoted since it was registered, and allowed".into()),
        None => {
            let lost = "what was acknowledged last may be lost; compare, then run `sentinel init`";
            (
                false,
                format!(
                    "restarted, promoted, or first followed by a replica, since it was registered: \
                    {lost}"
                ),
            )
        }
    }
}

/// Whether each part of each namespace has its marker.
async fn markers(
    connection: &dyn Connection,
    data_loss: &DataLossGuard,
    metadata: &StoreMetadata,
) -> Result<(bool, String), StoreError> {
    let namespaces = StoreMetadata::namespaces(connection, &data_loss.names).await?;
    for namespace in &namespaces {
        let reads = (0..metadata.buckets).map(|number| {
            let bucket = data_loss.names.bucket(namespace, number, Kind::Execution);
            connection.call(Command::new("GET", bucket.to()).arg(bucket.marker()))
        });
        let found = futures_util::future::try_join_all(reads).await?;
        if found.iter().any(|marker| marker.text() != Some(&metadata.store)) {
            let lost = "its records are lost; find out what ran, then run `sentinel init`";
            return Ok((false, format!("a part of namespace {:?} has none: {lost}", namespace.as_str())));
        }
    }
    Ok((true, format!("in each part of {} namespaces", namespaces.len())))
}
