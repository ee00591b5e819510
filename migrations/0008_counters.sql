-- What the counters of frames tell: which of a meter's frames never came.

-- The numbering that each meter is in: an uplink counter under a DevAddr, or
-- the meter's own sequence. Counters are unwrapped: `base` is what rollovers
-- have added to those of the frames. One row is updated with every frame of
-- its meter, so nothing that changes then is indexed, and pages have room.
CREATE TABLE frame_counter (
    session bigint NOT NULL,         -- DevAddr; -1: the frames name none
    base bigint NOT NULL DEFAULT 0,
    first bigint NOT NULL,           -- lowest and highest of this numbering
    last bigint NOT NULL,
    began_at timestamptz NOT NULL DEFAULT '-infinity', -- -infinity: the first one
    last_at timestamptz NOT NULL,    -- when the network heard the newest
    received bigint NOT NULL,        -- frames with a counter, all numberings
    skipped bigint NOT NULL DEFAULT 0, -- counters passed over
    late bigint NOT NULL DEFAULT 0,    -- of those, frames that came after all
    tenant_id int NOT NULL,
    meter_id int NOT NULL,
    open int8multirange NOT NULL DEFAULT '{}', -- the newest of those that did not
    PRIMARY KEY (tenant_id, meter_id)
) WITH (fillfactor = 50);
CREATE INDEX frame_counter_missing ON frame_counter (tenant_id, meter_id)
    WHERE skipped > late;
CALL protect('frame_counter');
GRANT SELECT, INSERT, UPDATE ON frame_counter TO headend_server;

-- By minute of the arrival that showed it; outside the ledger's equation.
ALTER TABLE ledger ADD COLUMN missing bigint NOT NULL DEFAULT 0,
    ADD COLUMN late bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN ledger.missing IS 'frames that a later counter shows to be missing';
COMMENT ON COLUMN ledger.late IS 'of those, frames that came after all';

-- Frames before this position had their counters looked at: a journal that is
-- run again changes nothing. `gaps` is what the last batch showed.
ALTER TABLE journal ADD COLUMN counted bigint NOT NULL DEFAULT 0,
    ADD COLUMN gaps jsonb;
UPDATE journal SET counted = cursor;

CREATE TYPE frame_gap AS (tenant_id int, meter_id int, at timestamptz,
    received_at timestamptz, frame_id bigint, skipped bigint, late bigint,
    detail text);

-- One frame's counter against its meter's numbering. p_known: a duplicate.
-- p_late: it comes from quarantine, not from the wire. A network server takes
-- no step above MAX_FCNT_GAP (LoRaWAN 1.0.3, regional parameters 2.1); a longer
-- one is another numbering, not so many frames.
CREATE FUNCTION count_frame(INOUT m frame_counter, p_session bigint, p_counter bigint,
    p_at timestamptz, p_known boolean, p_late boolean, OUT skipped bigint, OUT detail text)
LANGUAGE plpgsql AS $$
DECLARE
    max_gap CONSTANT bigint := 16384;
    c bigint := m.base + p_counter;
    newer boolean := p_at > m.last_at AND NOT p_known AND NOT p_late;
    wrap bigint;
    restart boolean := false;
BEGIN
    skipped := 0;
    IF p_session <> m.session THEN
        IF p_known OR p_at <= m.last_at THEN
            RETURN; -- of a session that is over
        END IF;
        restart := true;
        c := p_counter;
    ELSE
        FOREACH wrap IN ARRAY '{65536,4294967296}'::bigint[] LOOP
            IF newer AND m.last - m.base < wrap
               AND c + wrap - m.last BETWEEN 1 AND max_gap THEN
                m.base := m.base + wrap;
                c := c + wrap;
            ELSIF NOT newer AND m.base >= wrap
               AND m.last - (c - wrap) BETWEEN 0 AND max_gap THEN
                c := c - wrap; -- from before the rollover
            END IF;
        END LOOP;
        IF p_at < m.began_at AND c <> m.last + 1 THEN
            RETURN; -- of a numbering that is over
        ELSIF c > m.last + 1 + max_gap THEN
            detail := format('the counter went from %s to %s: another numbering', m.last, c);
            restart := true;
        ELSIF c > m.last THEN
            skipped := c - m.last - 1;
            IF skipped > 0 THEN
                m.open := m.open + int8multirange(int8range(m.last + 1, c));
                detail := CASE skipped
                    WHEN 1 THEN format('1 frame missing: counter %s', c - 1)
                    ELSE format('%s frames missing: counters %s to %s', skipped,
                        m.last + 1, c - 1) END;
            END IF;
            m.last := c;
        ELSIF m.open @> c THEN
            m.open := m.open - int8multirange(int8range(c, c, '[]'));
            m.late := m.late + 1;
        ELSIF newer THEN
            restart := true; -- the meter counts from the beginning again
            c := p_counter;
        ELSIF c < m.first AND m.first - c <= max_gap THEN
            skipped := m.first - c - 1; -- older ones come by another way
            m.open := m.open + int8multirange(int8range(c + 1, m.first));
            m.first := c;
        ELSE
            RETURN; -- was here
        END IF;
    END IF;
    IF restart THEN
        m.session := p_session;
        m.base := c - p_counter;
        m.first := c;
        m.last := c;
        m.began_at := p_at;
        m.open := '{}';
    END IF;
    IF skipped > 0 THEN -- a bounded row: older gaps stay as they are
        m.open := (SELECT range_agg(r) FROM (SELECT r FROM unnest(m.open) r
            ORDER BY r DESC LIMIT 16) newest);
    END IF;
    m.skipped := m.skipped + skipped;
    m.received := m.received + 1;
    m.last_at := greatest(m.last_at, p_at);
END $$;

-- Looks at the counters of the frames that store_batch() has just stored out of
-- stage_frame, in the same transaction: gaps become events (frame.gap) and are
-- booked. Meters whose frames go on where the last one ended, nearly all, are
-- done in one statement; the others frame by frame, in the order of sending.
CREATE FUNCTION count_frames(p_journal int, p_to bigint)
RETURNS TABLE (tenant_id int, missing bigint, late bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    since bigint := 0; -- frame id
    odd bigint[];      -- meters: tenant_id << 32 | meter_id
    f record;
    s record;
    m frame_counter;
    shown frame_gap[] := '{}';
    at timestamptz;
BEGIN
    IF p_journal IS NOT NULL THEN
        SELECT p_journal::bigint << 48 | j.counted >> 3 INTO since
        FROM journal j WHERE j.journal_no = p_journal AND j.counted < p_to;
        IF NOT FOUND THEN
            RETURN;
        END IF;
    END IF;
    -- A large batch is worth a plan of its own, a small one is not.
    PERFORM set_config('plan_cache_mode', CASE WHEN count(*) > 300
        THEN 'force_custom_plan' ELSE 'force_generic_plan' END, true) FROM stage_frame;
    WITH seen AS (
        SELECT f.tenant_id, f.meter_id, min(f.session) AS session,
            max(f.session) AS other, min(f.counter) AS first,
            max(f.counter) AS last, max(f.frame_time) AS at, count(*) AS n,
            count(DISTINCT f.counter) AS counters
        FROM stage_frame f
        WHERE f.counter < 1::bigint << 48 AND f.meter_id IS NOT NULL
          AND f.fate <> 4 AND f.frame_id >= since
        GROUP BY 1, 2
    ), plain AS (
        INSERT INTO frame_counter AS k (tenant_id, meter_id, session, first,
            last, last_at, received)
        SELECT s.tenant_id, s.meter_id, s.session, s.first, s.last, s.at, s.n
        FROM seen s
        WHERE s.session = s.other AND s.counters = s.n AND s.last - s.first + 1 = s.n
        ORDER BY 1, 2
        ON CONFLICT (tenant_id, meter_id) DO UPDATE
            SET last = k.last + excluded.received,
                last_at = greatest(k.last_at, excluded.last_at),
                received = k.received + excluded.received
            WHERE k.session = excluded.session AND k.last + 1 - k.base = excluded.first
        RETURNING tenant_id, meter_id
    )
    SELECT array_agg(s.tenant_id::bigint << 32 | s.meter_id) INTO odd
    FROM seen s LEFT JOIN plain p USING (tenant_id, meter_id)
    WHERE p.meter_id IS NULL;

    PERFORM set_config('plan_cache_mode', 'auto', true); -- for what is in the loop
    FOR f IN
        SELECT f.tenant_id, f.meter_id, f.session, f.counter, f.frame_time,
            f.received_at, f.frame_id, f.fate = 2 AS known,
            lead(f.meter_id) OVER w IS DISTINCT FROM f.meter_id AS last_one,
            lag(f.meter_id) OVER w IS DISTINCT FROM f.meter_id AS first_one
        FROM stage_frame f JOIN unnest(odd) AS o(meter)
          ON o.meter = f.tenant_id::bigint << 32 | f.meter_id
        WHERE f.counter < 1::bigint << 48 AND f.fate <> 4 AND f.frame_id >= since
        WINDOW w AS (PARTITION BY f.tenant_id, f.meter_id
            ORDER BY f.frame_time, f.counter)
        ORDER BY f.tenant_id, f.meter_id, f.frame_time, f.counter
    LOOP
        IF f.first_one THEN
            LOOP
                SELECT * INTO m FROM frame_counter k WHERE k.tenant_id = f.tenant_id
                    AND k.meter_id = f.meter_id FOR UPDATE;
                EXIT WHEN FOUND;
                INSERT INTO frame_counter (tenant_id, meter_id, session, first,
                    last, last_at, received)
                VALUES (f.tenant_id, f.meter_id, f.session, f.counter,
                    f.counter, f.frame_time, 0)
                ON CONFLICT DO NOTHING;
            END LOOP;
        END IF;
        IF m.received = 0 THEN -- the very first
            m.received := 1;
        ELSE
            s := count_frame(m, f.session, f.counter, f.frame_time, f.known,
                p_journal IS NULL);
            IF s.skipped > 0 OR s.detail IS NOT NULL OR (s.m).late > m.late THEN
                shown := shown || (f.tenant_id, f.meter_id, f.frame_time,
                    f.received_at, f.frame_id, s.skipped, (s.m).late - m.late,
                    s.detail)::frame_gap;
            END IF;
            m := s.m;
        END IF;
        IF f.last_one THEN
            UPDATE frame_counter k SET session = m.session, base = m.base,
                first = m.first, last = m.last, began_at = m.began_at,
                last_at = m.last_at, received = m.received, skipped = m.skipped,
                late = m.late, open = m.open
            WHERE k.tenant_id = m.tenant_id AND k.meter_id = m.meter_id;
        END IF;
    END LOOP;

    IF shown <> '{}' THEN
        FOR at IN SELECT DISTINCT date_trunc('month', g.at, 'UTC') FROM unnest(shown) g LOOP
            PERFORM ensure_partition('event', 'month', at);
        END LOOP;
        INSERT INTO event (time, received_at, frame_id, tenant_id, meter_id,
            severity, state, code, detail)
        SELECT g.at, g.received_at, g.frame_id, g.tenant_id, g.meter_id, 1, 0,
            'frame.gap', g.detail
        FROM unnest(shown) g WHERE g.detail IS NOT NULL
        ON CONFLICT DO NOTHING;
        INSERT INTO ledger AS l (tenant_id, minute, missing, late)
        SELECT g.tenant_id, date_trunc('minute', g.received_at), sum(g.skipped),
            sum(g.late)
        FROM unnest(shown) g GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT (tenant_id, minute) DO UPDATE
            SET missing = l.missing + excluded.missing, late = l.late + excluded.late;
    END IF;
    UPDATE journal SET counted = p_to, gaps = CASE WHEN shown <> '{}' THEN (
            SELECT jsonb_agg(t) FROM (SELECT g.tenant_id, sum(g.skipped) AS missing,
                sum(g.late) AS late FROM unnest(shown) g GROUP BY 1) t) END
        WHERE journal_no = p_journal;
    RETURN QUERY SELECT g.tenant_id, sum(g.skipped)::bigint, sum(g.late)::bigint
        FROM unnest(shown) g GROUP BY 1;
END $$;

-- What count_frames() said of the batch that ended there.
CREATE FUNCTION batch_gaps(p_journal int, p_to bigint)
RETURNS TABLE (tenant_id int, missing bigint, late bigint)
LANGUAGE sql STABLE AS $$
    SELECT g.tenant_id, g.missing, g.late FROM journal j,
        jsonb_to_recordset(j.gaps) AS g(tenant_id int, missing bigint, late bigint)
    WHERE j.journal_no = p_journal AND j.counted = p_to $$;

-- What people ask of frames: those of a meter, and those that something was
-- wrong with; newest first, through every day's partition.
CREATE INDEX frame_meter ON frame (tenant_id, meter_id, received_at)
    WHERE meter_id IS NOT NULL;
CREATE INDEX frame_not_stored ON frame (tenant_id, received_at) WHERE fate <> 1;

-- As in 0004_store, but a clock that jumps ahead does not empty the house: what
-- looks expired goes two days' worth an hour, the oldest first.
CREATE OR REPLACE FUNCTION maintain(p_window interval) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    part record;
    keep timestamptz := date_trunc('day', now())
        - (SELECT max(frame_days) FROM tenant) * interval '1 day';
BEGIN
    FOR i IN 0..7 LOOP
        PERFORM ensure_partition('frame', 'day', now() + i * interval '1 day');
    END LOOP;
    FOR i IN 0..2 LOOP
        PERFORM ensure_partition('capture', 'month', now() + i * interval '1 month');
        PERFORM ensure_partition('event', 'month', now() + i * interval '1 month');
    END LOOP;
    FOR part IN SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'frame'::regclass
          AND c.relname < 'frame' || to_char(keep, '_YYYY_MM_DD')
        ORDER BY c.relname LIMIT 2
    LOOP
        EXECUTE format('DROP TABLE %I', part.relname);
    END LOOP;
    DELETE FROM frame_key WHERE seen_at < now() - p_window - interval '1 day';
END $$;

CREATE OR REPLACE FUNCTION expire_frames() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM frame f
    USING tenant t, LATERAL (SELECT min(o.received_at) AS at FROM frame o
                             WHERE o.tenant_id = t.tenant_id) oldest
    WHERE t.tenant_id = f.tenant_id
      AND f.received_at < least(now() - t.frame_days * interval '1 day',
                                oldest.at + interval '2 days') $$;

-- As in 0005_ledger; but after a start (p_since 0) the way is from the strangers' names
-- to their meters, for there may be a million meters and few strangers.
CREATE OR REPLACE FUNCTION strangers_met(p_since xid8, p_tenant int, p_name text, p_most int)
RETURNS TABLE (tenant_id int, name text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
    IF p_since > '0' THEN
        RETURN QUERY
        SELECT n.tenant_id, n.name
        FROM meter m CROSS JOIN LATERAL (VALUES
            (m.tenant_id, 'DevEUI ' || m.dev_eui),
            (m.tenant_id, 'serial ' || m.serial),
            (0, 'serial ' || m.serial)) AS n (tenant_id, name)
        WHERE m.changed_xid >= p_since AND m.state <> 'removed'
          AND (n.tenant_id, n.name) > (p_tenant, p_name)
          AND EXISTS (SELECT FROM quarantine q
              WHERE q.tenant_id = n.tenant_id AND q.detail = n.name
                AND q.reason = 'unknown_meter' AND octet_length(q.detail) < 300)
        GROUP BY n.tenant_id, n.name ORDER BY n.tenant_id, n.name LIMIT p_most;
        RETURN;
    END IF;
    RETURN QUERY
    WITH RECURSIVE stranger AS (
        (SELECT q.tenant_id, q.detail FROM quarantine q
         WHERE q.reason = 'unknown_meter' AND octet_length(q.detail) < 300
           AND (q.tenant_id, q.detail) > (p_tenant, p_name)
         ORDER BY q.tenant_id, q.detail LIMIT 1)
        UNION ALL
        SELECT n.tenant_id, n.detail FROM stranger s CROSS JOIN LATERAL
            (SELECT q.tenant_id, q.detail FROM quarantine q
             WHERE q.reason = 'unknown_meter' AND octet_length(q.detail) < 300
               AND (q.tenant_id, q.detail) > (s.tenant_id, s.detail)
             ORDER BY q.tenant_id, q.detail LIMIT 1) n
    )
    SELECT s.tenant_id, s.detail FROM stranger s
    WHERE EXISTS (SELECT FROM tenant t JOIN meter m ON m.tenant_id = t.tenant_id
              AND m.serial = substr(s.detail, 8)
          WHERE s.detail LIKE 'serial %' AND m.state <> 'removed'
            AND s.tenant_id IN (0, t.tenant_id))
       OR EXISTS (SELECT FROM meter m WHERE m.tenant_id = s.tenant_id
            AND m.dev_eui = substr(s.detail, 8)
            AND s.detail LIKE 'DevEUI %' AND m.state <> 'removed')
    LIMIT p_most;
END $$;
