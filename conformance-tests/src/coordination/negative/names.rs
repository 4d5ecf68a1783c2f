//! Stores that keep several names as one.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::*;
use sentinel_core::store::{Inspection, List, Listing, Notice, Purge, Purged};
use sentinel_core::{Address, CoordinationStore, Event, Key, Kind, Layer, Layered, Namespace, StoreError};

use super::mutation::Mutation;
use crate::coordination::laws::names::{FNV1A, fnv1a};

/// Treats an address as the first one that it knows by the same name.
#[derive(Debug)]
struct Confused {
    inner: Arc<dyn CoordinationStore>,
    name: fn(&Address) -> Address,
    known: Mutex<HashMap<Address, Address>>,
}

impl Confused {
    fn new(inner: Arc<dyn CoordinationStore>, name: fn(&Address) -> Address) -> Self {
        Self { inner, name, known: Mutex::default() }
    }

    fn at(&self, address: &Address) -> Address {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.entry((self.name)(address)).or_insert_with(|| address.clone()).clone()
    }
}

#[async_trait]
impl Layer for Confused {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.inner
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        op.send(&*self.inner, &self.at(address)).await
    }

    async fn on_heartbeat(&self, beats: &[Beat]) -> Result<Vec<Stamped<HeartbeatReply>>, StoreError> {
        let at = |beat: &Beat| Beat { address: self.at(&beat.address), grant: beat.grant };
        self.inner.heartbeat(&beats.iter().map(at).collect::<Vec<_>>()).await
    }

    async fn on_inspect(&self, address: &Address) -> Result<Inspection, StoreError> {
        self.inner.inspect(&self.at(address)).await
    }

    async fn on_history(&self, address: &Address, limit: u32) -> Result<Vec<Event>, StoreError> {
        self.inner.history(&self.at(address), limit).await
    }

    async fn on_changed(&self, address: &Address, within: Duration) -> Notice {
        self.inner.changed(&self.at(address), within).await
    }
}

/// Lists and purges the namespaces that match another one, too.
#[derive(Debug)]
struct Matching(Arc<dyn CoordinationStore>, fn(&str, &str) -> bool, Mutex<Vec<Namespace>>);

impl Matching {
    fn rooms(&self, namespace: &Namespace) -> Vec<Namespace> {
        let rooms = self.2.lock().unwrap_or_else(PoisonError::into_inner);
        let matching = |room: &&Namespace| *room == namespace || (self.1)(namespace.as_str(), room.as_str());
        let mut rooms: Vec<_> = rooms.iter().filter(matching).cloned().collect();
        if rooms.is_empty() {
            rooms.push(namespace.clone());
        }
        rooms
    }
}

#[async_trait]
impl Layer for Matching {
    fn inner(&self) -> &Arc<dyn CoordinationStore> {
        &self.0
    }

    async fn on_op(&self, address: &Address, op: Op) -> Result<Stamped<Reply>, StoreError> {
        {
            let mut rooms = self.2.lock().unwrap_or_else(PoisonError::into_inner);
            if !rooms.contains(&address.namespace) {
                rooms.push(address.namespace.clone());
            }
        }
        op.send(&*self.0, address).await
    }

    async fn on_list(&self, list: &List) -> Result<Listing, StoreError> {
        let mut page = self.0.list(list).await?;
        for namespace in self.rooms(&list.namespace).into_iter().filter(|room| *room != list.namespace) {
            page.records.extend(self.0.list(&List { namespace, ..list.clone() }).await?.records);
        }
        page.records.sort_by(|(a, _), (b, _)| a.cmp(b));
        page.records.truncate(list.limit as usize);
        Ok(page)
    }

    async fn on_purge(&self, purge: &Purge) -> Result<Purged, StoreError> {
        let mut all = Purged { records: 0, more: false };
        for namespace in self.rooms(&purge.namespace) {
            let purged = self.0.purge(&Purge { namespace, ..purge.clone() }).await?;
            (all.records, all.more) = (all.records + purged.records, all.more | purged.more);
        }
        Ok(all)
    }
}

fn keyed(address: &Address, text: impl AsRef<str>) -> Address {
    Address { key: Key::new(text).unwrap_or_else(|_| address.key.clone()), ..address.clone() }
}

/// The longest beginning of a text that has no more bytes.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

pub(super) fn all() -> Vec<Mutation> {
    macro_rules! controls {
        ($($name:literal: $moves:expr;)*) => {
            vec![$(Mutation::new($name, "spec §2, address")
                .layer(|store| Arc::new(Layered(Confused::new(store, $moves)))),)*]
        };
    }
    let mut all = controls! {
        "folds the case of letters outside of ASCII": |at| keyed(at, at.key.as_str().chars().map(|c| {
            if c.is_ascii() { c } else { c.to_lowercase().next().unwrap_or(c) }
        }).collect::<String>());
        "drops invisible marks": |at| keyed(at, at.key.as_str().replace(['\u{ad}', '\u{200b}', '\u{feff}'], ""));
        "treats a no-break space as a space": |at| keyed(at, at.key.as_str().replace('\u{a0}', " "));
        "cuts keys at 255 bytes": |at| keyed(at, cut(at.key.as_str(), 255));
        "cuts keys at 256 bytes": |at| keyed(at, cut(at.key.as_str(), 256));
        "cuts keys at 511 bytes": |at| keyed(at, cut(at.key.as_str(), 511));
        "leaves out the middle of long keys": |at| {
            let text = at.key.as_str();
            let tail = text.ceil_char_boundary(text.len().saturating_sub(100));
            keyed(at, if text.len() > 200 { format!("{}{}", cut(text, 100), &text[tail..]) } else { text.into() })
        };
        "cuts namespaces at 48 bytes": |at| Address {
            namespace: Namespace::new(cut(at.namespace.as_str(), 48)).expect("a namespace"),
            ..at.clone()
        };
        "knows keys by FNV-1a": |at| keyed(at, format!("{:08x}", fnv1a(FNV1A, at.key.as_str().as_bytes())));
        "knows long keys by FNV-1a": |at| match at.key.as_str() {
            text if text.len() > 200 => keyed(at, format!("{:08x}", fnv1a(FNV1A, text.as_bytes()))),
            _ => at.clone(),
        };
        "knows keys by half of the standard hash": |at| {
            let mut hasher = DefaultHasher::new();
            at.key.hash(&mut hasher);
            keyed(at, format!("{:08x}", hasher.finish() as u32))
        };
        "knows namespace and key by FNV-1a": |at| {
            keyed(at, format!("{:08x}", fnv1a(FNV1A, format!("{}:{}", at.namespace, at.key).as_bytes())))
        };
        "knows namespaces by FNV-1a": |at| Address {
            namespace: Namespace::new(format!("{:08x}", fnv1a(FNV1A, at.namespace.as_str().as_bytes())))
                .expect("a namespace"),
            ..at.clone()
        };
        "drops blanks at the end of keys": |at| keyed(at, at.key.as_str().trim_end());
        "identifies a key by what is in braces": |at| {
            let text = at.key.as_str();
            let tag = text.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
            keyed(at, tag.filter(|tag| !tag.is_empty()).unwrap_or(text))
        };
        "treats backslashes as escapes": |at| keyed(at, at.key.as_str().replace('\\', ""));
        "joins key and namespace by a point": |at| Address {
            namespace: Namespace::new("joined").expect("a namespace"),
            ..keyed(at, format!("{}.{}", at.key, at.namespace))
        };
        "joins namespace and key by nothing": |at| Address {
            namespace: Namespace::new("joined").expect("a namespace"),
            ..keyed(at, format!("{}{}", at.namespace, at.key))
        };
        "keeps leases as executions under `lease:`": |at| match at.kind {
            Kind::Lease => Address { kind: Kind::Lease, ..keyed(at, format!("lease:{}", at.key)) },
            Kind::Execution if at.key.as_str().starts_with("lease:") => Address { kind: Kind::Lease, ..at.clone() },
            Kind::Execution => at.clone(),
        };
        "treats `_` in namespaces as `.`": |at| Address {
            namespace: Namespace::new(at.namespace.as_str().replace('_', ".")).expect("a namespace"),
            ..at.clone()
        };
    };
    macro_rules! matching {
        ($($name:literal: $matches:expr;)*) => {
            all.extend([$(Mutation::new($name, "spec §3, list and purge")
                .layer(|store| Arc::new(Layered(Matching(store, $matches, Mutex::default())))),)*]);
        };
    }
    matching! {
        "lists and purges namespaces by their beginning": |name, room| room.starts_with(name);
        "lists and purges namespaces by LIKE": |name, room| {
            name.len() == room.len() && name.bytes().zip(room.bytes()).all(|(a, b)| a == b || a == b'_')
        };
        "lists and purges namespaces by a regular expression": |name, room| {
            name.len() == room.len() && name.bytes().zip(room.bytes()).all(|(a, b)| a == b || a == b'.')
        };
        "lists and purges namespaces by their end": |name, room| room.ends_with(name);
    }
    all
}
