//! The scripts, each with what all of them begin and end with, made for one store and one epoch.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use sha1::{Digest as _, Sha1};

/// Looks at, or changes, the text of a script before it is used. For tests that break one.
pub(crate) type Edit = Arc<dyn Fn(&str, String) -> String + Send + Sync>;

const BEFORE: &str = include_str!("../lua/before.part.lua");
const AFTER: &str = include_str!("../lua/after.part.lua");
const LOOP: &str = include_str!("../lua/loop.part.lua");

macro_rules! scripts {
    ($($name:ident $file:literal $parts:expr;)*) => {
        /// A script.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub(crate) enum Script {
            $($name,)*
        }

        impl Script {
            const ALL: &'static [(Self, &'static str, &'static [&'static str])] =
                &[$((Self::$name, $file, &$parts(include_str!(concat!("../lua/", $file, ".lua")))),)*];
        }
    };
}

/// One item after the other, each on a record that is read, judged and written as a whole.
const fn transition(step: &'static str) -> [&'static str; 4] {
    [BEFORE, step, AFTER, LOOP]
}

/// One item after the other.
const fn each(turn: &'static str) -> [&'static str; 3] {
    [BEFORE, turn, LOOP]
}

const fn alone(body: &'static str) -> [&'static str; 2] {
    [BEFORE, body]
}

scripts! {
    Claim "claim" transition;
    Begin "begin" transition;
    Complete "complete" transition;
    Cancel "cancel" transition;
    Release "release" transition;
    Abandon "abandon" transition;
    Reconcile "reconcile" transition;
    ForceComplete "force_complete" transition;
    ResetToClaimed "reset_to_claimed" transition;
    Evict "evict" transition;
    Heartbeat "heartbeat" each;
    Heads "heads" each;
    Due "due" alone;
    Purge "purge" alone;
    History "history" alone;
}

/// All scripts, as one store and epoch has them.
pub(crate) struct Scripts {
    made: Vec<Made>,
}

struct Made {
    text: Bytes,
    sha: Bytes,
}

impl fmt::Debug for Scripts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripts").finish_non_exhaustive()
    }
}

/// What stands in the text of every script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Baked<'a> {
    pub(crate) store: &'a str,
    pub(crate) epoch: &'a str,
    pub(crate) events: u32,
}

impl Scripts {
    pub(crate) fn new(baked: &Baked<'_>, edit: Option<&Edit>) -> Self {
        let make = |(_, name, parts): &(Script, &str, &[&str])| {
            let text = parts
                .concat()
                .replace("{store}", baked.store)
                .replace("{epoch}", baked.epoch)
                .replace("{events}", &baked.events.to_string());
            let text = edit.map_or(text.clone(), |edit| edit(name, text));
            let sha: String =
                Sha1::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            Made { text: text.into(), sha: sha.into() }
        };
        Self { made: Script::ALL.iter().map(make).collect() }
    }

    pub(crate) fn sha(&self, script: Script) -> Bytes {
        self.made[script as usize].sha.clone()
    }

    pub(crate) fn texts(&self) -> impl Iterator<Item = Bytes> + '_ {
        self.made.iter().map(|made| made.text.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_stands_at_its_own_place() {
        assert!(Script::ALL.iter().enumerate().all(|(n, (script, ..))| *script as usize == n));
    }

    #[test]
    fn a_script_is_another_in_another_epoch() {
        let baked = |epoch| Baked { store: "s", epoch, events: 9 };
        let (one, other) = (Scripts::new(&baked("1"), None), Scripts::new(&baked("2"), None));
        assert!(Script::ALL.iter().all(|(script, ..)| one.sha(*script) != other.sha(*script)));
        assert!(
            one.texts().all(|text| !text.windows(7).any(|part| part == b"{store}" || part == b"{epoch}"))
        );
    }
}
