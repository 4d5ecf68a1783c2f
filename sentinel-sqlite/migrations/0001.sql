-- One row for each address that has, or recently had, a record. `rev` 0: the record was purged, and only its `purged`
-- event is left. Times are microseconds since 1970, durations microseconds. The payload comes last: a page of a list
-- never reads its overflow pages. The newest events stand in `recent`, one a line: a run from claim to result is two
-- events, and they cost no page of their own.
CREATE TABLE records (
    id           INTEGER PRIMARY KEY, -- an order of age, and no identity: SQLite gives a number of a deleted row again
    life         BLOB    NOT NULL DEFAULT (randomblob(16)), -- whose events those in `events` are; never given again
    namespace    TEXT    NOT NULL,
    kind         TEXT    NOT NULL,
    key          TEXT    NOT NULL,
    last_event   INTEGER NOT NULL, -- how many events were ever appended to this row
    dropped      INTEGER NOT NULL DEFAULT 0, -- how many of them, the oldest, are not kept any more
    purge_at     INTEGER,          -- maintenance may look at it from then on; NULL: never
    state        TEXT    NOT NULL,
    lingers      INTEGER NOT NULL, -- 1 in an undecided record that is not among the newest, or was decided before
    rev          INTEGER NOT NULL,
    token        INTEGER NOT NULL,
    claim_id     BLOB,
    past_claims  BLOB    NOT NULL, -- newest first, 16 bytes each
    incarnation  INTEGER NOT NULL,
    after_reset  INTEGER NOT NULL,
    worker       TEXT,
    ttl          INTEGER,
    hard_ttl     INTEGER,
    late_effects INTEGER,
    retention    INTEGER,
    claimed_at   INTEGER,
    lease_until  INTEGER NOT NULL,
    hard_until   INTEGER NOT NULL,
    effects_until INTEGER NOT NULL,
    begun_at     INTEGER,
    completed_at INTEGER,
    last_now     INTEGER NOT NULL,
    fingerprint  TEXT,
    accepts      TEXT    NOT NULL, -- content types that callers can decode
    doubt        TEXT,
    decision     TEXT,             -- JSON
    cause        TEXT,             -- of the last claim: 'TRACE ROOT HOP [BY TOKEN]', see `Cause`
    about        TEXT,             -- what the last claim was about
    verdict      TEXT,
    code         INTEGER,
    omitted      INTEGER,
    content_type TEXT,
    recent       TEXT    NOT NULL,
    payload      BLOB,
    UNIQUE (namespace, kind, key)
) STRICT;

-- What stays claimed, executing or reconciling is little; what is completed is everything else. Most runs are over
-- before they are old, and are not entered here: who looks for what is undecided looks at the newest records too.
CREATE INDEX records_lingering ON records (namespace, kind, key) WHERE lingers = 1;

CREATE INDEX records_purgeable ON records (namespace, purge_at, id)
    WHERE purge_at IS NOT NULL;

-- What belongs to a root or a trace, in all namespaces. A record without a cause is in neither index. The trace is the
-- first 32 bytes of a cause, the root ends at the next blank.
CREATE INDEX records_root ON records (substr(cause, 34, instr(substr(cause, 34), ' ') - 1), namespace, kind, key)
    WHERE cause IS NOT NULL;

CREATE INDEX records_trace ON records (substr(cause, 1, 32), namespace, kind, key)
    WHERE cause IS NOT NULL AND substr(cause, 1, 32) <> '00000000000000000000000000000000';

-- The events that had to make room in their records, several in a row, one a line.
CREATE TABLE events (
    life   BLOB    NOT NULL,
    seq    INTEGER NOT NULL, -- which of the record's events is the last one here
    lines  TEXT    NOT NULL,
    PRIMARY KEY (life, seq)
) STRICT, WITHOUT ROWID;

-- No token at or below its namespace's floor is drawn: it holds the tokens of purged records.
CREATE TABLE floors (
    namespace TEXT    NOT NULL PRIMARY KEY,
    token     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Whether the file needs its log. The main file alone has 1 while acknowledged commits may be in the log; the first
-- commit of the log has 0 again. So a main file that was moved without its log shows that it is not complete.
CREATE TABLE main_file (
    generation BLOB    NOT NULL, -- random; drawn anew whenever the log is about to be emptied
    previous   BLOB,             -- the generation before
    needs_log  INTEGER NOT NULL
) STRICT;
INSERT INTO main_file VALUES (randomblob(16), NULL, 0);
