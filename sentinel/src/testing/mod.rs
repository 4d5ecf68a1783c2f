//! Tests of *your* function against every crash and every lost message.
//!
//! [`check`] runs a function again and again, each time in a fresh world: an in-memory store on a clock of its own, and
//! [`Effects`], which stand for what must not happen twice. In each world something else goes wrong: at each request to
//! the store and at each effect the process crashes (before it is sent; after it was carried out and before the reply),
//! or the request, or the reply, is lost, or a copy of the request arrives late. Then other processes run the same
//! function, at once and after all deadlines. At the end of each world this must hold:
//!
//! - **No effect happened more than once.**
//! - **Who says "done" tells the truth**: it did happen, and is not in doubt.
//! - **Doubt is told, never hidden**: what happened is told as done, or its key is in doubt and stays so until somebody
//!   decides. What did not happen is done in the end.
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
//! The check panics with a report for people: what was broken, what happened step by step, the event log of the keys,
//! and how to run that one world again:
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
//! A process is a tokio runtime of one thread whose clock stands still and jumps to the next timer when nothing else is
//! to be done, so that sleeps and timeouts cost no time. A crash drops its tasks, and nothing that it left behind reaches
//! the store any more. What a function does on threads of its own, or over real connections, is not part of the world
//! and does not crash with it; keep state that outlives processes in [`Attempt::world`]. One process runs at a time:
//! processes that race are what the store's conformance suite is for.
//!
//! Enable the feature `testing` for tests only (`[dev-dependencies]`): it turns on what tokio has for tests.

mod answer;
mod attempt;
mod clock;
mod effects;
mod fault;
mod gate;
mod judge;
mod process;
mod report;
mod world;
mod worlds;

pub use answer::{Answer, Said};
pub use attempt::Attempt;
pub use effects::{Effects, NoAnswer};
pub use worlds::{Checked, Worlds};

/// Runs a function in a world for each thing that can go wrong, and in one for each two of them: [`Worlds::check`] with
/// nothing changed. Call it from a plain `#[test]`, or from any other.
///
/// # Panics
/// If the function breaks a promise in some world, with a report. Also if it does nothing where nothing goes wrong.
#[track_caller]
pub fn check<F, A>(function: F) -> Checked
where
    F: AsyncFn(Attempt) -> A + Sync,
    A: Answer,
{
    Worlds::default().check(function)
}
