-- The ledger and the quarantine at work: what the books are checked with, and
-- what finds the frames that wait for their meter.

-- Frames of meters that nobody knew, by the name that they gave (the detail,
-- as server/pipeline/stage.c writes it: "DevEUI ..." or "serial ..."). A serial
-- has 64 characters at most; longer names are no meter's.
CREATE INDEX quarantine_stranger ON quarantine (tenant_id, detail, frame_id)
    WHERE reason = 'unknown_meter' AND octet_length(detail) < 300;
CREATE INDEX quarantine_newest ON quarantine (tenant_id, received_at, frame_id);

-- Names of strangers in quarantine that a meter changed since a snapshot's
-- xmin answers to, in order, those behind (p_tenant, p_name). Tenant 0: on a
-- shared listener the serial alone tells.
CREATE FUNCTION strangers_met(p_since xid8, p_tenant int, p_name text, p_most int)
RETURNS TABLE (tenant_id int, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT n.tenant_id, n.name
   FROM meter m CROSS JOIN LATERAL (VALUES
       (m.tenant_id, 'DevEUI ' || m.dev_eui),
       (m.tenant_id, 'serial ' || m.serial),
       (0, 'serial ' || m.serial)) AS n (tenant_id, name)
   WHERE m.changed_xid >= p_since AND m.state <> 'removed'
     AND (n.tenant_id, n.name) > (p_tenant, p_name)
     AND EXISTS (SELECT FROM quarantine q
         WHERE q.tenant_id = n.tenant_id AND q.detail = n.name
           AND q.reason = 'unknown_meter' AND octet_length(q.detail) < 300)
   GROUP BY n.tenant_id, n.name ORDER BY n.tenant_id, n.name LIMIT p_most $$;

-- What became of the frames with ids from p_from up to p_to, which arrived
-- between p_first and p_last (us): for a batch whose COMMIT was sent and never
-- answered.
CREATE FUNCTION batch_fates(p_from bigint, p_to bigint, p_first bigint, p_last bigint)
RETURNS TABLE (tenant_id int, fate smallint, frames bigint, readings bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT t.tenant_id, b.fate, b.frames, 0::bigint
    FROM tenant t CROSS JOIN LATERAL ( -- through the primary key
        SELECT f.fate, sum(f.frames)::bigint AS frames FROM frame f
        WHERE f.tenant_id = t.tenant_id
          AND f.received_at BETWEEN us_time(p_first) AND us_time(p_last)
          AND f.frame_id >= p_from AND f.frame_id < p_to
        GROUP BY f.fate) b;
END $$;

-- The ledger against the frames' own rows: the newest quarter of an hour that
-- has frames, or less if that is more than p_most frames. One snapshot, read
-- through (tenant_id, received_at), so it costs what the period holds.
CREATE FUNCTION reconcile(p_most bigint)
RETURNS TABLE (since timestamptz, frames bigint, booked bigint, differing bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan AS $$
#variable_conflict use_column
DECLARE
    newest timestamptz;
    oldest timestamptz;
BEGIN
    SELECT max(n.minute) INTO newest FROM tenant t CROSS JOIN LATERAL
        (SELECT max(l.minute) AS minute FROM ledger l WHERE l.tenant_id = t.tenant_id) n;
    SELECT min(m.minute) INTO oldest FROM (
        SELECT l.minute, sum(sum(l.stored + l.duplicate + l.quarantined + l.rejected))
            OVER (ORDER BY l.minute DESC) AS total
        FROM tenant t JOIN ledger l ON l.tenant_id = t.tenant_id
            AND l.minute > newest - interval '15 minutes'
        GROUP BY l.minute) m
    WHERE m.total <= p_most OR m.minute = newest;
    RETURN QUERY
    WITH kept AS ( -- expired frames leave the ledger as it was
        SELECT t.tenant_id, greatest(oldest, date_trunc('minute',
            now() - t.frame_days * interval '1 day' + interval '1 hour')) AS since
        FROM tenant t
    ), booked AS (
        SELECT l.tenant_id, l.minute, l.stored, l.duplicate, l.quarantined, l.rejected
        FROM kept k JOIN ledger l ON l.tenant_id = k.tenant_id
            AND l.minute >= k.since AND l.minute >= oldest
    ), there AS (
        SELECT f.tenant_id, date_trunc('minute', f.received_at) AS minute,
            coalesce(sum(f.frames) FILTER (WHERE f.fate = 1), 0) AS stored,
            coalesce(sum(f.frames) FILTER (WHERE f.fate = 2), 0) AS duplicate,
            coalesce(sum(f.frames) FILTER (WHERE f.fate = 3), 0) AS quarantined,
            coalesce(sum(f.frames) FILTER (WHERE f.fate = 4), 0) AS rejected
        FROM kept k JOIN frame f ON f.tenant_id = k.tenant_id
            AND f.received_at >= k.since AND f.received_at >= oldest
        GROUP BY 1, 2
    )
    SELECT oldest,
        coalesce(sum(f.stored + f.duplicate + f.quarantined + f.rejected), 0)::bigint,
        coalesce(sum(b.stored + b.duplicate + b.quarantined + b.rejected), 0)::bigint,
        count(*) FILTER (WHERE
            (coalesce(f.stored, 0), coalesce(f.duplicate, 0),
             coalesce(f.quarantined, 0), coalesce(f.rejected, 0))
            IS DISTINCT FROM
            (coalesce(b.stored, 0), coalesce(b.duplicate, 0),
             coalesce(b.quarantined, 0), coalesce(b.rejected, 0)))
    FROM booked b FULL JOIN there f USING (tenant_id, minute);
END $$;

REVOKE ALL ON FUNCTION strangers_met, batch_fates, reconcile FROM PUBLIC;
GRANT EXECUTE ON FUNCTION strangers_met, batch_fates, reconcile TO headend_server;
