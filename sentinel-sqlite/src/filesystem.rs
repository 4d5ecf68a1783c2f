//! What SQLite does not look at: where the file lies, and whether it is still the same one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Which file a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

/// Which file a path leads to now; None: none, or the system does not tell.
pub(crate) fn identity(path: &Path) -> Option<Identity> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let found = fs::metadata(path).ok()?;
        Some(Identity { device: found.dev(), inode: found.ino() })
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        None
    }
}

/// The log beside a database.
pub(crate) fn log_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-wal");
    name.into()
}

/// Brings to the disk what stands in the log. A process that was killed between writing a commit and syncing it leaves a
/// commit that the next one recovers and answers from: it must be durable by then. (No lock of SQLite's lies on the log,
/// so closing it here lets none go.)
pub(crate) fn settle_log(path: &Path) -> io::Result<()> {
    match File::open(log_of(path)) {
        Ok(log) => log.sync_data(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// The kind of network file system that the file lies, or would lie, on.
pub(crate) fn network(path: &Path) -> Option<&'static str> {
    const NETWORK: [(u32, &str); 9] = [
        (0x6969, "NFS"),
        (0x517B, "SMB"),
        (0xFF53_4D42, "CIFS"),
        (0xFE53_4D42, "SMB2"),
        (0x0102_1997, "9p"),
        (0x00C3_6400, "Ceph"),
        (0x5346_414F, "AFS"),
        (0x0BD0_0BD0, "Lustre"),
        (0x4750_4653, "GPFS"),
    ];
    let magic = magic(path)?;
    NETWORK.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name)
}

/// Whether the file lies in memory: it outlives processes, not the host.
pub(crate) fn in_memory(path: &Path) -> bool {
    const TMPFS: u32 = 0x0102_1994;
    const RAMFS: u32 = 0x8584_58F6;
    matches!(magic(path), Some(TMPFS | RAMFS))
}

#[cfg(target_os = "linux")]
fn magic(path: &Path) -> Option<u32> {
    let found =
        rustix::fs::statfs(path).or_else(|_| rustix::fs::statfs(path.parent().unwrap_or(path))).ok()?;
    // The field's width and sign differ between architectures; the magic numbers have 32 bits.
    Some((found.f_type as u64 & u64::from(u32::MAX)) as u32)
}

#[cfg(not(target_os = "linux"))]
fn magic(_: &Path) -> Option<u32> {
    None
}
