//! What the figures were measured on.

use std::fs;
use std::io::{Seek as _, Write as _};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::stats::median;

/// What the figures were measured on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) kernel: String,
    /// Microseconds that a page takes to the disk under the folder of the servers.
    pub(crate) fsync_us: f64,
    /// Names and versions of what was measured against.
    pub(crate) servers: Vec<String>,
}

impl Machine {
    pub(crate) fn of_this() -> Self {
        Self {
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            processor: processor().unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")
                .map_or_else(|_| std::env::consts::OS.to_owned(), |text| text.trim().to_owned()),
            fsync_us: fsync(),
            servers: Vec::new(),
        }
    }
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The median of writing a page over itself and waiting for the disk.
fn fsync() -> f64 {
    let mut file = tempfile::tempfile().unwrap();
    let took = |_| {
        let start = Instant::now();
        file.rewind().unwrap();
        file.write_all(&[7; 8192]).unwrap();
        file.sync_data().unwrap();
        start.elapsed().as_secs_f64() * 1e6
    };
    median(&(0..200).map(took).collect::<Vec<_>>()).unwrap()
}
