//! The threads of a store. The writer's carries out whatever waits in one transaction, the reader's one operation at a
//! time.

mod executor;
mod shutdown;
mod task;
mod thread;

pub(crate) use thread::ConnectionThread;
