//! What a harness cannot do, and which laws were skipped for it: printed when all laws of a run have ended.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

/// What a harness may be unable to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Unsupported {
    /// [`Harness::set_back`](crate::Harness::set_back).
    SetBack,
    /// [`Harness::another`](crate::Harness::another), and two results of `store` are one handle.
    SecondHandle,
    /// [`Harness::another`](crate::Harness::another); the laws used two results of `store`.
    HandleOfItsOwn,
    /// [`Harness::reopen`](crate::Harness::reopen).
    Reopen,
    /// [`Harness::survey`](crate::Harness::survey).
    Survey,
}

impl Unsupported {
    fn message(self) -> &'static str {
        match self {
            Self::SetBack => "`set_back` returns false: these laws were checked in part or not at all",
            Self::SecondHandle => "`another` returns None: these laws did not run through two handles",
            Self::HandleOfItsOwn => {
                "`another` returns None: these laws used two results of `store` as the two handles"
            }
            Self::Survey => "`survey` returns None: these laws were checked in part or not at all",
            Self::Reopen => "`reopen` returns false: these laws were skipped",
        }
    }
}

/// The laws of one harness that have ended, and what they lacked.
#[derive(Debug, Default)]
struct Report {
    /// How many laws there are.
    laws: usize,
    ended: usize,
    skipped: BTreeMap<Unsupported, BTreeSet<String>>,
}

static REPORTS: Mutex<BTreeMap<&'static str, Report>> = Mutex::new(BTreeMap::new());

/// Notes that a law has ended. After the last law of a harness, prints what was skipped. The line goes to standard
/// error itself: the test runner hides what passing tests print.
pub(crate) fn ended(
    harness: &'static str,
    laws: usize,
    law: &str,
    unsupported: impl IntoIterator<Item = Unsupported>,
) {
    let mut reports = REPORTS.lock().unwrap_or_else(PoisonError::into_inner);
    let report = reports.entry(harness).or_default();
    report.laws = laws;
    report.ended += 1;
    for capability in unsupported {
        report.skipped.entry(capability).or_default().insert(law.to_owned());
    }
    if report.ended == report.laws
        && let Some(text) = report.text(harness)
    {
        // Nothing depends on this output.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

impl Report {
    /// One line for each lack: the words, how many laws, and their names if there are few.
    fn text(&self, harness: &str) -> Option<String> {
        const FEW: usize = 16;
        if self.skipped.is_empty() {
            return None;
        }
        let mut text = format!("\nsentinel-conformance: what {harness} cannot do\n");
        for (capability, laws) in &self.skipped {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "  {} of {} laws: {}", laws.len(), self.laws, capability.message());
            for law in laws.iter().take_while(|_| laws.len() <= FEW) {
                let _ = writeln!(text, "    {law}");
            }
        }
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_names_what_was_skipped_and_counts_it() {
        let mut report = Report { laws: 400, ..Report::default() };
        assert_eq!(report.text("Mine"), None);
        report
            .skipped
            .entry(Unsupported::Reopen)
            .or_default()
            .insert("laws::reopen::nothing_is_lost".to_owned());
        for n in 0..20 {
            report.skipped.entry(Unsupported::SecondHandle).or_default().insert(format!("laws::claims::{n}"));
        }
        let text = report.text("Mine").unwrap_or_default();
        assert!(text.contains("what Mine cannot do"), "{text}");
        assert!(text.contains("1 of 400 laws: `reopen` returns false"), "{text}");
        assert!(text.contains("laws::reopen::nothing_is_lost"), "{text}");
        assert!(text.contains("20 of 400 laws: `another` returns None"), "{text}");
        assert!(!text.contains("laws::claims::7"), "more than a few are counted only: {text}");
    }
}
