-- How frames and captures get in: partitions, and one function per batch.

-- Creates the partition of `parent` that holds `at`, named parent_2026_11 or
-- parent_2026_11_21. Attaching (not PARTITION OF) lets readers go on.
CREATE FUNCTION ensure_partition(p_parent text, p_step text, p_at timestamptz)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp SET timezone = 'UTC' AS $$
DECLARE
    lower timestamptz := date_trunc(p_step, p_at);
    upper timestamptz := lower + ('1 ' || p_step)::interval;
    part text := p_parent || to_char(lower,
        CASE p_step WHEN 'day' THEN '_YYYY_MM_DD' ELSE '_YYYY_MM' END);
BEGIN
    IF to_regclass(part) IS NOT NULL THEN
        RETURN;
    END IF;
    IF p_parent NOT IN ('frame', 'capture', 'event') OR p_step NOT IN ('day', 'month') THEN
        RAISE EXCEPTION 'no partitions for % by %', p_parent, p_step;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('headend partition'));
    -- Read anew: to_regclass remembers what it saw before the lock.
    IF EXISTS (SELECT FROM pg_class WHERE relname = part
               AND relnamespace = 'public'::regnamespace) THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)',
        part, p_parent);
    EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        p_parent, part, lower, upper);
END $$;

-- Hourly: partitions ahead, frames beyond every tenant's retention dropped
-- whole, expired keys forgotten.
CREATE FUNCTION maintain(p_window interval) RETURNS void
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
    LOOP
        EXECUTE format('DROP TABLE %I', part.relname);
    END LOOP;
    DELETE FROM frame_key WHERE seen_at < now() - p_window - interval '1 day';
END $$;

-- A tenant's shorter retention inside partitions that others still need.
CREATE FUNCTION expire_frames() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM frame f USING tenant t
    WHERE t.tenant_id = f.tenant_id
      AND f.received_at < now() - t.frame_days * interval '1 day' $$;

CREATE FUNCTION journal_register(p_node text) RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$ INSERT INTO journal (node) VALUES (p_node) RETURNING journal_no::int $$;

CREATE FUNCTION codec_version_of(p_codec text, p_version int) RETURNS int
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO codec_version (codec, version) VALUES (p_codec, p_version)
        ON CONFLICT DO NOTHING;
    RETURN (SELECT v.codec_version_id FROM codec_version v
            WHERE v.codec = p_codec AND v.version = p_version);
END $$;

-- Exact, unlike to_timestamp(double).
CREATE FUNCTION us_time(us bigint) RETURNS timestamptz
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT timestamptz 'epoch' + us * interval '1 microsecond' $$;

CREATE FUNCTION batch_events(p_events jsonb) RETURNS TABLE (at timestamptz,
    meter_at timestamptz, received_at timestamptz, frame_id bigint, tenant_id int,
    meter_id int, code text, severity smallint, state smallint, detail text)
LANGUAGE sql IMMUTABLE AS $$
    SELECT us_time(x."time"), us_time(x.meter_time), us_time(x.received_at),
        x.frame_id, x.tenant_id, x.meter_id, x.code, x.severity, x.state, x.detail
    FROM jsonb_to_recordset(p_events) AS x("time" bigint, meter_time bigint,
        received_at bigint, frame_id bigint, tenant_id int, meter_id int,
        code text, severity smallint, state smallint, detail text) $$;

-- Stores what the caller has copied into its temporary tables stage_frame and
-- stage_capture (server/store/batch.c makes them), moves the journal's cursor,
-- and says what became of the frames. All in the caller's transaction.
--   p_journal   NULL for a replay from quarantine
--   p_profiles  [{"tenant_id","profile_id","obis":[],"unit":[],"kind":[],"exp10":[]}]
--   p_events    [{"tenant_id","meter_id","time","meter_time","received_at",
--                 "frame_id","code","severity","state","detail"}], times in us
CREATE FUNCTION store_batch(p_journal int, p_from bigint, p_to bigint,
    p_window interval, p_profiles jsonb, p_events jsonb)
RETURNS TABLE (tenant_id int, fate smallint, frames bigint, readings bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    staged bigint;
    fresh bigint;
    at timestamptz;
BEGIN
    IF p_journal IS NOT NULL THEN
        UPDATE journal SET cursor = p_to, stored_at = now()
            WHERE journal_no = p_journal AND cursor = p_from;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'the cursor of journal % is not at %', p_journal, p_from
                USING ERRCODE = 'HE001';
        END IF;
    END IF;
    FOR at IN SELECT DISTINCT date_trunc('month', c.time, 'UTC') FROM stage_capture c LOOP
        PERFORM ensure_partition('capture', 'month', at);
    END LOOP;
    FOR at IN SELECT DISTINCT date_trunc('day', f.received_at, 'UTC') FROM stage_frame f LOOP
        PERFORM ensure_partition('frame', 'day', at);
    END LOOP;
    FOR at IN SELECT DISTINCT date_trunc('month', e.at, 'UTC') FROM batch_events(p_events) e LOOP
        PERFORM ensure_partition('event', 'month', at);
    END LOOP;
    IF p_profiles <> '[]' THEN
        INSERT INTO profile (tenant_id, profile_id, obis, unit, kind, factor)
        SELECT x.tenant_id, x.profile_id, x.obis, x.unit, x.kind,
               (SELECT array_agg(('1e' || e)::numeric ORDER BY n)
                FROM unnest(x.exp10) WITH ORDINALITY AS u(e, n))
        FROM jsonb_to_recordset(p_profiles) AS x(tenant_id int, profile_id bigint,
            obis text[], unit text[], kind text[], exp10 int[])
        ON CONFLICT DO NOTHING;
    END IF;

    -- Which frames are known already?
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
    IF fresh < staged THEN
        PERFORM store_duplicates(p_window);
    END IF;
    SELECT count(*) INTO staged FROM stage_capture;
    INSERT INTO capture (time, received_at, meter_time, frame_id, profile_id,
        tenant_id, meter_id, quality, uncertainty_ms, codec_version_id, values,
        value_quality)
    SELECT c.time, c.received_at, c.meter_time, c.frame_id, c.profile_id,
        c.tenant_id, c.meter_id, c.quality, c.uncertainty_ms, c.codec_version_id,
        c.values, c.value_quality
    FROM stage_capture c
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS fresh = ROW_COUNT;
    IF fresh < staged THEN
        PERFORM store_revisions();
    END IF;

    INSERT INTO event (time, received_at, meter_time, frame_id, tenant_id,
        meter_id, severity, state, code, detail)
    SELECT x.at, x.received_at, x.meter_at, x.frame_id, x.tenant_id, x.meter_id,
        x.severity, x.state, x.code, x.detail
    FROM batch_events(p_events) x
    JOIN stage_frame f ON f.frame_id = x.frame_id AND f.fate <> 2
    ON CONFLICT DO NOTHING;

    INSERT INTO clock_sample (tenant_id, meter_id, heard_at, meter_time,
        received_at, frame_id)
    SELECT f.tenant_id, f.meter_id, f.frame_time, f.clock, f.received_at, f.frame_id
    FROM stage_frame f
    WHERE f.clock IS NOT NULL AND f.meter_id IS NOT NULL AND f.fate = 1
    ON CONFLICT DO NOTHING;

    IF p_journal IS NULL THEN
        PERFORM take_back_frames();
    END IF;
    RETURN QUERY SELECT * FROM store_frames();
END $$;

-- Some frames' keys are known: those frames are duplicates, unless the key is
-- their own (a journal run again) or lies outside the window.
CREATE FUNCTION store_duplicates(p_window interval) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    UPDATE stage_frame f SET fate = 2, duplicate_of = k.frame_id, record = NULL
    FROM frame_key k
    WHERE k.tenant_id = f.tenant_id AND k.key = f.key AND k.frame_id <> f.frame_id
      AND k.seen_at BETWEEN f.frame_time - p_window AND f.frame_time + p_window;
    DELETE FROM stage_capture c USING stage_frame f
        WHERE f.frame_id = c.frame_id AND f.fate = 2;
END $$;

-- Some staged captures met others at their key. Equal values: a duplicate.
-- Other values: a new revision, the older stays, and an event says so. A frame
-- that brought captures, none of them new, is itself a duplicate.
CREATE FUNCTION store_revisions() RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    missing bigint;
    at timestamptz;
BEGIN
    FOR at IN SELECT DISTINCT date_trunc('month', s.time, 'UTC') FROM stage_capture s LOOP
        PERFORM ensure_partition('event', 'month', at);
    END LOOP;
    LOOP
        WITH contrary AS (
            SELECT DISTINCT ON (s.tenant_id, s.meter_id, s.time, s.profile_id) s.*,
                (SELECT max(c.revision) + 1 FROM capture c
                 WHERE c.tenant_id = s.tenant_id AND c.meter_id = s.meter_id
                   AND c.time = s.time AND c.profile_id = s.profile_id) AS next
            FROM stage_capture s
            WHERE NOT EXISTS (SELECT FROM capture c
                WHERE c.tenant_id = s.tenant_id AND c.meter_id = s.meter_id
                  AND c.time = s.time AND c.profile_id = s.profile_id
                  AND c.values = s.values)
            ORDER BY s.tenant_id, s.meter_id, s.time, s.profile_id, s.frame_id
        ), revised AS (
            INSERT INTO capture (time, received_at, meter_time, frame_id,
                profile_id, tenant_id, meter_id, quality, uncertainty_ms,
                revision, codec_version_id, values, value_quality)
            SELECT time, received_at, meter_time, frame_id, profile_id, tenant_id,
                meter_id, quality, uncertainty_ms, next, codec_version_id, values,
                value_quality
            FROM contrary
            RETURNING time, received_at, meter_time, frame_id, tenant_id,
                meter_id, revision
        )
        INSERT INTO event (time, received_at, meter_time, frame_id, tenant_id,
            meter_id, severity, state, code, detail)
        SELECT time, received_at, meter_time, frame_id, tenant_id, meter_id, 2, 0,
            'reading.conflict', format('revision %s differs from what was stored', revision)
        FROM revised
        ON CONFLICT DO NOTHING;
        SELECT count(*) INTO missing FROM stage_capture s
        WHERE NOT EXISTS (SELECT FROM capture c
            WHERE c.tenant_id = s.tenant_id AND c.meter_id = s.meter_id
              AND c.time = s.time AND c.profile_id = s.profile_id
              AND c.values = s.values);
        EXIT WHEN missing = 0; -- two contrary ones of one batch take two turns
    END LOOP;
    UPDATE stage_frame f SET fate = 2, duplicate_of = d.frame_id
    FROM (SELECT s.frame_id AS staged, min(c.frame_id) AS frame_id
          FROM stage_capture s JOIN capture c
            ON c.tenant_id = s.tenant_id AND c.meter_id = s.meter_id
           AND c.time = s.time AND c.profile_id = s.profile_id
           AND c.values = s.values
          GROUP BY s.frame_id
          HAVING bool_and(c.frame_id <> s.frame_id)) d
    WHERE f.frame_id = d.staged AND f.fate = 1;
END $$;

-- A replay begins here: what was written of the staged frames when they went to
-- quarantine is taken back, also from the platform tenant, if their meter was
-- registered meanwhile. What another replay has stored already stays; two
-- replays go one after the other, and take the ledger's rows in the order in
-- which live batches take them.
CREATE FUNCTION take_back_frames() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('headend replay'));
    DELETE FROM quarantine q USING stage_frame f WHERE q.frame_id = f.frame_id;
    WITH gone AS (
        DELETE FROM frame o USING stage_frame f
        WHERE o.received_at = f.received_at AND o.frame_id = f.frame_id AND o.fate = 3
        RETURNING o.tenant_id, o.received_at
    )
    INSERT INTO ledger AS l (tenant_id, minute, quarantined)
    SELECT g.tenant_id, date_trunc('minute', g.received_at), -count(*)
    FROM gone g GROUP BY 1, 2 ORDER BY 1, 2
    ON CONFLICT (tenant_id, minute) DO UPDATE
        SET quarantined = l.quarantined + excluded.quarantined;
END $$;

-- Writes the frames' rows, quarantine and ledger, and says what became of them.
-- A frame that is there already (a journal run again) changes nothing.
CREATE FUNCTION store_frames()
RETURNS TABLE (tenant_id int, fate smallint, frames bigint, readings bigint)
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH written AS (
        INSERT INTO frame (received_at, frame_time, frame_id, duplicate_of,
            counter, gateway, tenant_id, integration_id, meter_id, port, size,
            frames, codec_version, rssi, snr, source, fate, codec, peer, reason,
            detail, extras, payload)
        SELECT f.received_at, f.frame_time, f.frame_id, f.duplicate_of,
            f.counter, f.gateway, f.tenant_id, f.integration_id, f.meter_id,
            f.port, f.size, f.frames, f.codec_version, f.rssi, f.snr, f.source,
            f.fate, f.codec, f.peer, f.reason, f.detail, f.extras, f.payload
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

REVOKE ALL ON FUNCTION ensure_partition, maintain, expire_frames, journal_register FROM PUBLIC;
GRANT EXECUTE ON FUNCTION ensure_partition, maintain, expire_frames, journal_register
    TO headend_server;
