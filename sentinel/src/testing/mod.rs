//! Tests of *your* function with every crash and every lost message.
//!
//! [`check`] runs a function many times, each time in a new world: an in-memory store with a clock of its own, and
//! [`Effects`], which represent what must not happen twice. Each world has other faults. At each request to the store
//! and at each effect, the process crashes (before it is sent, or after it was carried out and before the reply), or
//! the request or the reply is lost, or a copy of the request arrives late. Then other processes run the same function,
//! at once and after all deadlines. At the end of each world, three promises are checked:
//!
//! - **No effect happened more than once.**
//! - **A process that reports "done" is right**: the effect did happen, and the key is not uncertain.
//! - **Doubt is never hidden**: if the effect happened, a process reports "done", or the key is uncertain and stays so
//!   until an operator or a reconciler decides. If it did not happen, the work is done in the end, or a final failure
//!   is recorded.
//!
//! ```
//! use sentinel::testing::{self, Attempt};
//!
//! testing::check(|attempt: Attempt| async move {
//!     let effects = attempt.effects();
//!     let charge = |_| async move { effects.happen("invoice-42").await };
//!     attempt.sentinel().once("invoice-42").run(charge).await
//! });
//! ```
//!
//! The check panics with a report: which promise was broken, what happened step by step, the event log of the keys, and
//! how to run that one world again:
//!
//! ```should_panic
//! use sentinel::testing::{self, Attempt};
//!
//! testing::check(|attempt: Attempt| async move {
//!     let effects = attempt.effects();
//!     // Wrong: no answer does not prove that nothing happened.
//!     let once = attempt.sentinel().once("invoice-42").nothing_happened_if(|_| true);
//!     once.run(|_| async move { effects.happen("invoice-42").await }).await
//! });
//! ```
//!
//! # What a world is, and is not
//!
//! A process is a tokio runtime with one thread. Its clock does not move by itself: when no task can run, it jumps to
//! the next timer, so that sleeps and timeouts cost no time. A crash drops the tasks of the process, and nothing that
//! they sent reaches the store any more. What a function does on threads of its own, or over real connections, is not
//! part of the world and does not crash with it. Keep state that outlives processes in [`Attempt::world`]. One process
//! runs at a time: processes that race are tested by the store's conformance suite.
//!
//! Enable the feature `testing` for tests only (`[dev-dependencies]`): it enables tokio's `test-util`.

mod attempt;
mod clock;
mod effects;
mod fault;
mod gate;
mod process;
mod promises;
mod report;
mod reported;
mod world;
mod worlds;

pub use attempt::Attempt;
pub use effects::{Effects, NoAnswer};
pub use reported::{Report, Reported};
pub use worlds::{Checked, Worlds};

/// Runs a function in one world for each possible fault, and in one for each pair of faults: [`Worlds::check`] with its
/// defaults. Call it from a `#[test]`, with or without a runtime.
///
/// # Panics
/// If the function breaks a promise in some world, with a report. Also if it does nothing in the world without faults.
#[track_caller]
pub fn check<F, A>(function: F) -> Checked
where
    F: AsyncFn(Attempt) -> A + Sync,
    A: Report,
{
    Worlds::default().check(function)
}
