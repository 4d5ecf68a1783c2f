//! What becomes of items when a batcher's task ends: none is lost without an end, and none stays outstanding.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::collections::VecDeque;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use sentinel_core::StoreError;
use sentinel_store_kit::{BatchExecutor, Batcher, PendingReply, ReplyTo, reply, take_fitting};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

const MINUTE: Duration = Duration::from_secs(60);

/// Large, so that it takes a while to put it into a queue.
struct Request {
    reply_to: ReplyTo<u32>,
    panics: bool,
    _large: [u8; 1 << 16],
}

struct Executor;

impl BatchExecutor for Executor {
    type Item = Request;
    type Session = ();
    const MAX_BATCH: usize = 8;
    const MAX_OUTSTANDING: usize = 4;

    fn take_batch(&self, waiting: &mut VecDeque<Request>, max: usize) -> Vec<Request> {
        let mut taken = 0;
        take_fitting(waiting, |item| {
            assert!(!item.panics, "asked to");
            taken += 1;
            taken <= max
        })
    }

    async fn execute(&self, _: &mut (), batch: Vec<Request>) {
        batch.into_iter().for_each(|item| drop(item.reply_to.send(Ok(1))));
    }

    fn refuse(&self, item: Request, error: StoreError) {
        drop(item.reply_to.send(Err(error)));
    }
}

fn request(batcher: &Batcher<Executor>, panics: bool) -> PendingReply<u32> {
    let (reply_to, pending) = oneshot::channel();
    batcher.send(Request { reply_to, panics, _large: [0; 1 << 16] });
    pending
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// An item that is sent while the runtime of the task ends is executed by the next task, or its reply is dropped.
#[test]
fn an_item_that_is_sent_while_the_runtime_ends_is_not_left_behind() {
    let second = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for turn in 0..3_000 {
        let (first, batcher) = (runtime(), Arc::new(Batcher::new(Executor)));
        first.block_on(async { reply(request(&batcher, false), MINUTE).await.unwrap() });
        let (barrier, sender, handle) = (Arc::new(Barrier::new(2)), batcher.clone(), second.handle().clone());
        let at_once = barrier.clone();
        let send = std::thread::Builder::new().stack_size(8 << 20).spawn(move || {
            let _on_the_second = handle.enter();
            at_once.wait();
            request(&sender, false)
        });
        barrier.wait();
        (0..turn % 600).for_each(|_| std::hint::spin_loop());
        drop(first);
        let pending = send.unwrap().join().unwrap();
        // Waits until the sender of the reply was used or dropped, and fails if it is kept.
        let ended = second.block_on(async { tokio::time::timeout(MINUTE / 6, pending).await });
        assert!(ended.is_ok(), "turn {turn}: the item waits in a queue that has no task");
        second.block_on(async { reply(request(&batcher, false), MINUTE).await.unwrap() });
    }
}

#[test]
fn items_of_a_task_that_panicked_are_not_outstanding() {
    let runtime = runtime();
    let batcher = Batcher::new(Executor);
    runtime.block_on(async {
        for _ in 0..3 * Executor::MAX_OUTSTANDING {
            assert!(request(&batcher, true).await.is_err(), "its reply is dropped");
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            assert_eq!(batcher.outstanding(), 0);
        }
        assert_eq!(reply(request(&batcher, false), MINUTE).await.unwrap(), 1);
    });
}
