//! Fresh executions and replays in memory: one caller, since there is nothing to wait for.

use std::hint::black_box;
use std::time::Duration;

use sentinel_client::Sentinel;
use sentinel_core::operation::{Beat, Complete, Phase};
use sentinel_core::{Address, CoordinationStore as _, Kind, Payload, RecordedResult};
use sentinel_memory::MemoryStore;
use tokio::runtime::Runtime;

use super::common::{address, claim, granted, receipt};
use crate::baselines::map::Map;
use crate::context::{BenchContext, NAMESPACE};
use crate::measure::{Run, Trial, loops::batches};
use crate::report::{Goal, Report};
use crate::target::Target;

/// After this many keys a new map is used.
const KEYS: usize = 10_000;
/// There is no waiting: half a second of it is enough.
const SPAN: Duration = Duration::from_millis(500);

/// The baseline of everything in memory.
pub(super) const MAP: &str = "mutex-guarded map";

/// What every operation needs, made beforehand.
struct Kit {
    /// Of one thread: what is measured has no other to wake.
    runtime: Runtime,
    addresses: Vec<Address>,
    result: RecordedResult,
}

impl Kit {
    fn new() -> Self {
        Self {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            addresses: (0..KEYS).map(|n| address(Kind::Execution, format!("invoice-{n}"))).collect(),
            result: RecordedResult::success(Payload::new(Payload::JSON, format!("\"{}\"", receipt()))),
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

pub(crate) fn fresh(context: &BenchContext, report: &mut Report) {
    let kit = &Kit::new();
    let store = |span| {
        let one = async |on: &mut MemoryStore, n| kit.store_fresh(on, n).await;
        kit.runtime.block_on(batches(span, KEYS, MemoryStore::new, one))
    };
    let once = |span| {
        let one = async |on: &mut Sentinel, n| kit.once(on, n).await;
        kit.runtime.block_on(batches(span, KEYS, || sentinel(MemoryStore::new()), one))
    };
    measure(context, report, "fresh", Box::new(once), map_writes(context), Goal::NanosAtMost(3000.0));
    measure(context, report, "fresh, no client", Box::new(store), map_writes(context), Goal::CostAtMost(5.0));
}

pub(crate) fn replay(context: &BenchContext, report: &mut Report) {
    let kit = &Kit::new();
    let filled = sentinel(kit.full_store());
    let once = |span| {
        let one = async |(): &mut (), n| kit.once(&filled, n).await;
        kit.runtime.block_on(batches(span, KEYS, || (), one))
    };
    measure(context, report, "replay", Box::new(once), map_reads(context), Goal::NanosAtMost(300.0));
}

/// Taking and completing an entry: two writes.
pub(super) fn map_writes(context: &BenchContext) -> Run<'_> {
    let kit = Kit::new();
    Box::new(move |span| {
        let one = async |map: &mut Map, n| kit.map_fresh(map, n);
        context.runtime.block_on(batches(span, KEYS, Map::default, one))
    })
}

/// Reading a result.
pub(super) fn map_reads(context: &BenchContext) -> Run<'_> {
    let kit = Kit::new();
    let full = kit.full_map();
    Box::new(move |span| {
        let one = async |(): &mut (), n| drop(black_box(full.replay(&kit.addresses[n])));
        context.runtime.block_on(batches(span, KEYS, || (), one))
    })
}

/// A new end of each lease.
pub(super) fn map_beats<'a>(context: &'a BenchContext, beats: &'a [Beat]) -> Run<'a> {
    let (kit, map) = (Kit::new(), Map::default());
    let terms = claim(Phase::Claimed);
    beats.iter().for_each(|beat| map.fresh(&beat.address, &terms, kit.result.clone()));
    Box::new(move |span| {
        let one = async |(): &mut (), n: usize| map.beat(&beats[n].address, &terms);
        context.runtime.block_on(batches(span, beats.len(), || (), one))
    })
}

fn measure<'a>(
    context: &'a BenchContext,
    report: &mut Report,
    name: &str,
    ours: Run<'a>,
    map: Run<'a>,
    goal: Goal,
) {
    let trial = Trial::new(context, name, Target::Memory, 1).span(SPAN.min(context.plan.span));
    report.cell(trial.ours_by(ours).baseline(MAP, map).goal(Some(goal)).measure());
}
