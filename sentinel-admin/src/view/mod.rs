//! Records, events and stories as data for programs.

mod event;
mod record;
mod story;

pub use event::EventView;
pub use record::RecordView;
pub use story::{SentenceView, StepView, StoryView};
