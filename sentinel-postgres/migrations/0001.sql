-- Times are microseconds since 1970 by the server's clock, durations microseconds. Nothing that a heartbeat changes
-- (lease_until, rev, last_now) is in an index or in an index' condition: with room left in each page, a heartbeat is a
-- heap-only update.

CREATE TYPE {kind} AS ENUM ('execution', 'lease');
-- 'purged': the row of a record that is not there any more, kept for as long as the event of its purge.
CREATE TYPE {state} AS ENUM ('free', 'claimed', 'executing', 'completed', 'reconciling', 'purged');
CREATE TYPE {verdict} AS ENUM ('success', 'failure');
CREATE TYPE {change} AS ENUM (
    'claimed', 'begun', 'completed', 'cancelled', 'released', 'abandoned',
    'reconciling', 'force_completed', 'reset_to_claimed', 'evicted', 'purged'
);

-- One row for each address that has, or recently had, a record. State 'purged', and `rev` 0: the record was purged, and
-- only its `purged` event is left. The wide columns stand last. Keys are compared byte by byte.
--
-- `life` is drawn like a token, at the first claim and at each purge: it distinguishes the lives of one address. It may
-- repeat among addresses. Nothing outside of the primary key has to be unique, so no counter has to be kept in step.
CREATE TABLE {records} (
    life               int8 NOT NULL,
    last_event         int8 NOT NULL,
    token              int8 NOT NULL CHECK (token < 9007199254740991), -- 2^53 - 1: no clock leads beyond it
    rev                int8 NOT NULL,
    last_now           int8 NOT NULL,
    lease_until        int8 NOT NULL,
    hard_until         int8 NOT NULL,
    effects_until      int8 NOT NULL, -- until then an effect of the run may still land
    incarnation        int8 NOT NULL,
    claimed_at         int8,
    begun_at           int8,
    completed_at       int8,
    purge_at           int8, -- maintenance may look at it from then on; NULL: never
    ttl                int8,
    hard_ttl           int8,
    late_effects       int8,
    retention          int8,
    claim_id           uuid,
    kind               {kind} NOT NULL,
    state              {state} NOT NULL,
    verdict            {verdict},
    code               int4,
    implied            int2 NOT NULL DEFAULT 0, -- this many of the newest events are in this row alone
    after_reset        bool NOT NULL,
    omitted            bool,
    namespace          text COLLATE "C" NOT NULL,
    key                text COLLATE "C" NOT NULL,
    worker             text,
    accepts            text, -- the content types that callers can decode; NULL: any
    fingerprint        bytea, -- of any text, also with a zero byte, which `text` cannot hold
    past_claims        uuid[], -- newest first, at most 8; NULL: none
    doubt              text,
    cause              text COLLATE "C", -- of the last claim: 'TRACE ROOT HOP [BY TOKEN]', see `Cause`
    about              text, -- what the last claim was about
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
CREATE INDEX {records_undecided} ON {records} (life)
    WHERE state IN ('claimed', 'executing', 'reconciling');

CREATE INDEX {records_purgeable} ON {records} (namespace, purge_at) WHERE purge_at IS NOT NULL;

-- Tombstones, for lists: they may be few among many records, or many among few.
CREATE INDEX {records_free} ON {records} (namespace, kind, key) WHERE state = 'free';

-- What belongs to a root or a trace, in all namespaces. A record without a cause is in neither index.
CREATE INDEX {records_root} ON {records} (split_part(cause, ' ', 2), namespace, kind, key) WHERE cause IS NOT NULL;

CREATE INDEX {records_trace} ON {records} (split_part(cause, ' ', 1), namespace, kind, key)
    WHERE cause IS NOT NULL AND split_part(cause, ' ', 1) <> '00000000000000000000000000000000';

-- The log: written once, in the order of time, deleted by maintenance. What the row of a record implies is written here
-- only when the row is about to stop implying it: of a run that was claimed once and completed (`implied` 1 and 2),
-- which is nearly all of them, there is nothing here. `history.sql` puts both together.
--
-- `record` is the first half of the SHA-256 of 'life/kind/namespace/key': it names one life of one address, and is
-- computed from the record's row by each statement, never drawn. `base`: earlier events were
-- dropped, and this is the record that they rebuild, as JSON. Only the oldest event that is kept has it.
CREATE TABLE {events} (
    record      uuid NOT NULL,
    seq         int8 NOT NULL,
    rev         int8 NOT NULL,
    at          int8 NOT NULL,
    token       int8 NOT NULL,
    ttl         int8,
    hard_ttl    int8,
    retention   int8,
    incarnation int8,
    late_effects int8,
    effects_until int8, -- abandoned: until then an effect of the run may still land
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
    accepts     text,
    cause       text,
    about       text,
    fingerprint bytea,
    digest      bytea,
    base        text,
    PRIMARY KEY (record, seq)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_scale_factor = 0.1);

-- No token at or below its namespace's floor is drawn: it holds the tokens of purged records.
CREATE TABLE {floors} (
    namespace text COLLATE "C" PRIMARY KEY,
    token     int8 NOT NULL
);

-- For the user's own transaction: locks a grant's record until the transaction ends, and fails if the grant is not the
-- current one. FOR SHARE: it keeps out everything that changes the record (each locks FOR NO KEY UPDATE), which a
-- weaker lock would not, and lets several transactions of one worker check at once, which a stronger one would not.
-- It runs with its owner's rights: who may call it needs none on the tables.
CREATE FUNCTION {check_grant}(namespace text, kind text, key text, token int8, claim_id uuid) RETURNS void
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $check$
DECLARE
    held record;
    why text;
BEGIN
    SELECT r.state, r.token, r.claim_id, r.lease_until, r.last_now INTO held
    FROM {records} r
    WHERE r.namespace = $1 AND r.kind = $2::{kind} AND r.key = $3
    FOR SHARE;
    IF NOT FOUND THEN
        why := 'nothing is recorded under this key';
    ELSIF held.token IS DISTINCT FROM $4 THEN
        why := format('the current token is %s', held.token);
    ELSIF held.claim_id IS DISTINCT FROM $5 THEN
        why := 'the token was granted to another call';
    ELSIF held.state NOT IN ('claimed', 'executing') THEN
        why := format('the record is %s', held.state);
    -- An execution is never taken over while it executes; anything else is over with its lease. Read above the lock.
    ELSIF held.state = 'claimed' AND held.lease_until
        <= greatest((extract(epoch FROM clock_timestamp()) * 1000000)::int8, held.last_now) THEN
        why := 'its lease has lapsed';
    END IF;
    IF why IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'SN001',
            MESSAGE = format('stale grant: token %s of %s/%s/%s is not current: %s', $4, $1, $2, $3, why),
            HINT = 'Roll the transaction back: this worker has lost its authority.';
    END IF;
END
$check$;

-- What a fenced table's resources have seen: one address each, and its highest token. A row here outlives the user's.
CREATE TABLE {fences} (
    fence    text COLLATE "C" NOT NULL, -- the table's name when the fence was made: it survives a renaming, and a dump
    resource text COLLATE "C" NOT NULL, -- the resource's columns and their values, as a JSON object; shortened if long
    address  text COLLATE "C" NOT NULL,
    token    int8 NOT NULL,
    PRIMARY KEY (fence, resource)
) WITH (fillfactor = 70);

-- Judges a write by the row as it ends up, and reads no column but those of the fence. Concurrent writers of one
-- resource wait for each other at its row in the table of fences: DO UPDATE locks it even where its WHERE is false.
-- Arguments: the fence, the columns of token and address, the columns of the resource.
CREATE FUNCTION {enforce_fence}() RETURNS trigger
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $enforce$
DECLARE
    presented int8;
    presenter text;
    before text;
    after text;
    place text;
    seen record;
BEGIN
    BEGIN
        EXECUTE (
            SELECT format('SELECT ($1).%I, ($1).%I, jsonb_build_object(%s)::text',
                TG_ARGV[1], TG_ARGV[2], string_agg(format('%L, ($1).%I', c, c), ', '))
            FROM unnest(TG_ARGV[3:]) c
        ) INTO STRICT presented, presenter, after USING NEW;
        IF TG_OP = 'UPDATE' THEN
            EXECUTE (
                SELECT format('SELECT jsonb_build_object(%s)::text', string_agg(format('%L, ($1).%I', c, c), ', '))
                FROM unnest(TG_ARGV[3:]) c
            ) INTO STRICT before USING OLD;
        END IF;
    EXCEPTION WHEN undefined_column THEN
        RAISE EXCEPTION USING ERRCODE = 'SN005',
            MESSAGE = format('the fence of %s guards a column that is not there any more: %s',
                TG_RELID::regclass, SQLERRM),
            HINT = 'Make the fence again, with create_fence and the columns of today.';
    END;
    -- Another trigger may move a row to another partition only before this one: its new place is judged as an insert.
    IF TG_WHEN = 'BEFORE' AND before = after THEN
        RETURN NEW;
    END IF;
    IF EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = TG_RELID) AND TG_WHEN = 'AFTER' THEN
        RAISE EXCEPTION USING ERRCODE = 'SN005',
            MESSAGE = format('%s is fenced, and a table that inherits from it is not', TG_RELID::regclass),
            HINT = 'ALTER TABLE .. NO INHERIT, or partition the table: a fence guards partitions.';
    END IF;
    IF presented IS NULL OR presenter IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'SN004',
            MESSAGE = format('unfenced write: %I and %I of %s have to carry a token and its address',
                TG_ARGV[1], TG_ARGV[2], TG_ARGV[0]);
    END IF;
    -- A row that moves from one resource to another has to pass for both; in one order, so that none wait in a circle.
    FOR place IN
        SELECT DISTINCT (CASE
            WHEN octet_length(side.r) <= 1000 THEN side.r
            -- An index takes no more. What is cut off is distinguished by its hash.
            ELSE left(side.r, 200) || '.. sha256 ' || encode(sha256(convert_to(side.r, getdatabaseencoding())), 'hex')
        END) COLLATE "C" AS named
        FROM (VALUES (CASE TG_WHEN WHEN 'AFTER' THEN after END), (before)) AS side (r) WHERE side.r IS NOT NULL
        ORDER BY named
    LOOP
        INSERT INTO {fences} AS f (fence, resource, address, token) VALUES (TG_ARGV[0], place, presenter, presented)
        ON CONFLICT (fence, resource) DO UPDATE SET token = excluded.token
        WHERE f.address = excluded.address AND f.token < excluded.token;
        CONTINUE WHEN FOUND;
        SELECT f.address, f.token INTO STRICT seen FROM {fences} f WHERE f.fence = TG_ARGV[0] AND f.resource = place;
        IF seen.address <> presenter THEN
            RAISE EXCEPTION USING ERRCODE = 'SN003',
                MESSAGE = format('wrong address: resource %s of %s belongs to %s, and %s wrote it',
                    place, TG_ARGV[0], seen.address, presenter),
                HINT = 'Tokens are ordered within one address only: write a resource under one address.';
        ELSIF seen.token > presented THEN
            RAISE EXCEPTION USING ERRCODE = 'SN002',
                MESSAGE = format('stale token: resource %s of %s has seen token %s of %s, and %s came after it',
                    place, TG_ARGV[0], seen.token, presenter, presented),
                HINT = 'Roll the transaction back: a newer holder has written.';
        END IF;
    END LOOP;
    RETURN NEW;
END
$enforce$;

-- Puts a fence before a table. Each write has to set both columns: the token, and the address as namespace/kind/key.
-- Made again over the same columns of the resource, it keeps what was seen; over others, it is another fence.
CREATE FUNCTION {create_fence}(
    target regclass, token_column name, address_column name, VARIADIC resource_columns name[]
) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp AS $create$
DECLARE
    named text;
    wrong text;
    arguments text;
    guarded text;
    is_partitioned bool;
BEGIN
    SELECT format('%I.%I', n.nspname, c.relname), c.relkind = 'p', CASE
            WHEN c.relkind NOT IN ('r', 'p') THEN 'it is not a table'
            WHEN c.relpersistence = 't' THEN 'it is a temporary table'
            WHEN c.relispartition THEN 'it is a partition: fence the partitioned table'
            WHEN c.relkind = 'r' AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid)
                THEN 'another table inherits from it, and a fence does not guard that one: '
                    'ALTER TABLE .. NO INHERIT, or partition the table'
        END
    INTO STRICT named, is_partitioned, wrong
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1;
    -- Types whose equal values have one text, whatever the session's settings are.
    SELECT coalesce(wrong, string_agg(format('%I has to be %s', w.name, w.fit), ', ')) INTO wrong
    FROM (
        SELECT $2 AS name, ARRAY['int8'] AS types, 'a bigint that is not generated' AS fit
        UNION ALL SELECT $3, ARRAY['text', 'varchar'], 'text that is not generated'
        UNION ALL SELECT r, ARRAY['int2', 'int4', 'int8', 'text', 'varchar', 'uuid'],
            'an integer, text of a deterministic collation, or a uuid, not null and stored'
        FROM unnest($4) r
    ) w
    WHERE NOT EXISTS (
        SELECT FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
            LEFT JOIN pg_collation c ON c.oid = a.attcollation
        WHERE a.attrelid = $1 AND a.attname = w.name AND a.attnum > 0 AND NOT a.attisdropped
          AND t.typnamespace = 'pg_catalog'::regnamespace AND t.typname = ANY (w.types)
          AND coalesce(c.collisdeterministic, true)
          AND CASE WHEN w.name IN ($2, $3) THEN a.attgenerated = ''
              ELSE a.attnotnull AND a.attgenerated IN ('', 's') END
    );
    IF wrong IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'SN005', MESSAGE = format('no fence for %s: %s', named, wrong);
    END IF;
    SELECT string_agg(quote_literal(a.value), ', ' ORDER BY a.n),
        string_agg(format('NEW.%I', a.value), ', ') FILTER (WHERE a.n > 1)
    INTO arguments, guarded
    FROM unnest(ARRAY[named, $2::text, $3::text] || $4::text[]) WITH ORDINALITY AS a (value, n);
    -- The condition is always true. It names the columns, so that none is dropped or changes its type unnoticed.
    EXECUTE format('CREATE OR REPLACE TRIGGER sentinel_fence AFTER INSERT OR UPDATE ON %s '
        'FOR EACH ROW WHEN (num_nonnulls(%s) >= 0) EXECUTE FUNCTION %s(%s)',
        named, guarded, $function${enforce_fence}$function$, arguments);
    -- A row that an update moves to another partition is deleted and inserted: nothing else sees that it was there.
    IF is_partitioned THEN
        EXECUTE format('CREATE OR REPLACE TRIGGER sentinel_fence_move BEFORE UPDATE ON %s '
            'FOR EACH ROW WHEN (num_nonnulls(%s) >= 0) EXECUTE FUNCTION %s(%s)',
            named, guarded, $function${enforce_fence}$function$, arguments);
    END IF;
END
$create$;

REVOKE ALL ON FUNCTION {check_grant}, {enforce_fence}, {create_fence} FROM PUBLIC;
