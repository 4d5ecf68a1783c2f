//! The batcher: a task that gathers items, and passes on all that wait when it is idle as one batch.
//!
//! A caller that goes away drops a receiver, never a request, and a batcher never releases or cancels for it. There is
//! no timer: while one batch is in progress, the next one gathers. A batcher lives on the runtime that used it first,
//! and starts again on another runtime if that one ends.

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use sentinel_core::{ErrorKind, StoreError};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::coop::unconstrained;
use tokio::task::yield_now;

use crate::on_demand_task::OnDemandTask;

/// Executes batches of one kind.
pub trait BatchExecutor: Send + Sync + 'static {
    /// What is sent to the batcher: a request, and where its reply goes.
    type Item: Send + 'static;

    /// What the batcher's task keeps from one batch to the next, such as a connection. It ends with the task.
    type Session: Default + Send;

    /// The most items of one batch.
    const MAX_BATCH: usize;

    /// The most items of one batcher that are outstanding; further ones are refused.
    const MAX_OUTSTANDING: usize;

    /// Waits until a batch can be executed, before it is taken: what is sent meanwhile can still join it. By default,
    /// that is at once.
    fn ready(&self, session: &mut Self::Session) -> impl Future<Output = ()> + Send {
        let _ = session;
        std::future::ready(())
    }

    /// Takes the items of the next batch, `max` at most. It takes one at least; the others keep waiting.
    fn take_batch(&self, waiting: &mut VecDeque<Self::Item>, max: usize) -> Vec<Self::Item>;

    /// Sends a batch, and replies to each item. Its items are outstanding, and the next batch gathers, until it
    /// returns. An executor that may have several batches in flight returns earlier, and limits them in
    /// [`ready`](Self::ready).
    fn execute(&self, session: &mut Self::Session, batch: Vec<Self::Item>)
    -> impl Future<Output = ()> + Send;

    /// Replies to an item that was never sent.
    fn refuse(&self, item: Self::Item, error: StoreError);
}

/// Sends items to a task that executes them in batches.
pub struct Batcher<E: BatchExecutor> {
    executor: Arc<E>,
    task: OnDemandTask<UnboundedSender<E::Item>>,
    outstanding: Arc<AtomicUsize>,
}

impl<E: BatchExecutor> fmt::Debug for Batcher<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batcher").field("outstanding", &self.outstanding).finish_non_exhaustive()
    }
}

impl<E: BatchExecutor> Batcher<E> {
    /// A batcher whose task is not started yet.
    pub fn new(executor: E) -> Self {
        Self {
            executor: Arc::new(executor),
            task: OnDemandTask::new(mpsc::unbounded_channel),
            outstanding: Arc::default(),
        }
    }

    /// How many items were sent and are not executed yet.
    pub fn outstanding(&self) -> usize {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// Hands an item over; its reply comes through the item's own channel. Has to be called on a runtime.
    pub fn send(&self, item: E::Item) {
        if self.outstanding.fetch_add(1, Ordering::Relaxed) >= E::MAX_OUTSTANDING {
            self.outstanding.fetch_sub(1, Ordering::Relaxed);
            let detail = format!("{} requests are waiting already", E::MAX_OUTSTANDING);
            return self.executor.refuse(item, StoreError::not_applied(ErrorKind::Busy, detail));
        }
        // An unbounded queue is never full.
        let _ = self.task.send(item, |queue| drop(tokio::spawn(self.driver(queue).run())));
    }

    fn driver(&self, queue: UnboundedReceiver<E::Item>) -> Driver<E> {
        Driver {
            executor: self.executor.clone(),
            outstanding: self.outstanding.clone(),
            queue,
            gathered: VecDeque::new(),
            held: 0,
        }
    }
}

/// The state of a batcher's task.
struct Driver<E: BatchExecutor> {
    executor: Arc<E>,
    outstanding: Arc<AtomicUsize>,
    queue: UnboundedReceiver<E::Item>,
    gathered: VecDeque<E::Item>,
    /// How many items were received and are not executed yet.
    held: usize,
}

impl<E: BatchExecutor> Driver<E> {
    async fn run(mut self) {
        let (mut session, mut batching) = (E::Session::default(), false);
        loop {
            if self.gathered.is_empty() {
                match self.queue.recv().await {
                    Some(item) => self.hold(item),
                    None => return,
                }
            }
            self.executor.ready(&mut session).await;
            self.gather(batching).await;
            let batch = self.executor.take_batch(&mut self.gathered, E::MAX_BATCH);
            batching = batch.len() > 1;
            let executed = batch.len();
            self.executor.execute(&mut session, batch).await;
            self.held -= executed;
            self.outstanding.fetch_sub(executed, Ordering::Relaxed);
        }
    }

    fn hold(&mut self, item: E::Item) {
        self.held += 1;
        self.gathered.push_back(item);
    }

    /// Takes what is there, and yields so that callers that just got a reply can send again, until two yields bring
    /// nothing. After a batch of one there is nothing to wait for.
    async fn gather(&mut self, batching: bool) {
        let mut idle = if batching { 0 } else { 1 };
        while idle < 2 && self.gathered.len() < E::MAX_BATCH {
            let before = self.gathered.len();
            while let Ok(item) = self.queue.try_recv() {
                self.hold(item);
            }
            idle = if self.gathered.len() == before { idle + 1 } else { 0 };
            if idle < 2 {
                yield_now().await;
            }
        }
    }
}

/// However the task ends, also with its runtime: the replies to what it had are dropped, so nothing of that is
/// outstanding any more. What is sent from now on is given back to the sender, and is for the next task.
impl<E: BatchExecutor> Drop for Driver<E> {
    fn drop(&mut self) {
        self.queue.close();
        let mut left = self.held;
        while let Some(item) = next_of_closed(&mut self.queue) {
            drop(item);
            left += 1;
        }
        self.outstanding.fetch_sub(left, Ordering::Relaxed);
    }
}

/// The next item of a queue that is closed; None: there will be none. A sender that was let in before the queue was
/// closed may still be about to put its item in: it needs a few instructions for that, and is waited for.
fn next_of_closed<T>(queue: &mut UnboundedReceiver<T>) -> Option<T> {
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        // Outside of the budget of the task that is dropped: with no budget left, a queue is never ready.
        let next = pin!(unconstrained(poll_fn(|cx| queue.poll_recv(cx))));
        match next.poll(&mut cx) {
            Poll::Ready(item) => return item,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Mutex;
    use std::time::Duration;

    use tokio::runtime::Runtime;
    use tokio::sync::{Semaphore, oneshot};

    use super::*;
    use crate::reply::{PendingReply, ReplyTo, reply};

    /// Records batches and refusals.
    #[derive(Default)]
    pub(crate) struct Recorder {
        batches: Mutex<Vec<Vec<u32>>>,
        /// If set, a batch waits for a permit before it is taken, or while it is executed.
        ready: Option<Semaphore>,
        execute: Option<Semaphore>,
    }

    pub(crate) struct Pending(u32, ReplyTo<u32>);

    async fn pass(gate: &Option<Semaphore>) {
        if let Some(gate) = gate {
            gate.acquire().await.unwrap().forget();
        }
    }

    impl BatchExecutor for Recorder {
        type Item = Pending;
        type Session = u32;

        const MAX_BATCH: usize = 8;
        const MAX_OUTSTANDING: usize = 100;

        async fn ready(&self, _: &mut u32) {
            pass(&self.ready).await;
        }

        fn take_batch(&self, waiting: &mut VecDeque<Pending>, max: usize) -> Vec<Pending> {
            waiting.drain(..waiting.len().min(max)).collect()
        }

        async fn execute(&self, executed: &mut u32, batch: Vec<Pending>) {
            self.batches.lock().unwrap().push(batch.iter().map(|item| item.0).collect());
            pass(&self.execute).await;
            *executed += 1;
            for Pending(_, reply_to) in batch {
                let _ = reply_to.send(Ok(*executed));
            }
        }

        fn refuse(&self, item: Pending, error: StoreError) {
            let _ = item.1.send(Err(error));
        }
    }

    impl Batcher<Recorder> {
        pub(crate) fn set_outstanding(&self, count: usize) {
            self.outstanding.store(count, Ordering::Relaxed);
        }

        fn request(&self, n: u32) -> PendingReply<u32> {
            let (reply_to, pending) = oneshot::channel();
            self.send(Pending(n, reply_to));
            pending
        }

        /// Sends an item, and returns the number of the batch that it was in, counted by its session.
        async fn call(&self, n: u32) -> Result<u32, StoreError> {
            reply(self.request(n), Duration::from_secs(60)).await
        }

        fn batches(&self) -> Vec<Vec<u32>> {
            self.executor.batches.lock().unwrap().clone()
        }
    }

    fn gate() -> Option<Semaphore> {
        Some(Semaphore::new(0))
    }

    fn open(gate: &Option<Semaphore>) {
        gate.as_ref().unwrap().add_permits(1);
    }

    async fn idle() {
        for _ in 0..10 {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn what_is_sent_together_is_one_batch_up_to_the_limit() {
        let batcher = Batcher::new(Recorder::default());
        let calls: Vec<_> = (0..11).map(|n| batcher.request(n)).collect();
        assert_eq!(batcher.outstanding(), 11);
        for pending in calls {
            reply(pending, Duration::from_secs(60)).await.unwrap();
        }
        assert_eq!(batcher.batches(), [(0..8).collect::<Vec<_>>(), vec![8, 9, 10]]);
        idle().await;
        assert_eq!(batcher.outstanding(), 0);
    }

    /// The last of them needs one more turn of the scheduler for its next request, and the batch waits for it.
    #[tokio::test]
    async fn callers_that_send_again_stay_in_one_batch() {
        let batcher = Arc::new(Batcher::new(Recorder::default()));
        let callers = [1, 2, 3].map(|n| {
            let batcher = batcher.clone();
            tokio::spawn(async move {
                for _ in 0..3 {
                    batcher.call(n).await.unwrap();
                    if n == 3 {
                        yield_now().await;
                    }
                }
            })
        });
        for caller in callers {
            caller.await.unwrap();
        }
        assert_eq!(batcher.batches(), [[1, 2, 3]; 3]);
    }

    #[tokio::test]
    async fn a_lone_caller_waits_for_no_others() {
        let batcher = Batcher::new(Recorder::default());
        let first = batcher.request(1);
        // The task takes it, and does not yield before it executes it.
        yield_now().await;
        let second = batcher.request(2);
        assert_eq!((first.await.unwrap().unwrap(), second.await.unwrap().unwrap()), (1, 2));
    }

    #[tokio::test]
    async fn what_is_sent_during_a_batch_is_the_next_one() {
        let batcher = Batcher::new(Recorder { execute: gate(), ..Recorder::default() });
        let first = batcher.request(1);
        idle().await;
        let [second, third] = [2, 3].map(|n| batcher.request(n));
        idle().await;
        assert_eq!((batcher.batches(), batcher.outstanding()), (vec![vec![1]], 3));
        open(&batcher.executor.execute);
        assert_eq!(first.await.unwrap().unwrap(), 1);
        open(&batcher.executor.execute);
        assert_eq!((second.await.unwrap().unwrap(), third.await.unwrap().unwrap()), (2, 2));
        assert_eq!(batcher.batches(), [vec![1], vec![2, 3]]);
    }

    #[tokio::test]
    async fn what_is_sent_before_the_executor_is_ready_joins_the_batch() {
        let batcher = Batcher::new(Recorder { ready: gate(), ..Recorder::default() });
        let first = batcher.request(1);
        idle().await;
        let second = batcher.request(2);
        idle().await;
        assert!(batcher.batches().is_empty());
        open(&batcher.executor.ready);
        assert_eq!((first.await.unwrap().unwrap(), second.await.unwrap().unwrap()), (1, 1));
        assert_eq!(batcher.batches(), [[1, 2]]);
    }

    #[tokio::test]
    async fn an_item_of_a_caller_that_went_away_is_executed() {
        let batcher = Batcher::new(Recorder::default());
        drop(batcher.request(1));
        batcher.call(2).await.unwrap();
        assert_eq!(batcher.batches(), [[1, 2]]);
    }

    #[test]
    fn an_item_above_the_limit_is_refused() {
        let batcher = Batcher::new(Recorder::default());
        batcher.set_outstanding(Recorder::MAX_OUTSTANDING);
        let error = batcher.request(7).try_recv().unwrap().unwrap_err();
        assert_eq!((error.kind(), error.applied()), (ErrorKind::Busy, sentinel_core::Applied::No));
        assert_eq!(batcher.outstanding(), Recorder::MAX_OUTSTANDING, "a refused item is not outstanding");
    }

    fn runtime() -> Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    #[test]
    fn a_batcher_starts_again_and_nothing_of_the_old_runtime_is_outstanding() {
        let (first, second) = (runtime(), runtime());
        let batcher = Batcher::new(Recorder { execute: gate(), ..Recorder::default() });
        let lost = first.block_on(async {
            let mut lost = vec![batcher.request(1)];
            while batcher.batches().is_empty() {
                yield_now().await;
            }
            // One is being executed, and the others are in the queue.
            lost.extend([batcher.request(2), batcher.request(3)]);
            lost
        });
        assert_eq!(batcher.outstanding(), 3);
        drop(first);
        assert_eq!(batcher.outstanding(), 0);
        second.block_on(async {
            for pending in lost {
                let error = reply(pending, Duration::from_secs(60)).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::LostReply);
            }
            open(&batcher.executor.execute);
            assert_eq!(batcher.call(4).await.unwrap(), 1, "the session ended with the task");
        });
        assert_eq!(batcher.batches(), [[1], [4]]);
    }

    #[tokio::test]
    async fn a_batch_is_executed_after_the_batcher_was_dropped() {
        let batcher = Batcher::new(Recorder { execute: gate(), ..Recorder::default() });
        let pending = batcher.request(1);
        let executor = batcher.executor.clone();
        drop(batcher);
        open(&executor.execute);
        assert_eq!(pending.await.unwrap().unwrap(), 1);
    }
}
