//! What clippy and rustfmt can fix.

use crate::shell::{Result, cargo};

pub(crate) fn fix() -> Result {
    let allow = ["--allow-dirty", "--allow-staged"];
    cargo(&["clippy", "--fix", "--workspace", "--all-targets", "--all-features"]).args(&allow).run()?;
    cargo(&["fmt", "--all"]).run()?;
    cargo(&["fmt", "--manifest-path", "verification/fuzz/Cargo.toml"]).run()
}
