-- Contact slots are planned one tenant at a time, read and written in slices, so
-- that no statement and no memory grows with a tenant's meters.

-- Whose plan is to be made: it is a day old (daily), or a meter has no slot.
DROP FUNCTION slots_read, slots_write;
CREATE FUNCTION slots_due() RETURNS TABLE (tenant_id int, window_min int, daily boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT t.tenant_id, t.contact_window_min, t.daily
    FROM (SELECT t.*, p.planned_at IS NULL OR p.planned_at < now() - interval '23 hours 30 minutes' AS daily
          FROM tenant t LEFT JOIN contact_plan p USING (tenant_id)
          WHERE t.removed_at IS NULL) t
    WHERE EXISTS (SELECT FROM meter m WHERE m.tenant_id = t.tenant_id AND m.state <> 'removed')
      AND (t.daily OR EXISTS (
        SELECT FROM meter m LEFT JOIN contact_slot s USING (tenant_id, meter_id)
        WHERE m.tenant_id = t.tenant_id AND m.state <> 'removed'
          AND (s.slot IS NULL OR (s.period_min IS NULL AND s.slot >= t.contact_window_min))))
    ORDER BY t.tenant_id $$;

-- Its meters behind p_after, in the order of their ids. bytes: of the newest
-- radio telegram, as its time on air counts; heard: the newest minutes (since
-- 1970) in which it was; both only where they are looked for: in a plan of the
-- day, and for new meters.
CREATE FUNCTION slots_read(p_tenant int, p_daily boolean, p_after int, p_most int)
RETURNS TABLE (meter_id int, slot int, bytes int, gateway bigint, interval_min int,
    weight int, period_min int, tellable boolean, heard int[], offset_at bigint,
    offset_us bigint, drift_ppm double precision, accepted_s int, approve_s int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT m.meter_id, s.slot, f.bytes, coalesce(f.gateway, s.gateway, 0),
        coalesce(p.interval_s, a.interval_s, 0) / 60, s.weight, s.period_min,
        t.hand_slots AND slot_way(d.codec) IS NOT NULL, f.heard, time_us(c.offset_at),
        c.offset_us, coalesce(c.drift_ppm, 0),
        CASE WHEN coalesce(c.owner, p.owner, a.owner, 'server') = 'server'
             THEN coalesce(p.accepted_s, a.accepted_s, 60) ELSE 0 END,
        coalesce(p.approve_s, a.approve_s, 1800)
    FROM (SELECT * FROM meter n WHERE n.tenant_id = p_tenant AND n.meter_id > p_after
            AND n.state <> 'removed' ORDER BY n.meter_id LIMIT p_most) m
    JOIN tenant t ON t.tenant_id = p_tenant
    JOIN meter_model d ON d.tenant_id = p_tenant AND d.model_id = m.model_id
    LEFT JOIN contact_slot s ON s.tenant_id = p_tenant AND s.meter_id = m.meter_id
    LEFT JOIN meter_clock c ON c.tenant_id = p_tenant AND c.meter_id = m.meter_id
    LEFT JOIN clock_policy p ON p.tenant_id = p_tenant AND p.model_id = m.model_id
    LEFT JOIN clock_policy a ON a.tenant_id = p_tenant AND a.model_id = 0
    LEFT JOIN LATERAL (
        SELECT CASE WHEN m.dev_eui IS NOT NULL THEN
                (array_agg(octet_length(h.payload) ORDER BY h.received_at DESC))[1] END AS bytes,
               (array_agg(h.gateway ORDER BY h.received_at DESC))[1] AS gateway,
               array_agg(DISTINCT floor(extract(epoch FROM h.frame_time) / 60)::int) AS heard
        FROM (SELECT f.received_at, f.frame_time, f.payload, f.gateway FROM frame f
              WHERE (p_daily OR s.slot IS NULL) AND f.tenant_id = p_tenant
                AND f.meter_id = m.meter_id AND f.fate = 1
                AND f.received_at > now() - interval '2 days'
              ORDER BY f.received_at DESC LIMIT 6) h) f ON true
    ORDER BY m.meter_id $$;

-- [[meter, slot, second, weight, gateway, period or null], ...]
CREATE FUNCTION slots_write(p_tenant int, p_rows jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO contact_slot AS s (tenant_id, meter_id, slot, second, weight, gateway, period_min)
    SELECT p_tenant, (r ->> 0)::int, (r ->> 1)::int, (r ->> 2)::int, (r ->> 3)::int,
        (r ->> 4)::bigint, (r ->> 5)::int
    FROM jsonb_array_elements(p_rows) r
    ON CONFLICT (tenant_id, meter_id) DO UPDATE SET slot = excluded.slot,
        second = excluded.second, weight = excluded.weight, gateway = excluded.gateway,
        period_min = excluded.period_min, assigned_at = now(), handed_at = NULL, told = 0,
        kept_at = NULL $$;

-- All its slices are written; slots of removed meters go. calls: expected in
-- each minute of a UTC day.
CREATE FUNCTION slots_planned(p_tenant int, p_daily boolean, p_calls int[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM contact_slot s USING meter m
    WHERE s.tenant_id = p_tenant AND m.tenant_id = p_tenant AND m.meter_id = s.meter_id
      AND m.state = 'removed';
    INSERT INTO contact_plan AS p (tenant_id, planned_at, calls)
    VALUES (p_tenant, CASE WHEN p_daily THEN now() END, p_calls)
    ON CONFLICT (tenant_id) DO UPDATE SET calls = excluded.calls,
        planned_at = coalesce(excluded.planned_at, p.planned_at) $$;

REVOKE ALL ON FUNCTION slots_due, slots_read, slots_write, slots_planned FROM PUBLIC;
GRANT EXECUTE ON FUNCTION slots_due, slots_read, slots_write, slots_planned TO headend_server;
