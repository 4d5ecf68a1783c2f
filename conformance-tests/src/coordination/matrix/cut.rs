//! Connections that break in the middle of a request, or of its reply: between a store's client and its server, where
//! `lost.rs` loses whole messages above both.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use sentinel_core::kernel::{Op, Reply};
use sentinel_core::operation::Stamped;
use sentinel_core::{Applied, CoordinationStore, StoreError};

use super::cells::OPERATIONS;
use super::lost::{first_reply, read, same};
use super::record_under_test::RecordUnderTest;
use super::start_state::StartState;
use super::{Asks, granted};
use crate::coordination::harness::Bench;
use crate::coordination::law_context::LawContext;
use crate::sizes::Sizes;

/// A way from a store's client to its server that can be broken at any byte: a proxy.
pub trait Way: Send + Sync {
    /// How many bytes have passed in a direction, over all connections.
    fn passed(&self, leg: Leg) -> u64;
    /// Breaks the connection that carries it after so many more bytes of a direction, once; with 0 nothing of the next
    /// message passes. Later connections pass.
    fn cut_after(&self, leg: Leg, bytes: u64);
    /// Forgets a cut that has not happened.
    fn heal(&self);
}

/// A direction of a [`Way`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leg {
    /// What the client sends.
    Requests,
    /// What the server sends.
    Replies,
}

/// Each message is cut at its beginning, in the middle, and so many bytes before its end: that a transaction was
/// committed is said in the last few.
const FROM_THE_END: [u64; 3] = [24, 1, 0];
/// No store under this test takes turns with more of them.
const CONNECTIONS: u32 = 8;
/// A store that has lost its connection is asked again for so long.
const AT_LAST: Duration = Duration::from_secs(60);

/// What came of the cuts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Cuts {
    /// It was answered all the same.
    pub answered: u32,
    /// The store said that it was not carried out.
    pub not_applied: u32,
    /// Nobody knew, and it had not been carried out.
    pub lost: u32,
    /// Nobody knew, and it had been carried out.
    pub carried_out: u32,
}

/// Cuts each operation's request and reply at several places, its beginning and end among them, where it changes
/// something. Sent again, it takes effect once; and what was said not to have been applied was not.
///
/// `bench` has the records beside the way, on the clock of `behind`, which is the store at the other end of it. A
/// request should be as long each time: a store that says more on a connection where it says it first is better told
/// not to be so brief later.
///
/// # Panics
/// If the store breaks one of these promises; or if no cut left something undone, or something done, that nobody was
/// told of: then nothing was cut.
pub async fn cut_at_any_byte(bench: Arc<dyn Bench>, behind: &dyn CoordinationStore, way: &dyn Way) -> Cuts {
    let context = LawContext::new(bench, Sizes::DEFAULT);
    let mut scene = Scene { context: &context, behind, way, keys: 0, cuts: Cuts::default() };
    for (operation, asks) in OPERATIONS {
        for (start_state, _, ways) in granted(&context, asks, 1).take(1) {
            for asked in ways {
                if let Err(broken) = scene.cut_everywhere(start_state, asks, asked).await {
                    panic!("{}, {operation}, {broken}", start_state.words);
                }
            }
        }
    }
    let Cuts { lost, carried_out, .. } = scene.cuts;
    assert!(lost > 0 && carried_out > 0, "nothing was cut: {:?}", scene.cuts);
    scene.cuts
}

struct Scene<'a> {
    context: &'a LawContext,
    behind: &'a dyn CoordinationStore,
    way: &'a dyn Way,
    keys: u32,
    cuts: Cuts,
}

impl Scene<'_> {
    async fn stage(&mut self, start_state: &StartState) -> RecordUnderTest<'_> {
        self.keys += 1;
        RecordUnderTest::at_work(self.context, self.keys, start_state).await
    }

    async fn cut_everywhere(
        &mut self,
        start_state: &StartState,
        asks: Asks,
        asked: usize,
    ) -> Result<(), String> {
        // More passes where a connection has to be made first, or two lanes take turns.
        let mut places = [BTreeSet::new(), BTreeSet::new()];
        for _ in 0..2 {
            let sizes = self.sizes(start_state, asks, asked).await?;
            for (places, all) in places.iter_mut().zip(sizes) {
                places.extend([0, all / 2]);
                places.extend(FROM_THE_END.map(|bytes| all.saturating_sub(bytes)));
            }
        }
        for (leg, places) in [Leg::Requests, Leg::Replies].into_iter().zip(places) {
            for bytes in places {
                let cut = self.cut(start_state, asks, asked, (leg, bytes)).await;
                cut.map_err(|broken| format!("cut after {bytes} bytes of its {leg:?}: {broken}"))?;
            }
        }
        Ok(())
    }

    /// How many bytes a request and its reply take. A connection that was cut before may be found broken only now: then
    /// another one is asked.
    async fn sizes(
        &mut self,
        start_state: &StartState,
        asks: Asks,
        asked: usize,
    ) -> Result<[u64; 2], String> {
        let mut sizes = self.measure(start_state, asks, asked).await;
        for _ in 1..CONNECTIONS {
            if sizes.as_ref().is_err_and(StoreError::is_worth_repeating) {
                sizes = self.measure(start_state, asks, asked).await;
            }
        }
        sizes.map_err(|error| format!("nothing was cut: {error}"))
    }

    async fn measure(
        &mut self,
        start_state: &StartState,
        asks: Asks,
        asked: usize,
    ) -> Result<[u64; 2], StoreError> {
        let (way, behind) = (self.way, self.behind);
        let stage = self.stage(start_state).await;
        let op = asks(&stage).swap_remove(asked).op;
        warm_up(behind, &stage).await;
        let [requests, replies] = [Leg::Requests, Leg::Replies].map(|leg| way.passed(leg));
        op.send(behind, stage.address()).await?;
        Ok([way.passed(Leg::Requests) - requests, way.passed(Leg::Replies) - replies])
    }

    async fn cut(
        &mut self,
        start_state: &StartState,
        asks: Asks,
        asked: usize,
        at: (Leg, u64),
    ) -> Result<(), String> {
        let (context, way, behind) = (self.context, self.way, self.behind);
        let stage = self.stage(start_state).await;
        let op = asks(&stage).swap_remove(asked).op;
        let (address, before) = (stage.address().clone(), stage.record().clone());
        let told = read(context, &address).await?.1.len();
        warm_up(behind, &stage).await;
        way.cut_after(at.0, at.1);
        let answer = op.send(behind, &address).await;
        way.heal();
        let again = at_last(|| op.send(behind, &address)).await?;
        let (record, events) = read(context, &address).await?;
        if matches!(op, Op::Heartbeat(_)) {
            // Sent again, it extends the lease by the time that has passed since.
            self.count(&answer, record.rev == before.rev + 1)?;
            return same("events", &told, &events.len());
        }
        self.count(&answer, again.stamp.changed)?;
        same("changes of the record", &(before.rev + 1), &record.rev)?;
        same("events", &(told + 1), &events.len())?;
        let first = first_reply(&address, before, &record, &op)?;
        same("the reply, sent again", &first, &again.reply)?;
        answer.map_or(Ok(()), |stamped| same("the reply", &first, &stamped.reply))
    }

    /// Counts a cut by what was told, and by whether the same request found something left to do.
    fn count(&mut self, answer: &Result<Stamped<Reply>, StoreError>, left_to_do: bool) -> Result<(), String> {
        let cuts = &mut self.cuts;
        match (answer.as_ref().map_err(StoreError::applied), left_to_do) {
            (Ok(_), _) => cuts.answered += 1,
            (Err(Applied::No), true) => cuts.not_applied += 1,
            (Err(Applied::Ambiguous), true) => cuts.lost += 1,
            (Err(Applied::Ambiguous), false) => cuts.carried_out += 1,
            (Err(Applied::No), false) => {
                return Err("it was carried out, and said not to have been".to_owned());
            }
        }
        Ok(())
    }
}

/// What a store has to say and to ask on a connection that is new is said before anything is cut.
async fn warm_up(behind: &dyn CoordinationStore, stage: &RecordUnderTest<'_>) {
    for _ in 0..CONNECTIONS {
        let _ = behind.inspect(stage.address()).await;
    }
}

/// The first answer of a store that is finding its way back to its server.
async fn at_last<F>(send: impl Fn() -> F) -> Result<Stamped<Reply>, String>
where
    F: Future<Output = Result<Stamped<Reply>, StoreError>>,
{
    let asking = async {
        loop {
            match send().await {
                Err(error) if error.is_worth_repeating() => {
                    tokio::time::sleep(Duration::from_millis(5)).await
                }
                answer => return answer.map_err(|error| format!("sent again: {error}")),
            }
        }
    };
    let in_vain = |_| Err(format!("sent again for {AT_LAST:?}, it was not answered"));
    tokio::time::timeout(AT_LAST, asking).await.unwrap_or_else(in_vain)
}
