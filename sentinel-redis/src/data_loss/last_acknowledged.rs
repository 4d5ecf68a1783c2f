//! The newest acknowledged change. A truncated append-only file lacks its newest part: if the newest change is there,
//! so are all before it.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use sentinel_core::operation::Stamp;
use sentinel_core::{Address, PURGE_REST, StoreError};

use super::witness_file::{Known, Location, WitnessFile};
use crate::connection::{Command, Connection, Reply};
use crate::error::broken_store;
use crate::row::{self, Unreadable};
use crate::schema::Names;

/// The newest change that was acknowledged to this process, or to an earlier one that left a witness file.
#[derive(Debug, Default)]
pub(crate) struct LastAcknowledged {
    newest: Mutex<Option<(Address, u64, u64)>>,
    /// Where witness files are written for later processes.
    folder: Option<PathBuf>,
    /// Where the store is reached.
    location: Location,
}

impl LastAcknowledged {
    pub(crate) fn new(folder: Option<PathBuf>, location: Location) -> Self {
        Self { newest: Mutex::default(), folder, location }
    }

    /// A change was acknowledged, by servers that were known then.
    pub(crate) fn acknowledged(
        &self,
        address: &Address,
        stamp: &Stamp,
        known: impl FnOnce() -> Option<Known>,
    ) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        let now = stamp.now.as_micros();
        if newest.as_ref().is_some_and(|(_, _, at)| *at > now) {
            return;
        }
        *newest = Some((address.clone(), stamp.rev, now));
        drop(newest);
        if let Some(folder) = &self.folder
            && let Some(known) = known()
        {
            let (location, address) = (self.location.clone(), address.clone());
            WitnessFile { known, location, address, rev: stamp.rev, at: now }.save(folder);
        }
    }

    /// What an earlier process knew of a store, with the last change that was acknowledged to it.
    pub(crate) fn recall(&self, store: &str) -> Option<Known> {
        let WitnessFile { known, address, rev, at, .. } = WitnessFile::find(self.folder.as_deref()?, store)?;
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some((address, rev, at));
        Some(known)
    }

    /// What an earlier process knew of a store that was here, where the servers no longer name any; None: nothing.
    pub(crate) fn lost_store(&self, servers: &[String]) -> Option<String> {
        let WitnessFile { address, rev, .. } =
            WitnessFile::of_location(self.folder.as_deref()?, &self.location, servers)?;
        Some(format!("a store was here, which had acknowledged the change {rev} of {address}"))
    }

    /// Removes what earlier processes on this host knew of stores that were here and are gone.
    pub(crate) fn forget_lost_stores(&self, servers: &[String]) {
        let Some(folder) = self.folder.as_deref() else { return };
        let gone = || WitnessFile::of_location(folder, &self.location, servers);
        let mut last = None;
        while let Some(witness) = gone().filter(|witness| last.as_ref() != Some(witness)) {
            witness.remove(folder);
            last = Some(witness);
        }
    }

    /// Forgets the change: it is not checked any more.
    pub(crate) fn clear(&self) {
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Why the server does not hold what it acknowledged; None: it does, or nothing is known.
    pub(crate) async fn missing_on(
        &self,
        connection: &dyn Connection,
        names: &Names,
        buckets: u32,
    ) -> Result<Option<String>, StoreError> {
        let newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((address, rev, at)) = newest else { return Ok(None) };
        let bucket = names.bucket(&address.namespace, Names::number(&address, buckets), address.kind);
        let key = address.key.as_str();
        let head = Command::new("GETRANGE", bucket.to()).arg(bucket.record(key)).number(0).number(133);
        let gone = Command::new("GET", bucket.to()).arg(bucket.gone(key));
        let found = match connection.call(head).await? {
            Reply::Bytes(bytes) => row::record_head(bytes).map_err(|Unreadable(what)| broken_store(what))?,
            _ => None,
        };
        let purged = match connection.call(gone).await? {
            Reply::Bytes(event) => row::event(event).is_ok_and(|event| event.at.as_micros() >= at),
            _ => false,
        };
        let now = connection.call(Command::new("TIME", bucket.to())).await?.micros()?;
        // A result that was kept for a while goes by itself, and not before.
        let old = now.saturating_sub(at) > PURGE_REST.as_micros() as u64;
        Ok(match found {
            Some(record) if record.rev >= rev => None,
            // The record that is there now is a later one.
            _ if purged || old => None,
            _ => Some(format!("it has lost the change {rev} of {address}, which it had acknowledged")),
        })
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use sentinel_core::{Key, Namespace, State, StoreTime, Token};

    use super::*;
    use crate::error::CommandError;
    use crate::schema::To;

    /// A server that has no record, and at which it is so late.
    #[derive(Debug)]
    struct Empty(u64);

    #[async_trait]
    impl Connection for Empty {
        async fn call(&self, command: Command) -> Result<Reply, CommandError> {
            let text = |number: u64| Reply::Bytes(number.to_string().into());
            match command.name {
                "TIME" => Ok(Reply::List(vec![text(self.0 / 1_000_000), text(self.0 % 1_000_000)])),
                _ => Ok(Reply::Nil),
            }
        }

        async fn pipeline(&self, _: Vec<Command>) -> Vec<Result<Reply, CommandError>> {
            Vec::new()
        }

        fn masters(&self) -> Vec<To> {
            Vec::new()
        }

        fn is_alive(&self) -> bool {
            true
        }

        fn generation(&self) -> u64 {
            1
        }
    }

    #[tokio::test]
    async fn a_record_that_may_have_been_purged_is_not_reported_missing() {
        let (names, at) = (Names::new("sentinel").unwrap(), 1_000_000);
        let rest = u64::try_from(PURGE_REST.as_micros()).unwrap();
        let address = Address::execution(Namespace::new("tests").unwrap(), Key::new("key").unwrap());
        for (now, missed) in [(at, true), (at + rest, true), (at + rest + 1, false), (at - 1, true)] {
            let last_acknowledged = LastAcknowledged::new(None, Location::default());
            *last_acknowledged.newest.lock().unwrap() = Some((address.clone(), 1, at));
            let why = last_acknowledged.missing_on(&Empty(now), &names, 1).await.unwrap();
            assert_eq!(why.is_some(), missed, "{now}: {why:?}");
            last_acknowledged.clear();
            assert_eq!(
                last_acknowledged.missing_on(&Empty(now), &names, 1).await.unwrap(),
                None,
                "nothing is known"
            );
        }
    }

    #[test]
    fn the_newest_change_is_kept_and_of_one_instant_the_last_reported() {
        let last_acknowledged = LastAcknowledged::new(None, Location::default());
        let address = Address::execution(Namespace::new("tests").unwrap(), Key::new("key").unwrap());
        let acknowledged = |at, rev| {
            let now = StoreTime::from_micros(at);
            let stamp = Stamp { now, rev, token: Token::NONE, state: State::Executing, changed: true };
            last_acknowledged.acknowledged(&address, &stamp, || None);
            last_acknowledged.newest.lock().unwrap().as_ref().map(|(_, rev, at)| (*at, *rev))
        };
        assert_eq!(acknowledged(10, 1), Some((10, 1)));
        assert_eq!(acknowledged(9, 2), Some((10, 1)), "it came late");
        assert_eq!(acknowledged(10, 3), Some((10, 3)));
        assert_eq!(acknowledged(11, 4), Some((11, 4)));
    }
}
