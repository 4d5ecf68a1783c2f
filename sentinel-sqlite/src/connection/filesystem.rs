//! What SQLite does not check: where the file lies, and whether it is still the same one.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// Which file a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    device: u64,
    inode: u64,
}

/// Which file a path leads to now; None: there is none, or the system does not report it.
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

/// The log beside a database. SQLite puts it beside the file itself, not beside a symbolic link to it.
pub(crate) fn log_of(path: &Path) -> PathBuf {
    let mut name = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).into_os_string();
    name.push("-wal");
    name.into()
}

/// Whether there is a log that holds more than its header.
pub(crate) fn has_log(path: &Path) -> bool {
    const HEADER: u64 = 32;
    fs::metadata(log_of(path)).is_ok_and(|log| log.len() > HEADER)
}

/// Whether a file was moved away from here and left its log behind. Creating a file would delete that log.
pub(crate) fn has_only_a_log(path: &Path) -> bool {
    // The log first: a file that is being created is there before its log is.
    has_log(path) && fs::metadata(path).map_or(0, |file| file.len()) == 0
}

/// A path as SQLite takes it in a URI, with parameters.
pub(crate) fn uri(path: &Path, parameters: &str) -> String {
    use std::fmt::Write as _;
    let mut uri = String::from("file:");
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' => {
                uri.push(char::from(*byte))
            }
            other => drop(write!(uri, "%{other:02x}")),
        }
    }
    uri + "?" + parameters
}

/// Why a file may have other names, each of which would have a log of its own. None: it has only this one, as far as
/// the system reports.
pub(crate) fn other_names(path: &Path) -> Option<String> {
    let path = fs::canonicalize(path).ok()?;
    hard_links(&path).or_else(|| mount_point(&path))
}

#[cfg(unix)]
fn hard_links(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt as _;
    let links = fs::metadata(path).ok()?.nlink();
    (links > 1).then(|| format!("has {links} hard links"))
}

#[cfg(not(unix))]
fn hard_links(_: &Path) -> Option<String> {
    None
}

#[cfg(target_os = "linux")]
fn mount_point(path: &Path) -> Option<String> {
    use rustix::fs::{AtFlags, CWD, StatxAttributes, StatxFlags, statx};
    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS).ok()?;
    let is_root = (found.stx_attributes & found.stx_attributes_mask).contains(StatxAttributes::MOUNT_ROOT);
    is_root.then(|| "is a mount point itself: the file was mounted without its directory".into())
}

#[cfg(not(target_os = "linux"))]
fn mount_point(_: &Path) -> Option<String> {
    None
}

/// The log of a file that is open: how long it is, and whether it was restarted.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
    salts: [u8; 8],
}

impl Log {
    /// None: there is none, or it cannot be read. (No lock of SQLite's lies on the log, so closing it lets none go.)
    pub(crate) fn open(path: &Path) -> Option<Self> {
        let file = File::open(log_of(path)).ok()?;
        let salts = salts(&file)?;
        Some(Self { file, salts })
    }

    /// Whether the log was restarted since the last call, or since it was opened.
    pub(crate) fn was_restarted(&mut self) -> bool {
        let Some(salts) = salts(&self.file) else { return true };
        std::mem::replace(&mut self.salts, salts) != salts
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |log| log.len())
    }
}

/// They change each time that the log is restarted. <https://sqlite.org/fileformat2.html#walformat>
fn salts(log: &File) -> Option<[u8; 8]> {
    const AT: u64 = 16;
    let mut salts = [0; 8];
    read_at(log, &mut salts, AT).ok()?;
    Some(salts)
}

#[cfg(unix)]
fn read_at(file: &File, into: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, into, at)
}

#[cfg(not(unix))]
fn read_at(mut file: &File, into: &mut [u8], at: u64) -> io::Result<()> {
    use std::io::{Read as _, Seek as _};
    file.seek(io::SeekFrom::Start(at))?;
    file.read_exact(into)
}

/// Syncs the log to the disk. A process that was killed between writing a commit and syncing it leaves a commit that
/// the next process recovers and replies from: it must be durable by then. (No lock of SQLite's lies on the log, so
/// closing it here lets none go.)
pub(crate) fn sync_log(path: &Path) -> io::Result<()> {
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

/// Whether nothing on the file system can be written to, as it is mounted here.
pub(crate) fn is_read_only(path: &Path) -> bool {
    #[cfg(target_os = "linux")]
    {
        let flags = rustix::fs::StatVfsMountFlags::RDONLY;
        rustix::fs::statvfs(path).is_ok_and(|found| found.f_flag.contains(flags))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        false
    }
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
    fn network_file_systems_are_recognised_by_their_magic_numbers() {
        assert_eq!([0x6969, 0xFE53_4D42, 0x0102_1994].map(network_of), [Some("NFS"), Some("SMB2"), None]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_does_not_exist_yet_is_judged_by_its_directory() {
        // Of the process file system, which is none of a network's, nor kept in memory.
        assert_eq!(magic(Path::new("/proc")), Some(0x9FA0));
        assert_eq!(magic(Path::new("/proc/no such file")), Some(0x9FA0));
        assert!(!in_memory(Path::new("/proc")) && network(Path::new("/proc")).is_none());
        assert!(magic(Path::new("/no such folder/no such file")).is_none());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_mount_point_is_distinguished_from_files_below_it() {
        assert!(mount_point(Path::new("/proc")).is_some_and(|why| why.contains("is a mount point itself")));
        assert_eq!(mount_point(Path::new("/proc/version")), None);
        assert_eq!(other_names(Path::new("/proc/version")), None);
    }

    #[test]
    fn a_path_in_a_uri_keeps_every_byte() {
        assert_eq!(uri(Path::new("/a b/50%?#ä.db"), "x=1"), "file:/a%20b/50%25%3f%23%c3%a4.db?x=1");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_in_memory_is_distinguished_from_others() {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        for mount in mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>()) {
            // A mount that cannot be reached from here, or is hidden by a later one, is left out.
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
    fn syncing_a_missing_log_succeeds_and_syncing_an_unreadable_one_fails() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sentinel.db");
        assert_eq!(log_of(&file), dir.path().join("sentinel.db-wal"));
        sync_log(&file).unwrap();
        std::fs::write(&file, "").unwrap();
        let error = sync_log(&file.join("below a file")).unwrap_err();
        assert_ne!(error.kind(), io::ErrorKind::NotFound);
    }
}
