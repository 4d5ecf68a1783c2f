//! Installing packages on Debian and its kin.

use std::path::Path;

use crate::shell::{Result, program};

/// On Debian and its kin, what to put before a command that needs root: nothing for root, else a sudo that asks no
/// questions. None: elsewhere, or without either.
pub(super) fn debian() -> Option<Vec<&'static str>> {
    if !Path::new("/etc/debian_version").exists() {
        return None;
    }
    let root = program("id", &["-u"]).read().is_ok_and(|id| id.trim() == "0");
    if root {
        return Some(vec![]);
    }
    program("sudo", &["-n", "true"]).works().then(|| vec!["sudo", "-n"])
}

pub(super) fn apt(prefix: &[&str], args: &[&str]) -> Result {
    // By env, since sudo keeps none of ours.
    as_root(prefix, &[&["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"], args].concat())
}

pub(super) fn as_root(prefix: &[&str], command: &[&str]) -> Result {
    let words = [prefix, command].concat();
    let Some((name, rest)) = words.split_first() else { return Ok(()) };
    program(name, rest).run()
}
