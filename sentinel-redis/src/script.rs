//! The scripts, each with the parts that all of them begin and end with, made for one store and one epoch.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use sentinel_core::EventLimit;
use sha1::{Digest as _, Sha1};

use crate::parts::{AFTER, LOOP, linked};

/// Reads or changes the text of a script before it is used. For tests that break one.
pub(crate) type Edit = Arc<dyn Fn(&str, String) -> String + Send + Sync>;

const CLAIM: &str = include_str!("../lua/coordination/claim.lua");
const COMPLETE: &str = include_str!("../lua/coordination/complete.lua");

macro_rules! scripts {
    ($($name:ident $file:literal [$($first:ident)*] $last:ident;)*) => {
        /// A script.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Script {
            $($name,)*
        }

        impl Script {
            const ALL: &'static [(Self, &'static str, &'static [&'static str])] = &[$((
                Self::$name,
                $file,
                &[$($first,)* include_str!(concat!("../lua/coordination/", $file, ".lua")), $last],
            ),)*];
        }
    };
}

/// The end of a script that has no common one.
const NOTHING: &str = "";

scripts! {
    Run "run" [CLAIM COMPLETE] AFTER;
    Begin "begin" [] AFTER;
    Cancel "cancel" [] AFTER;
    Release "release" [] AFTER;
    Abandon "abandon" [] AFTER;
    Reconcile "reconcile" [] AFTER;
    ForceComplete "force_complete" [] AFTER;
    ResetToClaimed "reset_to_claimed" [] AFTER;
    Evict "evict" [] AFTER;
    Heartbeat "heartbeat" [] LOOP;
    Heads "heads" [] LOOP;
    Read "read" [] NOTHING;
    Inspect "read" [] NOTHING;
    Page "page" [] NOTHING;
    ByCause "by_cause" [] NOTHING;
    Due "due" [] NOTHING;
    Purge "purge" [] NOTHING;
    History "history" [] NOTHING;
    Trim "trim" [] NOTHING;
}

/// All scripts, as one store and epoch has them.
pub(crate) struct Scripts {
    made: Vec<LinkedScript>,
}

struct LinkedScript {
    text: Bytes,
    sha: Bytes,
}

impl fmt::Debug for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripts").finish_non_exhaustive()
    }
}

/// The values that are written into the text of every script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ScriptParameters<'a> {
    pub(crate) store: &'a str,
    pub(crate) epoch: &'a str,
    pub(crate) events: EventLimit,
}

impl Scripts {
    pub(crate) fn new(parameters: &ScriptParameters<'_>, edit: Option<&Edit>) -> Self {
        static LINKED: OnceLock<Vec<(&str, String)>> = OnceLock::new();
        let linked = LINKED.get_or_init(|| {
            Script::ALL.iter().map(|(_, name, parts)| (*name, linked(&parts.concat()))).collect()
        });
        let make = |(name, text): &(&str, String)| {
            let text = text
                .replace("{store}", parameters.store)
                .replace("{epoch}", parameters.epoch)
                .replace("{inline}", &inline(parameters.events).to_string())
                .replace("{spare}", &spare(parameters.events).to_string())
                .replace("{events}", &parameters.events.max().to_string());
            let text = edit.map_or(text.clone(), |edit| edit(name, text));
            LinkedScript { sha: sha(&text), text: text.into() }
        };
        Self { made: linked.iter().map(make).collect() }
    }

    /// The scripts for a store that is only read, because it is in doubt. The server refuses every write of theirs,
    /// and they read a bucket whose marker is gone, too.
    pub(crate) fn read_only(edit: Option<&Edit>) -> Self {
        let edit = edit.cloned();
        let read_only: Edit = Arc::new(move |name, text| {
            let text = text.replace("bucket[1] ~= ''", "false");
            let text = edit.as_ref().map_or(text.clone(), |edit| edit(name, text));
            format!("#!lua flags=no-writes\n{text}")
        });
        Self::new(
            &ScriptParameters { store: "", epoch: "none: read only", events: EventLimit::default() },
            Some(&read_only),
        )
    }

    pub(crate) fn sha(&self, script: Script) -> Bytes {
        self.made[script as usize].sha.clone()
    }

    pub(crate) fn texts(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.made.iter().map(|made| made.text.clone())
    }
}

/// The smallest event limit at which some events are kept in the record itself.
const ROOM: usize = 48;

/// How many bytes of events are kept in a record at most, without the last event. Ten events are never shorter than
/// this.
fn inline(events: EventLimit) -> usize {
    if events.max() < ROOM { 0 } else { 600 }
}

/// How long a list may be so that, with the eleven events that may be in the record and the next one, there are not
/// too many.
fn spare(events: EventLimit) -> usize {
    events.max().saturating_sub(12)
}

/// The name of a script on a server.
pub(crate) fn sha(text: &str) -> Bytes {
    let sha: String = Sha1::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    sha.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_is_at_the_index_of_its_variant() {
        assert!(Script::ALL.iter().enumerate().all(|(n, (script, ..))| *script as usize == n));
    }

    #[test]
    fn a_read_only_script_checks_no_marker_and_may_not_write() {
        let scripts = Scripts::read_only(None);
        for text in scripts.texts() {
            let text = std::str::from_utf8(&text).unwrap();
            assert!(text.starts_with("#!lua flags=no-writes\n"), "{text}");
            assert!(text.contains("\nif false then\n  return redis.error_reply('SENTINELAMNESIA"), "{text}");
        }
    }

    #[test]
    fn a_script_is_another_in_another_epoch() {
        let parameters = |epoch| ScriptParameters { store: "s", epoch, events: EventLimit::default() };
        let (one, other) = (Scripts::new(&parameters("1"), None), Scripts::new(&parameters("2"), None));
        assert!(Script::ALL.iter().all(|(script, ..)| one.sha(*script) != other.sha(*script)));
        assert!(
            one.texts().all(|text| !text.windows(7).any(|part| part == b"{store}" || part == b"{epoch}"))
        );
    }
}
