-- store_batch(), faster: what is new goes in by plain INSERTs with plans made
-- once; only where a row turns out to be known already (a unique key objects)
-- is that step done again the careful way, with ON CONFLICT, which costs up to
-- twice as much. A connection that met known rows is careful for a while.

-- How many of the next batches take a step the careful way ('keys',
-- 'captures'); of this connection.
CREATE FUNCTION careful(p_step text) RETURNS int LANGUAGE sql STABLE AS
$$ SELECT coalesce(nullif(current_setting('headend.careful_' || p_step, true), ''), '0')::int $$;

CREATE FUNCTION be_careful(p_step text, p_batches int) RETURNS void LANGUAGE sql AS
$$ SELECT set_config('headend.careful_' || p_step, greatest(p_batches, 0)::text, false) $$;

-- Partitions for all months (days) from p_first to p_last; for a longer span
-- the caller asks for those that it needs.
CREATE FUNCTION ensure_partitions(p_parent text, p_step text,
    p_first timestamptz, p_last timestamptz)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz := date_trunc(p_step, p_first, 'UTC');
BEGIN
    WHILE at <= p_last LOOP
        PERFORM ensure_partition(p_parent, p_step, at);
        at := (at AT TIME ZONE 'UTC' + ('1 ' || p_step)::interval) AT TIME ZONE 'UTC';
    END LOOP;
END $$;

CREATE FUNCTION store_partitions() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first timestamptz;
    last timestamptz;
    at timestamptz;
BEGIN
    SELECT min(c.time), max(c.time) INTO first, last FROM stage_capture c;
    IF last - first < interval '40 days' THEN
        PERFORM ensure_partitions('capture', 'month', first, last);
    ELSE -- a history, or a clock gone wild
        FOR at IN SELECT DISTINCT date_trunc('month', c.time, 'UTC') FROM stage_capture c LOOP
            PERFORM ensure_partition('capture', 'month', at);
        END LOOP;
    END IF;
    SELECT min(f.received_at), max(f.received_at) INTO first, last FROM stage_frame f;
    IF last - first < interval '2 days' THEN
        PERFORM ensure_partitions('frame', 'day', first, last);
    ELSE
        FOR at IN SELECT DISTINCT date_trunc('day', f.received_at, 'UTC') FROM stage_frame f LOOP
            PERFORM ensure_partition('frame', 'day', at);
        END LOOP;
    END IF;
END $$;

-- Writes the frames' keys; true if some are known already (by this batch, too).
CREATE FUNCTION store_keys(p_window interval, p_careful boolean) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    n int := careful('keys');
    known boolean := true;
BEGIN
    IF n = 0 AND NOT p_careful THEN
        BEGIN
            INSERT INTO frame_key (tenant_id, key, frame_id, seen_at)
            SELECT f.tenant_id, f.key, f.frame_id, f.frame_time
            FROM stage_frame f WHERE f.key IS NOT NULL ORDER BY f.tenant_id, f.key;
            RETURN false;
        EXCEPTION WHEN unique_violation THEN
            NULL;
        END;
    END IF;
    known := store_keys_carefully(p_window);
    PERFORM be_careful('keys', CASE WHEN known THEN 20 ELSE n - 1 END);
    RETURN known;
END $$;

CREATE FUNCTION store_keys_carefully(p_window interval) RETURNS boolean
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    staged bigint;
    fresh bigint;
BEGIN
    INSERT INTO frame_key AS k (tenant_id, key, frame_id, seen_at)
    SELECT DISTINCT ON (f.tenant_id, f.key) f.tenant_id, f.key, f.frame_id, f.frame_time
    FROM stage_frame f WHERE f.key IS NOT NULL
    ORDER BY f.tenant_id, f.key, f.frame_id
    ON CONFLICT (tenant_id, key) DO UPDATE
        SET frame_id = excluded.frame_id, seen_at = excluded.seen_at
        WHERE k.seen_at NOT BETWEEN excluded.seen_at - p_window
                                AND excluded.seen_at + p_window;
    GET DIAGNOSTICS fresh = ROW_COUNT;
    SELECT count(f.key) INTO staged FROM stage_frame f;
    RETURN fresh < staged;
END $$;

-- Writes the captures; true if others lie at the place of some.
CREATE FUNCTION store_captures(p_careful boolean) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    n int := careful('captures');
    staged bigint;
    fresh bigint;
BEGIN
    IF n = 0 AND NOT p_careful THEN
        BEGIN
            INSERT INTO capture (time, received_at, meter_time, frame_id, profile_id,
                tenant_id, meter_id, quality, uncertainty_ms, codec_version_id, values,
                value_quality)
            SELECT c.time, c.received_at, c.meter_time, c.frame_id, c.profile_id,
                c.tenant_id, c.meter_id, c.quality, c.uncertainty_ms, c.codec_version_id,
                c.values, c.value_quality
            FROM stage_capture c;
            RETURN false;
        EXCEPTION WHEN unique_violation THEN
            NULL;
        END;
    END IF;
    INSERT INTO capture (time, received_at, meter_time, frame_id, profile_id,
        tenant_id, meter_id, quality, uncertainty_ms, codec_version_id, values,
        value_quality)
    SELECT c.time, c.received_at, c.meter_time, c.frame_id, c.profile_id,
        c.tenant_id, c.meter_id, c.quality, c.uncertainty_ms, c.codec_version_id,
        c.values, c.value_quality
    FROM stage_capture c
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS fresh = ROW_COUNT;
    SELECT count(*) INTO staged FROM stage_capture;
    PERFORM be_careful('captures', CASE WHEN fresh < staged THEN 20 ELSE n - 1 END);
    RETURN fresh < staged;
END $$;

CREATE FUNCTION store_profiles(p_profiles jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO profile (tenant_id, profile_id, obis, unit, kind, factor)
    SELECT x.tenant_id, x.profile_id, x.obis, x.unit, x.kind,
           (SELECT array_agg(('1e' || e)::numeric ORDER BY n)
            FROM unnest(x.exp10) WITH ORDINALITY AS u(e, n))
    FROM jsonb_to_recordset(p_profiles) AS x(tenant_id int, profile_id bigint,
        obis text[], unit text[], kind text[], exp10 int[])
    ON CONFLICT DO NOTHING $$;

CREATE FUNCTION store_events(p_events jsonb) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    at timestamptz;
BEGIN
    FOR at IN SELECT DISTINCT date_trunc('month', e.at, 'UTC') FROM batch_events(p_events) e LOOP
        PERFORM ensure_partition('event', 'month', at);
    END LOOP;
    INSERT INTO event (time, received_at, meter_time, frame_id, tenant_id,
        meter_id, severity, state, code, detail)
    SELECT x.at, x.received_at, x.meter_at, x.frame_id, x.tenant_id, x.meter_id,
        x.severity, x.state, x.code, x.detail
    FROM batch_events(p_events) x
    JOIN stage_frame f ON f.frame_id = x.frame_id AND f.fate <> 2
    ON CONFLICT DO NOTHING;
END $$;

CREATE OR REPLACE FUNCTION store_batch(p_journal int, p_from bigint, p_to bigint,
    p_window interval, p_profiles jsonb, p_events jsonb)
RETURNS TABLE (tenant_id int, fate smallint, frames bigint, readings bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    again boolean := p_journal IS NULL; -- a replay: much of it is known
    met boolean;
BEGIN
    IF NOT again THEN
        UPDATE journal SET cursor = p_to, stored_at = now()
            WHERE journal_no = p_journal AND cursor = p_from;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the cursor of journal % is not at %', p_journal, p_from
                USING ERRCODE = 'HE001';
        END IF;
    END IF;
    PERFORM store_partitions();
    IF p_profiles <> '[]' THEN
        PERFORM store_profiles(p_profiles);
    END IF;
    IF store_keys(p_window, again) THEN
        PERFORM store_duplicates(p_window);
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

-- As store_frames(), for frames none of which is there yet. p_met: captures of
-- frames that are duplicates may be staged still.
CREATE FUNCTION store_new_frames(p_met boolean)
RETURNS TABLE (tenant_id int, fate smallint, frames bigint, readings bigint)
LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
    INSERT INTO frame (received_at, frame_time, frame_id, duplicate_of,
        counter, gateway, tenant_id, integration_id, meter_id, port, size,
        frames, codec_version, rssi, snr, source, fate, codec, peer, reason,
        detail, extras, payload)
    SELECT f.received_at, f.frame_time, f.frame_id, f.duplicate_of,
        f.counter, f.gateway, f.tenant_id, f.integration_id, f.meter_id,
        f.port, f.size, f.frames, f.codec_version, f.rssi, f.snr, f.source,
        f.fate, f.codec, f.peer, f.reason, f.detail, f.extras, f.payload
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
