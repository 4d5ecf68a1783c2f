//! Records, events and stories as data for programs.

mod because;
mod cause;
mod event;
mod record;
mod story;

pub use because::{BecauseView, FoundView, NodeView};
pub use cause::{ByView, CauseView};
pub use event::EventView;
pub use record::RecordView;
pub use story::{SentenceView, StepView, StoryView};
