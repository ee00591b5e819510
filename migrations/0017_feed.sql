-- The live feed: what became new, in the order in which it was committed, for
-- whoever listens now (server-sent events, webhooks). Written only for tenants
-- that have a listener, kept for a day.

CREATE TABLE feed_listener (
    tenant_id int PRIMARY KEY REFERENCES tenant ON DELETE CASCADE,
    until timestamptz NOT NULL
);
CALL protect('feed_listener');
GRANT SELECT ON feed_listener TO headend_server;

CREATE TABLE feed (
    tenant_id int NOT NULL REFERENCES tenant ON DELETE CASCADE,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    feed_id bigint GENERATED ALWAYS AS IDENTITY,
    at timestamptz NOT NULL DEFAULT now(),
    kind text NOT NULL,     -- readings, event, meter, command ...
    meter_id int,
    about jsonb NOT NULL,
    PRIMARY KEY (tenant_id, xid, feed_id)
);
CREATE INDEX feed_at ON feed USING brin (at);
CALL protect('feed');
GRANT SELECT ON feed TO headend_server;

CREATE FUNCTION feed_put(p_tenant int, p_kind text, p_meter int, p_about jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    INSERT INTO feed (tenant_id, kind, meter_id, about)
    SELECT p_tenant, p_kind, p_meter, p_about FROM feed_listener l
    WHERE l.tenant_id = p_tenant AND l.until > now() $$;

-- After store_batch(), in its transaction: the captures that it stored.
CREATE FUNCTION feed_batch() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM feed_listener l WHERE l.until > now()) THEN
        RETURN;
    END IF;
    PERFORM feed_put(c.tenant_id, 'readings', c.meter_id, jsonb_build_object(
        'meter_id', c.meter_id, 'time', c.time, 'received_at', c.received_at,
        'frame_id', c.frame_id::text, 'quality', c.quality, 'registers',
        (SELECT jsonb_object_agg(o.obis, jsonb_build_object('value',
                (c.values[o.n] * o.factor)::text, 'unit', o.unit))
         FROM unnest(p.obis, p.unit, p.factor) WITH ORDINALITY AS o(obis, unit, factor, n)
         WHERE c.values[o.n] IS NOT NULL)))
    FROM stage_capture c
    JOIN stage_frame f ON f.frame_id = c.frame_id AND f.fate = 1
    JOIN profile p ON p.tenant_id = c.tenant_id AND p.profile_id = c.profile_id
    WHERE c.tenant_id IN (SELECT l.tenant_id FROM feed_listener l WHERE l.until > now());
END $$;

CREATE FUNCTION feed_events() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM feed_put(e.tenant_id, 'event', e.meter_id, jsonb_build_object(
        'meter_id', e.meter_id, 'time', e.time, 'code', e.code, 'severity',
        (ARRAY['debug', 'info', 'warning', 'critical'])[e.severity + 1], 'state',
        (ARRAY['pulse', 'start', 'end'])[e.state + 1], 'detail', e.detail))
    FROM news e;
    RETURN NULL;
END $$;
CREATE TRIGGER feed_events AFTER INSERT ON event REFERENCING NEW TABLE AS news
    FOR EACH STATEMENT EXECUTE FUNCTION feed_events();

CREATE FUNCTION feed_meters() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM feed_listener WHERE tenant_id = NEW.tenant_id AND until > now()) THEN
        PERFORM feed_put(NEW.tenant_id, 'meter', NEW.meter_id, meter_json(NEW)::jsonb);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER feed_meters AFTER INSERT OR UPDATE ON meter
    FOR EACH ROW EXECUTE FUNCTION feed_meters();

-- Somebody listens: writing goes on for an hour. Where to begin: now.
CREATE FUNCTION feed_listen(p_tenant int) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM in_scope(p_tenant);
    INSERT INTO feed_listener AS l VALUES (p_tenant, now() + interval '1 hour')
        ON CONFLICT (tenant_id) DO UPDATE SET until = excluded.until
        WHERE l.until < now() + interval '30 minutes';
    RETURN pg_snapshot_xmin(pg_current_snapshot()) || '-0';
END $$;

-- What follows p_after ("xid-feed_id"), only from transactions that nobody can
-- still commit behind: nothing is ever skipped. The first column is where to go
-- on; a row without a kind says that p_after is older than what is kept.
CREATE FUNCTION feed_read(p_tenant int, p_after text, p_limit int) RETURNS TABLE
    (at_id text, kind text, about text)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    x xid8 := split_part(p_after, '-', 1)::xid8;
    n bigint := split_part(p_after, '-', 2)::bigint;
BEGIN
    IF n > 0 AND NOT EXISTS (SELECT FROM feed f WHERE f.tenant_id = p_tenant
        AND f.xid = x AND f.feed_id = n) THEN
        RETURN QUERY SELECT pg_snapshot_xmin(pg_current_snapshot()) || '-0', NULL, NULL;
        RETURN;
    END IF;
    RETURN QUERY SELECT f.xid || '-' || f.feed_id, f.kind, f.about::text FROM feed f
        WHERE f.tenant_id = p_tenant AND (f.xid, f.feed_id) > (x, n)
          AND f.xid < pg_snapshot_xmin(pg_current_snapshot())
        ORDER BY f.xid, f.feed_id LIMIT p_limit;
END $$;

CREATE FUNCTION feed_expire() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM feed WHERE at < now() - interval '1 day';
    DELETE FROM feed_listener WHERE until < now() - interval '1 day' $$;

REVOKE ALL ON FUNCTION feed_put, feed_listen, feed_expire FROM PUBLIC;
GRANT EXECUTE ON FUNCTION feed_put, feed_listen, feed_expire TO headend_server;
