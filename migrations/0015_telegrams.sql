-- What telegrams leave behind for those that come after them: the record lists
-- of compact frames, which key opened what, the counters that tell a replayed
-- frame, the conditions of a meter that last.

-- ---- models that every tenant has ----

CREATE FUNCTION models_add(p_tenant int) RETURNS void LANGUAGE sql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO meter_model (tenant_id, name, maker, medium, codec)
    SELECT p_tenant, m.* FROM (VALUES
        ('elvaco-cmi4110', 'Elvaco', 'heat', 'elvaco-cmi41'),
        ('elvaco-cmi4130', 'Elvaco', 'heat', 'elvaco-cmi41'),
        ('elvaco-cmi4140', 'Elvaco', 'heat', 'elvaco-cmi41'),
        ('elvaco-cmi4160', 'Elvaco', 'heat', 'elvaco-cmi41'),
        ('heo-g4', 'Prometrika', 'gas', 'heo-json'),
        ('heo-g6', 'Prometrika', 'gas', 'heo-json'),
        ('vega-si11', 'Vega', 'other', 'vega-si11'),
        ('mbus-generic', 'any', 'other', 'mbus-records'), -- records alone
        ('mbus-frame', 'any', 'other', 'mbus'),           -- of the wired link
        ('wmbus-generic', 'any', 'other', 'wmbus'),
        ('dlms-push', 'any', 'electricity', 'dlms-push'),
        ('sml', 'any', 'electricity', 'sml'),
        ('iec62056-21', 'any', 'electricity', 'iec62056-21'),
        ('pulsar-m', 'Pulsar', 'water', 'pulsar-m'),
        ('pulsar-heat', 'Pulsar', 'heat', 'pulsar-heat'),
        ('karat-928lw', 'KARAT', 'other', 'karat-928lw'),
        ('ts003', 'any', 'other', 'ts003')
    ) AS m (name, maker, medium, codec)
    ON CONFLICT DO NOTHING $$;

CREATE OR REPLACE FUNCTION tenant_add(p_name text, p_timezone text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    id int;
BEGIN
    INSERT INTO tenant (name, timezone) VALUES (p_name, p_timezone)
        RETURNING tenant_id INTO id;
    PERFORM models_add(id);
    RETURN id;
END $$;
SELECT models_add(tenant_id) FROM tenant WHERE tenant_id > 0;

-- ---- what a tenant refuses ----

ALTER TABLE tenant ADD unprotected text NOT NULL DEFAULT 'accept'
    CHECK (unprotected IN ('accept', 'refuse'));
COMMENT ON COLUMN tenant.unprotected IS
    'content in clear under a header that announces encryption';
GRANT UPDATE (unprotected) ON tenant TO headend_server;

CREATE FUNCTION directory_tenants() RETURNS TABLE (tenant_id int, unprotected text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT t.tenant_id, t.unprotected FROM tenant t $$;

CALL audited('meter_key', 'key_id');

-- ---- record lists, keys used, counters, conditions ----

-- What compact frames leave out (EN 13757-3), as full frames taught it.
CREATE TABLE meter_format (
    tenant_id int NOT NULL REFERENCES tenant,
    signature int NOT NULL,
    list bytea NOT NULL CHECK (octet_length(list) < 256),
    frame_id bigint NOT NULL, -- that taught it
    learnt_at timestamptz NOT NULL DEFAULT now(),
    changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (tenant_id, signature, list)
);
CREATE INDEX meter_format_changed ON meter_format (changed_xid);
CALL protect('meter_format');
GRANT SELECT, INSERT ON meter_format TO headend_server;
CREATE TRIGGER meter_format_notify AFTER INSERT ON meter_format
    FOR EACH ROW EXECUTE FUNCTION directory_changed();

CREATE FUNCTION directory_formats(p_since xid8) RETURNS TABLE
    (tenant_id int, list bytea, upto xid8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT f.tenant_id, f.list, pg_snapshot_xmin(pg_current_snapshot())
   FROM meter_format f WHERE f.changed_xid >= p_since
   ORDER BY f.learnt_at, f.signature $$;

-- The key that opened a meter's last encrypted frame, and since which frame.
CREATE TABLE meter_key_use (
    tenant_id int NOT NULL,
    meter_id int NOT NULL,
    key_id bigint NOT NULL,
    since timestamptz NOT NULL,
    frame_id bigint NOT NULL,
    PRIMARY KEY (tenant_id, meter_id),
    FOREIGN KEY (tenant_id, key_id) REFERENCES meter_key
);
CALL protect('meter_key_use');
GRANT SELECT, INSERT, UPDATE ON meter_key_use TO headend_server;

-- The highest counter under each key of a meter.
CREATE TABLE security_counter (
    tenant_id int NOT NULL,
    meter_id int NOT NULL,
    key_id bigint NOT NULL,
    counter bigint NOT NULL,
    heard_at timestamptz NOT NULL,
    frame_id bigint NOT NULL,
    PRIMARY KEY (tenant_id, meter_id, key_id)
);
CALL protect('security_counter');
GRANT SELECT, INSERT, UPDATE ON security_counter TO headend_server;

-- A condition that a meter tells in every telegram while it lasts (status
-- bits) is an event when it begins and one when it has ended.
CREATE TABLE meter_condition (
    tenant_id int NOT NULL,
    meter_id int NOT NULL,
    code text NOT NULL,
    since timestamptz NOT NULL,
    seen_at timestamptz NOT NULL, -- last told
    ended_at timestamptz,         -- NULL: it lasts
    PRIMARY KEY (tenant_id, meter_id, code)
);
CALL protect('meter_condition');
GRANT SELECT, INSERT, UPDATE ON meter_condition TO headend_server;

-- The notes of a batch: [{"frame_id","key_id","counter","signature","format",
-- "status":[{"code","severity","detail"}]}], each member where there is one.
-- With what became of the frame, from the caller's stage_frame.
CREATE FUNCTION batch_notes(p_notes jsonb) RETURNS TABLE (tenant_id int,
    meter_id int, frame_id bigint, heard_at timestamptz, received_at timestamptz,
    fate smallint, key_id bigint, counter bigint, signature int, format text,
    status jsonb)
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY SELECT f.tenant_id, f.meter_id, f.frame_id, f.frame_time,
        f.received_at, f.fate, x.key_id, x.counter, x.signature, x.format, x.status
    FROM jsonb_to_recordset(p_notes) AS x(frame_id bigint, key_id bigint,
        counter bigint, signature int, format text, status jsonb)
    JOIN stage_frame f ON f.frame_id = x.frame_id;
END $$;

-- Before store_batch(): a frame that was heard later than one with a higher
-- counter under the same key, or more than a minute after the same counter (in
-- that time another receiver may bring it too), was sent again by somebody
-- else, unless it is a duplicate, which store_batch() finds.
CREATE FUNCTION refuse_replayed(p_notes jsonb) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    WITH noted AS (
        SELECT n.*, greatest(c.counter, max(n.counter) OVER (
                PARTITION BY n.tenant_id, n.meter_id, n.key_id ORDER BY n.heard_at
                GROUPS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) AS highest,
            least(CASE WHEN c.counter = n.counter THEN c.heard_at END,
                min(n.heard_at) OVER (PARTITION BY n.tenant_id, n.meter_id,
                    n.key_id, n.counter)) AS first_heard
        FROM batch_notes(p_notes) n
        LEFT JOIN security_counter c ON c.tenant_id = n.tenant_id
            AND c.meter_id = n.meter_id AND c.key_id = n.key_id
            AND c.heard_at < n.heard_at AND c.frame_id <> n.frame_id
        WHERE n.counter IS NOT NULL AND n.key_id IS NOT NULL AND n.fate = 1
    ), refused AS (
        UPDATE stage_frame f SET fate = 3, reason = 'replayed',
            detail = format('counter %s under key %s, after %s', n.counter,
                n.key_id, n.highest), extras = NULL
        FROM noted n WHERE n.frame_id = f.frame_id AND (n.counter < n.highest
            OR n.counter = n.highest AND n.heard_at > n.first_heard + interval '1 minute')
        RETURNING f.frame_id
    )
    DELETE FROM stage_capture c USING refused r WHERE c.frame_id = r.frame_id;
END $$;

-- After store_batch(), in its transaction.
CREATE FUNCTION store_notes(p_notes jsonb) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    at timestamptz;
BEGIN
    INSERT INTO meter_format (tenant_id, signature, list, frame_id)
    SELECT DISTINCT ON (n.tenant_id, n.signature, n.format) n.tenant_id,
        n.signature, decode(n.format, 'hex'), n.frame_id
    FROM batch_notes(p_notes) n
    WHERE n.format IS NOT NULL AND n.fate = 1 AND (SELECT count(*) < 1000
        FROM meter_format m WHERE m.tenant_id = n.tenant_id)
    ORDER BY n.tenant_id, n.signature, n.format, n.frame_id
    ON CONFLICT DO NOTHING;

    INSERT INTO meter_key_use AS u (tenant_id, meter_id, key_id, since, frame_id)
    SELECT DISTINCT ON (n.tenant_id, n.meter_id) n.tenant_id, n.meter_id,
        n.key_id, n.heard_at, n.frame_id
    FROM batch_notes(p_notes) n WHERE n.key_id IS NOT NULL AND n.fate = 1
    ORDER BY n.tenant_id, n.meter_id, n.heard_at DESC
    ON CONFLICT (tenant_id, meter_id) DO UPDATE SET key_id = excluded.key_id,
        since = excluded.since, frame_id = excluded.frame_id
        WHERE u.key_id <> excluded.key_id AND u.since < excluded.since;

    INSERT INTO security_counter AS c (tenant_id, meter_id, key_id, counter,
        heard_at, frame_id)
    SELECT DISTINCT ON (n.tenant_id, n.meter_id, n.key_id) n.tenant_id,
        n.meter_id, n.key_id, n.counter, n.heard_at, n.frame_id
    FROM batch_notes(p_notes) n
    WHERE n.counter IS NOT NULL AND n.key_id IS NOT NULL AND n.fate = 1
    ORDER BY n.tenant_id, n.meter_id, n.key_id, n.counter DESC, n.heard_at
    ON CONFLICT (tenant_id, meter_id, key_id) DO UPDATE
        SET counter = excluded.counter, heard_at = excluded.heard_at,
            frame_id = excluded.frame_id
        WHERE c.counter < excluded.counter;

    FOR at IN SELECT DISTINCT date_trunc('month', n.heard_at, 'UTC')
              FROM batch_notes(p_notes) n LOOP
        PERFORM ensure_partition('event', 'month', at);
    END LOOP;
    INSERT INTO event (time, received_at, frame_id, tenant_id, meter_id, severity,
        state, code, detail)
    SELECT f.frame_time, f.received_at, f.frame_id, f.tenant_id, f.meter_id, 3, 0,
        'replay.detected', f.detail
    FROM stage_frame f WHERE f.reason = 'replayed' AND f.fate = 3
    ON CONFLICT DO NOTHING;
    PERFORM store_conditions(p_notes);
END $$;

-- Frames that tell a meter's whole state, in the order in which they were
-- heard. One that is older than what is known of a condition changes nothing.
CREATE FUNCTION store_conditions(p_notes jsonb) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    n record;
BEGIN
    FOR n IN
        WITH told AS MATERIALIZED (
            SELECT * FROM batch_notes(p_notes) b WHERE b.status IS NOT NULL AND b.fate = 1
        ), concerned AS (
            SELECT t.tenant_id, t.meter_id FROM told t WHERE t.status <> '[]'
            UNION
            SELECT c.tenant_id, c.meter_id FROM told t
            JOIN meter_condition c ON c.tenant_id = t.tenant_id
                AND c.meter_id = t.meter_id AND c.ended_at IS NULL
        )
        SELECT t.* FROM told t JOIN concerned USING (tenant_id, meter_id)
        ORDER BY t.tenant_id, t.meter_id, t.heard_at, t.frame_id
    LOOP
        WITH told AS (
            SELECT DISTINCT ON (x.code) x.* FROM jsonb_to_recordset(n.status)
                AS x(code text, severity smallint, detail text) ORDER BY x.code
        ), lasting AS (
            INSERT INTO meter_condition AS c (tenant_id, meter_id, code, since, seen_at)
            SELECT n.tenant_id, n.meter_id, t.code, n.heard_at, n.heard_at FROM told t
            ON CONFLICT (tenant_id, meter_id, code) DO UPDATE
                SET seen_at = excluded.seen_at, ended_at = NULL,
                    since = CASE WHEN c.ended_at IS NULL THEN c.since
                                 ELSE excluded.since END
                WHERE coalesce(c.ended_at, c.seen_at) < excluded.seen_at
            RETURNING c.code, c.since
        ), ended AS (
            UPDATE meter_condition c SET ended_at = n.heard_at
            WHERE c.tenant_id = n.tenant_id AND c.meter_id = n.meter_id
              AND c.ended_at IS NULL AND c.seen_at < n.heard_at
              AND NOT EXISTS (SELECT FROM told t WHERE t.code = c.code)
            RETURNING c.code
        )
        INSERT INTO event (time, received_at, frame_id, tenant_id, meter_id,
            severity, state, code, detail)
        SELECT n.heard_at, n.received_at, n.frame_id, n.tenant_id, n.meter_id,
            t.severity, 1, t.code, t.detail
        FROM lasting l JOIN told t USING (code) WHERE l.since = n.heard_at
        UNION ALL
        SELECT n.heard_at, n.received_at, n.frame_id, n.tenant_id, n.meter_id,
            1, 2, e.code, NULL
        FROM ended e
        ON CONFLICT DO NOTHING;
    END LOOP;
END $$;

-- ---- frames that wait ----

-- What frames in quarantine wait for, by the detail that server/pipeline/
-- stage.c writes: a meter ("DevEUI ...", "serial ..."), a key ("ADDRESS MAKER
-- type T version V"), a record list ("record list 1a2b").
DROP INDEX quarantine_stranger;
CREATE INDEX quarantine_waiting ON quarantine (tenant_id, detail, frame_id)
    WHERE reason IN ('unknown_meter', 'key_missing', 'decrypt_failed', 'format_missing')
      AND octet_length(detail) < 300;
CREATE INDEX meter_key_address ON meter_key (tenant_id, address)
    WHERE meter_id IS NULL AND removed_at IS NULL;

CREATE OR REPLACE FUNCTION strangers_met(p_since xid8, p_tenant int, p_name text, p_most int)
RETURNS TABLE (tenant_id int, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ WITH key AS MATERIALIZED (
       SELECT k.tenant_id, k.meter_id, k.address FROM meter_key k
       WHERE k.changed_xid >= p_since AND k.removed_at IS NULL
         AND k.purpose IN ('encryption', 'authentication')
   ), met AS (
       SELECT n.tenant_id, n.name
       FROM meter m CROSS JOIN LATERAL (VALUES
           (m.tenant_id, 'DevEUI ' || m.dev_eui),
           (m.tenant_id, 'serial ' || m.serial),
           (0, 'serial ' || m.serial)) AS n (tenant_id, name)
       WHERE m.changed_xid >= p_since AND m.state <> 'removed'
         AND EXISTS (SELECT FROM quarantine q
             WHERE q.tenant_id = n.tenant_id AND q.detail = n.name
               AND q.reason = 'unknown_meter' AND octet_length(q.detail) < 300)
       UNION
       SELECT q.tenant_id, q.detail FROM quarantine q
       WHERE q.reason IN ('key_missing', 'decrypt_failed') AND octet_length(q.detail) < 300
         AND ((q.tenant_id, q.meter_id) IN (SELECT k.tenant_id, k.meter_id FROM key k)
           OR (q.tenant_id, split_part(q.detail, ' ', 1)) IN
              (SELECT k.tenant_id, k.address FROM key k WHERE k.meter_id IS NULL)
           OR q.tenant_id IN (SELECT k.tenant_id FROM key k
                              WHERE k.meter_id IS NULL AND k.address IS NULL))
       UNION
       SELECT q.tenant_id, q.detail FROM quarantine q
       WHERE q.reason = 'format_missing' AND octet_length(q.detail) < 300
         AND (q.tenant_id, q.detail) IN (SELECT f.tenant_id,
             'record list ' || lpad(to_hex(f.signature), 4, '0')
             FROM meter_format f WHERE f.changed_xid >= p_since)
   )
   SELECT m.tenant_id, m.name FROM met m
   WHERE (m.tenant_id, m.name) > (p_tenant, p_name)
   ORDER BY m.tenant_id, m.name LIMIT p_most $$;

REVOKE ALL ON FUNCTION models_add, directory_tenants, directory_formats FROM PUBLIC;
GRANT EXECUTE ON FUNCTION directory_tenants, directory_formats TO headend_server;
