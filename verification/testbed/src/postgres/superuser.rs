//! The superuser of every server.

/// The superuser of every server.
pub const SUPERUSER: &str = "postgres";
/// Its password.
pub const PASSWORD: &str = "testbed";
