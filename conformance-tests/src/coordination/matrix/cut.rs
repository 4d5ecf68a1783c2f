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
use super::{RequestsOf, granted};
use crate::coordination::harness::DynHarness;
use crate::coordination::law_context::LawContext;
use crate::sizes::Sizes;

/// A connection between a store's client and its server that can be broken at any byte: through a proxy.
pub trait BreakableConnection: Send + Sync {
    /// How many bytes have passed in a traffic, over all connections.
    fn passed(&self, traffic: Traffic) -> u64;
    /// Breaks the connection after this number of further bytes of this traffic, once; with 0 nothing of the next
    /// message passes. Later connections pass.
    fn cut_after(&self, traffic: Traffic, bytes: u64);
    /// Cancels a cut that has not happened.
    fn cancel_cut(&self);
}

/// A traffic of a [`BreakableConnection`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traffic {
    /// What the client sends.
    Requests,
    /// What the server sends.
    Replies,
}

/// Each message is cut at its beginning, in the middle, and these numbers of bytes before its end: its last few bytes
/// report that a transaction was committed.
const FROM_THE_END: [u64; 3] = [24, 1, 0];
/// No store under this test uses more connections.
const CONNECTIONS: u32 = 8;
/// How long requests are repeated to a store that has lost its connection.
const AT_LAST: Duration = Duration::from_secs(60);

/// The outcomes of the cuts.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Cuts {
    /// The request was answered nevertheless.
    pub answered: u32,
    /// The error reported that the request was not applied.
    pub not_applied: u32,
    /// The error was ambiguous, and the request had not been applied.
    pub lost: u32,
    /// The error was ambiguous, and the request had been applied.
    pub carried_out: u32,
}

/// Cuts each operation's request and reply at several places, its beginning and end among them, where it changes
/// something. Sent again, it takes effect once; and a request that an error reported as not applied was not.
///
/// `harness` reaches the records without the connection, on the clock of `behind`, which is the store at the other end
/// of it. A request should have the same length each time: if a store sends more with the first request of a
/// connection, configure it to send as much with every request.
///
/// # Panics
/// If the store breaks one of these promises; or if the cuts left no request unapplied, or none applied, with an
/// ambiguous error: then nothing was cut.
pub async fn cut_at_any_byte(
    harness: Arc<dyn DynHarness>,
    behind: &dyn CoordinationStore,
    index: &dyn BreakableConnection,
) -> Cuts {
    let context = LawContext::new(harness, Sizes::DEFAULT);
    let mut case = OverlapCase { context: &context, behind, index, keys: 0, cuts: Cuts::default() };
    for (operation, requests_of) in OPERATIONS {
        for (start_state, _, indices) in granted(&context, requests_of, 1).take(1) {
            for requests in indices {
                if let Err(broken) = case.cut_everywhere(start_state, requests_of, requests).await {
                    panic!("{}, {operation}, {broken}", start_state.words);
                }
            }
        }
    }
    let Cuts { lost, carried_out, .. } = case.cuts;
    assert!(lost > 0 && carried_out > 0, "nothing was cut: {:?}", case.cuts);
    case.cuts
}

struct OverlapCase<'a> {
    context: &'a LawContext,
    behind: &'a dyn CoordinationStore,
    index: &'a dyn BreakableConnection,
    keys: u32,
    cuts: Cuts,
}

impl OverlapCase<'_> {
    async fn under_test(&mut self, start_state: &StartState) -> RecordUnderTest<'_> {
        self.keys += 1;
        RecordUnderTest::at_work(self.context, self.keys, start_state).await
    }

    async fn cut_everywhere(
        &mut self,
        start_state: &StartState,
        requests_of: RequestsOf,
        requests: usize,
    ) -> Result<(), String> {
        // More bytes pass if a connection has to be made first, or if two connections are used in turn.
        let mut places = [BTreeSet::new(), BTreeSet::new()];
        for _ in 0..2 {
            let sizes = self.sizes(start_state, requests_of, requests).await?;
            for (places, all) in places.iter_mut().zip(sizes) {
                places.extend([0, all / 2]);
                places.extend(FROM_THE_END.map(|bytes| all.saturating_sub(bytes)));
            }
        }
        for (traffic, places) in [Traffic::Requests, Traffic::Replies].into_iter().zip(places) {
            for bytes in places {
                let cut = self.cut(start_state, requests_of, requests, (traffic, bytes)).await;
                cut.map_err(|broken| format!("cut after {bytes} bytes of its {traffic:?}: {broken}"))?;
            }
        }
        Ok(())
    }

    /// How many bytes a request and its reply take. A connection that was cut before may be detected only now: then
    /// another one is used.
    async fn sizes(
        &mut self,
        start_state: &StartState,
        requests_of: RequestsOf,
        requests: usize,
    ) -> Result<[u64; 2], String> {
        let mut sizes = self.measure(start_state, requests_of, requests).await;
        for _ in 1..CONNECTIONS {
            if sizes.as_ref().is_err_and(StoreError::is_worth_repeating) {
                sizes = self.measure(start_state, requests_of, requests).await;
            }
        }
        sizes.map_err(|error| format!("nothing was cut: {error}"))
    }

    async fn measure(
        &mut self,
        start_state: &StartState,
        requests_of: RequestsOf,
        requests: usize,
    ) -> Result<[u64; 2], StoreError> {
        let (index, behind) = (self.index, self.behind);
        let under_test = self.under_test(start_state).await;
        let op = requests_of(&under_test).swap_remove(requests).op;
        warm_up(behind, &under_test).await;
        let [requests, replies] = [Traffic::Requests, Traffic::Replies].map(|traffic| index.passed(traffic));
        op.send(behind, under_test.address()).await?;
        Ok([index.passed(Traffic::Requests) - requests, index.passed(Traffic::Replies) - replies])
    }

    async fn cut(
        &mut self,
        start_state: &StartState,
        requests_of: RequestsOf,
        requests: usize,
        at: (Traffic, u64),
    ) -> Result<(), String> {
        let (context, index, behind) = (self.context, self.index, self.behind);
        let under_test = self.under_test(start_state).await;
        let op = requests_of(&under_test).swap_remove(requests).op;
        let (address, before) = (under_test.address().clone(), under_test.record().clone());
        let events_before = read(context, &address).await?.1.len();
        warm_up(behind, &under_test).await;
        index.cut_after(at.0, at.1);
        let reply = op.send(behind, &address).await;
        index.cancel_cut();
        let again = at_last(|| op.send(behind, &address)).await?;
        let (record, events) = read(context, &address).await?;
        if matches!(op, Op::Heartbeat(_)) {
            // Sent again, it extends the lease by the time that has passed since.
            self.count(&reply, record.rev == before.rev + 1)?;
            return same("events", &events_before, &events.len());
        }
        self.count(&reply, again.stamp.changed)?;
        same("changes of the record", &(before.rev + 1), &record.rev)?;
        same("events", &(events_before + 1), &events.len())?;
        let first = first_reply(&address, before, &record, &op)?;
        same("the reply, sent again", &first, &again.reply)?;
        reply.map_or(Ok(()), |stamped| same("the reply", &first, &stamped.reply))
    }

    /// Counts a cut by its reply, and by whether the repeated request changed something.
    fn count(&mut self, reply: &Result<Stamped<Reply>, StoreError>, left_to_do: bool) -> Result<(), String> {
        let cuts = &mut self.cuts;
        match (reply.as_ref().map_err(StoreError::applied), left_to_do) {
            (Ok(_), _) => cuts.answered += 1,
            (Err(Applied::No), true) => cuts.not_applied += 1,
            (Err(Applied::Ambiguous), true) => cuts.lost += 1,
            (Err(Applied::Ambiguous), false) => cuts.carried_out += 1,
            (Err(Applied::No), false) => {
                return Err("it was applied, and reported as not applied".to_owned());
            }
        }
        Ok(())
    }
}

/// A store sends what it needs on a new connection before anything is cut.
async fn warm_up(behind: &dyn CoordinationStore, under_test: &RecordUnderTest<'_>) {
    for _ in 0..CONNECTIONS {
        let _ = behind.inspect(under_test.address()).await;
    }
}

/// The first reply of a store that is reconnecting to its server.
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
                reply => return reply.map_err(|error| format!("sent again: {error}")),
            }
        }
    };
    let undetected = |_| Err(format!("sent again for {AT_LAST:?}, it was not answered"));
    tokio::time::timeout(AT_LAST, asking).await.unwrap_or_else(undetected)
}
