-- Clocks: what is known of each meter's, how they may be corrected, and every
-- correction; and which minute each meter reports in.

-- How clocks of a tenant are corrected: one row for all (model_id 0), and rows
-- for models that differ. Without a row the defaults below hold.
CREATE TABLE clock_policy (
    tenant_id int NOT NULL REFERENCES tenant,
    model_id int NOT NULL DEFAULT 0,
    owner text NOT NULL DEFAULT 'server' CHECK (owner IN ('server', 'device', 'nobody')),
    accepted_s int NOT NULL DEFAULT 60 CHECK (accepted_s BETWEEN 1 AND 86400),
    step_s int NOT NULL DEFAULT 900 CHECK (step_s BETWEEN 1 AND 86400),
    approve_s int NOT NULL DEFAULT 1800 CHECK (approve_s >= accepted_s),
    per_day int NOT NULL DEFAULT 4 CHECK (per_day BETWEEN 0 AND 96),
    guard_s int NOT NULL DEFAULT 30 CHECK (guard_s >= 0
        AND (interval_s = 0 OR guard_s <= interval_s / 4)),
    day_guard_s int NOT NULL DEFAULT 120 CHECK (day_guard_s BETWEEN 0 AND 21600),
    patience_s int NOT NULL DEFAULT 172800 CHECK (patience_s >= 0),
    interval_s int NOT NULL DEFAULT 0 CHECK (interval_s = 0 OR
        (interval_s % 60 = 0 AND 86400 % interval_s = 0)),
    slew_ppm int NOT NULL DEFAULT 0 CHECK (slew_ppm BETWEEN 0 AND 100000),
    period smallint CHECK (period BETWEEN 0 AND 15),
    PRIMARY KEY (tenant_id, model_id)
);
COMMENT ON COLUMN clock_policy.owner IS 'the one who sets these clocks: we, the device in front of them, nobody';
COMMENT ON COLUMN clock_policy.period IS 'TS003: a device asks for the time every 128 * 2^period s; NULL: as it likes';
CALL protect('clock_policy');
GRANT SELECT, INSERT, UPDATE, DELETE ON clock_policy TO headend_server;

-- A meter's clock. One row changes with the contacts of its meter, so nothing
-- that changes then is indexed. offset_us: meter less true time, at offset_at.
CREATE TABLE meter_clock (
    version bigint NOT NULL DEFAULT 1,
    offset_us bigint,
    uncertainty_us bigint,
    drift_ppm double precision,      -- NULL: not measured yet
    offset_at timestamptz,
    last_sample_at timestamptz,
    jump_at timestamptz,
    waiting_since timestamptz,       -- a correction that is due waits
    answered_at timestamptz,         -- TS003: the newest answer
    resync_at timestamptz,           -- TS003: it was made to ask
    tenant_id int NOT NULL,
    meter_id int NOT NULL,
    package smallint NOT NULL DEFAULT 0, -- TS003 version; 0 unknown, -1 asked
    period smallint,                 -- TS003 period accepted; -1 not supported
    token smallint,                  -- TS003: of the newest answer
    state text NOT NULL DEFAULT 'unknown' CHECK (state IN
        ('unknown', 'synced', 'drifting', 'unsynced', 'untrusted')),
    jump text,                       -- what happened to it last
    verdict text,                    -- may it be corrected: the last decision
    reason text,
    owner text CHECK (owner IN ('server', 'device', 'nobody')), -- NULL: the policy's
    model bytea NOT NULL DEFAULT '', -- timesvc/evidence.h, for the server
    PRIMARY KEY (tenant_id, meter_id)
) WITH (fillfactor = 50);
CALL protect('meter_clock');
GRANT SELECT, INSERT, UPDATE ON meter_clock TO headend_server;

CREATE TABLE clock_correction (
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    settled_at timestamptz,          -- verified, failed or rejected
    correction_id bigint GENERATED ALWAYS AS IDENTITY,
    by_us bigint NOT NULL,           -- added to the meter's clock
    offset_before_us bigint NOT NULL,
    offset_after_us bigint,          -- as the next sample showed it
    tenant_id int NOT NULL,
    meter_id int NOT NULL,
    crosses_edge boolean NOT NULL,   -- readings about it are in doubt
    state text NOT NULL CHECK (state IN
        ('approval', 'approved', 'sent', 'verified', 'failed', 'rejected')),
    way text NOT NULL,               -- ts003, vega, heo
    reason text NOT NULL,
    decided_by text NOT NULL DEFAULT 'time service',
    PRIMARY KEY (tenant_id, correction_id)
);
CREATE INDEX clock_correction_meter ON clock_correction (tenant_id, meter_id, created_at);
CREATE INDEX clock_correction_open ON clock_correction (tenant_id, meter_id)
    WHERE state IN ('approval', 'approved', 'sent');
CALL protect('clock_correction');
GRANT SELECT, INSERT, UPDATE ON clock_correction TO headend_server;

-- When a meter reports: minute of its window and second of the minute.
CREATE TABLE contact_slot (
    assigned_at timestamptz NOT NULL DEFAULT now(),
    tenant_id int NOT NULL,
    meter_id int NOT NULL,
    slot int NOT NULL CHECK (slot BETWEEN 0 AND 1439),
    second int NOT NULL CHECK (second BETWEEN 0 AND 59),
    weight int NOT NULL CHECK (weight > 0),
    handed_at timestamptz, -- the meter was told; NULL: not yet of this slot
    PRIMARY KEY (tenant_id, meter_id)
);
CALL protect('contact_slot');
GRANT SELECT, INSERT, UPDATE, DELETE ON contact_slot TO headend_server;
-- The window of a tenant: its meters report once in each, from midnight on.
ALTER TABLE tenant ADD COLUMN contact_window_min int NOT NULL DEFAULT 60
    CHECK (contact_window_min BETWEEN 1 AND 1440 AND 1440 % contact_window_min = 0);
-- Are meters that dial in told their slot? Only where they understand it: it is
-- our own addition to set_schedule.
ALTER TABLE tenant ADD COLUMN hand_slots boolean NOT NULL DEFAULT false;
GRANT UPDATE (hand_slots) ON tenant TO headend_server;

CREATE FUNCTION time_us(t timestamptz) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT (extract(epoch FROM t) * 1000000)::bigint $$;

CREATE FUNCTION policy_of(p_tenant int, p_model int) RETURNS clock_policy
LANGUAGE sql STABLE AS $$
    SELECT p FROM clock_policy p
    WHERE p.tenant_id = p_tenant AND p.model_id IN (0, p_model)
    ORDER BY p.model_id DESC LIMIT 1 $$;

-- What the server keeps in memory of every clock.
CREATE FUNCTION clock_models() RETURNS TABLE
    (tenant_id int, meter_id int, model bytea, accepted_s int, interval_s int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT c.tenant_id, c.meter_id, c.model, coalesce(p.accepted_s, 60), coalesce(p.interval_s, 0)
   FROM meter_clock c JOIN meter m USING (tenant_id, meter_id)
   LEFT JOIN LATERAL policy_of(m.tenant_id, m.model_id) p ON true $$;

-- All that decides about the clocks of some meters: policy, open correction,
-- and the samples that are newer than the model, oldest first.
CREATE FUNCTION clock_read(p_tenants int[], p_meters int[]) RETURNS TABLE
    (tenant_id int, meter_id int, version bigint, model bytea, timezone text,
     owner text, accepted_s int, step_s int, approve_s int, per_day int,
     guard_s int, day_guard_s int, patience_s int, interval_s int, slew_ppm int,
     period int, package int, period_now int, token int, answered_us bigint,
     resync_us bigint, waiting_us bigint, today bigint, open_id bigint,
     open_state text, open_by_us bigint, samples jsonb)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT m.tenant_id, m.meter_id, coalesce(c.version, 0), coalesce(c.model, ''),
        coalesce(m.timezone, t.timezone), coalesce(c.owner, p.owner, 'server'),
        coalesce(p.accepted_s, 60), coalesce(p.step_s, 900), coalesce(p.approve_s, 1800),
        coalesce(p.per_day, 4), coalesce(p.guard_s, 30), coalesce(p.day_guard_s, 120),
        coalesce(p.patience_s, 172800), coalesce(p.interval_s, 0), coalesce(p.slew_ppm, 0),
        p.period, coalesce(c.package, 0), c.period, c.token, time_us(c.answered_at),
        time_us(c.resync_at), time_us(c.waiting_since),
        (SELECT count(*) FROM clock_correction k WHERE k.tenant_id = m.tenant_id
            AND k.meter_id = m.meter_id AND k.created_at > now() - interval '2 days'
            AND k.sent_at > now() - interval '1 day'),
        o.correction_id, o.state, o.by_us,
        (SELECT coalesce(jsonb_agg(jsonb_build_array(time_us(s.heard_at), time_us(s.meter_time),
                time_us(s.received_at)) ORDER BY s.heard_at), '[]')
         FROM (SELECT * FROM clock_sample s WHERE s.tenant_id = m.tenant_id
                 AND s.meter_id = m.meter_id
                 AND s.heard_at > coalesce(c.last_sample_at, '-infinity')
               ORDER BY s.heard_at DESC LIMIT 100) s)
    FROM unnest(p_tenants, p_meters) AS w (tenant_id, meter_id)
    JOIN meter m USING (tenant_id, meter_id)
    JOIN tenant t USING (tenant_id)
    LEFT JOIN meter_clock c USING (tenant_id, meter_id)
    LEFT JOIN LATERAL policy_of(m.tenant_id, m.model_id) p ON true
    LEFT JOIN LATERAL (SELECT k.* FROM clock_correction k
        WHERE k.tenant_id = m.tenant_id AND k.meter_id = m.meter_id
          AND k.state IN ('approval', 'approved', 'sent')
        ORDER BY k.correction_id DESC LIMIT 1) o ON true $$;

-- Keeps what was found and decided, meter by meter; nothing where somebody else
-- was faster (version). Says for which meters it was kept, the number of the
-- correction that may be sent now, and the contact slot (second of the window)
-- that a meter which dials in was not told yet.
--   {"tenant","meter","version","model" (hex),"state","offset","uncertainty",
--    "drift","offset_at","last","jump","jump_at","verdict","reason","waiting",
--    "package","period","token","answered","resync",
--    "settle": {"id","state","after"}, "correction": {"state","by","before",
--    "crosses","way","reason"}, "reuse": id, "event": {"code","state","at",
--    "detail","severity"}}, times in us
CREATE FUNCTION clock_write(p_rows jsonb) RETURNS TABLE
    (tenant_id int, meter_id int, correction_id bigint, at_s int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r jsonb;
    k jsonb;
BEGIN
    FOR r IN SELECT * FROM jsonb_array_elements(p_rows) LOOP
        tenant_id := r ->> 'tenant';
        meter_id := r ->> 'meter';
        correction_id := NULL;
        INSERT INTO meter_clock AS c (tenant_id, meter_id, version, model, state,
            offset_us, uncertainty_us, drift_ppm, offset_at, last_sample_at, jump,
            jump_at, verdict, reason, waiting_since, package, period, token,
            answered_at, resync_at)
        VALUES (tenant_id, meter_id, 1, decode(r ->> 'model', 'hex'), r ->> 'state',
            (r ->> 'offset')::bigint, (r ->> 'uncertainty')::bigint,
            (r ->> 'drift')::double precision, us_time((r ->> 'offset_at')::bigint),
            us_time((r ->> 'last')::bigint), r ->> 'jump',
            us_time((r ->> 'jump_at')::bigint), r ->> 'verdict', r ->> 'reason',
            us_time((r ->> 'waiting')::bigint), (r ->> 'package')::smallint,
            (r ->> 'period')::smallint, (r ->> 'token')::smallint,
            us_time((r ->> 'answered')::bigint), us_time((r ->> 'resync')::bigint))
        ON CONFLICT (tenant_id, meter_id) DO UPDATE SET
            version = c.version + 1, model = excluded.model, state = excluded.state,
            offset_us = excluded.offset_us, uncertainty_us = excluded.uncertainty_us,
            drift_ppm = excluded.drift_ppm, offset_at = excluded.offset_at,
            last_sample_at = excluded.last_sample_at,
            jump = coalesce(excluded.jump, c.jump),
            jump_at = coalesce(excluded.jump_at, c.jump_at),
            verdict = excluded.verdict, reason = excluded.reason,
            waiting_since = excluded.waiting_since, package = excluded.package,
            period = excluded.period, token = excluded.token,
            answered_at = excluded.answered_at, resync_at = excluded.resync_at
        WHERE c.version = (r ->> 'version')::bigint;
        CONTINUE WHEN NOT FOUND;
        k := r -> 'settle';
        IF k IS NOT NULL THEN
            UPDATE clock_correction o SET state = k ->> 'state', settled_at = now(),
                offset_after_us = (k ->> 'after')::bigint
            WHERE o.tenant_id = clock_write.tenant_id
              AND o.correction_id = (k ->> 'id')::bigint;
        END IF;
        k := r -> 'correction';
        IF k IS NOT NULL AND r ? 'reuse' THEN
            UPDATE clock_correction o SET state = k ->> 'state', sent_at = now(),
                by_us = (k ->> 'by')::bigint, crosses_edge = (k ->> 'crosses')::boolean,
                offset_before_us = (k ->> 'before')::bigint
            WHERE o.tenant_id = clock_write.tenant_id
              AND o.correction_id = (r ->> 'reuse')::bigint
            RETURNING o.correction_id INTO correction_id;
        ELSIF k IS NOT NULL THEN
            INSERT INTO clock_correction AS o (tenant_id, meter_id, state, by_us,
                offset_before_us, crosses_edge, way, reason, sent_at)
            VALUES (tenant_id, meter_id, k ->> 'state', (k ->> 'by')::bigint,
                (k ->> 'before')::bigint, (k ->> 'crosses')::boolean, k ->> 'way',
                k ->> 'reason', CASE k ->> 'state' WHEN 'sent' THEN now() END)
            RETURNING o.correction_id INTO correction_id;
        END IF;
        k := r -> 'event';
        IF k IS NOT NULL THEN
            PERFORM ensure_partition('event', 'month', us_time((k ->> 'at')::bigint));
            INSERT INTO event (time, received_at, tenant_id, meter_id, severity, state, code, detail)
            VALUES (us_time((k ->> 'at')::bigint), now(), tenant_id, meter_id,
                (k ->> 'severity')::smallint, (k ->> 'state')::smallint, k ->> 'code',
                k ->> 'detail')
            ON CONFLICT DO NOTHING;
        END IF;
        at_s := (SELECT s.slot * 60 + s.second FROM contact_slot s
            JOIN meter m ON m.tenant_id = s.tenant_id AND m.meter_id = s.meter_id
            JOIN tenant t ON t.tenant_id = s.tenant_id AND t.hand_slots
            WHERE s.tenant_id = clock_write.tenant_id AND s.meter_id = clock_write.meter_id
              AND s.handed_at IS NULL AND m.dev_eui IS NULL);
        RETURN NEXT;
    END LOOP;
END $$;

REVOKE ALL ON FUNCTION clock_models, clock_read, clock_write FROM PUBLIC;
GRANT EXECUTE ON FUNCTION clock_models, clock_read, clock_write TO headend_server;

-- A re-timed row that is stored already keeps the time that it got then,
-- however much better its meter's clock is known by now.
CREATE FUNCTION keep_times() RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    UPDATE stage_capture s SET time = c.time
    FROM capture c
    WHERE s.quality & 4 <> 0 AND c.tenant_id = s.tenant_id AND c.meter_id = s.meter_id
      AND c.profile_id = s.profile_id AND c.meter_time = s.meter_time
      AND c.time BETWEEN s.time - interval '1 day' AND s.time + interval '1 day';
END $$;

-- As in 0009_speed, with keep_times().
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

-- ---- what people see and decide ----

CREATE FUNCTION seconds(p_us bigint) RETURNS numeric LANGUAGE sql IMMUTABLE STRICT AS
$$ SELECT round(p_us / 1000000.0, 3) $$;

-- A clock that nobody has heard for 90 days is unsynced, whatever it was.
CREATE FUNCTION clock_state_now(c meter_clock) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN c.state IN ('synced', 'drifting')
                 AND c.last_sample_at < now() - interval '90 days'
           THEN 'unsynced' ELSE c.state END $$;

CREATE FUNCTION correction_json(k clock_correction) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('correction_id', k.correction_id, 'meter_id', k.meter_id,
        'state', k.state, 'way', k.way, 'reason', k.reason, 'by_s', seconds(k.by_us),
        'offset_before_s', seconds(k.offset_before_us),
        'offset_after_s', seconds(k.offset_after_us), 'crosses_edge', k.crosses_edge,
        'created_at', k.created_at, 'sent_at', k.sent_at, 'settled_at', k.settled_at,
        'decided_by', k.decided_by) $$;

CREATE FUNCTION policy_json(p clock_policy) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('model_id', p.model_id, 'owner', p.owner,
        'accepted_s', p.accepted_s, 'step_s', p.step_s, 'approve_s', p.approve_s,
        'per_day', p.per_day, 'guard_s', p.guard_s, 'day_guard_s', p.day_guard_s,
        'patience_s', p.patience_s, 'interval_s', p.interval_s, 'slew_ppm', p.slew_ppm,
        'period', p.period) $$;

CREATE FUNCTION meter_clock_json(p_tenant int, p_meter int) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('meter_id', m.meter_id,
        'state', coalesce(clock_state_now(c), 'unknown'), 'offset_s', seconds(c.offset_us),
        'uncertainty_s', seconds(c.uncertainty_us), 'offset_at', c.offset_at,
        'drift_ppm', round(c.drift_ppm::numeric, 3), 'last_sample_at', c.last_sample_at,
        'jump', c.jump, 'jump_at', c.jump_at, 'verdict', c.verdict, 'reason', c.reason,
        'waiting_since', c.waiting_since,
        'owner', coalesce(c.owner, p.owner, 'server'),
        'slot', (SELECT json_build_object('minute', s.slot, 'second', s.second,
                    'window_min', t.contact_window_min, 'handed_at', s.handed_at)
                 FROM contact_slot s WHERE s.tenant_id = m.tenant_id AND s.meter_id = m.meter_id),
        'corrections', (SELECT coalesce(json_agg(correction_json(k) ORDER BY k.correction_id DESC), '[]')
            FROM (SELECT * FROM clock_correction k WHERE k.tenant_id = m.tenant_id
                  AND k.meter_id = m.meter_id ORDER BY k.created_at DESC LIMIT 20) k))
    FROM meter m JOIN tenant t USING (tenant_id)
    LEFT JOIN meter_clock c USING (tenant_id, meter_id)
    LEFT JOIN LATERAL policy_of(m.tenant_id, m.model_id) p ON true
    WHERE m.tenant_id = p_tenant AND m.meter_id = p_meter $$;

-- The whole fleet: states, a histogram of offsets, the worst, corrections a day.
CREATE FUNCTION clocks_json(p_tenant int) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'states', (SELECT json_object_agg(s, n) FROM (
            SELECT s, (SELECT count(*) FROM meter_clock c WHERE c.tenant_id = p_tenant
                AND clock_state_now(c) = s) AS n
            FROM unnest('{synced,drifting,unsynced,untrusted}'::text[]) s
            UNION ALL SELECT 'unknown', (SELECT count(*) FROM meter m
                WHERE m.tenant_id = p_tenant AND m.state <> 'removed')
                - (SELECT count(*) FROM meter_clock c WHERE c.tenant_id = p_tenant)) x),
        'histogram', (SELECT json_agg(json_build_object('below_s', h.edge, 'meters',
                (SELECT count(*) FROM meter_clock c WHERE c.tenant_id = p_tenant
                    AND abs(c.offset_us) < h.edge * 1000000::bigint
                    AND abs(c.offset_us) >= h.prior * 1000000::bigint)) ORDER BY h.edge)
            FROM (SELECT e AS edge, coalesce(lag(e) OVER (ORDER BY e), 0) AS prior
                  FROM unnest('{1,2,5,10,30,60,300,900,3600,86400,10000000000}'::bigint[]) e) h),
        'worst', (SELECT coalesce(json_agg(json_build_object('meter_id', w.meter_id,
                'serial', w.serial, 'state', w.state, 'offset_s', seconds(w.offset_us),
                'reason', w.reason) ORDER BY abs(w.offset_us) DESC), '[]')
            FROM (SELECT c.meter_id, m.serial, clock_state_now(c) AS state, c.offset_us, c.reason
                  FROM meter_clock c JOIN meter m USING (tenant_id, meter_id)
                  WHERE c.tenant_id = p_tenant AND c.offset_us IS NOT NULL
                  ORDER BY abs(c.offset_us) DESC LIMIT 20) w),
        'corrections', (SELECT coalesce(json_agg(json_build_object('day', d.day, 'sent', d.sent,
                'verified', d.verified, 'failed', d.failed) ORDER BY d.day DESC), '[]')
            FROM (SELECT (k.sent_at AT TIME ZONE 'UTC')::date AS day, count(*) AS sent,
                    count(*) FILTER (WHERE k.state = 'verified') AS verified,
                    count(*) FILTER (WHERE k.state = 'failed') AS failed
                  FROM clock_correction k
                  WHERE k.tenant_id = p_tenant AND k.created_at > now() - interval '35 days'
                    AND k.sent_at > now() - interval '30 days'
                  GROUP BY 1) d),
        'approvals', (SELECT count(*) FROM clock_correction k
            WHERE k.tenant_id = p_tenant AND k.state = 'approval')) $$;

-- Calls in each minute of a day that the slots make: [{"minute","calls"}].
CREATE FUNCTION contact_forecast_json(p_tenant int) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('window_min', t.contact_window_min,
        'mean', (SELECT round(count(*)::numeric / t.contact_window_min, 3)
                 FROM contact_slot s WHERE s.tenant_id = t.tenant_id),
        'minutes', (SELECT json_agg(coalesce(n.calls, 0) ORDER BY i)
            FROM generate_series(0, 1439) i
            LEFT JOIN (SELECT s.slot, count(*) AS calls FROM contact_slot s
                       WHERE s.tenant_id = t.tenant_id GROUP BY s.slot) n
                ON n.slot = i % t.contact_window_min))
    FROM tenant t WHERE t.tenant_id = p_tenant $$;

-- A person's word on a correction that is beyond what we may do alone; it is
-- sent with the meter's next contact.
CREATE FUNCTION correction_settle(p_tenant int, p_id bigint, p_state text) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
    k clock_correction;
    was text;
BEGIN
    SELECT c.state INTO was FROM clock_correction c
        WHERE c.tenant_id = p_tenant AND c.correction_id = p_id FOR UPDATE;
    IF was IS NULL THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    ELSIF was <> 'approval' THEN
        PERFORM refuse(409, 'state', format('It is %s already.', was));
    END IF;
    UPDATE clock_correction c SET state = p_state,
        settled_at = CASE p_state WHEN 'rejected' THEN now() END,
        decided_by = coalesce(nullif(current_setting('headend.actor', true), ''), 'somebody')
    WHERE c.tenant_id = p_tenant AND c.correction_id = p_id RETURNING * INTO k;
    PERFORM audit(p_tenant, p_state, 'clock_correction', p_id::text,
        jsonb_build_object('state', was), jsonb_build_object('state', p_state));
    RETURN correction_json(k);
END $$;

-- Model 0: for all models without a policy of their own.
CREATE FUNCTION policy_put(p_tenant int, p_body jsonb, p_model int) RETURNS json
LANGUAGE plpgsql AS $$
DECLARE
    p clock_policy;
    before jsonb;
BEGIN
    IF p_model <> 0 AND NOT EXISTS (SELECT FROM meter_model d
            WHERE d.tenant_id = p_tenant AND d.model_id = p_model) THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
    SELECT to_jsonb(c) INTO before FROM clock_policy c
        WHERE c.tenant_id = p_tenant AND c.model_id = p_model;
    DELETE FROM clock_policy c WHERE c.tenant_id = p_tenant AND c.model_id = p_model;
    BEGIN
        INSERT INTO clock_policy SELECT * FROM jsonb_populate_record(
            NULL::clock_policy, jsonb_build_object('owner', 'server', 'accepted_s', 60,
                'step_s', 900, 'approve_s', 1800, 'per_day', 4, 'guard_s', 30,
                'day_guard_s', 120, 'patience_s', 172800, 'interval_s', 0, 'slew_ppm', 0)
            || coalesce(before, '{}') || p_body
            || jsonb_build_object('tenant_id', p_tenant, 'model_id', p_model))
        RETURNING * INTO p;
    EXCEPTION WHEN check_violation THEN
        PERFORM refuse(422, 'guard_s', 'approve_s is at least accepted_s; interval_s divides '
            'a day into whole minutes; guard_s is at most a quarter of it.');
    END;
    PERFORM audit(p_tenant, 'change', 'clock_policy', p_model::text, before, to_jsonb(p));
    RETURN policy_json(p);
END $$;

-- ---- contact slots ----

-- All meters of tenants that have one without a slot (or one beyond the
-- window), tenant by tenant.
-- bytes: of the newest radio telegram, as its time on air counts; NULL for a meter
-- that dials in. gateway: the one that heard it, 0 while none did.
CREATE FUNCTION slots_read() RETURNS TABLE (tenant_id int, meter_id int, slot int,
    bytes int, gateway bigint, interval_min int, window_min int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT m.tenant_id, m.meter_id, s.slot,
        CASE WHEN m.dev_eui IS NOT NULL THEN coalesce(f.bytes, 20) END, coalesce(f.gateway, 0),
        coalesce(p.interval_s, 0) / 60, t.contact_window_min
    FROM tenant t JOIN meter m USING (tenant_id)
    LEFT JOIN contact_slot s USING (tenant_id, meter_id)
    LEFT JOIN LATERAL policy_of(m.tenant_id, m.model_id) p ON true
    LEFT JOIN LATERAL (SELECT octet_length(f.payload) AS bytes, f.gateway FROM frame f
        WHERE f.tenant_id = m.tenant_id AND f.meter_id = m.meter_id
          AND f.received_at > now() - interval '2 days' AND m.dev_eui IS NOT NULL
        ORDER BY f.received_at DESC LIMIT 1) f ON true
    WHERE m.state <> 'removed' AND EXISTS (
        SELECT FROM meter n LEFT JOIN contact_slot c USING (tenant_id, meter_id)
        WHERE n.tenant_id = t.tenant_id AND n.state <> 'removed'
          AND (c.slot IS NULL OR c.slot >= t.contact_window_min))
    ORDER BY m.tenant_id, m.meter_id $$;

CREATE FUNCTION slot_handed(p_tenant int, p_meter int, p_at_s int) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE contact_slot SET handed_at = now() WHERE tenant_id = p_tenant
        AND meter_id = p_meter AND slot * 60 + second = p_at_s $$;

-- [[tenant, meter, slot, second, weight], ...]; slots of removed meters go.
CREATE FUNCTION slots_write(p_rows jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM contact_slot s USING meter m
    WHERE m.tenant_id = s.tenant_id AND m.meter_id = s.meter_id AND m.state = 'removed';
    INSERT INTO contact_slot AS s (tenant_id, meter_id, slot, second, weight)
    SELECT (r ->> 0)::int, (r ->> 1)::int, (r ->> 2)::int, (r ->> 3)::int, (r ->> 4)::int
    FROM jsonb_array_elements(p_rows) r
    ON CONFLICT (tenant_id, meter_id) DO UPDATE SET slot = excluded.slot,
        second = excluded.second, weight = excluded.weight, assigned_at = now(),
        handed_at = NULL $$;
REVOKE ALL ON FUNCTION slots_read, slots_write, slot_handed FROM PUBLIC;
GRANT EXECUTE ON FUNCTION slots_read, slots_write, slot_handed TO headend_server;
