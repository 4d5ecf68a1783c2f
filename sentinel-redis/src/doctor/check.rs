//! What a check found.

use sentinel_core::store::Check;

pub(super) fn check(name: &'static str, ok: bool, found: impl Into<String>) -> Check {
    Check { name, ok, found: found.into() }
}
