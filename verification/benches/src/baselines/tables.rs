//! The tables of the PostgreSQL baselines.

/// What the scripts write to and read from.
pub(crate) const TABLES: &str = "\
    CREATE TABLE bare (key text PRIMARY KEY, payload bytea); \
    CREATE TABLE reads (key text PRIMARY KEY, payload bytea); \
    CREATE TABLE beats (key text PRIMARY KEY, until int8, payload bytea) WITH (fillfactor = 70); \
    INSERT INTO reads SELECT 'invoice-' || n, decode(repeat('61', 100), 'hex') FROM generate_series(1, 10000) n; \
    INSERT INTO beats SELECT key, 0, payload FROM reads; \
    VACUUM ANALYZE reads; VACUUM ANALYZE beats";
