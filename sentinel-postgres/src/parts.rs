//! The parts that several statements share, and how names and parts are put into a statement's text: how a row is
//! locked and the clock read above the lock, how a token is drawn, what a freed record looks like.

use sentinel_core::{Invalid, PURGE_REST};

/// The names of a record's columns, in the order in which `coordination/row.rs` reads them.
pub(crate) const COLUMNS: &str = "life, last_event, implied, \
    CASE state WHEN 'purged' THEN 'free' ELSE state::text END AS state, rev, token, claim_id, past_claims, \
    incarnation, after_reset, worker, ttl, hard_ttl, late_effects, retention, claimed_at, lease_until, hard_until, \
    effects_until, begun_at, completed_at, last_now, fingerprint, accepts, cause, about, doubt, \
    decision_op_id, decision_kind, decision_token, decision_presented, decision_digest, \
    decision_operator, decision_reason, decision_at, verdict::text AS verdict, code, omitted, content_type, payload";

/// The same without a result's bytes: for lists.
pub(crate) const LISTED: &str = "life, last_event, implied, state::text AS state, rev, token, claim_id, past_claims, \
    incarnation, after_reset, worker, ttl, hard_ttl, late_effects, retention, claimed_at, lease_until, hard_until, \
    effects_until, begun_at, completed_at, last_now, fingerprint, accepts, cause, about, doubt, \
    decision_op_id, decision_kind, decision_token, decision_presented, decision_digest, \
    decision_operator, decision_reason, decision_at, verdict::text AS verdict, code, omitted, content_type, \
    CASE WHEN verdict IS NOT NULL THEN ''::bytea END AS payload";

/// The names of the columns of an event `e`, in the order in which `coordination/row.rs` reads them.
const EVENT_COLUMNS: &str = "e.rev, e.at, e.token, e.before::text, e.after::text, \
    e.claim_id, e.op_id, e.worker, e.operator, \
    e.reason, e.change::text, e.ttl, e.hard_ttl, e.late_effects, e.retention, e.fingerprint, e.accepts, \
    e.cause, e.about, e.incarnation, e.flag, e.verdict::text, e.code, e.digest, e.effects_until, e.base";

const LOCKED_RECORD: &str = include_str!("../sql/parts/locked_record.sql");
const REPLY: &str = include_str!("../sql/parts/reply.sql");
/// The events that the row `h` implies: its first claim, and the completion of that run.
const IMPLIED: &str = include_str!("../sql/parts/implied_events.sql");

macro_rules! without_holder {
    ($state:literal) => {
        concat!(
            "state = '",
            $state,
            "', claim_id = NULL, worker = NULL, ttl = NULL, hard_ttl = NULL, late_effects = NULL, retention = NULL, \
             claimed_at = NULL, lease_until = 0, hard_until = 0, effects_until = 0, \
             begun_at = NULL, completed_at = NULL, \
             fingerprint = NULL, accepts = NULL, doubt = NULL, verdict = NULL, code = NULL, omitted = NULL, \
             content_type = NULL, payload = NULL"
        )
    };
}

/// The server's clock, moved by the first parameter: by nothing, but in tests.
const CLOCK: &str = "(extract(epoch FROM clock_timestamp()) * 1000000)::int8 + $1::int8";

/// A record's name in the table of events: a digest of its address and life. Only the key may hold the separator.
macro_rules! record_of {
    ($life:literal, $kind:literal, $namespace:literal, $key:literal) => {
        concat!(
            "encode(substr(sha256(convert_to(concat_ws('/', ",
            concat!($life, ", ", $kind, ", ", $namespace, ", ", $key),
            "), 'UTF8')), 1, 16), 'hex')::uuid"
        )
    };
}

/// A fragment, or the name of something in the schema.
fn fragment(name: &str) -> Option<&'static str> {
    Some(match name {
        "columns" => COLUMNS,
        "listed" => LISTED,
        "locked_record" => LOCKED_RECORD,
        "reply" => REPLY,
        "implied" => IMPLIED,
        "inserted_implied_events" => {
            "inserted_implied_events AS (INSERT INTO {events} (record, {implied_columns}) \
             SELECT {this_record}, e.* FROM locked_record h CROSS JOIN updated_record c \
             CROSS JOIN LATERAL ({implied}) e)"
        }
        "implied_columns" => {
            "seq, rev, at, token, before, after, change, claim_id, worker, ttl, hard_ttl, retention, fingerprint, \
             incarnation, flag, verdict, code, late_effects, accepts, cause, about"
        }
        "event_columns" => EVENT_COLUMNS,
        // Whose events they are: of the record that a statement is about, or of a row.
        "this_record" => record_of!("c.life", "$3::text", "$2::text", "$4::text"),
        "record_of_c" => record_of!("c.life", "c.kind", "c.namespace", "c.key"),
        "record_of_h" => record_of!("h.life", "h.kind", "h.namespace", "h.key"),
        "record_of_r" => record_of!("r.life", "r.kind", "r.namespace", "r.key"),
        "record_of_next" => record_of!("p.next_life", "p.kind", "$2::text", "p.key"),
        "freed" => without_holder!("free"),
        "emptied" => without_holder!("purged"),
        "clock" => CLOCK,
        "clock_before" => "(extract(epoch FROM statement_timestamp()) * 1000000)::int8 + $1::int8",
        "next" => "(greatest(h.token, at.floor, at.now) + 1)",
        "remembered" => {
            "CASE WHEN h.claim_id IS NULL THEN h.past_claims \
             ELSE (ARRAY[h.claim_id] || array_remove(coalesce(h.past_claims, '{}'), h.claim_id))[1:8] END"
        }
        "retained_until" => {
            "CASE WHEN h.retention IS NOT NULL \
             THEN h.completed_at + least(h.retention, 9223372036854775807 - h.completed_at) END"
        }
        // kernel::table::claim: free, a claim that has lapsed, or a result past its retention.
        "claimable" => {
            "(h.state = 'free' OR h.state = 'claimed' AND at.now >= h.lease_until \
              OR h.state = 'completed' AND at.now >= {retained_until})"
        }
        "completed_purge_at" => {
            "CASE WHEN h.retention IS NOT NULL \
             THEN at.now + greatest(least(h.retention, 9223372036854775807 - at.now), {rest}) END"
        }
        "batch_completed_purge_at" => {
            "CASE WHEN h.retention IS NOT NULL THEN greatest(at.now, h.last_now) + greatest(least(h.retention, \
             9223372036854775807 - greatest(at.now, h.last_now)), {rest}) END"
        }
        "freed_purge_at" => "CASE WHEN NOT h.after_reset THEN at.now + {rest} END",
        "touched" => "rev = r.rev + 1, last_now = at.now, last_event = r.last_event + 1, implied = 0",
        "touched_by_completion" => {
            "rev = r.rev + 1, last_now = at.now, last_event = r.last_event + 1, \
             implied = CASE WHEN h.implied = 1 THEN 2 ELSE 0 END"
        }
        // By the address alone: the row is found as it was before the wait for its lock, when it may have had an
        // earlier life.
        "row" => "r.namespace = $2 AND r.kind = $3::text::{kind} AND r.key = $4",
        "decided" => {
            "decision_op_id = $5::uuid, decision_presented = $6::int8, decision_operator = $7::text, \
             decision_reason = $8::text, decision_at = at.now"
        }
        "updated_columns" => "r.life, r.last_event, r.rev, r.token, r.last_now, r.state",
        "updated" => {
            "h.n, h.place, h.operation, h.flag, h.presented_by, r.namespace, r.kind, r.key, r.life, \
             h.state AS before, coalesce(h.new_worker, h.worker) AS holder, \
             h.new_ttl, h.new_hard_ttl, h.new_retention, h.new_fingerprint, h.new_late_effects, h.new_accepts, \
             h.new_cause, h.new_about, \
             r.last_event, r.rev, r.token, \
             r.last_now, r.state AS after, r.incarnation, r.lease_until, r.hard_until"
        }
        "logged" => "record, seq, rev, at, token, before, after",
        "log" => {
            "{this_record}, c.last_event, c.rev, c.last_now, c.token, \
             CASE WHEN h.rev > 0 THEN h.state::{state} END, c.state"
        }
        _ => return None,
    })
}

/// Where the tables are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) schema: String,
    pub(crate) prefix: String,
}

impl Names {
    /// Schema and prefix are identifiers; what is put into a statement is quoted.
    pub(crate) fn new(schema: &str, prefix: &str) -> Result<Self, Invalid> {
        let word = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if schema.is_empty() || schema.len() > 63 || !word(schema) {
            return Err(Invalid::new("schema", "must be 1 to 63 letters, digits and underscores"));
        }
        // The longest name that a prefix is put before has 18 bytes; PostgreSQL cuts names at 63.
        if prefix.len() > 40 || !word(prefix) {
            return Err(Invalid::new("table prefix", "must be at most 40 letters, digits and underscores"));
        }
        Ok(Self { schema: schema.to_owned(), prefix: prefix.to_owned() })
    }

    /// The name of a table, type or function.
    pub(crate) fn qualified(&self, name: &str) -> String {
        format!("\"{}\".\"{}{name}\"", self.schema, self.prefix)
    }

    /// Puts fragments and names in for `{word}`.
    pub(crate) fn fill(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() * 2);
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            out.push_str(&rest[..open]);
            let (word, after) = rest[open + 1..].split_once('}').unwrap_or((&rest[open + 1..], ""));
            match word {
                // An empty array's text.
                "" => out.push_str("{}"),
                "schema" => out.push_str(&format!("\"{}\"", self.schema)),
                "rest" => out.push_str(&(PURGE_REST.as_micros() + 1).to_string()),
                // Filled in by the statement's own maker.
                "skip" | "durability" | "found" => out.push_str(&format!("{{{word}}}")),
                // An index is named without its schema.
                "records_undecided" | "records_purgeable" | "records_free" | "records_root"
                | "records_trace" => {
                    out.push_str(&format!("\"{}{word}\"", self.prefix));
                }
                word => match fragment(word) {
                    Some(text) => out.push_str(&self.fill(text.trim_end())),
                    None => out.push_str(&self.qualified(word)),
                },
            }
            rest = after;
        }
        out.push_str(rest);
        out
    }
}
