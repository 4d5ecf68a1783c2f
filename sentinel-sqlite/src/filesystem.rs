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
    magic(path).and_then(network_of)
}

fn network_of(magic: u32) -> Option<&'static str> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn network_file_systems_are_known_by_their_numbers() {
        assert_eq!([0x6969, 0xFE53_4D42, 0x0102_1994].map(network_of), [Some("NFS"), Some("SMB2"), None]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_is_not_there_yet_is_where_its_folder_is() {
        // Of the process file system, which is none of a network's, nor kept in memory.
        assert_eq!(magic(Path::new("/proc")), Some(0x9FA0));
        assert_eq!(magic(Path::new("/proc/no such file")), Some(0x9FA0));
        assert!(!in_memory(Path::new("/proc")) && network(Path::new("/proc")).is_none());
        assert!(magic(Path::new("/no such folder/no such file")).is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_in_memory_is_told_from_others() {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        for mount in mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()) {
            // What cannot be looked at from here, or is hidden by a later mount, says nothing.
            let hides = mounts.lines().filter(|line| line.split(' ').nth(1) == Some(mount[1])).count() > 1;
            if matches!(mount[2], "tmpfs" | "ext4" | "xfs" | "overlay")
                && !hides
                && Path::new(mount[1]).exists()
            {
                assert_eq!(in_memory(Path::new(mount[1])), mount[2] == "tmpfs", "{mount:?}");
            }
        }
    }

    #[test]
    fn a_log_that_is_not_there_is_settled_and_one_that_cannot_be_read_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sentinel.db");
        assert_eq!(log_of(&file), dir.path().join("sentinel.db-wal"));
        settle_log(&file).unwrap();
        std::fs::write(&file, "").unwrap();
        let error = settle_log(&file.join("below a file")).unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::NotFound);
    }
}
