//! A task that is started when it is first needed, and again when its runtime has ended.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, UnboundedReceiver, UnboundedSender};
use tokio::time::timeout;

/// The sending end of a task's queue, bounded or unbounded.
pub trait QueueSender: Sized {
    /// What is sent.
    type Item;
    /// The end that the task has.
    type Receiver;

    /// Sends an item without waiting. An error returns it.
    fn try_send(&self, item: Self::Item) -> Result<(), TrySendError<Self::Item>>;

    /// Whether the task has ended.
    fn is_closed(&self) -> bool;
}

impl<T> QueueSender for UnboundedSender<T> {
    type Item = T;
    type Receiver = UnboundedReceiver<T>;

    fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        self.send(item).map_err(|refused| TrySendError::Closed(refused.0))
    }

    fn is_closed(&self) -> bool {
        self.is_closed()
    }
}

impl<T> QueueSender for Sender<T> {
    type Item = T;
    type Receiver = Receiver<T>;

    fn try_send(&self, item: T) -> Result<(), TrySendError<T>> {
        self.try_send(item)
    }

    fn is_closed(&self) -> bool {
        self.is_closed()
    }
}

/// A task that receives items through a queue. It is started on the runtime of the caller that needs it first. It ends
/// with that runtime, and the next caller starts it again on its own. It also ends when this value is dropped: its
/// queue then has no sender.
pub struct OnDemandTask<S: QueueSender> {
    open: fn() -> (S, S::Receiver),
    sender: Mutex<Option<S>>,
}

impl<S: QueueSender> fmt::Debug for OnDemandTask<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnDemandTask").finish_non_exhaustive()
    }
}

impl<S: QueueSender> OnDemandTask<S> {
    /// A task that is not started yet. `open` makes an empty queue with room for an item.
    pub const fn new(open: fn() -> (S, S::Receiver)) -> Self {
        Self { open, sender: Mutex::new(None) }
    }

    /// Sends an item. If there is no task, or if it ended, the item is put into a new queue, and `start` spawns the
    /// task that receives from it. What was in the old queue was dropped with it.
    ///
    /// **Errors:** the queue is full, and the item is returned.
    pub fn send(&self, item: S::Item, start: impl FnOnce(S::Receiver)) -> Result<(), S::Item> {
        let mut sender = self.sender();
        let item = match sender.as_ref() {
            None => item,
            Some(open) => match open.try_send(item) {
                Ok(()) => return Ok(()),
                Err(TrySendError::Full(item)) => return Err(item),
                Err(TrySendError::Closed(item)) => item,
            },
        };
        let (opened, receiver) = (self.open)();
        opened.try_send(item).map_err(TrySendError::into_inner)?;
        start(receiver);
        *sender = Some(opened);
        Ok(())
    }

    /// Starts the task as [`send`](Self::send) does if there is none, or if it ended, and sends nothing.
    pub fn ensure_started(&self, start: impl FnOnce(S::Receiver)) {
        let mut sender = self.sender();
        if sender.as_ref().is_none_or(QueueSender::is_closed) {
            let (opened, receiver) = (self.open)();
            start(receiver);
            *sender = Some(opened);
        }
    }

    fn sender(&self) -> MutexGuard<'_, Option<S>> {
        self.sender.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for a task's pause, and drops what arrives meanwhile. Returns whether the queue still has a sender; if not, it
/// returns at once.
pub async fn discard_for<T>(queue: &mut Receiver<T>, pause: Duration) -> bool {
    let discarding = async { while queue.recv().await.is_some() {} };
    timeout(pause, discarding).await.is_err()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::runtime::Runtime;
    use tokio::sync::{mpsc, oneshot};

    use super::*;

    type Call = (u32, oneshot::Sender<(u32, usize)>);

    /// A task that replies with the item, and with the number of the task.
    struct Echo {
        task: OnDemandTask<UnboundedSender<Call>>,
        started: Arc<AtomicUsize>,
    }

    impl Echo {
        fn new() -> Self {
            Self { task: OnDemandTask::new(mpsc::unbounded_channel), started: Arc::default() }
        }

        fn start(&self) -> impl FnOnce(UnboundedReceiver<Call>) + use<> {
            let number = self.started.fetch_add(1, Ordering::Relaxed) + 1;
            move |mut queue| {
                tokio::spawn(async move {
                    while let Some((item, reply_to)) = queue.recv().await {
                        let _ = reply_to.send((item, number));
                    }
                });
            }
        }

        async fn call(&self, item: u32) -> (u32, usize) {
            let (reply_to, reply) = oneshot::channel();
            self.task.send((item, reply_to), |queue| self.start()(queue)).unwrap();
            reply.await.unwrap()
        }
    }

    fn runtime() -> Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
    }

    #[test]
    fn a_task_is_started_once_and_again_after_its_runtime_ended() {
        let (first, second, echo) = (runtime(), runtime(), Echo::new());
        assert_eq!(echo.started.load(Ordering::Relaxed), 0, "nothing is started before it is needed");
        first.block_on(async {
            assert_eq!(echo.call(1).await, (1, 1));
            assert_eq!(echo.call(2).await, (2, 1));
        });
        drop(first);
        second.block_on(async {
            // The item that finds the task ended is given back, and the new task gets it.
            assert_eq!(echo.call(3).await, (3, 2));
            assert_eq!(echo.call(4).await, (4, 2));
        });
    }

    #[test]
    fn what_was_in_the_queue_is_dropped_with_the_runtime() {
        let (first, second, echo) = (runtime(), runtime(), Echo::new());
        let (reply_to, mut reply) = oneshot::channel();
        // A task that receives nothing before its runtime ends.
        let idle = |queue| {
            drop(first.spawn(async move {
                std::future::pending::<()>().await;
                drop(queue)
            }))
        };
        echo.task.send((1, reply_to), idle).unwrap();
        assert!(reply.try_recv().is_err(), "it waits");
        drop(first);
        assert_eq!(reply.try_recv(), Err(oneshot::error::TryRecvError::Closed));
        second.block_on(async { assert_eq!(echo.call(2).await, (2, 1)) });
    }

    #[test]
    fn a_full_queue_returns_the_item_and_starts_nothing() {
        let task = OnDemandTask::new(|| mpsc::channel(1));
        let mut queue = None;
        assert_eq!(task.send(1, |receiver| queue = Some(receiver)), Ok(()));
        assert_eq!(task.send(2, |_| panic!("it is started already")), Err(2));
        assert_eq!(queue.as_mut().unwrap().try_recv(), Ok(1));
        assert_eq!(task.send(3, |_| panic!("it is started already")), Ok(()));
        drop(queue);
        let mut again = None;
        assert_eq!(task.send(4, |receiver| again = Some(receiver)), Ok(()));
        assert_eq!(again.unwrap().try_recv(), Ok(4));
    }

    #[test]
    fn a_task_can_be_started_before_there_is_an_item() {
        let task = OnDemandTask::new(mpsc::unbounded_channel::<u32>);
        let mut queue = None;
        task.ensure_started(|receiver| queue = Some(receiver));
        task.ensure_started(|_| panic!("it is started already"));
        task.send(1, |_| panic!("it is started already")).unwrap();
        assert_eq!(queue.take().unwrap().try_recv(), Ok(1));
        let mut starts = 0;
        task.ensure_started(|_| starts += 1);
        assert_eq!(starts, 1, "its queue was dropped");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_drops_what_arrives_and_ends_with_the_last_sender() {
        let (sender, mut queue) = mpsc::channel(4);
        sender.try_send(1).unwrap();
        let (before, pause) = (tokio::time::Instant::now(), Duration::from_secs(1));
        assert!(discard_for(&mut queue, pause).await);
        assert_eq!(before.elapsed(), pause);
        assert!(queue.try_recv().is_err(), "what arrived was dropped");
        drop(sender);
        assert!(!discard_for(&mut queue, pause).await);
        assert_eq!(before.elapsed(), pause, "without a sender nothing is waited for");
    }
}
