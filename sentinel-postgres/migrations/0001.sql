-- Times are microseconds since 1970 by the server's clock, durations microseconds. Nothing that a heartbeat changes
-- (lease_until, rev, last_now) stands in an index or in an index' condition: with room left in each page, a heartbeat
-- is a heap-only update.

CREATE TYPE {kind} AS ENUM ('execution', 'lease');
CREATE TYPE {state} AS ENUM ('free', 'claimed', 'executing', 'completed', 'reconciling');
CREATE TYPE {verdict} AS ENUM ('success', 'failure');
CREATE TYPE {change} AS ENUM (
    'claimed', 'begun', 'completed', 'cancelled', 'released', 'abandoned',
    'reconciling', 'force_completed', 'reset_to_claimed', 'evicted', 'purged'
);

-- One row for each address that has, or recently had, a record. `rev` 0: the record was purged, and only its `purged`
-- event is left. The wide columns stand last. Keys are compared byte by byte.
CREATE TABLE {records} (
    id                 int8 GENERATED ALWAYS AS IDENTITY,
    last_event         int8 NOT NULL,
    token              int8 NOT NULL,
    rev                int8 NOT NULL,
    last_now           int8 NOT NULL,
    lease_until        int8 NOT NULL,
    hard_until         int8 NOT NULL,
    incarnation        int8 NOT NULL,
    claimed_at         int8,
    begun_at           int8,
    completed_at       int8,
    purge_at           int8, -- maintenance may look at it from then on; NULL: never
    ttl                int8,
    hard_ttl           int8,
    retention          int8,
    claim_id           uuid,
    kind               {kind} NOT NULL,
    state              {state} NOT NULL,
    verdict            {verdict},
    code               int4,
    after_reset        bool NOT NULL,
    omitted            bool,
    namespace          text COLLATE "C" NOT NULL,
    key                text COLLATE "C" NOT NULL,
    worker             text,
    fingerprint        bytea, -- of any text, also with a zero byte, which `text` cannot hold
    past_claims        uuid[], -- newest first, at most 8; NULL: none
    doubt              text,
    decision_op_id     uuid,
    decision_kind      text,
    decision_token     int8,
    decision_presented int8,
    decision_at        int8,
    decision_digest    bytea,
    decision_operator  text,
    decision_reason    text,
    content_type       text,
    payload            bytea,
    PRIMARY KEY (namespace, kind, key)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1);

-- What is claimed, executing or reconciling is little; what is completed is everything else.
-- By the number that grows: each new entry goes to the end of the index, whatever its key.
CREATE INDEX {records_undecided} ON {records} (id)
    WHERE state IN ('claimed', 'executing', 'reconciling');

CREATE INDEX {records_purgeable} ON {records} (namespace, purge_at, id) WHERE purge_at IS NOT NULL;

-- The log: written once, in the order of time, deleted by maintenance.
CREATE TABLE {events} (
    record      int8 NOT NULL,
    seq         int8 NOT NULL,
    rev         int8 NOT NULL,
    at          int8 NOT NULL,
    token       int8 NOT NULL,
    ttl         int8,
    hard_ttl    int8,
    retention   int8,
    incarnation int8,
    change      {change} NOT NULL,
    before      {state},
    after       {state},
    verdict     {verdict},
    code        int4,
    flag        bool, -- claimed: begun at once; completed: late; released: vouched
    claim_id    uuid,
    op_id       uuid,
    worker      text,
    operator    text,
    reason      text,
    fingerprint bytea,
    digest      bytea,
    PRIMARY KEY (record, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1);

-- The events stand in the order of time, so a few summaries find the old ones.
CREATE INDEX {events_at} ON {events} USING brin (at);

-- No token at or below its namespace's floor is drawn: it holds the tokens of purged records.
CREATE TABLE {floors} (
    namespace text COLLATE "C" PRIMARY KEY,
    token     int8 NOT NULL
);
