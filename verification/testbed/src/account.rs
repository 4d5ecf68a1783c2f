//! The account that servers run as.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;

/// The account that servers run as, where it is not the one of the test program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    uid: u32,
    gid: u32,
}

impl Account {
    /// PostgreSQL and PgBouncer refuse to run as root: for root, `postgres`, else `nobody`. None: as the test program.
    pub(crate) fn for_servers() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            return None;
        }
        let found = ["postgres", "nobody"].into_iter().find_map(Self::named);
        Some(found.expect("servers do not run as root, and there is neither a user `postgres` nor `nobody`"))
    }

    fn named(name: &str) -> Option<Self> {
        let number = |flag: &str| {
            let output = Command::new("id").args([flag, name]).output().ok()?;
            String::from_utf8_lossy(&output.stdout).trim().parse().ok()
        };
        Some(Self { uid: number("-u")?, gid: number("-g")? })
    }

    /// Makes a command run as this account; its other groups are left behind.
    pub(crate) fn apply(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }

    /// Gives a file or a folder to this account.
    pub(crate) fn give(self, path: &Path) {
        chown(path, Some(self.uid), Some(self.gid))
            .unwrap_or_else(|error| panic!("{} cannot change its owner: {error}", path.display()));
    }
}
