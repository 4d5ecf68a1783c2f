//! The superuser of every server.

/// The superuser of every server.
pub const SUPERUSER: &str = "postgres";
/// Its password.
pub const PASSWORD: &str = "testbed";

/// What a server keeps of [`PASSWORD`], hashed once where PostgreSQL would do it 4,096 times. Each client that connects
/// repeats it, and in an unoptimised build that takes half of the time of a store's tests. Give it to `CREATE ROLE ..
/// PASSWORD` for a role with the same password, under which many tests connect.
pub const VERIFIER: &str = "SCRAM-SHA-256$1:c2VudGluZWwtdGVzdGJlZA==$O5KikDsJ59lEPs3x65wy6MLEkIS36I0gf5gKFok49Oo=:\
                            9dzEBB7VaJxyL507TGaMM8jICieI4q2hkRnuLSb+xGQ=";
