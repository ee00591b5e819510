-- Reports: what a tenant's own systems pull on a schedule (billing), kept as it
-- was made. server/report runs them; this decides what is in each.

-- Which transaction brought a capture, an event. A pull reads those of
-- transactions below pg_snapshot_xmin(pg_current_snapshot()): nobody can still
-- commit behind it, so what comes next is all that is missing, and nothing else.
-- xid leads: rows are added at the end of the index, and no query by meter and
-- time takes it for the key.
ALTER TABLE capture ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX capture_arrival ON capture (xid, tenant_id);
ALTER TABLE event ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id();
CREATE INDEX event_arrival ON event (xid, tenant_id);

-- What a report may hold. `page` is a function (report_run) that gives the rows
-- of the next page as cells and, last, a row with the place to go on at; without
-- one it was the last page. `periodic`: it is of a closed hour, day or month; else of
-- what came since the run before. Columns are name:type.
CREATE FUNCTION report_kinds() RETURNS TABLE
    (holds text, page text, periodic boolean, by_register boolean, columns text[])
LANGUAGE sql IMMUTABLE AS $$ VALUES
    ('readings', 'report_readings', false, true, ARRAY['time:time', 'meter_id:int',
        'serial:text', 'point:text', 'register:text', 'value:decimal', 'unit:text',
        'quality:int', 'received_at:time', 'revision:int']),
    ('events', 'report_events', false, false, ARRAY['time:time', 'meter_id:int',
        'serial:text', 'point:text', 'code:text', 'severity:text', 'state:text',
        'detail:text', 'received_at:time']),
    ('sums', 'report_sums', true, true, ARRAY['from:time', 'to:time', 'meter_id:int',
        'serial:text', 'point:text', 'register:text', 'value:decimal', 'unit:text',
        'least:decimal', 'greatest:decimal', 'mean:decimal', 'first_at:time',
        'last_at:time', 'readings:int', 'quality:int', 'gap:bool', 'spans_gap:bool']),
    ('missing', 'report_missing', true, false, ARRAY['from:time', 'to:time', 'meter_id:int',
        'serial:text', 'name:text', 'point:text', 'last_at:time']) $$;

CREATE TABLE report (
    tenant_id int NOT NULL REFERENCES tenant ON DELETE CASCADE,
    report_id int GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    holds text NOT NULL,
    covers text CHECK (covers IN ('hour', 'day', 'month')), -- of periodic ones
    sums_by text CHECK (sums_by IN ('hour', 'day', 'month')),
    group_id int,                        -- NULL: all meters
    registers text[] NOT NULL DEFAULT '{}', -- empty: all
    format text NOT NULL DEFAULT 'csv' CHECK (format IN ('csv', 'jsonl')),
    separator text NOT NULL DEFAULT ',' CHECK (separator IN (',', ';', '|', E'\t')),
    decimal_mark text NOT NULL DEFAULT '.' CHECK (decimal_mark IN ('.', ',')),
    schedule text CHECK (length(schedule) BETWEEN 1 AND 1024), -- timesvc/cron.h
    enabled boolean NOT NULL DEFAULT true,
    keep_days int NOT NULL DEFAULT 30 CHECK (keep_days BETWEEN 1 AND 3660),
    created_at timestamptz NOT NULL DEFAULT now(),
    revision bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, report_id),
    UNIQUE (tenant_id, name),
    FOREIGN KEY (tenant_id, group_id) REFERENCES meter_group
);
COMMENT ON COLUMN report.keep_days IS 'how long the content of a run is kept, days';
CALL protect('report');
CALL audited('report', 'report_id');
GRANT SELECT ON report TO headend_server;

-- How far it has come: when it runs next, and what its runs have held.
CREATE TABLE report_state (
    tenant_id int NOT NULL,
    report_id int NOT NULL,
    planned_from timestamptz NOT NULL DEFAULT now(), -- where due_at is NULL
    due_at timestamptz,                  -- NULL: to be found by server/report
    zone text,                           -- that due_at was found in
    upto xid8 NOT NULL,                  -- runs have held all below
    upto_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, report_id),
    FOREIGN KEY (tenant_id, report_id) REFERENCES report ON DELETE CASCADE
);
CALL protect('report_state');
GRANT SELECT, UPDATE ON report_state TO headend_server;

CREATE TABLE report_run (
    tenant_id int NOT NULL,
    run_id bigint GENERATED ALWAYS AS IDENTITY,
    report_id int NOT NULL,
    due_at timestamptz,                  -- of its schedule; NULL: somebody asked
    made_by text NOT NULL,
    test boolean NOT NULL DEFAULT false, -- the next run holds the same again
    spec jsonb NOT NULL,                 -- the report as it was then
    follows boolean NOT NULL,            -- holds what came since the run before
    from_at timestamptz,
    to_at timestamptz,
    from_xid xid8,
    to_xid xid8,
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'done', 'failed')),
    error text,
    attempts int NOT NULL DEFAULT 0,     -- that failed, in a row
    place jsonb,                         -- where the next page begins
    chunks int NOT NULL DEFAULT 0,
    rows bigint NOT NULL DEFAULT 0,
    bytes bigint NOT NULL DEFAULT 0,
    lease uuid,
    leased_until timestamptz NOT NULL DEFAULT '-infinity',
    turn_at timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    started_at timestamptz,
    finished_at timestamptz,
    kept_until timestamptz,
    PRIMARY KEY (tenant_id, run_id),
    UNIQUE (tenant_id, report_id, due_at), -- a tick gives one run
    FOREIGN KEY (tenant_id, report_id) REFERENCES report ON DELETE CASCADE
);
CREATE INDEX report_run_of ON report_run (tenant_id, report_id, run_id);
CREATE INDEX report_run_open ON report_run (tenant_id, report_id, run_id)
    WHERE state IN ('queued', 'running');
CALL protect('report_run');
GRANT SELECT, UPDATE ON report_run TO headend_server;

CREATE TABLE report_content (
    tenant_id int NOT NULL,
    run_id bigint NOT NULL,
    chunk int NOT NULL,
    body text NOT NULL,
    PRIMARY KEY (tenant_id, run_id, chunk),
    FOREIGN KEY (tenant_id, run_id) REFERENCES report_run ON DELETE CASCADE
);
DO $$
BEGIN
    ALTER TABLE report_content ALTER body SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN NULL; -- a PostgreSQL without it: pglz
END $$;
CALL protect('report_content');
GRANT SELECT, INSERT, DELETE ON report_content TO headend_server;

-- ---- what the API reads and writes ----

CREATE FUNCTION report_json(r report) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('report_id', r.report_id, 'name', r.name, 'holds', r.holds,
        'covers', r.covers, 'by', r.sums_by, 'group_id', r.group_id,
        'registers', r.registers, 'format', r.format, 'separator', r.separator,
        'decimal', r.decimal_mark, 'schedule', r.schedule, 'enabled', r.enabled,
        'keep_days', r.keep_days, 'created_at', r.created_at, 'revision', r.revision,
        'next_at', CASE WHEN r.enabled AND isfinite(s.due_at) THEN s.due_at END,
        'reported_until', CASE WHEN r.covers IS NULL THEN s.upto_at END)
    FROM report_state s WHERE s.tenant_id = r.tenant_id AND s.report_id = r.report_id $$;

CREATE FUNCTION report_run_json(x report_run) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('run_id', x.run_id::text, 'report_id', x.report_id,
        'report', x.spec ->> 'name', 'holds', x.spec ->> 'holds',
        'due_at', x.due_at, 'made_by', x.made_by, 'test', x.test, 'state', x.state,
        'error', x.error, 'attempts', x.attempts, 'from', x.from_at, 'to', x.to_at,
        'format', x.spec ->> 'format', 'rows', x.rows, 'bytes', x.bytes,
        'created_at', x.created_at, 'started_at', x.started_at,
        'finished_at', x.finished_at, 'kept_until', x.kept_until) $$;

CREATE FUNCTION report_refuse(r report) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    k record;
    wrong text;
BEGIN
    SELECT * INTO k FROM report_kinds() x WHERE x.holds = r.holds;
    IF NOT FOUND THEN
        PERFORM refuse(422, 'holds', format('A report holds one of %s.',
            (SELECT string_agg(x.holds, ', ') FROM report_kinds() x)));
    ELSIF k.periodic <> (r.covers IS NOT NULL) THEN
        PERFORM refuse(422, 'covers', CASE WHEN k.periodic
            THEN 'It covers the last closed hour, day or month.'
            ELSE 'It holds what came since the run before, and covers no period.' END);
    ELSIF (r.holds = 'sums') <> (r.sums_by IS NOT NULL) THEN
        PERFORM refuse(422, 'by', 'Sums, and they alone, are by hour, day or month.');
    ELSIF array_position('{hour,day,month}', r.sums_by)
            > array_position('{hour,day,month}', r.covers) THEN
        PERFORM refuse(422, 'by', format('Sums by %s do not fit into a %s.', r.sums_by,
            r.covers));
    ELSIF r.registers <> '{}' AND NOT k.by_register THEN
        PERFORM refuse(422, 'registers', format('%s have no registers.', initcap(r.holds)));
    ELSIF r.separator = r.decimal_mark AND r.format = 'csv' THEN
        PERFORM refuse(422, 'separator', 'It cannot be the decimal mark too.');
    END IF;
    SELECT x INTO wrong FROM unnest(r.registers) x
        WHERE x !~ '^[0-9]{1,3}-[0-9]{1,3}:[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(\*[0-9]{1,3})?$'
        LIMIT 1;
    IF FOUND THEN
        PERFORM refuse(422, 'registers', format(
            '"%s" is no OBIS code, such as 6-0:1.0.0.', left(wrong, 40)));
    END IF;
END $$;

-- p_id NULL: a new one, which begins with what comes from now on.
CREATE FUNCTION report_put(p_tenant int, p_body jsonb, p_id int) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    r report;
    was text;
BEGIN
    PERFORM in_scope(p_tenant);
    IF p_id IS NULL THEN
        PERFORM pg_advisory_xact_lock(hashtext('headend report'), p_tenant);
        IF (SELECT count(*) FROM report WHERE tenant_id = p_tenant) >= 100 THEN
            PERFORM refuse(409, NULL, 'There are 100 reports already; remove one first.');
        END IF;
        SELECT p_tenant AS tenant_id, x.holds,
            CASE WHEN x.periodic THEN 'day' END AS covers, '{}'::text[] AS registers,
            'csv' AS format, ',' AS separator, '.' AS decimal_mark, true AS enabled,
            30 AS keep_days
            INTO r.tenant_id, r.holds, r.covers, r.registers, r.format, r.separator,
            r.decimal_mark, r.enabled, r.keep_days
            FROM report_kinds() x WHERE x.holds = p_body ->> 'holds';
        IF r.holds = 'sums' THEN
            r.sums_by := coalesce(p_body ->> 'covers', 'day');
        END IF;
    ELSE
        SELECT * INTO r FROM report WHERE tenant_id = p_tenant AND report_id = p_id FOR UPDATE;
        IF NOT FOUND THEN
            PERFORM refuse(404, NULL, 'There is nothing with this id.');
        END IF;
        PERFORM revision_check(p_body, r.revision);
        was := r.schedule || r.enabled;
    END IF;
    r.name := coalesce(p_body ->> 'name', r.name);
    r.covers := coalesce(p_body ->> 'covers', r.covers);
    r.sums_by := coalesce(p_body ->> 'by', r.sums_by);
    r.group_id := CASE WHEN p_body ? 'group_id' THEN (p_body ->> 'group_id')::int
        ELSE r.group_id END;
    r.registers := CASE WHEN p_body ? 'registers'
        THEN ARRAY(SELECT jsonb_array_elements_text(p_body -> 'registers'))
        ELSE r.registers END;
    r.format := coalesce(p_body ->> 'format', r.format);
    r.separator := coalesce(p_body ->> 'separator', r.separator);
    r.decimal_mark := coalesce(p_body ->> 'decimal', r.decimal_mark);
    r.schedule := CASE WHEN p_body ? 'schedule' THEN p_body ->> 'schedule'
        ELSE r.schedule END;
    r.enabled := coalesce((p_body ->> 'enabled')::boolean, r.enabled);
    r.keep_days := coalesce((p_body ->> 'keep_days')::int, r.keep_days);
    PERFORM report_refuse(r);
    IF p_id IS NULL THEN
        INSERT INTO report (tenant_id, name, holds, covers, sums_by, group_id, registers,
            format, separator, decimal_mark, schedule, enabled, keep_days)
        VALUES (p_tenant, r.name, r.holds, r.covers, r.sums_by, r.group_id, r.registers,
            r.format, r.separator, r.decimal_mark, r.schedule, r.enabled, r.keep_days)
        RETURNING * INTO r;
        INSERT INTO report_state (tenant_id, report_id, upto)
        VALUES (p_tenant, r.report_id, pg_snapshot_xmin(pg_current_snapshot()));
        RETURN report_json(r);
    END IF;
    UPDATE report SET name = r.name, covers = r.covers, sums_by = r.sums_by,
        group_id = r.group_id, registers = r.registers, format = r.format,
        separator = r.separator, decimal_mark = r.decimal_mark, schedule = r.schedule,
        enabled = r.enabled, keep_days = r.keep_days, revision = revision + 1
        WHERE tenant_id = p_tenant AND report_id = p_id RETURNING * INTO r;
    UPDATE report_state SET due_at = NULL, planned_from = now()
        WHERE tenant_id = p_tenant AND report_id = p_id
          AND was IS DISTINCT FROM r.schedule || r.enabled;
    RETURN report_json(r);
END $$;

CREATE FUNCTION report_remove(p_tenant int, p_id int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM in_scope(p_tenant);
    DELETE FROM report WHERE tenant_id = p_tenant AND report_id = p_id;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
END $$;

-- Newest first.
CREATE FUNCTION report_runs(p_tenant int, p_id int, p_state text, p_before bigint, p_limit int)
RETURNS TABLE (item json, key bigint, key_text text) LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM report WHERE tenant_id = p_tenant AND report_id = p_id) THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
    RETURN QUERY SELECT report_run_json(x), x.run_id, '' FROM report_run x
        WHERE x.tenant_id = p_tenant AND x.report_id = p_id
          AND (p_state IS NULL OR x.state = p_state)
          AND (p_before IS NULL OR x.run_id < p_before)
        ORDER BY x.run_id DESC LIMIT p_limit;
END $$;

-- The closed hour, day or month before p_at in a zone's own time: a day of 23 or
-- 25 hours is a day.
CREATE FUNCTION report_period(p_covers text, p_zone text, p_at timestamptz,
    OUT from_at timestamptz, OUT to_at timestamptz) LANGUAGE sql STABLE AS $$
    SELECT date_trunc(p_covers, e - interval '1 microsecond', p_zone), e
    FROM (SELECT date_trunc(p_covers, p_at, p_zone) AS e) x $$;

CREATE FUNCTION report_run_add(r report, p_due timestamptz, p_made_by text, p_test boolean,
    p_from timestamptz, p_to timestamptz) RETURNS report_run LANGUAGE plpgsql AS $$
DECLARE
    zone text := (SELECT t.timezone FROM tenant t WHERE t.tenant_id = r.tenant_id);
    x report_run;
BEGIN
    IF p_from IS NULL AND r.covers IS NOT NULL THEN
        SELECT * INTO p_from, p_to FROM report_period(r.covers, zone, coalesce(p_due, now()));
    END IF;
    INSERT INTO report_run (tenant_id, report_id, due_at, made_by, test, spec, follows,
        from_at, to_at)
    VALUES (r.tenant_id, r.report_id, p_due, p_made_by, p_test, jsonb_build_object(
        'name', r.name, 'holds', r.holds, 'by', r.sums_by, 'group_id', r.group_id,
        'registers', r.registers, 'format', r.format, 'separator', r.separator,
        'decimal', r.decimal_mark, 'timezone', zone), p_from IS NULL, p_from, p_to)
    ON CONFLICT DO NOTHING RETURNING * INTO x;
    RETURN x;
END $$;

-- On demand: as the schedule would now; or, with from and to, of that time,
-- which says nothing of what the next run holds.
CREATE FUNCTION report_ask(p_tenant int, p_body jsonb, p_id int) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    began timestamptz := p_body ->> 'from';
    ended timestamptz := p_body ->> 'to';
    r report;
BEGIN
    PERFORM in_scope(p_tenant);
    SELECT * INTO r FROM report WHERE tenant_id = p_tenant AND report_id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    ELSIF began IS NULL <> (ended IS NULL) OR began >= ended THEN
        PERFORM refuse(422, 'to', 'from and to come together, to is later than from.');
    ELSIF ended - began > interval '5000 days'
            OR r.sums_by = 'hour' AND ended - began > interval '5000 hours' THEN
        PERFORM refuse(422, 'to', 'At most 5000 days, or hours of sums by hour, at a time.');
    ELSIF (SELECT count(*) FROM report_run x WHERE x.tenant_id = p_tenant
            AND x.report_id = p_id AND x.state IN ('queued', 'running')) >= 10 THEN
        PERFORM refuse(409, NULL, 'Ten runs of this report wait already.');
    END IF;
    RETURN report_run_json(report_run_add(r, NULL,
        coalesce(nullif(current_setting('headend.actor', true), ''), session_user),
        coalesce((p_body ->> 'test')::boolean, false), began, ended));
END $$;

-- ---- the schedule: server/report finds the ticks (timesvc/cron.h) ----

-- Reports whose next tick is to be found, or has come. Those of closed periods
-- make up for ticks since `oldest`, one for each period: the next that counts
-- comes at `hop` or later. The others' next run holds all that was missed.
CREATE FUNCTION report_due() RETURNS TABLE (tenant_id int, report_id int, revision bigint,
    schedule text, zone text, planned_us bigint, due_us bigint, now_us bigint,
    oldest_us bigint, hop_us bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT r.tenant_id, r.report_id, r.revision, r.schedule, t.timezone,
        time_us(CASE WHEN s.due_at IS NULL THEN s.planned_from ELSE now() END),
        CASE WHEN s.zone = t.timezone THEN time_us(s.due_at) END, time_us(now()),
        coalesce(time_us((date_trunc(r.covers, now() AT TIME ZONE t.timezone) - 30 * step)
            AT TIME ZONE t.timezone), 0),
        time_us(coalesce((date_trunc(r.covers, s.due_at AT TIME ZONE t.timezone) + step)
            AT TIME ZONE t.timezone, now()))
    FROM report r JOIN report_state s USING (tenant_id, report_id) JOIN tenant t USING (tenant_id)
        CROSS JOIN LATERAL (SELECT ('1 ' || r.covers)::interval AS step) c
    WHERE r.enabled AND r.schedule IS NOT NULL AND t.suspended_at IS NULL
      AND (s.due_at IS NULL OR s.due_at <= now() OR s.zone <> t.timezone)
    ORDER BY s.due_at NULLS FIRST LIMIT 100 $$;

-- p_due is over, as this revision of the report planned it: p_next comes (NULL:
-- none), with or without a run for p_due. True: that run is there now.
CREATE FUNCTION report_tick(p_tenant int, p_report int, p_revision bigint, p_zone text,
    p_due_us bigint, p_run boolean, p_next_us bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    r report;
BEGIN
    SELECT * INTO r FROM report WHERE tenant_id = p_tenant AND report_id = p_report
        AND revision = p_revision FOR UPDATE;
    UPDATE report_state s SET due_at = coalesce(us_time(p_next_us), 'infinity'), zone = p_zone
        WHERE s.tenant_id = r.tenant_id AND s.report_id = r.report_id
          AND (p_due_us IS NULL OR s.due_at = us_time(p_due_us))
          AND (p_due_us IS NOT NULL OR s.due_at IS NULL OR s.zone <> p_zone);
    IF NOT FOUND OR NOT p_run THEN
        RETURN false;
    END IF;
    PERFORM report_run_add(r, us_time(p_due_us), 'schedule', false, NULL, NULL);
    RETURN true;
END $$;

-- ---- running: take -> step, step ... -> done, or failed ----

-- A run for this server, which begins or goes on. One of a report at a time, in
-- their order, so that each knows what the one before it held. p_kept: bytes
-- that the runs of a tenant may hold together.
CREATE FUNCTION report_take(p_lease_s int, p_attempts int, p_kept bigint) RETURNS TABLE
    (tenant_id int, run_id bigint, lease uuid)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    x report_run;
    s report_state;
    again boolean;
BEGIN
    SELECT o.* INTO x FROM report_run o JOIN tenant t USING (tenant_id)
        WHERE o.state IN ('queued', 'running') AND o.leased_until < now()
          AND t.suspended_at IS NULL AND NOT EXISTS (SELECT FROM report_run p
            WHERE p.tenant_id = o.tenant_id AND p.report_id = o.report_id
              AND p.state IN ('queued', 'running') AND p.run_id <> o.run_id
              AND (p.state = 'running' OR p.run_id < o.run_id))
        ORDER BY o.turn_at LIMIT 1 FOR UPDATE OF o SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO STRICT s FROM report_state p
        WHERE p.tenant_id = x.tenant_id AND p.report_id = x.report_id FOR UPDATE;
    again := x.lease IS NOT NULL; -- who had it has died, or was too slow
    IF again AND x.attempts + 1 >= p_attempts THEN
        PERFORM report_failed(x, 'It was begun too often without coming to its end.');
        RETURN;
    ELSIF x.state = 'queued' AND EXISTS (SELECT FROM report_run p
            WHERE p.tenant_id = x.tenant_id AND p.report_id = x.report_id
              AND p.state = 'running') THEN
        RETURN; -- another one began meanwhile
    ELSIF x.state = 'queued' AND (SELECT sum(p.bytes) FROM report_run p
            WHERE p.tenant_id = x.tenant_id AND p.kept_until > now()) > p_kept THEN
        PERFORM report_failed(x, format('The runs that are kept hold %s bytes already '
            || '(report.kept_max): remove reports, or keep them for fewer days.', p_kept));
        RETURN;
    ELSIF x.state = 'queued' AND x.follows
            AND s.upto > pg_snapshot_xmax(pg_current_snapshot()) THEN
        UPDATE report_state p SET upto = pg_snapshot_xmin(pg_current_snapshot()), upto_at = now()
            WHERE p.tenant_id = x.tenant_id AND p.report_id = x.report_id;
        PERFORM report_failed(x, format('The database was restored into another one, whose '
            || 'transactions are numbered anew. Ask for what came since %s with from and to.',
            to_char(s.upto_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')));
        RETURN;
    ELSIF x.state = 'queued' THEN
        UPDATE report_run p SET state = 'running', started_at = now(),
            to_xid = pg_snapshot_xmin(pg_current_snapshot()),
            from_xid = CASE WHEN x.follows THEN s.upto END,
            from_at = CASE WHEN x.follows THEN s.upto_at ELSE x.from_at END,
            to_at = CASE WHEN x.follows THEN now() ELSE x.to_at END
            WHERE p.tenant_id = x.tenant_id AND p.run_id = x.run_id;
    END IF;
    RETURN QUERY UPDATE report_run p SET lease = gen_random_uuid(), turn_at = now(),
        attempts = p.attempts + again::int,
        leased_until = now() + p_lease_s * interval '1 second'
        WHERE p.tenant_id = x.tenant_id AND p.run_id = x.run_id
        RETURNING p.tenant_id, p.run_id, p.lease;
END $$;

-- Others have their turn; what is made stays.
CREATE FUNCTION report_yield(p_tenant int, p_run bigint, p_lease uuid) RETURNS void
LANGUAGE sql AS $$
    UPDATE report_run SET lease = NULL, leased_until = '-infinity'
    WHERE tenant_id = p_tenant AND run_id = p_run AND lease = p_lease $$;

CREATE FUNCTION report_failed(x report_run, p_error text) RETURNS report_run
LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM report_content c WHERE c.tenant_id = x.tenant_id AND c.run_id = x.run_id;
    UPDATE report_run r SET state = 'failed', error = left(p_error, 500), finished_at = now(),
        lease = NULL, rows = 0, bytes = 0, chunks = 0
        WHERE r.tenant_id = x.tenant_id AND r.run_id = x.run_id RETURNING * INTO x;
    PERFORM feed_put(x.tenant_id, 'report', NULL, report_run_json(x)::jsonb);
    RETURN x;
END $$;

-- A step failed: after a pause it is tried again, at most p_attempts times. What
-- a failed run would have held rides in the next one. True: it failed for good.
CREATE FUNCTION report_stumbled(p_tenant int, p_run bigint, p_lease uuid, p_error text,
    p_attempts int) RETURNS boolean LANGUAGE plpgsql AS $$
DECLARE
    x report_run;
BEGIN
    UPDATE report_run r SET attempts = attempts + 1, lease = NULL, error = left(p_error, 500),
        leased_until = now() + least(600, 5 * 2 ^ attempts) * interval '1 second'
        WHERE r.tenant_id = p_tenant AND r.run_id = p_run AND r.lease = p_lease
        RETURNING * INTO x;
    IF x.attempts >= p_attempts THEN
        PERFORM report_failed(x, p_error);
        RETURN true;
    END IF;
    RETURN false;
END $$;

CREATE FUNCTION report_done(x report_run) RETURNS report_run LANGUAGE plpgsql AS $$
BEGIN
    UPDATE report_run r SET state = 'done', error = NULL, finished_at = now(), lease = NULL,
        kept_until = now() + (SELECT p.keep_days FROM report p WHERE p.tenant_id = x.tenant_id
            AND p.report_id = x.report_id) * interval '1 day'
        WHERE r.tenant_id = x.tenant_id AND r.run_id = x.run_id RETURNING * INTO x;
    UPDATE report_state s SET upto = x.to_xid, upto_at = x.to_at
        WHERE s.tenant_id = x.tenant_id AND s.report_id = x.report_id
          AND x.follows AND NOT x.test;
    PERFORM feed_put(x.tenant_id, 'report', NULL, report_run_json(x)::jsonb);
    RETURN x;
END $$;

-- One line of cells, if there are any; names and types are those of
-- report_kinds().
CREATE FUNCTION report_line(p_format text, p_cells text[], p_names text[], p_types text[],
    p_separator text, p_mark text) RETURNS text LANGUAGE sql IMMUTABLE STRICT AS $$
    SELECT CASE p_format WHEN 'csv' THEN
        (SELECT string_agg(CASE WHEN v IS NULL THEN ''
            WHEN t = 'decimal' THEN replace(v, '.', p_mark)
            WHEN t = 'text' AND (strpos(v, p_separator) > 0 OR v ~ '["\r\n]')
                THEN '"' || replace(v, '"', '""') || '"'
            ELSE v END, p_separator ORDER BY n) || E'\r\n'
         FROM unnest(p_cells, p_types) WITH ORDINALITY AS u(v, t, n))
    ELSE
        (SELECT '{' || string_agg('"' || name || '":' || CASE WHEN v IS NULL THEN 'null'
            WHEN t IN ('int', 'bool') THEN v ELSE to_json(v)::text END, ',' ORDER BY n)
            || E'}\n'
         FROM unnest(p_cells, p_names, p_types) WITH ORDINALITY AS u(v, name, t, n))
    END $$;

-- The next page of a run, kept; the last one ends it. p_most: bytes of a run.
-- No row: it is another server's by now.
CREATE FUNCTION report_step(p_tenant int, p_run bigint, p_lease uuid, p_lease_s int,
    p_most bigint) RETURNS TABLE (state text, rows bigint, bytes bigint)
LANGUAGE plpgsql SET jit = off AS $$
#variable_conflict use_column
DECLARE
    x report_run;
    names text[];
    types text[];
    page text;
    made text;
    n bigint;
    onward jsonb;
BEGIN
    SELECT * INTO x FROM report_run r WHERE r.tenant_id = p_tenant AND r.run_id = p_run
        AND r.lease = p_lease AND r.state = 'running' FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    PERFORM set_config('TimeZone', x.spec ->> 'timezone', true);
    SELECT k.page, array_agg(split_part(c, ':', 1) ORDER BY i),
        array_agg(split_part(c, ':', 2) ORDER BY i) INTO page, names, types
        FROM report_kinds() k, unnest(k.columns) WITH ORDINALITY AS u(c, i)
        WHERE k.holds = x.spec ->> 'holds' GROUP BY k.page;
    EXECUTE format('SELECT coalesce(string_agg(report_line($2, p.cells, $3, $4, $5, $6), ''''
            ORDER BY p.n), ''''), count(p.cells), (array_agg(p.place ORDER BY p.n DESC))[1]
        FROM %I($1) WITH ORDINALITY AS p(cells, place, n)', page)
        INTO made, n, onward USING x, x.spec ->> 'format', names, types,
            x.spec ->> 'separator', x.spec ->> 'decimal';
    IF x.chunks = 0 AND x.spec ->> 'format' = 'csv' THEN
        made := array_to_string(names, x.spec ->> 'separator') || E'\r\n' || made;
    END IF;
    INSERT INTO report_content (tenant_id, run_id, chunk, body)
        SELECT p_tenant, p_run, x.chunks, made WHERE made <> '';
    UPDATE report_run r SET place = onward, chunks = r.chunks + (made <> '')::int,
        rows = r.rows + n, bytes = r.bytes + octet_length(made), attempts = 0, error = NULL,
        leased_until = now() + p_lease_s * interval '1 second'
        WHERE r.tenant_id = p_tenant AND r.run_id = p_run RETURNING * INTO x;
    IF x.bytes > p_most THEN
        x := report_failed(x, format('It would be larger than %s bytes (report.content_max): '
            || 'choose fewer meters or registers, or a shorter time.', p_most));
    ELSIF onward IS NULL THEN
        x := report_done(x);
    END IF;
    RETURN QUERY SELECT x.state, x.rows, x.bytes;
END $$;

-- ---- what is in them: a page each ----

CREATE FUNCTION report_time(p_at timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN p_at = date_trunc('second', p_at)
        THEN to_char(p_at, 'YYYY-MM-DD"T"HH24:MI:SSTZH:TZM')
        ELSE to_char(p_at, 'YYYY-MM-DD"T"HH24:MI:SS.USTZH:TZM') END $$;

-- Where a meter was at a time: the name that billing knows.
CREATE FUNCTION point_at(p_tenant int, p_meter int, p_at timestamptz) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT p.moid FROM installation i JOIN metering_point p USING (tenant_id, metering_point_id)
    WHERE i.tenant_id = p_tenant AND i.meter_id = p_meter AND i.from_at <= p_at
      AND (i.to_at IS NULL OR i.to_at > p_at) $$;

CREATE FUNCTION report_wants(x report_run, p_meter int) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT x.spec ->> 'group_id' IS NULL OR EXISTS (SELECT FROM meter_group_member g
        WHERE g.tenant_id = x.tenant_id AND g.group_id = (x.spec ->> 'group_id')::int
          AND g.meter_id = p_meter) $$;

-- A page costs what is in it only if an index gives its order; what came last is
-- not in the planner's statistics, so it must not choose to sort all of it.

-- Captures in the order in which they came ...
CREATE FUNCTION report_arrived(x report_run, p_most int) RETURNS SETOF capture
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan
SET enable_sort = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    at xid8 := x.place ->> 'xid';
BEGIN
    RETURN QUERY SELECT c.* FROM capture c
        WHERE c.tenant_id = x.tenant_id AND c.xid >= coalesce(at, x.from_xid)
          AND c.xid < x.to_xid
          AND (at IS NULL OR (c.xid, c.meter_id, c.time, c.profile_id, c.revision)
              > (at, (x.place ->> 'meter')::int, (x.place ->> 'time')::timestamptz,
                 (x.place ->> 'profile')::bigint, (x.place ->> 'revision')::smallint))
        ORDER BY c.xid, c.meter_id, c.time, c.profile_id, c.revision LIMIT p_most;
END $$;

-- ... or those of a time, by meter. What comes while it runs is not in it.
CREATE FUNCTION report_timed(x report_run, p_most int) RETURNS SETOF capture
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan
SET enable_sort = off SET enable_seqscan = off SET enable_bitmapscan = off
SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    at int := x.place ->> 'meter';
BEGIN
    RETURN QUERY SELECT c.* FROM meter m CROSS JOIN LATERAL (SELECT k.* FROM capture k
            WHERE k.tenant_id = x.tenant_id AND k.meter_id = m.meter_id
              AND k.time >= x.from_at AND k.time < x.to_at AND k.xid < x.to_xid
              AND (at IS NULL OR (k.meter_id, k.time, k.profile_id, k.revision)
                  > (at, (x.place ->> 'time')::timestamptz, (x.place ->> 'profile')::bigint,
                     (x.place ->> 'revision')::smallint))) c
        WHERE m.tenant_id = x.tenant_id AND m.meter_id >= coalesce(at, 0)
          AND report_wants(x, m.meter_id)
        ORDER BY m.meter_id, c.time, c.profile_id, c.revision LIMIT p_most;
END $$;

-- Each value once: a capture that repeats a value of the same meter, register
-- and time, which came in another profile before, is no news.
CREATE FUNCTION report_readings(x report_run) RETURNS TABLE (cells text[], place jsonb)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    most CONSTANT int := 500;
BEGIN
    RETURN QUERY WITH page AS MATERIALIZED (
        SELECT * FROM report_arrived(x, most) WITH ORDINALITY WHERE x.follows
        UNION ALL
        SELECT * FROM report_timed(x, most) WITH ORDINALITY WHERE NOT x.follows
    ), listed AS (
        SELECT ARRAY[report_time(c.time), c.meter_id::text, m.serial,
            point_at(c.tenant_id, c.meter_id, c.time), o.obis,
            (c.values[o.n] * o.factor)::text, o.unit,
            coalesce(c.value_quality[o.n], c.quality)::text, report_time(c.received_at),
            c.revision::text] AS cells
        FROM page c JOIN meter m USING (tenant_id, meter_id)
            JOIN profile p USING (tenant_id, profile_id)
            CROSS JOIN LATERAL unnest(p.obis, p.unit, p.factor)
                WITH ORDINALITY AS o(obis, unit, factor, n)
        WHERE c.values[o.n] IS NOT NULL AND report_wants(x, c.meter_id)
          AND (x.spec -> 'registers' = '[]' OR x.spec -> 'registers' ? o.obis)
          AND NOT EXISTS (SELECT FROM (SELECT * FROM capture e WHERE e.tenant_id = c.tenant_id
                  AND e.meter_id = c.meter_id AND e.time = c.time OFFSET 0) e -- by its key
                JOIN profile q USING (tenant_id, profile_id)
                CROSS JOIN LATERAL unnest(q.obis, q.unit, q.factor)
                    WITH ORDINALITY AS w(obis, unit, factor, n)
            WHERE (e.xid, e.profile_id, e.revision) < (c.xid, c.profile_id, c.revision)
              AND w.obis = o.obis AND w.unit = o.unit
              AND e.values[w.n] * w.factor = c.values[o.n] * o.factor
              AND (coalesce(e.value_quality[w.n], e.quality)
                  # coalesce(c.value_quality[o.n], c.quality)) & 512 = 0)
        ORDER BY c.ordinality, o.n
    )
    SELECT l.cells, NULL::jsonb FROM listed l
    UNION ALL
    SELECT NULL, jsonb_build_object('xid', c.xid::text, 'meter', c.meter_id, 'time', c.time,
        'profile', c.profile_id, 'revision', c.revision) FROM page c
    WHERE c.ordinality = most;
END $$;

CREATE FUNCTION report_events(x report_run) RETURNS TABLE (cells text[], place jsonb)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan
SET enable_sort = off SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    most CONSTANT int := 1000;
    at_xid xid8 := x.place ->> 'xid'; -- where it goes on
    at_meter int := x.place ->> 'meter';
    at_time timestamptz := x.place ->> 'time';
    at_code text := x.place ->> 'code';
    at_state smallint := x.place ->> 'state';
BEGIN
    RETURN QUERY WITH page AS MATERIALIZED (
        SELECT e.*, row_number() OVER () AS n FROM (SELECT e.* FROM event e
            WHERE x.follows AND e.tenant_id = x.tenant_id
              AND e.xid >= coalesce(at_xid, x.from_xid) AND e.xid < x.to_xid
              AND (at_xid IS NULL OR (e.xid, e.meter_id, e.time, e.code, e.state)
                  > (at_xid, at_meter, at_time, at_code, at_state))
            ORDER BY e.xid, e.meter_id, e.time, e.code, e.state LIMIT most) e
        UNION ALL
        SELECT e.*, row_number() OVER () FROM (SELECT e.* FROM event e
            WHERE NOT x.follows AND e.tenant_id = x.tenant_id
              AND e.time >= x.from_at AND e.time < x.to_at AND e.xid < x.to_xid
              AND (at_xid IS NULL OR (e.meter_id, e.time, e.code, e.state)
                  > (at_meter, at_time, at_code, at_state))
            ORDER BY e.meter_id, e.time, e.code, e.state LIMIT most) e
    ), listed AS (
        SELECT ARRAY[report_time(e.time), e.meter_id::text, m.serial,
            point_at(e.tenant_id, e.meter_id, e.time), e.code,
            ('{debug,info,warning,critical}'::text[])[e.severity + 1],
            ('{pulse,start,end}'::text[])[e.state + 1], e.detail,
            report_time(e.received_at)] AS cells
        FROM page e JOIN meter m USING (tenant_id, meter_id) WHERE report_wants(x, e.meter_id)
        ORDER BY e.n
    )
    SELECT l.cells, NULL::jsonb FROM listed l
    UNION ALL
    SELECT NULL, jsonb_build_object('xid', e.xid::text, 'meter', e.meter_id, 'time', e.time,
        'code', e.code, 'state', e.state) FROM page e WHERE e.n = most;
END $$;

-- The next meters of a run that goes meter by meter.
CREATE FUNCTION report_meters(x report_run, p_most int) RETURNS SETOF meter
LANGUAGE sql STABLE AS $$
    SELECT * FROM meter m WHERE m.tenant_id = x.tenant_id
      AND m.meter_id > coalesce((x.place ->> 'meter')::int, 0) AND report_wants(x, m.meter_id)
    ORDER BY m.meter_id LIMIT p_most $$;

-- Meters without a single reading of the period.
CREATE FUNCTION report_missing(x report_run) RETURNS TABLE (cells text[], place jsonb)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    most CONSTANT int := 1000;
BEGIN
    RETURN QUERY WITH page AS MATERIALIZED (
        SELECT * FROM report_meters(x, most)
    ), listed AS (
        SELECT ARRAY[report_time(x.from_at), report_time(x.to_at), m.meter_id::text, m.serial,
            m.name, point_at(m.tenant_id, m.meter_id, x.from_at),
            (SELECT report_time(c.time) FROM capture c WHERE c.tenant_id = m.tenant_id
             AND c.meter_id = m.meter_id AND c.time < x.from_at
             ORDER BY c.time DESC LIMIT 1)] AS cells
        FROM page m
        WHERE m.state <> 'removed' AND m.created_at < x.to_at
          AND NOT EXISTS (SELECT FROM capture c WHERE c.tenant_id = m.tenant_id
              AND c.meter_id = m.meter_id AND c.time >= x.from_at AND c.time < x.to_at)
        ORDER BY m.meter_id
    )
    SELECT l.cells, NULL::jsonb FROM listed l
    UNION ALL
    SELECT NULL, jsonb_build_object('meter', max(m.meter_id)) FROM page m
    HAVING count(*) = most;
END $$;

-- What registers of a meter counted in each hour, day or month of a zone; none
-- named: all that it had in the last 40 days. A cumulative register's sum is the
-- last reading up to the period's end less the last one up to its beginning, so
-- sums add up to what the register shows; a period without a reading of its own
-- is a gap (value null), and the one after it says that it spans it. Interval
-- registers are added up; instantaneous ones have least, greatest and mean.
CREATE FUNCTION register_sums(p_tenant int, p_meter int, p_registers text[], p_by text,
    p_zone text, p_from timestamptz, p_to timestamptz)
RETURNS TABLE (register text, unit text, kind text, from_at timestamptz, to_at timestamptz,
    value numeric, lowest numeric, highest numeric, mean numeric, first_at timestamptz,
    last_at timestamptz, readings bigint, quality int, gap boolean, spans_gap boolean)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    began timestamptz := date_trunc(p_by, p_from, p_zone);
    wanted text[] := p_registers;
BEGIN
    IF wanted = '{}' THEN
        SELECT array_agg(DISTINCT o) INTO wanted FROM profile p, unnest(p.obis) o
            WHERE p.tenant_id = p_tenant AND p.profile_id IN (SELECT c.profile_id FROM capture c
                WHERE c.tenant_id = p_tenant AND c.meter_id = p_meter
                  AND c.time > began - interval '40 days' AND c.time <= p_to);
    END IF;
    RETURN QUERY WITH edges AS (
        SELECT e AS lower, lead(e) OVER (ORDER BY e) AS upper FROM (
            SELECT generate_series(began, p_to + interval '1 hour', interval '1 hour') AS e
                WHERE p_by = 'hour'
            UNION ALL
            SELECT generate_series(began AT TIME ZONE p_zone,
                p_to AT TIME ZONE p_zone + ('1 ' || p_by)::interval,
                ('1 ' || p_by)::interval) AT TIME ZONE p_zone
                WHERE p_by <> 'hour') s
    ), periods AS (
        SELECT lower, upper FROM edges WHERE upper IS NOT NULL AND lower < p_to
    ), known AS ( -- of which period? One at an edge closes the period before it.
        SELECT r.obis, r.time, r.value, r.unit, r.kind, r.quality
        FROM reading_current r
        WHERE r.tenant_id = p_tenant AND r.meter_id = p_meter AND r.obis = ANY (wanted)
          AND r.time > began AND r.time <= (SELECT max(upper) FROM periods)
        UNION ALL
        SELECT w.obis, o.* FROM unnest(wanted) AS w(obis) CROSS JOIN LATERAL (
            SELECT r.time, r.value, r.unit, r.kind, r.quality FROM reading r
            WHERE r.tenant_id = p_tenant AND r.meter_id = p_meter AND r.obis = w.obis
              AND r.time <= began AND r.time > began - interval '40 days'
              AND r.quality & 512 = 0
            ORDER BY r.time DESC, r.revision DESC, r.received_at DESC, r.profile_id LIMIT 1) o
    ), summed AS (
        SELECT k.obis, date_trunc(p_by, k.time - interval '1 microsecond', p_zone) AS lower,
            count(*) AS n, sum(k.value) AS total, min(k.value) AS lowest,
            max(k.value) AS highest, round(avg(k.value), 6) AS mean,
            bit_or(k.quality) AS quality, (array_agg(k.value ORDER BY k.time DESC))[1] AS closing,
            max(k.time) AS closing_at
        FROM known k GROUP BY 1, 2
    ), opened AS (
        SELECT s.*, lag(closing) OVER w AS opening, lag(closing_at) OVER w AS opening_at
        FROM summed s WINDOW w AS (PARTITION BY s.obis ORDER BY s.lower)
    ), about AS (
        SELECT w.obis, max(k.unit) AS unit, max(k.kind) AS kind
        FROM unnest(wanted) AS w(obis) LEFT JOIN known k USING (obis) GROUP BY 1
    )
    SELECT a.obis, a.unit, a.kind, p.lower, p.upper,
        CASE a.kind WHEN 'cumulative' THEN o.closing - o.opening WHEN 'interval' THEN o.total END,
        CASE WHEN a.kind = 'instant' THEN o.lowest END,
        CASE WHEN a.kind = 'instant' THEN o.highest END,
        CASE WHEN a.kind = 'instant' THEN o.mean END,
        CASE WHEN a.kind = 'cumulative' THEN o.opening_at END, o.closing_at, coalesce(o.n, 0),
        coalesce(o.quality, 0), o.n IS NULL OR a.kind = 'cumulative' AND o.opening IS NULL,
        coalesce(a.kind = 'cumulative' AND o.opening_at <= p.lower - (p.upper - p.lower), false)
    FROM about a CROSS JOIN periods p
        LEFT JOIN opened o ON o.obis = a.obis AND o.lower = p.lower
    ORDER BY a.obis, p.lower;
END $$;

-- As in 0016_resources, over register_sums().
CREATE OR REPLACE FUNCTION meter_sums(p_tenant int, p_meter int, p_register text, p_by text,
    p_from timestamptz, p_to timestamptz) RETURNS json LANGUAGE plpgsql STABLE AS $$
DECLARE
    zone text;
BEGIN
    SELECT coalesce(m.timezone, t.timezone) INTO zone FROM meter m JOIN tenant t USING (tenant_id)
        WHERE m.tenant_id = p_tenant AND m.meter_id = p_meter;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
    IF p_register IS NULL OR p_from IS NULL OR p_to IS NULL OR p_from >= p_to THEN
        PERFORM refuse(400, CASE WHEN p_register IS NULL THEN 'register' ELSE 'from' END,
            'register, from and to are needed; to is later than from.');
    END IF;
    p_by := coalesce(p_by, 'day');
    IF (p_to - p_from > CASE p_by WHEN 'hour' THEN interval '5000 hours'
        ELSE interval '5000 days' END) THEN
        PERFORM refuse(400, 'to', 'Too many periods: at most 5000 hours or days at a time.');
    END IF;
    RETURN (SELECT json_build_object('meter_id', p_meter, 'register', p_register, 'by', p_by,
        'timezone', zone, 'unit', max(s.unit), 'kind', max(s.kind),
        'sums', coalesce(json_agg(json_build_object('from', s.from_at, 'to', s.to_at,
            'value', s.value::text, 'least', s.lowest::text, 'greatest', s.highest::text,
            'mean', s.mean::text, 'first_at', s.first_at, 'last_at', s.last_at,
            'readings', s.readings, 'quality', s.quality, 'gap', s.gap,
            'spans_gap', s.spans_gap) ORDER BY s.from_at), '[]'))
        FROM register_sums(p_tenant, p_meter, ARRAY[p_register], p_by, zone, p_from, p_to) s);
END $$;

-- All in the tenant's zone, wherever a meter is: one file, one calendar.
CREATE FUNCTION report_sums(x report_run) RETURNS TABLE (cells text[], place jsonb)
LANGUAGE plpgsql STABLE SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    periods int := extract(epoch FROM x.to_at - x.from_at)
        / extract(epoch FROM ('1 ' || (x.spec ->> 'by'))::interval) + 1;
    most int := greatest(1, least(200, 2000 / periods));
BEGIN
    RETURN QUERY WITH page AS MATERIALIZED (
        SELECT * FROM report_meters(x, most)
    ), listed AS (
        SELECT ARRAY[report_time(s.from_at), report_time(s.to_at), m.meter_id::text, m.serial,
            point_at(m.tenant_id, m.meter_id, s.from_at), s.register, s.value::text, s.unit,
            s.lowest::text, s.highest::text, s.mean::text, report_time(s.first_at),
            report_time(s.last_at), s.readings::text, s.quality::text, s.gap::text,
            s.spans_gap::text] AS cells
        FROM page m CROSS JOIN LATERAL register_sums(m.tenant_id, m.meter_id,
            ARRAY(SELECT jsonb_array_elements_text(x.spec -> 'registers')),
            x.spec ->> 'by', x.spec ->> 'timezone', x.from_at, x.to_at) s
        WHERE s.kind IS NOT NULL
        ORDER BY m.meter_id, s.register, s.from_at
    )
    SELECT l.cells, NULL::jsonb FROM listed l
    UNION ALL
    SELECT NULL, jsonb_build_object('meter', max(m.meter_id)) FROM page m
    HAVING count(*) = most;
END $$;

-- As in 0019_webhooks, with the kind "report".
CREATE OR REPLACE FUNCTION webhook_check(p_body jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    known text[] := ARRAY['readings', 'event', 'meter', 'command', 'report'];
    wrong text;
BEGIN
    PERFORM may_give(right_bits('{view}')); -- what it sends, one must be able to see
    IF p_body ->> 'url' !~* '^https?://[^/?#@\s\\[:cntrl:]]+([/?#][^\s[:cntrl:]]*)?$' THEN
        PERFORM refuse(422, 'url', 'A URL is written https://host/path, without a name or '
            || 'password in it: the signature tells who sends.');
    END IF;
    SELECT k INTO wrong FROM jsonb_array_elements_text(coalesce(p_body -> 'kinds', '[]')) k
        WHERE k <> ALL (known) LIMIT 1;
    IF FOUND THEN
        PERFORM refuse(422, 'kinds', format('There is no kind "%s"; known: %s.',
            left(wrong, 40), array_to_string(known, ', ')));
    END IF;
END $$;

-- Hourly. Runs themselves are remembered for 400 days, 10 000 of each report.
CREATE FUNCTION report_expire() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM report_content c USING report_run x
        WHERE x.tenant_id = c.tenant_id AND x.run_id = c.run_id AND x.kept_until < now();
    DELETE FROM report_run x USING (SELECT r.tenant_id, r.report_id,
            (SELECT y.run_id FROM report_run y WHERE y.tenant_id = r.tenant_id
             AND y.report_id = r.report_id ORDER BY y.run_id DESC
             OFFSET 10000 LIMIT 1) AS upto FROM report r) o
        WHERE x.tenant_id = o.tenant_id AND x.report_id = o.report_id
          AND (x.run_id <= o.upto OR x.finished_at < now() - interval '400 days')
          AND x.state IN ('done', 'failed') AND coalesce(x.kept_until, '-infinity') < now() $$;

REVOKE ALL ON FUNCTION report_put, report_remove, report_run_add, report_ask, report_due,
    report_tick, report_take, report_expire FROM PUBLIC;
GRANT EXECUTE ON FUNCTION report_put, report_remove, report_ask, report_due, report_tick,
    report_take, report_expire TO headend_server;
