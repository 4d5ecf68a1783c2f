//! The records of one shard, found by a hash that the store has computed already.

use hashbrown::HashTable;
use sentinel_core::{Address, Event, Record};

/// A record and its events, boxed: a table that grows moves pointers.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) address: Address,
    pub(crate) record: Record,
    pub(crate) events: Vec<Event>,
}

impl Entry {
    /// The address has no record yet. Most come to two events: claimed and completed.
    pub(crate) fn absent(address: &Address) -> Box<Self> {
        let (address, record) = (address.clone(), Record::absent());
        Box::new(Self { address, record, events: Vec::with_capacity(2) })
    }
}

#[derive(Debug)]
struct Slot {
    hash: u64,
    entry: Box<Entry>,
}

#[derive(Debug, Default)]
pub(crate) struct Shard {
    slots: HashTable<Slot>,
}

impl Shard {
    pub(crate) fn get(&self, hash: u64, address: &Address) -> Option<&Entry> {
        let slot = self.slots.find(hash, |slot| slot.hash == hash && slot.entry.address == *address);
        slot.map(|slot| &*slot.entry)
    }

    pub(crate) fn get_mut(&mut self, hash: u64, address: &Address) -> Option<&mut Entry> {
        let slot = self.slots.find_mut(hash, |slot| slot.hash == hash && slot.entry.address == *address);
        slot.map(|slot| &mut *slot.entry)
    }

    /// Adds what [`get`](Self::get) did not find.
    pub(crate) fn insert(&mut self, hash: u64, entry: Box<Entry>) {
        self.slots.insert_unique(hash, Slot { hash, entry }, |slot| slot.hash);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.slots.iter().map(|slot| &*slot.entry)
    }

    pub(crate) fn retain(&mut self, mut keeps: impl FnMut(&mut Entry) -> bool) {
        self.slots.retain(|slot| keeps(&mut slot.entry));
    }
}
