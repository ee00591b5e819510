-- A frame whose counter goes on where its meter's last one ended is new: the
-- meter's row in frame_counter says so, and is locked until the commit. Such a
-- frame, nearly every one, needs no row in frame_key; its key stands in its own
-- row, and only a frame that does not go on is looked for there.
ALTER TABLE frame ADD COLUMN key uuid;

DROP FUNCTION store_keys(interval, boolean);

-- tenant << 32 | meter, apart and in the order of keys. Behind the sort they are
-- plain columns: with a policy on the other table only those find an index
-- (a shift might tell what the policy hides, so it is computed after it).
CREATE FUNCTION meters_apart(p_meters bigint[]) RETURNS TABLE (tenant_id int, meter_id int)
LANGUAGE sql IMMUTABLE AS $$
    SELECT (m >> 32)::int, (m & 4294967295)::int FROM unnest(p_meters) m ORDER BY m $$;

-- Both by the key, however many rows the planner expects: of a million meters
-- some hundred are in a batch.
CREATE FUNCTION counters_of(p_meters bigint[]) RETURNS SETOF frame_counter
LANGUAGE sql SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    SELECT k.* FROM meters_apart(p_meters) JOIN frame_counter k USING (tenant_id, meter_id)
    FOR UPDATE OF k $$;
CREATE FUNCTION numbering_begins(p_meters bigint[]) RETURNS void
LANGUAGE sql SET enable_hashjoin = off SET enable_mergejoin = off AS $$
    UPDATE frame_counter k SET began_at = '-infinity' FROM meters_apart(p_meters) u
    WHERE k.tenant_id = u.tenant_id AND k.meter_id = u.meter_id $$;

-- The meters of stage_frame whose counters go on are booked, in one statement:
-- server/store/run.c has put the length of a meter's run into the row of its
-- last frame (0 into the others, -1 where counters do not follow each other).
-- `odd`: the meters that count_frames() has to look at, frame by frame.
-- `unproven`: those whose frames may be known. Meters are tenant << 32 | meter.
-- Frames before p_counted had their counters looked at in another life; NULL:
-- a replay.
CREATE FUNCTION counters_go_on(p_from bigint, p_to bigint, p_counted bigint,
    OUT odd bigint[], OUT unproven bigint[])
LANGUAGE plpgsql AS $$
BEGIN
    IF p_counted > p_from THEN
        unproven := array(SELECT f.tenant_id::bigint << 32 | f.meter_id
            FROM stage_frame f WHERE f.run <> 0);
        odd := CASE WHEN p_counted < p_to THEN unproven ELSE '{}' END;
        RETURN;
    END IF;
    WITH booked AS (
        INSERT INTO frame_counter AS k (tenant_id, meter_id, session, first,
            last, last_at, received, began_at)
        SELECT f.tenant_id, f.meter_id, f.session, f.counter - f.run + 1,
            f.counter, f.frame_time, f.run, f.run_since
        FROM stage_frame f WHERE f.run > 0 ORDER BY 1, 2
        ON CONFLICT (tenant_id, meter_id) DO UPDATE
            SET last = k.last + excluded.received, last_at = excluded.last_at,
                received = k.received + excluded.received
            WHERE k.session = excluded.session
              AND k.last + 1 - k.base = excluded.first
              AND k.last_at <= excluded.began_at
        RETURNING tenant_id, meter_id, received
    ), left_over AS (
        SELECT f.tenant_id::bigint << 32 | f.meter_id AS meter, b.received IS NULL AS odd
        FROM stage_frame f LEFT JOIN booked b USING (tenant_id, meter_id)
        WHERE f.run < 0 OR f.run > 0 AND (b.received IS NULL OR b.received = f.run)
    )
    SELECT coalesce(array_agg(l.meter) FILTER (WHERE l.odd), '{}'),
        coalesce(array_agg(l.meter), '{}')
    INTO odd, unproven FROM left_over l;
    IF cardinality(unproven) > cardinality(odd) THEN -- a meter's first numbering
        PERFORM numbering_begins(array(SELECT unnest(unproven) EXCEPT SELECT unnest(odd)));
    END IF;
    IF p_counted IS NULL THEN -- a replay: any of it may have come again meanwhile
        unproven := array(SELECT f.tenant_id::bigint << 32 | f.meter_id
            FROM stage_frame f WHERE f.run <> 0);
    END IF;
END $$;

-- Frames that do not go on, but are newer than all that is known of their meter
-- and counted higher, or in another numbering, are new, too; the others are
-- looked for among the frames of their meters (all, p_all). True if some were
-- there before.
CREATE FUNCTION store_known(p_window interval, p_meters bigint[], p_all boolean)
RETURNS boolean LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    suspects bigint[]; -- frame ids
BEGIN
    SELECT array_agg(f.frame_id) INTO suspects
    FROM stage_frame f JOIN counters_of(p_meters) k USING (tenant_id, meter_id)
    WHERE f.key IS NOT NULL AND (p_all OR f.frame_time <= k.last_at
        OR f.session = k.session AND k.base + f.counter <= k.last);
    RETURN suspects IS NOT NULL AND store_repeated(p_window, suspects);
END $$;

-- The range is told as a row of two, so that of the indexes only that of a
-- meter's frames fits, whatever the planner thinks of a day that has just begun.
CREATE FUNCTION store_repeated(p_window interval, p_frames bigint[]) RETURNS boolean
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    WITH s AS MATERIALIZED (
        SELECT f.* FROM unnest(p_frames) AS u (frame_id) JOIN stage_frame f USING (frame_id)
    ), k AS MATERIALIZED (
        SELECT s.frame_id, (SELECT min(o.frame_id) FROM frame o
            WHERE o.tenant_id = s.tenant_id AND o.meter_id = s.meter_id
              AND (o.meter_id, o.received_at) > (s.meter_id,
                  least(s.received_at, s.frame_time) - p_window - interval '1 hour')
              AND o.frame_time BETWEEN s.frame_time - p_window AND s.frame_time + p_window
              AND o.key = s.key AND o.frame_id <> s.frame_id AND o.fate <> 2) AS first
        FROM s
    )
    UPDATE stage_frame f SET fate = 2, duplicate_of = k.first, record = NULL
    FROM k WHERE f.frame_id = k.frame_id AND k.first IS NOT NULL;
    RETURN FOUND;
END $$;

-- Finds the frames that are known, by the rows of their meters' frames, then by
-- their keys (by this batch, too); true if there are some.
CREATE FUNCTION store_keys(p_window interval, p_careful boolean, p_odd bigint[],
    p_unproven bigint[], p_all boolean) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    n int := careful('keys');
    known boolean := false;
    again boolean;
BEGIN
    IF p_all OR p_odd <> '{}' THEN
        known := store_known(p_window, CASE WHEN p_all THEN p_unproven ELSE p_odd END, p_all);
    END IF;
    IF n = 0 AND NOT p_careful THEN
        BEGIN
            INSERT INTO frame_key (tenant_id, key, frame_id, seen_at)
            SELECT f.tenant_id, f.key, f.frame_id, f.frame_time
            FROM stage_frame f
            LEFT JOIN unnest(p_unproven) AS u (meter)
              ON u.meter = f.tenant_id::bigint << 32 | f.meter_id
            WHERE f.key IS NOT NULL AND f.fate <> 2
              AND (f.run IS NULL OR u.meter IS NOT NULL)
            ORDER BY f.tenant_id, f.key;
            RETURN known;
        EXCEPTION WHEN unique_violation THEN
            NULL;
        END;
    END IF;
    again := store_keys_carefully(p_window, p_unproven);
    PERFORM be_careful('keys', CASE WHEN again THEN 20 ELSE n - 1 END);
    RETURN known OR again;
END $$;

DROP FUNCTION store_keys_carefully(interval);
CREATE FUNCTION store_keys_carefully(p_window interval, p_unproven bigint[]) RETURNS boolean
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    staged bigint;
    fresh bigint;
BEGIN
    WITH wanted AS (
        SELECT f.tenant_id, f.key, f.frame_id, f.frame_time
        FROM stage_frame f
        LEFT JOIN unnest(p_unproven) AS u (meter)
          ON u.meter = f.tenant_id::bigint << 32 | f.meter_id
        WHERE f.key IS NOT NULL AND f.fate <> 2
          AND (f.run IS NULL OR u.meter IS NOT NULL)
    ), written AS (
        INSERT INTO frame_key AS k (tenant_id, key, frame_id, seen_at)
        SELECT DISTINCT ON (w.tenant_id, w.key) w.tenant_id, w.key, w.frame_id, w.frame_time
        FROM wanted w ORDER BY w.tenant_id, w.key, w.frame_id
        ON CONFLICT (tenant_id, key) DO UPDATE
            SET frame_id = excluded.frame_id, seen_at = excluded.seen_at
            WHERE k.seen_at NOT BETWEEN excluded.seen_at - p_window
                                    AND excluded.seen_at + p_window
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM wanted), (SELECT count(*) FROM written) INTO staged, fresh;
    IF fresh < staged THEN
        UPDATE stage_frame f SET fate = 2, duplicate_of = k.frame_id, record = NULL
        FROM frame_key k
        WHERE k.tenant_id = f.tenant_id AND k.key = f.key AND k.frame_id <> f.frame_id
          AND k.seen_at BETWEEN f.frame_time - p_window AND f.frame_time + p_window
          AND f.fate <> 2;
    END IF;
    RETURN fresh < staged;
END $$;
DROP FUNCTION store_duplicates(interval);

-- As in 0009_speed; mostly all are in one partition, which is there.
CREATE FUNCTION partition_holds(p_parent text, p_suffix text, p_first timestamptz,
    p_last timestamptz) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT p_first IS NULL
        OR to_char(p_first AT TIME ZONE 'UTC', p_suffix) = to_char(p_last AT TIME ZONE 'UTC', p_suffix)
        AND to_regclass(p_parent || to_char(p_first AT TIME ZONE 'UTC', p_suffix)) IS NOT NULL $$;

CREATE OR REPLACE FUNCTION store_partitions() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first timestamptz;
    last timestamptz;
    at timestamptz;
BEGIN
    SELECT min(c.time), max(c.time) INTO first, last FROM stage_capture c;
    IF last - first >= interval '40 days' THEN -- a history, or a clock gone wild
        FOR at IN SELECT DISTINCT date_trunc('month', c.time, 'UTC') FROM stage_capture c LOOP
            PERFORM ensure_partition('capture', 'month', at);
        END LOOP;
    ELSIF NOT partition_holds('capture', '_YYYY_MM', first, last) THEN
        PERFORM ensure_partitions('capture', 'month', first, last);
    END IF;
    SELECT min(f.received_at), max(f.received_at) INTO first, last FROM stage_frame f;
    IF last - first >= interval '2 days' THEN
        FOR at IN SELECT DISTINCT date_trunc('day', f.received_at, 'UTC') FROM stage_frame f LOOP
            PERFORM ensure_partition('frame', 'day', at);
        END LOOP;
    ELSIF NOT partition_holds('frame', '_YYYY_MM_DD', first, last) THEN
        PERFORM ensure_partitions('frame', 'day', first, last);
    END IF;
END $$;

-- As in 0010_clock; the counters come first.
CREATE OR REPLACE FUNCTION store_batch(p_journal int, p_from bigint, p_to bigint,
    p_window interval, p_profiles jsonb, p_events jsonb)
RETURNS TABLE (tenant_id int, fate smallint, frames bigint, readings bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    again boolean := p_journal IS NULL; -- a replay: much of it is known
    met boolean;
    counted bigint;
    c record;
BEGIN
    IF NOT again THEN
        UPDATE journal j SET cursor = p_to, stored_at = now(),
            counted = greatest(j.counted, p_to),
            gaps = CASE WHEN j.counted >= p_to THEN j.gaps END
        FROM (SELECT o.counted FROM journal o WHERE o.journal_no = p_journal) o
        WHERE j.journal_no = p_journal AND j.cursor = p_from
        RETURNING o.counted INTO counted;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the cursor of journal % is not at %', p_journal, p_from
                USING ERRCODE = 'HE001';
        END IF;
    END IF;
    PERFORM store_partitions();
    IF p_profiles <> '[]' THEN
        PERFORM store_profiles(p_profiles);
    END IF;
    c := counters_go_on(p_from, p_to, counted);
    PERFORM set_config('headend.odd_meters', c.odd::text, true),
        set_config('headend.counted', coalesce(counted, 0)::text, true);
    IF store_keys(p_window, again, c.odd, c.unproven,
            again OR counted > p_from) THEN
        DELETE FROM stage_capture s USING stage_frame f
            WHERE f.frame_id = s.frame_id AND f.fate = 2;
    END IF;
    IF EXISTS (SELECT FROM stage_capture c WHERE c.quality & 4 <> 0) THEN
        PERFORM keep_times();
    END IF;
    met := store_captures(again);
    IF met THEN
        PERFORM store_revisions();
    END IF;
    IF p_events <> '[]' THEN
        PERFORM store_events(p_events);
    END IF;
    INSERT INTO clock_sample (tenant_id, meter_id, heard_at, meter_time,
        received_at, frame_id)
    SELECT f.tenant_id, f.meter_id, f.frame_time, f.clock, f.received_at, f.frame_id
    FROM stage_frame f
    WHERE f.clock IS NOT NULL AND f.meter_id IS NOT NULL AND f.fate = 1
    ON CONFLICT DO NOTHING;
    IF again THEN
        PERFORM take_back_frames();
    ELSE
        BEGIN
            RETURN QUERY SELECT * FROM store_new_frames(met);
            RETURN;
        EXCEPTION WHEN unique_violation THEN -- a journal run again
            NULL;
        END;
    END IF;
    RETURN QUERY SELECT * FROM store_frames();
END $$;

-- As in 0009_speed and 0004_store, with the key.
CREATE OR REPLACE FUNCTION store_new_frames(p_met boolean)
RETURNS TABLE (tenant_id int, fate smallint, frames bigint, readings bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO frame (received_at, frame_time, frame_id, duplicate_of,
        counter, gateway, tenant_id, integration_id, meter_id, port, size,
        frames, codec_version, rssi, snr, source, fate, codec, peer, reason,
        detail, extras, payload, key)
    SELECT f.received_at, f.frame_time, f.frame_id, f.duplicate_of,
        f.counter, f.gateway, f.tenant_id, f.integration_id, f.meter_id,
        f.port, f.size, f.frames, f.codec_version, f.rssi, f.snr, f.source,
        f.fate, f.codec, f.peer, f.reason, f.detail, f.extras, f.payload, f.key
    FROM stage_frame f;
    INSERT INTO quarantine (tenant_id, frame_id, received_at, meter_id,
        reason, detail, record)
    SELECT f.tenant_id, f.frame_id, f.received_at, f.meter_id, f.reason,
        f.detail, f.record
    FROM stage_frame f WHERE f.fate = 3;
    INSERT INTO ledger AS l (tenant_id, minute, stored, duplicate, quarantined, rejected)
    SELECT f.tenant_id, date_bin('1 minute', f.received_at, 'epoch'),
        coalesce(sum(f.frames) FILTER (WHERE f.fate = 1), 0),
        coalesce(sum(f.frames) FILTER (WHERE f.fate = 2), 0),
        coalesce(sum(f.frames) FILTER (WHERE f.fate = 3), 0),
        coalesce(sum(f.frames) FILTER (WHERE f.fate = 4), 0)
    FROM stage_frame f GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (tenant_id, minute) DO UPDATE
        SET stored = l.stored + excluded.stored,
            duplicate = l.duplicate + excluded.duplicate,
            quarantined = l.quarantined + excluded.quarantined,
            rejected = l.rejected + excluded.rejected;
    IF p_met THEN
        DELETE FROM stage_capture c USING stage_frame f
            WHERE f.frame_id = c.frame_id AND f.fate = 2;
    END IF;
    RETURN QUERY
    SELECT f.tenant_id, f.fate, f.frames,
        CASE f.fate WHEN 1 THEN coalesce(c.readings, 0) ELSE 0 END
    FROM (SELECT s.tenant_id, s.fate, sum(s.frames)::bigint AS frames
          FROM stage_frame s GROUP BY 1, 2) f
    LEFT JOIN (SELECT s.tenant_id, sum(cardinality(s.values)) AS readings
               FROM stage_capture s GROUP BY 1) c USING (tenant_id);
END $$;

CREATE OR REPLACE FUNCTION store_frames()
RETURNS TABLE (tenant_id int, fate smallint, frames bigint, readings bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH written AS (
        INSERT INTO frame (received_at, frame_time, frame_id, duplicate_of,
            counter, gateway, tenant_id, integration_id, meter_id, port, size,
            frames, codec_version, rssi, snr, source, fate, codec, peer, reason,
            detail, extras, payload, key)
        SELECT f.received_at, f.frame_time, f.frame_id, f.duplicate_of,
            f.counter, f.gateway, f.tenant_id, f.integration_id, f.meter_id,
            f.port, f.size, f.frames, f.codec_version, f.rssi, f.snr, f.source,
            f.fate, f.codec, f.peer, f.reason, f.detail, f.extras, f.payload, f.key
        FROM stage_frame f
        ON CONFLICT DO NOTHING
        RETURNING tenant_id, received_at, frame_id, fate, frames
    ), kept AS (
        INSERT INTO quarantine (tenant_id, frame_id, received_at, meter_id,
            reason, detail, record)
        SELECT f.tenant_id, f.frame_id, f.received_at, f.meter_id, f.reason,
            f.detail, f.record
        FROM stage_frame f JOIN written w USING (frame_id) WHERE w.fate = 3
        ON CONFLICT DO NOTHING
    ), counted AS (
        INSERT INTO ledger AS l (tenant_id, minute, stored, duplicate, quarantined, rejected)
        SELECT w.tenant_id, date_trunc('minute', w.received_at),
            coalesce(sum(w.frames) FILTER (WHERE w.fate = 1), 0),
            coalesce(sum(w.frames) FILTER (WHERE w.fate = 2), 0),
            coalesce(sum(w.frames) FILTER (WHERE w.fate = 3), 0),
            coalesce(sum(w.frames) FILTER (WHERE w.fate = 4), 0)
        FROM written w GROUP BY 1, 2 ORDER BY 1, 2
        ON CONFLICT (tenant_id, minute) DO UPDATE
            SET stored = l.stored + excluded.stored,
                duplicate = l.duplicate + excluded.duplicate,
                quarantined = l.quarantined + excluded.quarantined,
                rejected = l.rejected + excluded.rejected
    )
    SELECT w.tenant_id, w.fate, sum(w.frames)::bigint,
        coalesce(sum(c.readings), 0)::bigint
    FROM written w
    LEFT JOIN (SELECT s.frame_id, sum(cardinality(s.values)) AS readings
               FROM stage_capture s GROUP BY 1) c
        ON c.frame_id = w.frame_id AND w.fate = 1
    GROUP BY 1, 2;
END $$;

-- As in 0008_counters, for the meters that counters_go_on() has left over: frame
-- by frame, in the order of sending.
CREATE OR REPLACE FUNCTION count_frames(p_journal int, p_to bigint)
RETURNS TABLE (tenant_id int, missing bigint, late bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    since bigint := (p_journal::bigint << 48) -- frame id; NULL: a replay
        | (current_setting('headend.counted')::bigint >> 3);
    odd bigint[] := current_setting('headend.odd_meters')::bigint[];
    f record;
    s record;
    m frame_counter;
    shown frame_gap[] := '{}';
    at timestamptz;
BEGIN
    IF odd = '{}' THEN
        RETURN;
    END IF;
    FOR f IN
        SELECT f.tenant_id, f.meter_id, f.session, f.counter, f.frame_time,
            f.received_at, f.frame_id, f.fate = 2 AS known,
            lead(f.meter_id) OVER w IS DISTINCT FROM f.meter_id AS last_one,
            lag(f.meter_id) OVER w IS DISTINCT FROM f.meter_id AS first_one
        FROM stage_frame f JOIN unnest(odd) AS o(meter)
          ON o.meter = f.tenant_id::bigint << 32 | f.meter_id
        WHERE f.counter < 1::bigint << 48 AND f.fate <> 4
          AND (since IS NULL OR f.frame_id >= since)
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
        UPDATE journal SET gaps = (SELECT jsonb_agg(t) FROM (SELECT g.tenant_id,
                sum(g.skipped) AS missing, sum(g.late) AS late
                FROM unnest(shown) g GROUP BY 1) t)
            WHERE journal_no = p_journal;
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
    RETURN QUERY SELECT g.tenant_id, sum(g.skipped)::bigint, sum(g.late)::bigint
        FROM unnest(shown) g GROUP BY 1;
END $$;

-- As in 0010_clock, without numeric: exact until the year 2255.
CREATE OR REPLACE FUNCTION time_us(t timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT (date_part('epoch', t) * 1000000)::bigint $$;
