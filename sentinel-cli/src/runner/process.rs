//! Information about processes: this program's file, and from `/proc`, if it exists, processes that are not children of
//! this one.

use std::io;
use std::path::PathBuf;

use rustix::process::{Pid, getpid};

/// One line of the table of processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) pid: i32,
    pub(super) parent: i32,
    pub(super) group: i32,
    /// It has not ended. A zombie has ended.
    pub(super) alive: bool,
}

/// Whether `/proc` uses the same process numbers as this process. In a PID namespace it may belong to another
/// namespace.
pub(super) fn numbers_agree() -> bool {
    let own = getpid().as_raw_nonzero().to_string();
    std::fs::read_link("/proc/self").is_ok_and(|name| name.as_os_str() == own.as_str())
}

/// Whether `/proc` shows all processes, and not only those of this user.
pub(super) fn are_known() -> bool {
    numbers_agree() && entry(Pid::INIT).is_some()
}

/// One process.
pub(super) fn entry(pid: Pid) -> Option<Entry> {
    let stat = std::fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    parse(&String::from_utf8_lossy(&stat))
}

/// All processes.
pub(super) fn entries() -> impl Iterator<Item = Entry> {
    let names = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    names.filter_map(|name| entry(Pid::from_raw(name.file_name().to_str()?.parse().ok()?)?))
}

/// The processes of a group that have not ended.
pub(super) fn members(group: Pid) -> Vec<Pid> {
    let group = group.as_raw_nonzero().get();
    let of_group = entries().filter(|entry| entry.group == group && entry.alive);
    of_group.filter_map(|entry| Pid::from_raw(entry.pid)).collect()
}

/// `PID (NAME) STATE PARENT GROUP ..`; the name may contain anything. The 20th field is the number of threads: of a
/// process whose first thread has ended the state is that of a zombie, while its other threads go on.
fn parse(stat: &str) -> Option<Entry> {
    let (head, rest) = stat.rsplit_once(") ")?;
    let pid = head.split(' ').next()?.parse().ok()?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let number = |at: usize| fields.get(at)?.parse::<i32>().ok();
    let ended = matches!(*fields.first()?, "Z" | "X" | "x") && number(17).is_none_or(|threads| threads <= 1);
    Some(Entry { pid, parent: number(1)?, group: number(2)?, alive: !ended })
}

/// This very program, even if its file was replaced meanwhile.
pub(super) fn this_program() -> io::Result<PathBuf> {
    let own = PathBuf::from("/proc/self/exe");
    if own.exists() { Ok(own) } else { std::env::current_exe() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_name_may_imitate_the_rest_of_the_line() {
        let line = |state: &str, threads: u32| {
            format!("42 (a) Z 1 1) {state} 7 41 41 0 -1 4194304 90 0 0 0 0 0 0 0 20 0 {threads} 0 100")
        };
        let entry = |alive| Some(Entry { pid: 42, parent: 7, group: 41, alive });
        assert_eq!(parse(&line("S", 1)), entry(true));
        assert_eq!(parse(&line("Z", 1)), entry(false));
        assert_eq!(parse(&line("Z", 3)), entry(true), "its other threads are at work");
        assert_eq!(parse("42 (a"), None);
    }

    #[test]
    fn a_child_that_ended_is_no_member_before_it_is_waited_for() {
        use std::os::unix::process::CommandExt as _;
        if !are_known() {
            return;
        }
        let mut child = std::process::Command::new("cat");
        let mut child = child.stdin(std::process::Stdio::piped()).process_group(0).spawn().unwrap();
        let leader = Pid::from_child(&child);
        assert_eq!(members(leader), [leader]);
        drop(child.stdin.take());
        let options = rustix::process::WaitIdOptions::EXITED | rustix::process::WaitIdOptions::NOWAIT;
        rustix::process::waitid(rustix::process::WaitId::Pid(leader), options).unwrap();
        assert_eq!(members(leader), []);
        assert!(entry(leader).is_some_and(|entry| !entry.alive));
        child.wait().unwrap();
    }
}
