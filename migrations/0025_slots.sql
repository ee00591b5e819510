-- Contact slots by where meters are heard: planned every day with what is known
-- of their clocks, told to those that understand it, and seen to be kept.

-- period_min: the meter cannot be told; it was heard every so many minutes, in
-- minute `slot` of them. NULL: `slot` is of the tenant's window.
ALTER TABLE contact_slot ADD COLUMN gateway bigint NOT NULL DEFAULT 0,
    ADD COLUMN period_min int CHECK (period_min BETWEEN 1 AND 1440),
    ADD COLUMN told int NOT NULL DEFAULT 0, -- how often
    ADD COLUMN kept_at timestamptz;         -- heard in it; written once a day

-- What a tenant's plan came to. calls: expected in each minute of a UTC day.
CREATE TABLE contact_plan (
    planned_at timestamptz, -- NULL: to be planned anew
    tenant_id int PRIMARY KEY REFERENCES tenant,
    calls int[] NOT NULL DEFAULT '{}'
);
CALL protect('contact_plan');
GRANT SELECT, INSERT, UPDATE ON contact_plan TO headend_server;
GRANT UPDATE (contact_window_min) ON tenant TO headend_server;

-- How a slot is told to meters of this codec; NULL: no public command of theirs
-- carries one. server/clocks/hand.c has the bytes.
CREATE FUNCTION slot_way(p_codec text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_codec IN ('heo-json', 'karat-928lw') THEN p_codec END $$;

-- What the meter is to be told, and whether it was; NULL where it cannot be.
CREATE FUNCTION slot_handover(p_tenant int, p_meter int) RETURNS text
LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN slot_way(d.codec) IS NULL THEN 'none'
                WHEN NOT t.hand_slots THEN 'off'
                WHEN s.handed_at IS NULL THEN 'waiting'
                WHEN s.kept_at IS NULL THEN 'told' ELSE 'kept' END
    FROM meter m JOIN tenant t USING (tenant_id)
    JOIN meter_model d USING (tenant_id, model_id)
    LEFT JOIN contact_slot s USING (tenant_id, meter_id)
    WHERE m.tenant_id = p_tenant AND m.meter_id = p_meter $$;

-- ---- planning ----

-- All meters of tenants whose plan is a day old, or that have a meter without a
-- slot, tenant by tenant. bytes: of the newest radio telegram, as its time on
-- air counts; heard: the newest minutes (since 1970) in which it was; both only
-- where they are looked for: in a plan of the day, and for new meters.
DROP FUNCTION slots_read;
CREATE FUNCTION slots_read() RETURNS TABLE (tenant_id int, meter_id int, slot int,
    bytes int, gateway bigint, interval_min int, window_min int, weight int,
    period_min int, tellable boolean, heard int[], offset_at bigint, offset_us bigint,
    drift_ppm double precision, accepted_s int, approve_s int, daily boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    WITH due AS (
        SELECT t.tenant_id, t.contact_window_min, t.hand_slots,
            p.planned_at IS NULL OR p.planned_at < now() - interval '23 hours 30 minutes' AS daily
        FROM tenant t LEFT JOIN contact_plan p USING (tenant_id)
        WHERE t.removed_at IS NULL)
    SELECT m.tenant_id, m.meter_id, s.slot, f.bytes, coalesce(f.gateway, s.gateway, 0),
        coalesce(p.interval_s, 0) / 60, t.contact_window_min, s.weight, s.period_min,
        t.hand_slots AND slot_way(d.codec) IS NOT NULL, f.heard, time_us(c.offset_at),
        c.offset_us, coalesce(c.drift_ppm, 0),
        CASE WHEN coalesce(c.owner, p.owner, 'server') = 'server'
             THEN coalesce(p.accepted_s, 60) ELSE 0 END,
        coalesce(p.approve_s, 1800), t.daily
    FROM due t JOIN meter m USING (tenant_id)
    JOIN meter_model d ON d.tenant_id = m.tenant_id AND d.model_id = m.model_id
    LEFT JOIN contact_slot s ON s.tenant_id = m.tenant_id AND s.meter_id = m.meter_id
    LEFT JOIN meter_clock c ON c.tenant_id = m.tenant_id AND c.meter_id = m.meter_id
    LEFT JOIN LATERAL policy_of(m.tenant_id, m.model_id) p ON true
    LEFT JOIN LATERAL (
        SELECT CASE WHEN m.dev_eui IS NOT NULL THEN
                (array_agg(octet_length(h.payload) ORDER BY h.received_at DESC))[1] END AS bytes,
               (array_agg(h.gateway ORDER BY h.received_at DESC))[1] AS gateway,
               array_agg(DISTINCT floor(extract(epoch FROM h.frame_time) / 60)::int) AS heard
        FROM (SELECT f.received_at, f.frame_time, f.payload, f.gateway FROM frame f
              WHERE (t.daily OR s.slot IS NULL) AND f.tenant_id = m.tenant_id
                AND f.meter_id = m.meter_id AND f.fate = 1
                AND f.received_at > now() - interval '2 days'
              ORDER BY f.received_at DESC LIMIT 6) h) f ON true
    WHERE m.state <> 'removed' AND (t.daily OR EXISTS (
        SELECT FROM meter n LEFT JOIN contact_slot x USING (tenant_id, meter_id)
        WHERE n.tenant_id = t.tenant_id AND n.state <> 'removed'
          AND (x.slot IS NULL OR (x.period_min IS NULL AND x.slot >= t.contact_window_min))))
    ORDER BY m.tenant_id, m.meter_id $$;

-- [[tenant, meter, slot, second, weight, gateway, period or null], ...] and
-- [[tenant, [calls in each minute], is it the day's plan], ...]; slots of
-- removed meters go.
DROP FUNCTION slots_write;
CREATE FUNCTION slots_write(p_rows jsonb, p_plans jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM contact_slot s USING meter m
    WHERE m.tenant_id = s.tenant_id AND m.meter_id = s.meter_id AND m.state = 'removed';
    INSERT INTO contact_slot AS s (tenant_id, meter_id, slot, second, weight, gateway, period_min)
    SELECT (r ->> 0)::int, (r ->> 1)::int, (r ->> 2)::int, (r ->> 3)::int, (r ->> 4)::int,
        (r ->> 5)::bigint, (r ->> 6)::int
    FROM jsonb_array_elements(p_rows) r
    ON CONFLICT (tenant_id, meter_id) DO UPDATE SET slot = excluded.slot,
        second = excluded.second, weight = excluded.weight, gateway = excluded.gateway,
        period_min = excluded.period_min, assigned_at = now(), handed_at = NULL, told = 0,
        kept_at = NULL;
    INSERT INTO contact_plan AS p (tenant_id, planned_at, calls)
    SELECT (r ->> 0)::int, CASE WHEN (r ->> 2)::boolean THEN now() END,
        array(SELECT e::int FROM jsonb_array_elements_text(r -> 1) e)
    FROM jsonb_array_elements(p_plans) r
    ON CONFLICT (tenant_id) DO UPDATE SET calls = excluded.calls,
        planned_at = coalesce(excluded.planned_at, p.planned_at) $$;

CREATE OR REPLACE FUNCTION slot_handed(p_tenant int, p_meter int, p_at_s int) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE contact_slot SET handed_at = now(), told = told + 1 WHERE tenant_id = p_tenant
        AND meter_id = p_meter AND slot * 60 + second = p_at_s $$;
REVOKE ALL ON FUNCTION slots_read, slots_write, slot_handed FROM PUBLIC;
GRANT EXECUTE ON FUNCTION slots_read, slots_write, slot_handed TO headend_server;

-- ---- following a clock ----

-- All that decides about the clocks of some meters: policy, open correction,
-- the samples that are newer than the model, oldest first; its contact slot.
DROP FUNCTION clock_read, clock_write;
CREATE FUNCTION clock_read(p_tenants int[], p_meters int[]) RETURNS TABLE
    (tenant_id int, meter_id int, version bigint, model bytea, timezone text,
     owner text, accepted_s int, step_s int, approve_s int, per_day int,
     guard_s int, day_guard_s int, patience_s int, interval_s int, slew_ppm int,
     period int, package int, period_now int, token int, answered_us bigint,
     resync_us bigint, waiting_us bigint, today bigint, open_id bigint,
     open_state text, open_by_us bigint, samples jsonb, slot_way text, slot_at_s int,
     window_min int, slot_told int, slot_told_us bigint, slot_kept_us bigint,
     set_way text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp
SET enable_seqscan = off SET jit = off AS $$
#variable_conflict use_column
BEGIN -- plpgsql keeps the plan, which costs more than a meter; it may be made
      -- while the tables are still empty
    RETURN QUERY SELECT m.tenant_id, m.meter_id, coalesce(c.version, 0), coalesce(c.model, ''),
        coalesce(m.timezone, t.timezone), coalesce(c.owner, p.owner, 'server'),
        coalesce(p.accepted_s, 60), coalesce(p.step_s, 900), coalesce(p.approve_s, 1800),
        coalesce(p.per_day, 4), coalesce(p.guard_s, 30), coalesce(p.day_guard_s, 120),
        coalesce(p.patience_s, 172800), coalesce(p.interval_s, 0), coalesce(p.slew_ppm, 0),
        p.period::int, coalesce(c.package, 0)::int, c.period::int, c.token::int,
        time_us(c.answered_at),
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
               ORDER BY s.heard_at DESC LIMIT 100) s),
        CASE WHEN t.hand_slots THEN slot_way(d.codec) END, x.slot * 60 + x.second,
        t.contact_window_min, x.told, time_us(x.handed_at), time_us(x.kept_at),
        CASE WHEN d.name IN ('elvaco-cmi4130', 'elvaco-cmi4140', 'elvaco-cmi4160')
             THEN 'elvaco' END
    FROM unnest(p_tenants, p_meters) AS w (tenant_id, meter_id)
    JOIN meter m USING (tenant_id, meter_id)
    JOIN tenant t USING (tenant_id)
    JOIN meter_model d ON d.tenant_id = m.tenant_id AND d.model_id = m.model_id
    LEFT JOIN meter_clock c ON c.tenant_id = m.tenant_id AND c.meter_id = m.meter_id
    LEFT JOIN contact_slot x ON x.tenant_id = m.tenant_id AND x.meter_id = m.meter_id
        AND x.period_min IS NULL
    LEFT JOIN LATERAL (SELECT q.* FROM clock_policy q
        WHERE q.tenant_id = m.tenant_id AND q.model_id IN (0, m.model_id)
        ORDER BY q.model_id DESC LIMIT 1) p ON true
    LEFT JOIN LATERAL (SELECT k.* FROM clock_correction k
        WHERE k.tenant_id = m.tenant_id AND k.meter_id = m.meter_id
          AND k.state IN ('approval', 'approved', 'sent')
        ORDER BY k.correction_id DESC LIMIT 1) o ON true;
END $$;

-- As in 0010_clock; policy_of() would be called for each meter.
CREATE OR REPLACE FUNCTION clock_models() RETURNS TABLE
    (tenant_id int, meter_id int, model bytea, accepted_s int, interval_s int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT c.tenant_id, c.meter_id, c.model, coalesce(p.accepted_s, a.accepted_s, 60),
        coalesce(p.interval_s, a.interval_s, 0)
    FROM meter_clock c JOIN meter m USING (tenant_id, meter_id)
    LEFT JOIN clock_policy p ON p.tenant_id = m.tenant_id AND p.model_id = m.model_id
    LEFT JOIN clock_policy a ON a.tenant_id = m.tenant_id AND a.model_id = 0 $$;

-- Keeps what was found and decided, meter by meter; nothing where somebody else
-- was faster (version). Says for which meters it was kept, and the number of the
-- correction that may be sent now.
--   {"tenant","meter","version","model" (hex),"state","offset","uncertainty",
--    "drift","offset_at","last","jump","jump_at","verdict","reason","waiting",
--    "package","period","token","answered","resync","kept" (its slot, since),
--    "settle": {"id","state","after"}, "correction": {"state","by","before",
--    "crosses","way","reason"}, "reuse": id, "event": {"code","state","at",
--    "detail","severity"}}, times in us
CREATE FUNCTION clock_write(p_rows jsonb) RETURNS TABLE
    (tenant_id int, meter_id int, correction_id bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    r record;
BEGIN
    FOR r IN
        WITH x AS (
            SELECT * FROM jsonb_to_recordset(p_rows) AS x (tenant int, meter int,
                version bigint, model text, state text, "offset" bigint, uncertainty bigint,
                drift double precision, offset_at bigint, last bigint, jump text,
                jump_at bigint, verdict text, reason text, waiting bigint, package smallint,
                period smallint, token smallint, answered bigint, resync bigint, kept bigint,
                settle jsonb, correction jsonb, reuse bigint, event jsonb)),
        w AS (
            INSERT INTO meter_clock AS c (tenant_id, meter_id, version, model, state,
                offset_us, uncertainty_us, drift_ppm, offset_at, last_sample_at, jump,
                jump_at, verdict, reason, waiting_since, package, period, token,
                answered_at, resync_at)
            SELECT x.tenant, x.meter, x.version + 1, decode(x.model, 'hex'), x.state,
                x."offset", x.uncertainty, x.drift, us_time(x.offset_at), us_time(x.last),
                x.jump, us_time(x.jump_at), x.verdict, x.reason, us_time(x.waiting),
                x.package, x.period, x.token, us_time(x.answered), us_time(x.resync)
            FROM x ORDER BY x.tenant, x.meter -- as every node does: no deadlock
            ON CONFLICT (tenant_id, meter_id) DO UPDATE SET
                version = excluded.version, model = excluded.model, state = excluded.state,
                offset_us = excluded.offset_us, uncertainty_us = excluded.uncertainty_us,
                drift_ppm = excluded.drift_ppm, offset_at = excluded.offset_at,
                last_sample_at = excluded.last_sample_at,
                jump = coalesce(excluded.jump, c.jump),
                jump_at = coalesce(excluded.jump_at, c.jump_at),
                verdict = excluded.verdict, reason = excluded.reason,
                waiting_since = excluded.waiting_since, package = excluded.package,
                period = excluded.period, token = excluded.token,
                answered_at = excluded.answered_at, resync_at = excluded.resync_at
            WHERE c.version = excluded.version - 1
            RETURNING c.tenant_id, c.meter_id)
        SELECT w.tenant_id, w.meter_id, x.kept, x.settle, x.correction, x.reuse, x.event
        FROM w JOIN x ON x.tenant = w.tenant_id AND x.meter = w.meter_id
    LOOP
        tenant_id := r.tenant_id;
        meter_id := r.meter_id;
        correction_id := NULL;
        IF r.settle IS NOT NULL THEN
            UPDATE clock_correction o SET state = r.settle ->> 'state', settled_at = now(),
                offset_after_us = (r.settle ->> 'after')::bigint
            WHERE o.tenant_id = r.tenant_id
              AND o.correction_id = (r.settle ->> 'id')::bigint;
        END IF;
        IF r.correction IS NOT NULL THEN
            correction_id := correction_keep(r.tenant_id, r.meter_id, r.correction, r.reuse);
        END IF;
        IF r.event IS NOT NULL THEN
            PERFORM ensure_partition('event', 'month', us_time((r.event ->> 'at')::bigint));
            INSERT INTO event (time, received_at, tenant_id, meter_id, severity, state, code, detail)
            VALUES (us_time((r.event ->> 'at')::bigint), now(), r.tenant_id, r.meter_id,
                (r.event ->> 'severity')::smallint, (r.event ->> 'state')::smallint,
                r.event ->> 'code', r.event ->> 'detail')
            ON CONFLICT DO NOTHING;
        END IF;
        IF r.kept IS NOT NULL THEN
            UPDATE contact_slot s SET kept_at = us_time(r.kept)
            WHERE s.tenant_id = r.tenant_id AND s.meter_id = r.meter_id
              AND s.handed_at IS NOT NULL;
        END IF;
        RETURN NEXT;
    END LOOP;
END $$;

-- A new correction, or `p_reuse` anew.
CREATE FUNCTION correction_keep(p_tenant int, p_meter int, k jsonb, p_reuse bigint)
RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    id bigint;
BEGIN
    IF p_reuse IS NOT NULL THEN
        UPDATE clock_correction o SET state = k ->> 'state', sent_at = now(),
            by_us = (k ->> 'by')::bigint, crosses_edge = (k ->> 'crosses')::boolean,
            offset_before_us = (k ->> 'before')::bigint
        WHERE o.tenant_id = p_tenant AND o.correction_id = p_reuse
        RETURNING o.correction_id INTO id;
    ELSE
        INSERT INTO clock_correction AS o (tenant_id, meter_id, state, by_us,
            offset_before_us, crosses_edge, way, reason, sent_at)
        VALUES (p_tenant, p_meter, k ->> 'state', (k ->> 'by')::bigint,
            (k ->> 'before')::bigint, (k ->> 'crosses')::boolean, k ->> 'way',
            k ->> 'reason', CASE k ->> 'state' WHEN 'sent' THEN now() END)
        RETURNING o.correction_id INTO id;
    END IF;
    RETURN id;
END $$;
REVOKE ALL ON FUNCTION clock_read, clock_write, correction_keep FROM PUBLIC;
GRANT EXECUTE ON FUNCTION clock_read, clock_write TO headend_server;

-- What a tenant decides: its window, and whether meters are told. All that were
-- told are told anew. The touched meter wakes the servers.
CREATE FUNCTION contact_plan_change(p_tenant int, p_body jsonb) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    before jsonb;
    after jsonb;
BEGIN
    PERFORM in_scope(p_tenant);
    SELECT jsonb_build_object('window_min', t.contact_window_min, 'hand_slots', t.hand_slots)
        INTO before FROM tenant t WHERE t.tenant_id = p_tenant FOR UPDATE;
    BEGIN
        UPDATE tenant t SET
            contact_window_min = coalesce((p_body ->> 'window_min')::int, t.contact_window_min),
            hand_slots = coalesce((p_body ->> 'hand_slots')::boolean, t.hand_slots)
        WHERE t.tenant_id = p_tenant RETURNING jsonb_build_object(
            'window_min', t.contact_window_min, 'hand_slots', t.hand_slots) INTO after;
    EXCEPTION WHEN check_violation THEN
        PERFORM refuse(422, 'window_min', 'A day is a whole number of windows: 1440 is '
            'divided by it.');
    END;
    IF before <> after THEN
        UPDATE contact_slot s SET handed_at = NULL, told = 0, kept_at = NULL
            WHERE s.tenant_id = p_tenant AND s.handed_at IS NOT NULL;
        INSERT INTO contact_plan (tenant_id) VALUES (p_tenant)
            ON CONFLICT (tenant_id) DO UPDATE SET planned_at = NULL;
        UPDATE meter m SET changed_xid = m.changed_xid WHERE m.tenant_id = p_tenant
            AND m.meter_id = (SELECT min(n.meter_id) FROM meter n WHERE n.tenant_id = p_tenant);
        PERFORM audit(p_tenant, 'change', 'contact_plan', p_tenant::text, before, after);
    END IF;
    RETURN contact_plan_json(p_tenant);
END $$;
REVOKE ALL ON FUNCTION contact_plan_change FROM PUBLIC;
GRANT EXECUTE ON FUNCTION contact_plan_change TO headend_server;

-- ---- what people see ----

CREATE FUNCTION contact_plan_json(p_tenant int) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('window_min', t.contact_window_min, 'hand_slots', t.hand_slots,
        'planned_at', p.planned_at,
        'models', (SELECT coalesce(json_agg(json_build_object('model_id', x.model_id,
                'name', x.name, 'slot_handover', coalesce(slot_way(x.codec), 'none'),
                'meters', x.meters, 'told', x.told, 'kept', x.kept) ORDER BY x.name), '[]')
            FROM (SELECT d.model_id, d.name, d.codec, count(*) AS meters,
                    count(s.handed_at) AS told, count(s.kept_at) AS kept
                  FROM meter m JOIN meter_model d USING (tenant_id, model_id)
                  LEFT JOIN contact_slot s USING (tenant_id, meter_id)
                  WHERE m.tenant_id = p_tenant AND m.state <> 'removed'
                  GROUP BY 1, 2, 3) x))
    FROM tenant t LEFT JOIN contact_plan p USING (tenant_id) WHERE t.tenant_id = p_tenant $$;

-- Calls in each minute of a UTC day, as the plan expects them to be heard.
CREATE OR REPLACE FUNCTION contact_forecast_json(p_tenant int) RETURNS json
LANGUAGE sql STABLE AS $$
    SELECT json_build_object('window_min', t.contact_window_min, 'planned_at', p.planned_at,
        'mean', (SELECT coalesce(round(avg(c), 3), 0) FROM unnest(p.calls) c),
        'most', (SELECT coalesce(max(c), 0) FROM unnest(p.calls) c),
        'minutes', coalesce(to_json(p.calls), '[]'))
    FROM tenant t LEFT JOIN contact_plan p USING (tenant_id) WHERE t.tenant_id = p_tenant $$;

CREATE OR REPLACE FUNCTION meter_clock_json(p_tenant int, p_meter int) RETURNS json
LANGUAGE sql STABLE AS $$
    SELECT json_build_object('meter_id', m.meter_id,
        'state', coalesce(clock_state_now(c), 'unknown'), 'offset_s', seconds(c.offset_us),
        'uncertainty_s', seconds(c.uncertainty_us), 'offset_at', c.offset_at,
        'drift_ppm', round(c.drift_ppm::numeric, 3), 'last_sample_at', c.last_sample_at,
        'jump', c.jump, 'jump_at', c.jump_at, 'verdict', c.verdict, 'reason', c.reason,
        'waiting_since', c.waiting_since,
        'owner', coalesce(c.owner, p.owner, 'server'),
        'slot_handover', slot_handover(m.tenant_id, m.meter_id),
        'slot', (SELECT json_build_object('minute', s.slot, 'second', s.second,
                    'window_min', coalesce(s.period_min, t.contact_window_min),
                    'observed', s.period_min IS NOT NULL,
                    'handed_at', s.handed_at, 'kept_at', s.kept_at)
                 FROM contact_slot s WHERE s.tenant_id = m.tenant_id AND s.meter_id = m.meter_id),
        'corrections', (SELECT coalesce(json_agg(correction_json(k) ORDER BY k.correction_id DESC), '[]')
            FROM (SELECT * FROM clock_correction k WHERE k.tenant_id = m.tenant_id
                  AND k.meter_id = m.meter_id ORDER BY k.created_at DESC LIMIT 20) k))
    FROM meter m JOIN tenant t USING (tenant_id)
    LEFT JOIN meter_clock c USING (tenant_id, meter_id)
    LEFT JOIN LATERAL policy_of(m.tenant_id, m.model_id) p ON true
    WHERE m.tenant_id = p_tenant AND m.meter_id = p_meter $$;

-- As in 0010_clock; the last class of the histogram has no upper edge.
CREATE OR REPLACE FUNCTION clocks_json(p_tenant int) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object(
        'states', (SELECT json_object_agg(x.s, x.n) FROM (
            SELECT u.s, coalesce(c.n, 0) AS n
            FROM unnest('{synced,drifting,unsynced,untrusted}'::text[]) u (s)
            LEFT JOIN (SELECT clock_state_now(c) AS s, count(*) AS n FROM meter_clock c
                       WHERE c.tenant_id = p_tenant GROUP BY 1) c USING (s)
            UNION ALL SELECT 'unknown', (SELECT count(*) FROM meter m
                WHERE m.tenant_id = p_tenant AND m.state <> 'removed'
                AND NOT EXISTS (SELECT FROM meter_clock c WHERE c.tenant_id = m.tenant_id
                    AND c.meter_id = m.meter_id AND c.state <> 'unknown'))) x),
        'histogram', (WITH e AS (SELECT '{1,2,5,10,30,60,300,900,3600,86400}'::bigint[] AS edges)
            SELECT json_agg(json_build_object('below_s', e.edges[i + 1],
                'meters', coalesce(c.n, 0)) ORDER BY i)
            FROM e CROSS JOIN generate_series(0, cardinality(e.edges)) i
            LEFT JOIN (SELECT width_bucket(abs(c.offset_us) / 1000000, edges) AS i, count(*) AS n
                       FROM meter_clock c, e WHERE c.tenant_id = p_tenant
                         AND c.offset_us IS NOT NULL GROUP BY 1) c USING (i)),
        'worst', (SELECT coalesce(json_agg(json_build_object('meter_id', w.meter_id,
                'serial', w.serial, 'state', w.state, 'offset_s', seconds(w.offset_us),
                'reason', w.reason) ORDER BY abs(w.offset_us) DESC), '[]')
            FROM (SELECT c.meter_id, m.serial, clock_state_now(c) AS state, c.offset_us, c.reason
                  FROM meter_clock c JOIN meter m USING (tenant_id, meter_id)
                  WHERE c.tenant_id = p_tenant AND c.offset_us IS NOT NULL
                    AND m.state <> 'removed'
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
