//! The guard: a small process beside each server, which stops the server and removes its folder when the test program
//! is gone. It waits for the end of a pipe that only the test program holds, and that the system closes, however the
//! program ends.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// `$1` is where the folder is made. The guard makes it, so that there is no moment at which it would not be removed.
/// Each line of the pipe is `watch PID SIGNAL` or `forget`.
const SCRIPT: &str = r#"
trap '' HUP INT QUIT TERM PIPE
folder=$(mktemp -d "$1/sentinel-XXXXXXXX") || exit 1
printf '%s\n' "$folder"
exec >/dev/null
# When the process began, to distinguish it from a later one of the same number; empty for one that has ended, and
# always without /proc.
born() { set -- $(sed 's/.*) //' "/proc/$pid/stat"); [ "$1" = Z ] || echo "${20}"; }
alive() { [ -n "$pid" ] && kill -0 "$pid" && [ "$(born)" = "$watched" ]; }
pid=
while read -r word number last; do
  case $word in
    watch) pid=$number signal=$last watched=$(born) ;;
    forget) pid= ;;
  esac
done
# A stopped process needs no SIGCONT: it lost its parent with the test program, and then the system sends one.
alive && kill -s "$signal" "$pid"
turn=0
while alive && [ $turn -lt 600 ]; do
  turn=$((turn + 1))
  sleep 0.05
done
alive && kill -s KILL "$pid"
# A PostgreSQL that was killed leaves a segment of shared memory behind, of which a system has few.
lock=$folder/data/postmaster.pid
[ -f "$lock" ] && ipcrm -m "$(sed -n '7s/.* //p' "$lock")"
rm -rf "$folder" || { sleep 1; rm -rf "$folder"; }
"#;

/// A running guard, and the folder that it will remove.
#[derive(Debug)]
pub(crate) struct Guard {
    process: Child,
    folder: PathBuf,
}

impl Guard {
    /// Starts a guard; its folder is new and empty.
    pub(crate) fn start() -> Self {
        let mut process = Command::new("/bin/sh")
            .args(["-c", SCRIPT, "guard"])
            .arg(parent_folder())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // What is sent to the test program's group, by a terminal or a runner, is not for the guard.
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start a guard: {error}"));
        let mut folder = String::new();
        if let Some(stdout) = process.stdout.take() {
            BufReader::new(stdout).read_line(&mut folder).expect("the guard prints its folder");
        }
        let folder = PathBuf::from(folder.trim_end_matches('\n'));
        assert!(folder.is_absolute(), "the guard could not make a folder in {}", parent_folder().display());
        Self { process, folder }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// From now on, this process is to be stopped, by this signal.
    pub(crate) fn watch(&self, pid: u32, signal: &str) {
        self.send(&format!("watch {pid} {signal}\n")).expect("the guard reads its pipe");
    }

    /// The process was stopped: its number may soon be that of another process.
    pub(crate) fn forget(&self) {
        // A guard that has ended kills no process.
        let _ = self.send("forget\n");
    }

    fn send(&self, line: &str) -> io::Result<()> {
        // One write of a short line is not split.
        self.process.stdin.as_ref().map_or(Ok(()), |mut pipe| pipe.write_all(line.as_bytes()))
    }
}

impl Drop for Guard {
    /// Waits until the folder is removed.
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Where the folders are made: in the system's temporary folder, if every account can get there and the path of a
/// socket in it is not too long for the system, else in `/tmp`.
fn parent_folder() -> PathBuf {
    const LONGEST: usize = 70;
    let folder = std::env::temp_dir();
    let open = |folder: &Path| folder.metadata().is_ok_and(|data| data.mode() & 0o001 != 0);
    let reachable = !rustix::process::geteuid().is_root() || folder.ancestors().all(open);
    let short = folder.as_os_str().len() <= LONGEST;
    if folder.is_absolute() && short && reachable { folder } else { PathBuf::from("/tmp") }
}
