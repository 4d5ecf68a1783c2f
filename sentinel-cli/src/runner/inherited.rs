//! What this process inherits from its caller: ignored signals, and the mask of blocked ones.
//!
//! This program sets them to known values for itself, and the command gets what the caller set. A signal that the
//! caller ignores stays ignored, with one exception: while SIGCHLD is ignored, the system discards how a child ended.

use std::io;
use std::sync::OnceLock;

use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

/// The signal settings of the caller.
#[derive(Debug, Clone, Copy)]
struct Inherited {
    /// One bit for each signal.
    ignored: u64,
    mask: Option<SigSet>,
}

static INHERITED: OnceLock<Inherited> = OnceLock::new();

/// Sets this process to known values. Called once, within the runtime, before there is another thread.
pub(crate) fn reset_signals() -> io::Result<()> {
    let ignored = ignored();
    // Over the limit of `ulimit -f` a write is then an error like that of a full disk, and not the end of this process.
    if !is_in(ignored, Signal::XFSZ) {
        let _ = signal(SignalKind::from_raw(Signal::XFSZ.as_raw()))?;
    }
    let mask = SigSet::empty().thread_swap_mask(SigmaskHow::SIG_SETMASK).ok();
    let _ = INHERITED.set(Inherited { ignored, mask });
    Ok(())
}

/// Whether the caller ignores a signal, as far as the system reports it.
pub(super) fn ignores(signal: Signal) -> bool {
    INHERITED.get().is_some_and(|inherited| is_in(inherited.ignored, signal))
}

/// From now on the system keeps how children end, also if the caller ignores SIGCHLD. Children that were started before
/// still ignore it, as the caller wants it; to children that are started later it is at its default.
pub(super) fn keep_ends_of_children() -> io::Result<()> {
    if ignores(Signal::CHILD) {
        let _ = signal(SignalKind::child())?;
    }
    Ok(())
}

/// In this thread, and in processes that it starts: the mask of the caller.
pub(super) fn mask_as_the_caller() {
    if let Some(mask) = INHERITED.get().and_then(|inherited| inherited.mask) {
        let _ = mask.thread_set_mask();
    }
}

/// In this thread, and in processes that it starts: every signal that can be blocked is.
pub(super) fn mask_all() {
    let _ = SigSet::all().thread_set_mask();
}

fn is_in(set: u64, signal: Signal) -> bool {
    set >> (signal.as_raw() - 1) & 1 == 1
}

fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}
