//! What a story is made from.

use sentinel_client::AutoReconciler;
use sentinel_core::store::Health;
use sentinel_core::{Address, CoordinationStore, Event, Key, Kind, Label, Record, StoreError, StoreTime};

/// Everything that [`why`](super::why) reads. All times are readings of the store's clock.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The key.
    pub address: Address,
    /// Its record; None: absent.
    pub record: Option<Record>,
    /// The reading at which the record was read.
    pub now: StoreTime,
    /// Its events, oldest first.
    pub events: Vec<Event>,
    /// Whether these are all events that the store has of it.
    pub complete: bool,
    /// The findings about the deployment, where they were read.
    pub health: Option<Health>,
    /// Why what was read may be wrong, if the store reported a reason.
    pub store: Result<(), StoreError>,
    /// The reconciler by code that works in the namespace now.
    pub reconciler: Option<LeaseFacts>,
    /// Other keys with the same cause.
    pub because: Vec<Link>,
}

/// A lease that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseFacts {
    /// The name of its holder.
    pub holder: Option<Label>,
    /// Its end, unless a heartbeat extends it.
    pub until: StoreTime,
}

/// A key that belongs to the same cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// The key.
    pub address: Address,
}

impl Facts {
    /// The most events that [`read`](Self::read) reads.
    pub const MAX_EVENTS: u32 = 10_000;

    /// Facts from a record alone, as a page of records has it.
    pub fn of_record(address: Address, record: Option<Record>, now: StoreTime) -> Self {
        Self {
            address,
            record,
            now,
            events: Vec::new(),
            complete: false,
            health: None,
            store: Ok(()),
            reconciler: None,
            because: Vec::new(),
        }
    }

    /// Reads record and events of a key.
    ///
    /// **Effect:** none. **Atomicity:** record and events are read one after the other, again if the record was changed
    /// in between, a few times at most. **Repeating it:** reads again. **Errors:** the store could not answer.
    pub async fn read(store: &dyn CoordinationStore, address: &Address) -> Result<Self, StoreError> {
        const ATTEMPTS: u32 = 5;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let seen = store.inspect(address).await.map_err(StoreError::of_a_read)?;
            let events = store.history(address, Self::MAX_EVENTS).await.map_err(StoreError::of_a_read)?;
            let after = store.inspect(address).await.map_err(StoreError::of_a_read)?;
            let rev = |record: &Option<Record>| record.as_ref().map_or(0, |record| record.rev);
            if rev(&seen.record) != rev(&after.record) && attempt < ATTEMPTS {
                continue;
            }
            let complete = events.len() < Self::MAX_EVENTS as usize;
            let reconciler = reconciler(store, address).await?;
            let facts = Self::of_record(address.clone(), after.record, after.now);
            return Ok(Self { events, complete, reconciler, ..facts });
        }
    }
}

/// The reconciler by code that holds its lease in the namespace of an execution.
async fn reconciler(
    store: &dyn CoordinationStore,
    address: &Address,
) -> Result<Option<LeaseFacts>, StoreError> {
    if address.kind == Kind::Lease {
        return Ok(None);
    }
    let lease = Address::lease(address.namespace.clone(), Key::new(AutoReconciler::LEASE_KEY)?);
    let seen = store.inspect(&lease).await.map_err(StoreError::of_a_read)?;
    let held = seen.record.filter(|record| record.is_live(seen.now));
    Ok(held.map(|record| LeaseFacts { holder: record.worker, until: record.lease_until }))
}
