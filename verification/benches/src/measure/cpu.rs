//! Processor time, which depends less than wall time on other work of the machine.

use std::fs;

/// The kernel counts in hundredths of a second.
const TICK_US: f64 = 1e4;

/// Microseconds of user and system time that this process has used.
pub(crate) fn own() -> f64 {
    stat(std::process::id()).map_or(0.0, |stat| stat.own)
}

/// The same of a process and all its children, those that have ended included.
pub(crate) fn family(pid: u32) -> f64 {
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let children = pids.filter_map(stat).filter(|child| child.parent == pid);
    let children: f64 = children.map(|child| child.own).sum();
    children + stat(pid).map_or(0.0, |stat| stat.own + stat.ended)
}

struct Stat {
    parent: u32,
    own: f64,
    /// Of children that have ended.
    ended: f64,
}

/// None: there is no such process any more, or no `/proc`.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // After the name, which may contain anything; the first field there is the third of all.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |first: usize| {
        Some(fields.get(first)?.parse::<f64>().ok()? + fields.get(first + 1)?.parse::<f64>().ok()?)
    };
    let parent = fields.get(1)?.parse().ok()?;
    Some(Stat { parent, own: ticks(11)? * TICK_US, ended: ticks(13)? * TICK_US })
}
