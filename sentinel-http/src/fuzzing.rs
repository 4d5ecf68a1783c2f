//! For the fuzz targets of this workspace: what reads bytes of a stranger.

pub use crate::fence::reread as reread_fence;
