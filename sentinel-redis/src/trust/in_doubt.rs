//! Reading while the store is in doubt: an operator compares what is there with the outside world before deciding.

use std::sync::{Arc, Mutex};

use sentinel_core::{ErrorKind, StoreError};
use tokio::time::Instant;

use super::root::Root;
use super::{Armed, Trust, unpoisoned};
use crate::script::Scripts;
use crate::wire::Wire;

/// The doubt that the last reads met, and when the store had been armed by then.
#[derive(Debug, Default)]
pub(super) struct Found(Mutex<Option<(StoreError, u64)>>);

impl Found {
    fn meets(&self, why: &StoreError, armed_at: u64) {
        let found = &mut *unpoisoned(&self.0);
        let text = why.to_string();
        if found.as_ref().is_none_or(|(known, _)| known.to_string() != text) {
            tracing::warn!(
                doubt = text,
                "the store is in doubt: only reads are answered, and may lack acknowledged changes"
            );
        }
        *found = Some((why.clone(), armed_at));
    }

    /// The servers are trusted. That a part of the store is gone is no longer in doubt once the store is armed again.
    pub(super) fn settled(&self, armed_at: u64) {
        let found = &mut *unpoisoned(&self.0);
        let is_settled =
            |(why, then): &(StoreError, u64)| why.kind() == ErrorKind::PossibleDataLoss || *then < armed_at;
        if found.as_ref().is_some_and(is_settled) {
            *found = None;
        }
    }
}

impl Trust {
    /// What reads need while the store is in doubt: its layout, and scripts that the server keeps from writing. `why` is the
    /// doubt, and comes back where reads are not answered either: the builder did not ask for that, or nothing is left to read.
    pub(crate) async fn to_read(&self, wire: &dyn Wire, why: StoreError) -> Result<Arc<Armed>, StoreError> {
        let can_be_read = matches!(why.kind(), ErrorKind::PossibleDataLoss | ErrorKind::DataLoss);
        if !self.read_in_doubt || !can_be_read {
            return Err(why);
        }
        let Some(root) = Root::read(wire, &self.names).await? else { return Err(why) };
        self.in_doubt.meets(&why, root.armed_at);
        Ok(self.read_only(root))
    }

    /// What reads need that must not make anything: they find nothing where nothing was marked.
    pub(crate) fn read_only(&self, root: Root) -> Arc<Armed> {
        Arc::new(Armed {
            root,
            scripts: Scripts::read_only(self.edit.as_ref()),
            read_only: true,
            servers: Vec::new(),
            namespaces: Mutex::default(),
            looked: Mutex::new(Instant::now()),
        })
    }

    /// Gives all masters the scripts that only read.
    pub(crate) async fn load_to_read(&self, wire: &dyn Wire, armed: &Armed) -> Result<(), StoreError> {
        Self::load_scripts(wire, armed).await
    }

    /// The doubt that the last reads met.
    pub(crate) fn doubt(&self) -> Option<StoreError> {
        unpoisoned(&self.in_doubt.0).as_ref().map(|(why, _)| why.clone())
    }
}
