//! What the tests need and cargo does not bring: checked, and installed where that can be done without asking.

mod packages;
mod servers;

use std::env;
use std::path::Path;

use crate::shell::{Result, program};

use packages::{apt, debian};

/// Sets up what is missing. Does nothing, quickly, where all is there.
pub(crate) fn setup() -> Result {
    c_compiler()?;
    servers::servers()
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
    let Some(prefix) = debian() else {
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

fn how_to_get_a_compiler() -> &'static str {
    if cfg!(target_os = "macos") {
        "xcode-select --install"
    } else if Path::new("/etc/debian_version").exists() {
        "sudo apt-get install gcc libc6-dev"
    } else {
        "install gcc or clang with the system's package manager, or name one in the variable CC"
    }
}
