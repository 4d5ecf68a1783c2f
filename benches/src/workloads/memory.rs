//! Fresh executions and replays in memory: one caller, since there is nothing to wait for.

use std::hint::black_box;
use std::time::Duration;

use sentinel_core::operation::{Complete, Phase};
use sentinel_core::{Address, CoordinationStore as _, Kind, Payload, Recorded, Sentinel};
use sentinel_memory::MemoryStore;
use tokio::runtime::Runtime;

use super::common::{address, claim, granted, receipt};
use crate::floors::map::Map;
use crate::lab::{Lab, NAMESPACE};
use crate::measure::{Run, Trial, loops::batches};
use crate::place::Place;
use crate::report::{Goal, Report};

/// After so many keys a new map is begun.
const KEYS: usize = 10_000;
/// There is no waiting: half a second of it is enough.
const SPAN: Duration = Duration::from_millis(500);

const MAP: &str = "mutex-guarded map";

/// What every operation needs, made beforehand.
struct Kit {
    /// Of one thread: what is measured has no other to wake.
    runtime: Runtime,
    addresses: Vec<Address>,
    result: Recorded,
}

impl Kit {
    fn new() -> Self {
        Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            addresses: (0..KEYS).map(|n| address(Kind::Execution, format!("invoice-{n}"))).collect(),
            result: Recorded::success(Payload::new(Payload::JSON, format!("\"{}\"", receipt()))),
        }
    }

    fn map_fresh(&self, map: &Map, n: usize) {
        map.fresh(&self.addresses[n], &claim(Phase::Executing), self.result.clone());
    }

    fn full_map(&self) -> Map {
        let map = Map::default();
        (0..KEYS).for_each(|n| self.map_fresh(&map, n));
        map
    }

    async fn store_fresh(&self, store: &MemoryStore, n: usize) {
        let grant = granted(store, &self.addresses[n], Phase::Executing).await;
        let complete = Complete { grant, result: self.result.clone() };
        black_box(store.complete(&self.addresses[n], &complete).await.unwrap());
    }

    async fn once(&self, sentinel: &Sentinel, n: usize) {
        let run = sentinel.once::<std::io::Error>(&self.addresses[n].key).run(|_| async { Ok(receipt()) });
        let _ = black_box(run.await.unwrap());
    }

    fn full_store(&self) -> MemoryStore {
        let store = MemoryStore::new();
        self.runtime.block_on(async {
            for n in 0..KEYS {
                self.store_fresh(&store, n).await;
            }
        });
        store
    }
}

fn sentinel(store: MemoryStore) -> Sentinel {
    Sentinel::new(store).namespace(NAMESPACE).unwrap()
}

pub(crate) fn fresh(lab: &Lab, report: &mut Report) {
    let kit = &Kit::new();
    let map = || -> Run<'_> {
        let one = async |map: &mut Map, n| kit.map_fresh(map, n);
        Box::new(move |span| kit.runtime.block_on(batches(span, KEYS, Map::default, one)))
    };
    let store = |span| {
        let one = async |on: &mut MemoryStore, n| kit.store_fresh(on, n).await;
        kit.runtime.block_on(batches(span, KEYS, MemoryStore::new, one))
    };
    let once = |span| {
        let one = async |on: &mut Sentinel, n| kit.once(on, n).await;
        kit.runtime.block_on(batches(span, KEYS, || sentinel(MemoryStore::new()), one))
    };
    measure(lab, report, "fresh", Box::new(once), map(), Goal::NanosAtMost(3000.0));
    measure(lab, report, "fresh, no client", Box::new(store), map(), Goal::CostAtMost(5.0));
}

pub(crate) fn replay(lab: &Lab, report: &mut Report) {
    let kit = &Kit::new();
    let (full, filled) = (kit.full_map(), sentinel(kit.full_store()));
    let map = |span| {
        let one = async |(): &mut (), n| drop(black_box(full.replay(&kit.addresses[n])));
        kit.runtime.block_on(batches(span, KEYS, || (), one))
    };
    let once = |span| {
        let one = async |(): &mut (), n| kit.once(&filled, n).await;
        kit.runtime.block_on(batches(span, KEYS, || (), one))
    };
    measure(lab, report, "replay", Box::new(once), Box::new(map), Goal::NanosAtMost(300.0));
}

fn measure<'a>(lab: &'a Lab, report: &mut Report, name: &str, ours: Run<'a>, map: Run<'a>, goal: Goal) {
    let trial = Trial::new(lab, name, Place::Memory, 1).span(SPAN.min(lab.plan.span));
    report.cell(trial.ours_by(ours).floor(MAP, map).goal(Some(goal)).measure());
}
