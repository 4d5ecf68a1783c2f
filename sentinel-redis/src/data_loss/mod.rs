//! Whether the servers still hold what was written to them.

mod bucket_markers;
mod doubt;
mod guard;
mod last_acknowledged;
pub(crate) mod metadata;
mod read_in_doubt;
mod registered;
pub(crate) mod server;
mod setup_script;
mod witness_file;

pub(crate) use guard::{DataLossGuard, RECHECK_INTERVAL};
pub(crate) use last_acknowledged::LastAcknowledged;
pub use metadata::Registration;
pub(crate) use registered::Registered;
pub(crate) use witness_file::Location;
