//! Checks a store's address, which is used exactly as written or refused.

use crate::error::Invalid;

/// Refuses a store's address that begins or ends with a blank, or has a control character. Such an address is a
/// mistake: a line break at the end of an environment variable would name another file or another database.
///
/// **Effect:** none. **Errors:** the reason, without the address, because the address may include a password.
pub fn check_store_address(address: &str) -> Result<(), Invalid> {
    const WHAT: &str = "the store's address";
    if let Some(control) = address.chars().find(|c| c.is_control()) {
        return Err(Invalid::new(WHAT, format!("has the control character {}", control.escape_debug())));
    }
    if address.trim() != address {
        return Err(Invalid::new(WHAT, "begins or ends with white space"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_around_an_address_and_control_characters_in_it_are_refused() {
        for bad in [
            "sqlite:x.db\n",
            "sqlite:x\u{0}",
            "\tmemory:",
            " memory:",
            "sqlite:x.db ",
            "redis://h\u{a0}",
            "a\u{85}b",
        ] {
            assert!(check_store_address(bad).is_err(), "{bad:?}");
        }
        for good in ["sqlite:/my files/x.db", "postgres://u@h/db", ""] {
            assert!(check_store_address(good).is_ok(), "{good:?}");
        }
        let why = check_store_address("postgres://u:hunter2@h\n").unwrap_err().to_string();
        assert!(why.contains("\\n") && !why.contains("hunter2"), "{why}");
    }
}
