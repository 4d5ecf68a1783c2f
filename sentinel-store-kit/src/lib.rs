//! What the stores of Sentinel share and what no contract needs: plumbing for authors of stores. Programs use the
//! facade, `sentinel` (package `sentinel-coordination`).
//!
//! A caller of a store may be on any runtime, may be one of thousands, and may go away at any time. Each part solves
//! one of the problems that follow:
//!
//! - [`OnDemandTask`]: a task that is started by the first item that is sent to it, and again when it ended with its
//!   runtime. The item that finds it ended is not lost: the new task gets it.
//! - [`Batcher`]: a task of that kind that gathers items and passes them on in batches. The store implements
//!   [`BatchExecutor`]: which items fit into one batch ([`take_fitting`] and [`SeenKeys`] help), how a batch is
//!   executed, and what an item is refused with. [`BatcherPair`] is two of them, of which the second helps out under
//!   a backlog.
//! - [`ReplyTo`], [`PendingReply`] and [`reply`]: how a caller waits for its item. A caller that goes away drops a
//!   receiver, never a request: nothing that was sent is cancelled.
//! - [`Waiters`]: the waiters of each key, and how a waiter is woken, falls back to polling, and is forgotten.
//! - [`CompletedHints`]: which addresses are probably completed, so that a claim starts with a read.
//! - [`health`]: findings of `sentinel doctor` that do not depend on the store.
//! - [`stable_hash`]: a hash that is the same in every process and release.
//!
//! Connections are the store's business: nothing here opens, checks or closes one. An executor keeps its connection in
//! a [`BatchExecutor::Session`], which lives as long as the batcher's task. Nothing here allocates, locks or dispatches
//! dynamically for one item beyond what its queue needs.

mod batcher;
mod batcher_pair;
mod completed_hints;
pub mod health;
mod on_demand_task;
mod reply;
mod seen_keys;
mod stable_hash;
mod take_fitting;
mod waiters;

pub use batcher::{BatchExecutor, Batcher};
pub use batcher_pair::BatcherPair;
pub use completed_hints::CompletedHints;
pub use on_demand_task::{OnDemandTask, QueueSender, discard_for};
pub use reply::{PendingReply, ReplyTo, reply};
pub use seen_keys::SeenKeys;
pub use stable_hash::stable_hash;
pub use take_fitting::take_fitting;
pub use waiters::{Waiter, Waiters};
