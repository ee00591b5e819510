-- What operators keep about meters: places, installations, groups, models; and
-- what the API writes of it. Each function is one operation and one transaction.

CREATE FUNCTION zone_check(p_field text, p_zone text) RETURNS text LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF p_zone IS NULL THEN
        RETURN NULL;
    END IF;
    IF p_zone ~ '^(UTC|[A-Z][A-Za-z_]+(/[A-Za-z0-9_+-]+){1,2})$' THEN
        BEGIN
            PERFORM now() AT TIME ZONE p_zone;
            RETURN p_zone;
        EXCEPTION WHEN invalid_parameter_value THEN NULL;
        END;
    END IF;
    PERFORM refuse(422, p_field, format('"%s" is no IANA time zone, such as Europe/Berlin.',
        left(p_zone, 60)));
END $$;

-- Two people who edit the same thing: the second is told (If-Match).
CREATE FUNCTION revision_check(p_body jsonb, p_revision bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF p_body ? 'revision' AND (p_body ->> 'revision')::bigint <> p_revision THEN
        PERFORM refuse(412, 'revision', format('It was changed meanwhile: it is at revision %s.',
            p_revision));
    END IF;
END $$;

ALTER TABLE meter
    ADD COLUMN name text NOT NULL DEFAULT '' CHECK (length(name) <= 200),
    ADD COLUMN note text NOT NULL DEFAULT '' CHECK (length(note) <= 2000),
    ADD COLUMN verification_due date,
    ADD COLUMN revision bigint NOT NULL DEFAULT 1;
COMMENT ON COLUMN meter.verification_due IS 'when it must be verified next';
CREATE INDEX meter_by_state ON meter (tenant_id, state, meter_id);

-- revision counts what people change (the directory's own mark is changed_xid).
CREATE FUNCTION meter_revised() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.revision := OLD.revision + 1;
    RETURN NEW;
END $$;
CREATE TRIGGER meter_revised BEFORE UPDATE ON meter
    FOR EACH ROW EXECUTE FUNCTION meter_revised();

ALTER TABLE meter_model
    ADD COLUMN gtin text CHECK (gtin ~ '^[0-9]{14}$'),
    ADD COLUMN verification_months int CHECK (verification_months BETWEEN 1 AND 600),
    ADD COLUMN revision bigint NOT NULL DEFAULT 1,
    ADD UNIQUE (tenant_id, gtin);

CREATE TABLE metering_point (
    tenant_id int NOT NULL REFERENCES tenant ON DELETE CASCADE,
    metering_point_id int GENERATED ALWAYS AS IDENTITY,
    moid text NOT NULL CHECK (length(moid) BETWEEN 1 AND 64),
    address text NOT NULL DEFAULT '' CHECK (length(address) <= 500),
    note text NOT NULL DEFAULT '' CHECK (length(note) <= 2000),
    created_at timestamptz NOT NULL DEFAULT now(),
    revision bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, metering_point_id),
    UNIQUE (tenant_id, moid)
);
COMMENT ON COLUMN metering_point.moid IS 'measurement object id: the name that billing knows';
CALL protect('metering_point');
GRANT SELECT ON metering_point TO headend_server;

-- A meter at a point, from a time to another: never two meters at one point, nor
-- one meter at two points, at one time.
CREATE TABLE installation (
    tenant_id int NOT NULL,
    installation_id int GENERATED ALWAYS AS IDENTITY,
    metering_point_id int NOT NULL,
    meter_id int NOT NULL,
    from_at timestamptz NOT NULL,
    to_at timestamptz CHECK (to_at > from_at),
    note text NOT NULL DEFAULT '' CHECK (length(note) <= 2000),
    PRIMARY KEY (tenant_id, installation_id),
    FOREIGN KEY (tenant_id, metering_point_id) REFERENCES metering_point,
    FOREIGN KEY (tenant_id, meter_id) REFERENCES meter
);
CREATE INDEX installation_meter ON installation (tenant_id, meter_id, from_at);
CREATE INDEX installation_point ON installation (tenant_id, metering_point_id, from_at);
CALL protect('installation');
GRANT SELECT ON installation TO headend_server;

CREATE TABLE meter_group (
    tenant_id int NOT NULL REFERENCES tenant ON DELETE CASCADE,
    group_id int GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    revision bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, group_id),
    UNIQUE (tenant_id, name)
);
CALL protect('meter_group');
GRANT SELECT ON meter_group TO headend_server;

CREATE TABLE meter_group_member (
    tenant_id int NOT NULL,
    group_id int NOT NULL,
    meter_id int NOT NULL,
    PRIMARY KEY (tenant_id, group_id, meter_id),
    FOREIGN KEY (tenant_id, group_id) REFERENCES meter_group ON DELETE CASCADE,
    FOREIGN KEY (tenant_id, meter_id) REFERENCES meter
);
CREATE INDEX meter_group_member_meter ON meter_group_member (tenant_id, meter_id);
CALL protect('meter_group_member');
GRANT SELECT ON meter_group_member TO headend_server;

CALL audited('metering_point', 'metering_point_id');
CALL audited('installation', 'installation_id');
CALL audited('meter_group', 'group_id');

-- ---- the tenant itself, and the platform's tenants ----

CREATE FUNCTION tenant_json(t tenant) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('tenant_id', t.tenant_id, 'name', t.name,
        'timezone', t.timezone, 'locale', t.locale, 'frame_days', t.frame_days,
        'meter_quota', t.meter_quota, 'critical', t.critical,
        'suspended_at', t.suspended_at, 'created_at', t.created_at,
        'revision', t.revision) $$;

CREATE FUNCTION tenant_change(p_tenant int, p_body jsonb) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    t tenant;
BEGIN
    PERFORM in_scope(p_tenant);
    SELECT * INTO STRICT t FROM tenant WHERE tenant_id = p_tenant FOR UPDATE;
    PERFORM revision_check(p_body, t.revision);
    UPDATE tenant SET
        timezone = coalesce(zone_check('timezone', p_body ->> 'timezone'), timezone),
        locale = coalesce(p_body ->> 'locale', locale),
        frame_days = coalesce((p_body ->> 'frame_days')::int, frame_days),
        critical = coalesce(p_body ->> 'critical', critical),
        revision = revision + 1
        WHERE tenant_id = p_tenant RETURNING * INTO t;
    IF p_body ? 'timezone' THEN -- its meters' clocks
        UPDATE meter SET changed_xid = changed_xid
            WHERE tenant_id = p_tenant AND timezone IS NULL;
    END IF;
    RETURN tenant_json(t);
END $$;

-- The operator's: only in the scope of the platform (tenant 0).
CREATE FUNCTION tenants(p_after int, p_limit int) RETURNS TABLE
    (item json, key bigint, key_text text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM in_scope(0);
    RETURN QUERY SELECT (tenant_json(t)::jsonb || jsonb_build_object('meters',
            (SELECT count(*) FROM meter m WHERE m.tenant_id = t.tenant_id
             AND m.state <> 'removed')))::json, t.tenant_id::bigint, ''
        FROM tenant t WHERE t.tenant_id > coalesce(p_after, -1)
        ORDER BY t.tenant_id LIMIT p_limit;
END $$;

CREATE FUNCTION tenant_make(p_body jsonb) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    id int;
BEGIN
    PERFORM in_scope(0);
    id := tenant_add(p_body ->> 'name',
        coalesce(zone_check('timezone', p_body ->> 'timezone'), 'UTC'));
    UPDATE tenant SET meter_quota = (p_body ->> 'meter_quota')::int,
        locale = coalesce(p_body ->> 'locale', locale) WHERE tenant_id = id;
    RETURN (SELECT tenant_json(t) FROM tenant t WHERE tenant_id = id);
END $$;

CREATE FUNCTION tenant_operate(p_body jsonb, p_id int) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    t tenant;
BEGIN
    PERFORM in_scope(0);
    SELECT * INTO t FROM tenant WHERE tenant_id = p_id AND tenant_id <> 0 FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
    PERFORM revision_check(p_body, t.revision);
    UPDATE tenant SET
        meter_quota = CASE WHEN p_body ? 'meter_quota'
            THEN (p_body ->> 'meter_quota')::int ELSE meter_quota END,
        suspended_at = CASE (p_body ->> 'suspended')::boolean WHEN true
            THEN coalesce(suspended_at, now()) WHEN false THEN NULL ELSE suspended_at END,
        revision = revision + 1
        WHERE tenant_id = p_id RETURNING * INTO t;
    RETURN tenant_json(t);
END $$;

-- ---- models ----

CREATE FUNCTION model_json(m meter_model) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('model_id', m.model_id, 'name', m.name, 'maker', m.maker,
        'medium', m.medium, 'codec', m.codec, 'gtin', m.gtin,
        'verification_months', m.verification_months, 'revision', m.revision) $$;

CREATE FUNCTION model_put(p_tenant int, p_body jsonb, p_id int) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    m meter_model;
BEGIN
    PERFORM in_scope(p_tenant);
    IF p_id IS NULL THEN
        INSERT INTO meter_model (tenant_id, name, maker, medium, codec, gtin, verification_months)
        VALUES (p_tenant, p_body ->> 'name', coalesce(p_body ->> 'maker', ''),
            coalesce(p_body ->> 'medium', 'other'), p_body ->> 'codec', p_body ->> 'gtin',
            (p_body ->> 'verification_months')::int) RETURNING * INTO m;
        RETURN model_json(m);
    END IF;
    SELECT * INTO m FROM meter_model WHERE tenant_id = p_tenant AND model_id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
    PERFORM revision_check(p_body, m.revision);
    UPDATE meter_model SET name = coalesce(p_body ->> 'name', name),
        maker = coalesce(p_body ->> 'maker', maker),
        medium = coalesce(p_body ->> 'medium', medium),
        codec = coalesce(p_body ->> 'codec', codec),
        gtin = CASE WHEN p_body ? 'gtin' THEN p_body ->> 'gtin' ELSE gtin END,
        verification_months = CASE WHEN p_body ? 'verification_months'
            THEN (p_body ->> 'verification_months')::int ELSE verification_months END,
        revision = revision + 1
        WHERE tenant_id = p_tenant AND model_id = p_id RETURNING * INTO m;
    IF p_body ? 'codec' THEN -- its meters are read anew by running servers
        UPDATE meter SET changed_xid = changed_xid
            WHERE tenant_id = p_tenant AND model_id = p_id;
    END IF;
    RETURN model_json(m);
END $$;

-- ---- meters ----

CREATE FUNCTION meter_json(m meter) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('meter_id', m.meter_id, 'serial', m.serial,
        'model', d.name, 'medium', d.medium, 'codec', d.codec, 'dev_eui', m.dev_eui,
        'timezone', coalesce(m.timezone, t.timezone), 'state', m.state,
        'name', m.name, 'note', m.note, 'verification_due', m.verification_due,
        'revision', m.revision, 'created_at', m.created_at,
        'metering_point', (SELECT json_build_object('metering_point_id',
                p.metering_point_id, 'moid', p.moid, 'address', p.address, 'from', i.from_at)
            FROM installation i JOIN metering_point p USING (tenant_id, metering_point_id)
            WHERE i.tenant_id = m.tenant_id AND i.meter_id = m.meter_id
              AND i.from_at <= now() AND (i.to_at IS NULL OR i.to_at > now())),
        'last_frame_at', (SELECT c.received_at FROM capture c WHERE c.tenant_id = m.tenant_id
            AND c.meter_id = m.meter_id ORDER BY c.time DESC LIMIT 1))
    FROM meter_model d, tenant t
    WHERE d.tenant_id = m.tenant_id AND d.model_id = m.model_id
      AND t.tenant_id = m.tenant_id $$;

CREATE FUNCTION meter_quota_check(p_tenant int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    quota int := (SELECT meter_quota FROM tenant WHERE tenant_id = p_tenant);
BEGIN
    IF quota IS NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('headend meter quota'), p_tenant);
    IF (SELECT count(*) FROM meter WHERE tenant_id = p_tenant AND state <> 'removed') >= quota THEN
        PERFORM refuse(409, NULL, format('The tenant may have %s meters and has them.', quota));
    END IF;
END $$;

-- One meter, or why not. The very same again is no error: added is false.
CREATE FUNCTION meter_register(p_tenant int, p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    d meter_model;
    m meter;
    eui text := lower(regexp_replace(p_body ->> 'dev_eui', '[ :-]', '', 'g'));
BEGIN
    PERFORM in_scope(p_tenant);
    IF p_body ? 'dev_eui' AND eui !~ '^[0-9a-f]{16}$' THEN
        PERFORM refuse(422, 'dev_eui', 'A DevEUI is 16 hex digits.');
    END IF;
    SELECT * INTO d FROM meter_model WHERE tenant_id = p_tenant AND name = p_body ->> 'model';
    IF NOT FOUND THEN
        PERFORM refuse(422, 'model', format('There is no meter model "%s".',
            p_body ->> 'model'));
    END IF;
    SELECT * INTO m FROM meter WHERE tenant_id = p_tenant
        AND (model_id = d.model_id AND serial = p_body ->> 'serial' OR dev_eui = eui)
        ORDER BY serial = p_body ->> 'serial' DESC LIMIT 1;
    IF FOUND THEN
        IF m.model_id = d.model_id AND m.serial = p_body ->> 'serial'
            AND m.dev_eui IS NOT DISTINCT FROM eui THEN
            RETURN meter_json(m)::jsonb || '{"added": false}';
        END IF;
        PERFORM refuse(409, CASE WHEN m.dev_eui = eui THEN 'dev_eui' ELSE 'serial' END,
            format('It is that of meter %s (serial %s), which differs.', m.meter_id, m.serial));
    END IF;
    PERFORM meter_quota_check(p_tenant);
    INSERT INTO meter (tenant_id, serial, model_id, dev_eui, timezone, name, note,
        verification_due)
    VALUES (p_tenant, p_body ->> 'serial', d.model_id, eui,
        zone_check('timezone', p_body ->> 'timezone'), coalesce(p_body ->> 'name', ''),
        coalesce(p_body ->> 'note', ''), (p_body ->> 'verification_due')::date)
    RETURNING * INTO m;
    RETURN meter_json(m)::jsonb || '{"added": true}';
END $$;

-- Many at once: a result per row. dry_run leaves nothing behind.
CREATE FUNCTION meter_import(p_tenant int, p_body jsonb) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    line jsonb;
    n int := 0;
    results jsonb[] := '{}';
    one jsonb;
    told text;
    field text;
BEGIN
    BEGIN
        FOR line IN SELECT jsonb_array_elements(p_body -> 'meters') LOOP
            n := n + 1;
            BEGIN
                IF jsonb_typeof(line) <> 'object' OR coalesce(line ->> 'serial', '') = '' THEN
                    PERFORM refuse(422, 'serial', 'A meter needs a serial and a model.');
                END IF;
                one := meter_register(p_tenant, jsonb_strip_nulls(line));
                one := jsonb_build_object('row', n, 'serial', line -> 'serial', 'result',
                    CASE WHEN (one ->> 'added')::boolean THEN 'added' ELSE 'unchanged' END,
                    'meter_id', CASE WHEN NOT coalesce((p_body ->> 'dry_run')::boolean, false)
                        OR NOT (one ->> 'added')::boolean THEN one -> 'meter_id' END);
            EXCEPTION WHEN OTHERS THEN
                GET STACKED DIAGNOSTICS told = MESSAGE_TEXT, field = COLUMN_NAME;
                one := jsonb_build_object('row', n, 'serial',
                    CASE jsonb_typeof(line) WHEN 'object' THEN line -> 'serial' END,
                    'result', 'refused', 'field', nullif(field, ''), 'detail', told);
            END;
            results := results || one;
        END LOOP;
        IF (p_body ->> 'dry_run')::boolean THEN
            RAISE EXCEPTION USING ERRCODE = 'HE000';
        END IF;
    EXCEPTION WHEN SQLSTATE 'HE000' THEN NULL; -- all taken back, the results stay
    END;
    RETURN json_build_object('dry_run', coalesce((p_body ->> 'dry_run')::boolean, false),
        'added', (SELECT count(*) FROM unnest(results) r WHERE r ->> 'result' = 'added'),
        'unchanged', (SELECT count(*) FROM unnest(results) r WHERE r ->> 'result' = 'unchanged'),
        'refused', (SELECT count(*) FROM unnest(results) r WHERE r ->> 'result' = 'refused'),
        'results', to_json(results));
END $$;

CREATE FUNCTION meter_change(p_tenant int, p_body jsonb, p_id int) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    m meter;
BEGIN
    PERFORM in_scope(p_tenant);
    SELECT * INTO m FROM meter WHERE tenant_id = p_tenant AND meter_id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
    PERFORM revision_check(p_body, m.revision);
    UPDATE meter SET name = coalesce(p_body ->> 'name', name),
        note = coalesce(p_body ->> 'note', note),
        state = coalesce(p_body ->> 'state', state),
        timezone = CASE WHEN p_body ? 'timezone'
            THEN zone_check('timezone', p_body ->> 'timezone') ELSE timezone END,
        verification_due = CASE WHEN p_body ? 'verification_due'
            THEN (p_body ->> 'verification_due')::date ELSE verification_due END
        WHERE tenant_id = p_tenant AND meter_id = p_id RETURNING * INTO m;
    RETURN meter_json(m);
END $$;

-- Filters are NULL where they do not matter. p_text is found in serial, name and
-- DevEUI.
CREATE FUNCTION meter_search(p_tenant int, p_serial text, p_text text, p_model text,
    p_state text, p_medium text, p_group int, p_after bigint, p_limit int)
RETURNS TABLE (item json, key bigint, key_text text) LANGUAGE sql STABLE AS $$
    SELECT meter_json(m), m.meter_id::bigint, '' FROM meter m
    WHERE m.tenant_id = p_tenant AND m.meter_id > coalesce(p_after, 0)
      AND (p_serial IS NULL OR m.serial = p_serial)
      AND (p_text IS NULL OR position(lower(p_text) IN lower(m.serial || ' ' || m.name || ' '
          || coalesce(m.dev_eui, ''))) > 0)
      AND (p_state IS NULL OR m.state = p_state)
      AND (p_model IS NULL AND p_medium IS NULL OR m.model_id IN (
          SELECT d.model_id FROM meter_model d WHERE d.tenant_id = p_tenant
          AND (p_model IS NULL OR d.name = p_model)
          AND (p_medium IS NULL OR d.medium = p_medium)))
      AND (p_group IS NULL OR m.meter_id IN (SELECT g.meter_id FROM meter_group_member g
          WHERE g.tenant_id = p_tenant AND g.group_id = p_group))
    ORDER BY m.meter_id LIMIT p_limit $$;

-- ---- registers: the newest value of each ----

CREATE FUNCTION meter_registers(p_tenant int, p_meter int) RETURNS json
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM meter WHERE tenant_id = p_tenant AND meter_id = p_meter) THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
    RETURN json_build_object('registers', (SELECT coalesce(json_agg(json_build_object(
            'register', r.obis, 'unit', r.unit, 'kind', r.kind, 'time', r.time,
            'value', r.value::text, 'quality', r.quality) ORDER BY r.obis), '[]')
        FROM (SELECT DISTINCT ON (o.obis) o.obis, o.unit, o.kind, c.time,
                c.values[o.n] * o.factor AS value,
                coalesce(c.value_quality[o.n], c.quality) AS quality
            FROM profile p CROSS JOIN LATERAL (SELECT c.* FROM capture c
                    WHERE c.tenant_id = p.tenant_id AND c.meter_id = p_meter
                      AND c.profile_id = p.profile_id
                    ORDER BY c.time DESC, c.revision DESC LIMIT 1) c
                CROSS JOIN LATERAL unnest(p.obis, p.unit, p.kind, p.factor)
                    WITH ORDINALITY AS o(obis, unit, kind, factor, n)
            WHERE p.tenant_id = p_tenant AND c.values[o.n] IS NOT NULL
              AND p.profile_id IN (SELECT DISTINCT x.profile_id FROM (
                  SELECT profile_id FROM capture WHERE tenant_id = p_tenant
                  AND meter_id = p_meter ORDER BY time DESC LIMIT 2000) x)
            ORDER BY o.obis, c.time DESC) r));
END $$;

-- ---- sums: what a register counted in each hour, day or month of local time ----

-- The periods [from, to) whole, in the meter's zone: a day of 23 or 25 hours is a
-- day. A cumulative register's sum is the last reading up to the period's end
-- less the last one up to its beginning, so sums add up to what the register
-- shows; a period without a reading of its own is a gap (value null), and the
-- one after it says that it spans it. Interval registers are added up;
-- instantaneous ones have least, greatest and mean.
CREATE FUNCTION meter_sums(p_tenant int, p_meter int, p_register text, p_by text,
    p_from timestamptz, p_to timestamptz) RETURNS json LANGUAGE plpgsql STABLE AS $$
DECLARE
    zone text;
    began timestamptz;
    answer json;
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
    began := date_trunc(p_by, p_from, zone);
    WITH edges AS (
        SELECT e AS lower, lead(e) OVER (ORDER BY e) AS upper FROM (
            SELECT generate_series(began, p_to + interval '1 hour', interval '1 hour') AS e
                WHERE p_by = 'hour'
            UNION ALL
            SELECT generate_series(began AT TIME ZONE zone,
                p_to AT TIME ZONE zone + ('1 ' || p_by)::interval,
                ('1 ' || p_by)::interval) AT TIME ZONE zone
                WHERE p_by <> 'hour') s
    ), periods AS (
        SELECT lower, upper FROM edges WHERE upper IS NOT NULL AND lower < p_to
    ), readings AS ( -- of which period? One at an edge closes the period before it.
        SELECT r.time, r.value, r.unit, r.kind, r.quality,
            date_trunc(p_by, r.time - interval '1 microsecond', zone) AS lower
        FROM reading_current r
        WHERE r.tenant_id = p_tenant AND r.meter_id = p_meter AND r.obis = p_register
          AND r.time > began - interval '40 days'
          AND r.time <= (SELECT max(upper) FROM periods)
    ), summed AS (
        SELECT lower, count(*) AS n, max(kind) AS kind, max(unit) AS unit, sum(value) AS total,
            min(value) AS least, max(value) AS greatest, round(avg(value), 6) AS mean,
            bit_or(quality) AS quality, (array_agg(value ORDER BY time DESC))[1] AS closing,
            max(time) AS closing_at
        FROM readings GROUP BY lower
    ), opened AS (
        SELECT lower AS began_at, s.n, s.kind, s.unit, s.total, s.least, s.greatest, s.mean,
            s.quality, s.closing, s.closing_at, lag(closing) OVER w AS opening,
            lag(closing_at) OVER w AS opening_at
        FROM summed s WINDOW w AS (ORDER BY lower)
    ), listed AS (
        SELECT p.lower, p.upper, coalesce(o.n, 0) AS n, o.kind, o.unit, o.total, o.least,
            o.greatest, o.mean, o.quality, o.closing, o.closing_at, o.opening, o.opening_at
        FROM periods p LEFT JOIN opened o ON o.began_at = p.lower
    )
    SELECT json_build_object('meter_id', p_meter, 'register', p_register, 'by', p_by,
        'timezone', zone, 'unit', max(unit), 'kind', max(kind),
        'sums', coalesce(json_agg(json_build_object('from', lower, 'to', upper,
            'value', CASE WHEN n > 0 THEN CASE kind WHEN 'cumulative'
                THEN (closing - opening)::text WHEN 'interval' THEN total::text END END,
            'least', CASE WHEN kind = 'instant' THEN least::text END,
            'greatest', CASE WHEN kind = 'instant' THEN greatest::text END,
            'mean', CASE WHEN kind = 'instant' THEN mean::text END,
            'first_at', CASE WHEN kind = 'cumulative' THEN opening_at END,
            'last_at', closing_at, 'readings', n, 'quality', coalesce(quality, 0),
            'gap', n = 0 OR kind = 'cumulative' AND opening IS NULL,
            'spans_gap', coalesce(kind = 'cumulative'
                AND opening_at <= lower - (upper - lower), false)) ORDER BY lower), '[]'))
    INTO answer FROM listed;
    RETURN answer;
END $$;

-- ---- points, installations, groups ----

CREATE FUNCTION point_json(p metering_point) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('metering_point_id', p.metering_point_id, 'moid', p.moid,
        'address', p.address, 'note', p.note, 'created_at', p.created_at,
        'meter_id', (SELECT i.meter_id FROM installation i WHERE i.tenant_id = p.tenant_id
            AND i.metering_point_id = p.metering_point_id AND i.from_at <= now()
            AND (i.to_at IS NULL OR i.to_at > now())),
        'revision', p.revision) $$;

CREATE FUNCTION point_put(p_tenant int, p_body jsonb, p_id int) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    p metering_point;
BEGIN
    PERFORM in_scope(p_tenant);
    IF p_id IS NULL THEN
        INSERT INTO metering_point (tenant_id, moid, address, note) VALUES (p_tenant,
            p_body ->> 'moid', coalesce(p_body ->> 'address', ''),
            coalesce(p_body ->> 'note', '')) RETURNING * INTO p;
        RETURN point_json(p);
    END IF;
    SELECT * INTO p FROM metering_point
        WHERE tenant_id = p_tenant AND metering_point_id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
    PERFORM revision_check(p_body, p.revision);
    UPDATE metering_point SET moid = coalesce(p_body ->> 'moid', moid),
        address = coalesce(p_body ->> 'address', address),
        note = coalesce(p_body ->> 'note', note), revision = revision + 1
        WHERE tenant_id = p_tenant AND metering_point_id = p_id RETURNING * INTO p;
    RETURN point_json(p);
END $$;

CREATE FUNCTION point_remove(p_tenant int, p_id int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM in_scope(p_tenant);
    IF EXISTS (SELECT FROM installation WHERE tenant_id = p_tenant AND metering_point_id = p_id) THEN
        PERFORM refuse(409, NULL, 'Meters are or were installed here; its history stays.');
    END IF;
    DELETE FROM metering_point WHERE tenant_id = p_tenant AND metering_point_id = p_id;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
END $$;

CREATE FUNCTION installation_json(i installation) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('installation_id', i.installation_id,
        'metering_point_id', i.metering_point_id, 'meter_id', i.meter_id,
        'from', i.from_at, 'to', i.to_at, 'note', i.note) $$;

-- A meter comes to a point; what stood there at that time must have been removed.
CREATE FUNCTION installation_add(p_tenant int, p_body jsonb) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    i installation;
    other installation;
    began timestamptz := coalesce((p_body ->> 'from')::timestamptz, now());
BEGIN
    PERFORM in_scope(p_tenant);
    PERFORM pg_advisory_xact_lock(hashtext('headend installation'), p_tenant);
    PERFORM FROM metering_point WHERE tenant_id = p_tenant
        AND metering_point_id = (p_body ->> 'metering_point_id')::int;
    IF NOT FOUND THEN
        PERFORM refuse(422, 'metering_point_id', 'There is no such metering point.');
    END IF;
    PERFORM FROM meter WHERE tenant_id = p_tenant AND meter_id = (p_body ->> 'meter_id')::int;
    IF NOT FOUND THEN
        PERFORM refuse(422, 'meter_id', 'There is no such meter.');
    END IF;
    SELECT * INTO other FROM installation x WHERE x.tenant_id = p_tenant
        AND (x.meter_id = (p_body ->> 'meter_id')::int
             OR x.metering_point_id = (p_body ->> 'metering_point_id')::int)
        AND (x.to_at IS NULL OR x.to_at > began) LIMIT 1;
    IF FOUND THEN
        PERFORM refuse(409, 'from', format('Installation %s (meter %s at point %s) overlaps: '
            || 'end it first.', other.installation_id, other.meter_id, other.metering_point_id));
    END IF;
    INSERT INTO installation (tenant_id, metering_point_id, meter_id, from_at, note)
    VALUES (p_tenant, (p_body ->> 'metering_point_id')::int, (p_body ->> 'meter_id')::int,
        began, coalesce(p_body ->> 'note', '')) RETURNING * INTO i;
    RETURN installation_json(i);
END $$;

CREATE FUNCTION installation_end(p_tenant int, p_body jsonb, p_id int) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    i installation;
    ended timestamptz := coalesce((p_body ->> 'to')::timestamptz, now());
BEGIN
    PERFORM in_scope(p_tenant);
    SELECT * INTO i FROM installation WHERE tenant_id = p_tenant AND installation_id = p_id
        FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    ELSIF i.to_at IS NOT NULL THEN
        PERFORM refuse(409, 'to', 'It has ended already.');
    ELSIF ended <= i.from_at THEN
        PERFORM refuse(422, 'to', 'It cannot end before it began.');
    END IF;
    UPDATE installation SET to_at = ended, note = coalesce(p_body ->> 'note', note)
        WHERE tenant_id = p_tenant AND installation_id = p_id RETURNING * INTO i;
    RETURN installation_json(i);
END $$;

CREATE FUNCTION group_json(g meter_group) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('group_id', g.group_id, 'name', g.name, 'meters',
        (SELECT count(*) FROM meter_group_member m WHERE m.tenant_id = g.tenant_id
         AND m.group_id = g.group_id), 'revision', g.revision) $$;

CREATE FUNCTION group_put(p_tenant int, p_body jsonb, p_id int) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    g meter_group;
    wrong text;
BEGIN
    PERFORM in_scope(p_tenant);
    IF p_id IS NULL THEN
        INSERT INTO meter_group (tenant_id, name) VALUES (p_tenant, p_body ->> 'name')
            RETURNING * INTO g;
    ELSE
        SELECT * INTO g FROM meter_group WHERE tenant_id = p_tenant AND group_id = p_id FOR UPDATE;
        IF NOT FOUND THEN
            PERFORM refuse(404, NULL, 'There is nothing with this id.');
        END IF;
        PERFORM revision_check(p_body, g.revision);
        UPDATE meter_group SET name = coalesce(p_body ->> 'name', name),
            revision = revision + 1 WHERE tenant_id = p_tenant AND group_id = p_id
            RETURNING * INTO g;
    END IF;
    IF p_body ? 'meter_ids' THEN
        SELECT x INTO wrong FROM jsonb_array_elements_text(p_body -> 'meter_ids') x
            WHERE x !~ '^[0-9]{1,9}$' OR NOT EXISTS (SELECT FROM meter m
                WHERE m.tenant_id = p_tenant AND m.meter_id::text = x) LIMIT 1;
        IF FOUND THEN
            PERFORM refuse(422, 'meter_ids', format('There is no meter %s.', left(wrong, 40)));
        END IF;
        DELETE FROM meter_group_member WHERE tenant_id = p_tenant AND group_id = g.group_id;
        INSERT INTO meter_group_member (tenant_id, group_id, meter_id)
            SELECT DISTINCT p_tenant, g.group_id, x::int
            FROM jsonb_array_elements_text(p_body -> 'meter_ids') x;
    END IF;
    RETURN group_json(g);
END $$;

CREATE FUNCTION group_remove(p_tenant int, p_id int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM in_scope(p_tenant);
    DELETE FROM meter_group WHERE tenant_id = p_tenant AND group_id = p_id;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
END $$;

REVOKE ALL ON FUNCTION tenant_change, tenants, tenant_make, tenant_operate, model_put,
    meter_register, meter_import, meter_change, point_put, point_remove, installation_add,
    installation_end, group_put, group_remove FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenant_change, tenants, tenant_make, tenant_operate, model_put,
    meter_register, meter_import, meter_change, point_put, point_remove, installation_add,
    installation_end, group_put, group_remove TO headend_server;
