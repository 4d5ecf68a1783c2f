//! The append-only file, and what a power failure leaves of it. It is a folder: a base, what was appended since, and a
//! manifest that names both.

use std::fs::{self, File};
use std::path::PathBuf;

use super::Redis;

const FOLDER: &str = "appendonlydir";
const MANIFEST: &str = "appendonly.aof.manifest";

impl Redis {
    /// How many bytes were appended to the newest file. A test that remembers it can
    /// [cut](Self::cut_append_only_file_to) the file there later.
    #[track_caller]
    pub fn append_only_len(&self) -> u64 {
        let file = self.append_only_file();
        let data = file.metadata();
        data.unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display())).len()
    }

    /// Removes this many bytes from the end of what was appended. The server does not run meanwhile.
    #[track_caller]
    pub fn cut_append_only_file(&self, bytes: u64) {
        let length = self.append_only_len();
        let kept = length.checked_sub(bytes);
        let kept = kept.unwrap_or_else(|| panic!("the append-only file has only {length} bytes"));
        self.cut_append_only_file_to(kept);
    }

    /// Keeps this many bytes of what was appended. The server does not run meanwhile.
    #[track_caller]
    pub fn cut_append_only_file_to(&self, bytes: u64) {
        self.assert_stopped();
        let length = self.append_only_len();
        assert!(bytes <= length, "the append-only file has only {length} bytes");
        let file = self.append_only_file();
        let cut = File::options().write(true).open(&file).and_then(|file| file.set_len(bytes));
        cut.unwrap_or_else(|error| panic!("cannot cut {}: {error}", file.display()));
    }

    /// Removes the append-only file, as when the server's disk is replaced: it starts with no data. The server does not
    /// run meanwhile.
    #[track_caller]
    pub fn forget_append_only_file(&self) {
        self.assert_stopped();
        let folder = self.folder().join(FOLDER);
        fs::remove_dir_all(&folder)
            .unwrap_or_else(|error| panic!("cannot remove {}: {error}", folder.display()));
    }

    #[track_caller]
    fn assert_stopped(&self) {
        assert!(!self.server.is_running(), "Redis is running, and holds its append-only file open");
    }

    /// The newest file to which commands are appended.
    #[track_caller]
    fn append_only_file(&self) -> PathBuf {
        let folder = self.folder().join(FOLDER);
        let manifest = fs::read_to_string(folder.join(MANIFEST));
        let manifest = manifest
            .unwrap_or_else(|error| panic!("there is no append-only file in {}: {error}", folder.display()));
        let name = newest(&manifest);
        folder.join(name.unwrap_or_else(|| panic!("nothing was appended yet: {manifest}")))
    }
}

/// Of lines like `file appendonly.aof.2.incr.aof seq 2 type i`, the last of its type: the server appends to that one.
fn newest(manifest: &str) -> Option<&str> {
    let mut appended = manifest.lines().filter(|line| line.ends_with(" type i"));
    appended.next_back()?.split(' ').nth(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_of_the_appended_files_is_found() {
        let manifest = "file a.2.base.rdb seq 2 type b\nfile a.1.incr.aof seq 1 type h\n\
                        file a.2.incr.aof seq 2 type i\nfile a.3.incr.aof seq 3 type i\n";
        assert_eq!(newest(manifest), Some("a.3.incr.aof"));
        assert_eq!(newest("file a.1.base.rdb seq 1 type b\n"), None);
    }
}
