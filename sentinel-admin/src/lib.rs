//! What operators of Sentinel see and decide. One model for the program's `--json`, an API and a console.
//!
//! - [`RecordView`] and [`EventView`]: a record and its events, with the field names that programs rely on.
//! - [`why`](why()): the story of a key in plain sentences, and the next steps that are possible now.
//! - [`because`](because::because): what followed from a root, in any number of stores, as one tree.
//! - [`settle`](settle()): takes an uncertain key and decides about it in one call.
//!
//! The crate has no HTTP, no HTML, no clock and no I/O of its own. It reads through
//! [`CoordinationStore`](sentinel_core::CoordinationStore) and decides through the client's
//! [`Reconciler`](sentinel_client::Reconciler).
//!
//! Most programs use it as `sentinel::admin`, with the feature `admin` of the package `sentinel-coordination`.

pub mod because;
pub mod command_line;
mod settle;
pub mod time;
mod view;
pub mod why;

pub use settle::{NotSettled, SettleRequest, Settled, Settlement, settle};
pub use view::{
    BecauseView, ByView, CauseView, EventView, FoundView, NodeView, RecordView, SentenceView, StepView,
    StoryView,
};
pub use why::{Facts, Story, why};
