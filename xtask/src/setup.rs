//! What the tests need and cargo does not bring: checked, and installed where that can be done without asking.

use std::env;
use std::path::Path;

use crate::shell::{Result, program};

/// Sets up what is missing. Does nothing, quickly, where all is there.
pub(crate) fn setup() -> Result {
    c_compiler()?;
    servers()
}

/// SQLite is C, and is built with the store that uses it.
fn c_compiler() -> Result {
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".into());
    // CC may carry flags or a wrapper: "ccache gcc".
    let words: Vec<&str> = compiler.split_whitespace().collect();
    let works =
        || words.split_first().is_some_and(|(name, rest)| program(name, rest).args(&["--version"]).works());
    if works() {
        println!("C compiler: {compiler}");
        return Ok(());
    }
    println!("C compiler: {compiler} does not answer");
    let Some(prefix) = debian_as_root() else {
        return Err(format!("a C compiler is needed to build SQLite: {}", how_to_get_a_compiler()).into());
    };
    apt(&prefix, &["update"])?;
    apt(&prefix, &["install", "--yes", "--no-install-recommends", "gcc", "libc6-dev"])?;
    if works() {
        Ok(())
    } else {
        Err(format!("gcc was installed, and {compiler} still does not answer").into())
    }
}

/// The servers that tests talk to (PostgreSQL, Redis): the stores in the tree need none, so there is none to set up.
/// A store on a server adds its own here: found, else installed, else a sentence that says how.
fn servers() -> Result {
    println!("servers: none needed");
    Ok(())
}

/// How to run apt here: as root directly, else through a sudo that asks no questions.
fn debian_as_root() -> Option<Vec<&'static str>> {
    if !Path::new("/etc/debian_version").exists() {
        return None;
    }
    let root = program("id", &["-u"]).read().is_ok_and(|id| id.trim() == "0");
    if root {
        return Some(vec!["apt-get"]);
    }
    program("sudo", &["-n", "true"]).works().then(|| vec!["sudo", "-n", "apt-get"])
}

fn apt(prefix: &[&str], args: &[&str]) -> Result {
    let Some((name, rest)) = prefix.split_first() else { return Ok(()) };
    program(name, rest).args(args).env("DEBIAN_FRONTEND", "noninteractive").run()
}

fn how_to_get_a_compiler() -> &'static str {
    if cfg!(target_os = "macos") {
        "xcode-select --install"
    } else if Path::new("/etc/debian_version").exists() {
        "sudo apt-get install gcc libc6-dev"
    } else {
        "install gcc or clang with the system's package manager, or name one in the variable CC"
    }
}
