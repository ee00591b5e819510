-- Posts that are sent again; meters imported many at once; passports: what a
-- maker says of one serial number.

-- ---- a post that is sent again ----

-- A write in two halves around what it does:
--   coalesce(once_begin(...), once_end(..., what it does))
-- gives what the first time answered, or NULL for the first time. Of two at the
-- same time the second waits here until the first is over.
CREATE FUNCTION once_begin(p_tenant int, p_key text, p_request text) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    who text := coalesce(current_setting('headend.actor', true), '');
    known idempotency;
BEGIN
    INSERT INTO idempotency (tenant_id, actor, key, request)
        VALUES (p_tenant, who, p_key, p_request) ON CONFLICT DO NOTHING;
    IF FOUND THEN
        RETURN NULL;
    END IF;
    SELECT * INTO known FROM idempotency i
        WHERE i.tenant_id = p_tenant AND i.actor = who AND i.key = p_key;
    IF known.request <> p_request THEN
        PERFORM refuse(422, 'Idempotency-Key',
            'This Idempotency-Key was used with another request.');
    END IF;
    RETURN known.answer;
END $$;

-- p_shown: the member of the answer that is shown once; it is not kept.
CREATE FUNCTION once_end(p_tenant int, p_key text, p_answer text, p_shown text) RETURNS text
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE idempotency i SET answer = CASE WHEN p_shown IS NULL THEN coalesce(p_answer, '')
            ELSE (p_answer::jsonb || jsonb_build_object(p_shown, NULL))::text END
        WHERE i.tenant_id = p_tenant AND i.key = p_key
          AND i.actor = coalesce(current_setting('headend.actor', true), '');
    RETURN p_answer;
END $$;
DROP FUNCTION once(text, text, text, int, jsonb, text, text);

-- ---- passports: what a maker says of one serial number ----

CREATE TABLE passport (
    tenant_id int NOT NULL REFERENCES tenant ON DELETE CASCADE,
    passport_id int GENERATED ALWAYS AS IDENTITY,
    model_id int NOT NULL,
    serial text NOT NULL CHECK (length(serial) BETWEEN 1 AND 64),
    dev_eui text CHECK (dev_eui ~ '^[0-9a-f]{16}$'),
    join_eui text CHECK (join_eui ~ '^[0-9a-f]{16}$'),
    module_model text CHECK (length(module_model) <= 100), -- of the radio module,
    module_serial text CHECK (length(module_serial) <= 64), -- an asset of its own
    made_on date,
    parameters jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(parameters) = 'object'),
    note text NOT NULL DEFAULT '' CHECK (length(note) <= 2000),
    meter_id int,                       -- the meter that was registered by it
    accepted jsonb,                     -- differences that somebody took upon him
    created_at timestamptz NOT NULL DEFAULT now(),
    revision bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, passport_id),
    UNIQUE (tenant_id, model_id, serial),
    UNIQUE (tenant_id, dev_eui),
    UNIQUE (tenant_id, meter_id),
    FOREIGN KEY (tenant_id, model_id) REFERENCES meter_model,
    FOREIGN KEY (tenant_id, meter_id) REFERENCES meter
);
COMMENT ON COLUMN passport.parameters IS 'what the meter must report of itself, by name';
CREATE INDEX passport_serial ON passport (tenant_id, serial);
CALL protect('passport');
GRANT SELECT ON passport TO headend_server;

-- Keys that came with a passport are for its meter; until that is registered
-- (meter_id is NULL) they are for nobody.
ALTER TABLE meter_key ADD COLUMN passport_id int,
    ADD FOREIGN KEY (tenant_id, passport_id) REFERENCES passport
        ON DELETE SET NULL (passport_id);
CREATE INDEX meter_key_passport ON meter_key (tenant_id, passport_id)
    WHERE passport_id IS NOT NULL;

-- ---- the trail of many rows at once ----

-- As audit_row() for what one statement has inserted: one look at the chain's
-- end, not one for each row.
CREATE FUNCTION audit_inserted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE
    e audit_entry;
    whole jsonb;
    prior bytea;
BEGIN
    e.at := clock_timestamp();
    e.actor := coalesce(nullif(current_setting('headend.actor', true), ''),
        'database ' || session_user);
    e.address := coalesce(current_setting('headend.address', true), '');
    e.action := TG_TABLE_NAME || '.add';
    e.object := TG_TABLE_NAME;
    FOR whole IN SELECT to_jsonb(f) FROM inserted f ORDER BY f.tenant_id LOOP
        IF e.tenant_id IS DISTINCT FROM (whole ->> 'tenant_id')::int THEN
            e.tenant_id := (whole ->> 'tenant_id')::int;
            PERFORM pg_advisory_xact_lock(hashtext('headend audit'), e.tenant_id);
            SELECT a.seq, a.hash INTO e.seq, prior FROM audit_entry a
                WHERE a.tenant_id = e.tenant_id ORDER BY a.seq DESC LIMIT 1;
            e.at := clock_timestamp();
        END IF;
        e.seq := coalesce(e.seq, 0) + 1;
        e.object_id := coalesce(whole ->> TG_ARGV[0], '');
        e.after := audit_view(whole);
        e.hash := sha256(coalesce(prior, ''::bytea) || convert_to(audit_text(e), 'UTF8'));
        prior := e.hash;
        INSERT INTO audit_entry SELECT e.*;
    END LOOP;
    RETURN NULL;
END $$;
-- audited() for tables into which many rows come at once.
CREATE PROCEDURE audited_many(t regclass, id_column text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE OR REPLACE TRIGGER audited AFTER UPDATE OR DELETE ON %s
        FOR EACH ROW EXECUTE FUNCTION audit_row(%L)', t, id_column);
    EXECUTE format('CREATE TRIGGER audited_many AFTER INSERT ON %s
        REFERENCING NEW TABLE AS inserted
        FOR EACH STATEMENT EXECUTE FUNCTION audit_inserted(%L)', t, id_column);
END $$;
CALL audited_many('meter', 'meter_id');
CALL audited_many('meter_key', 'key_id');
CALL audited_many('passport', 'passport_id');

-- Plans are made once a session, some while a table is empty still; what then
-- comes at once must not be looked for row by row.
ALTER FUNCTION audit(int, text, text, text, jsonb, jsonb) SET enable_seqscan = off;

-- ---- meters: one or many ----

-- passive: known, but neither read nor shown unless asked for; what it sends is
-- kept all the same. It does not count against the quota.
ALTER TABLE meter DROP CONSTRAINT meter_state_check,
    ADD CONSTRAINT meter_state_check
        CHECK (state IN ('registered', 'in_service', 'passive', 'removed')),
    ADD COLUMN mbus jsonb;
COMMENT ON COLUMN meter.mbus IS
    'how a collector reaches it on its M-Bus: addressing_mode, primary_address ...';

CREATE OR REPLACE FUNCTION meter_json(m meter) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('meter_id', m.meter_id, 'serial', m.serial,
        'model', d.name, 'medium', d.medium, 'codec', d.codec, 'dev_eui', m.dev_eui,
        'timezone', coalesce(m.timezone, t.timezone), 'state', m.state,
        'name', m.name, 'note', m.note, 'verification_due', m.verification_due,
        'mbus', m.mbus, 'passport_id', (SELECT p.passport_id FROM passport p
            WHERE p.tenant_id = m.tenant_id AND p.meter_id = m.meter_id),
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

-- How many more the tenant may have (NULL: any number), until the transaction
-- ends. Registrations of one tenant stand in line here.
CREATE FUNCTION meter_room(p_tenant int) RETURNS int LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('headend meter quota'), p_tenant);
    RETURN (SELECT t.meter_quota - (SELECT count(*) FROM meter m
            WHERE m.tenant_id = p_tenant AND m.state NOT IN ('removed', 'passive'))
        FROM tenant t WHERE t.tenant_id = p_tenant);
END $$;

CREATE FUNCTION zone_known(p_zone text) RETURNS boolean LANGUAGE plpgsql STABLE STRICT AS $$
BEGIN
    RETURN zone_check('timezone', p_zone) IS NOT NULL;
EXCEPTION WHEN SQLSTATE 'HE422' THEN
    RETURN false;
END $$;
CREATE FUNCTION date_known(p_date text) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_date !~ '^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$'
        THEN false ELSE right(p_date, 2)::int <= extract(day FROM
            make_date(left(p_date, 4)::int, substr(p_date, 6, 2)::int, 1)
            + interval '1 month - 1 day') END $$;
CREATE FUNCTION eui_text(p_eui text) RETURNS text LANGUAGE sql IMMUTABLE AS
$$ SELECT lower(regexp_replace(p_eui, '[ :-]', '', 'g')) $$;

-- What is wrong with a row as it stands, {field, sentence}; NULL: nothing.
CREATE FUNCTION meter_row_fault(r jsonb) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
    WHEN jsonb_typeof(r) <> 'object' THEN ARRAY['', 'A meter is an object: serial, model ...']
    WHEN r ? 'error' THEN ARRAY['', r ->> 'error']
    WHEN odd.key IS NOT NULL AND odd.known
        THEN ARRAY[odd.key, 'It must be a string or a number.']
    WHEN odd.key IS NOT NULL THEN ARRAY[left(odd.key, 60), 'There is no such field of a meter.']
    WHEN coalesce(r ->> 'serial', r ->> 'secondary_address', r ->> 'dev_eui') IS NULL
        THEN ARRAY['serial', 'A meter needs a serial, or the DevEUI of a passport.']
    WHEN length(r ->> 'serial') NOT BETWEEN 1 AND 64
        THEN ARRAY['serial', 'A serial has 1 to 64 characters.']
    WHEN eui_text(r ->> 'dev_eui') !~ '^[0-9a-f]{16}$'
        THEN ARRAY['dev_eui', 'A DevEUI is 16 hex digits.']
    WHEN length(r ->> 'name') > 200 THEN ARRAY['name', 'A name has at most 200 characters.']
    WHEN length(r ->> 'note') > 2000 THEN ARRAY['note', 'A note has at most 2000 characters.']
    WHEN NOT date_known(r ->> 'verification_due')
        THEN ARRAY['verification_due', 'A date is written 2032-12-11.']
    WHEN r ->> 'state' NOT IN ('registered', 'in_service', 'passive', 'removed')
        THEN ARRAY['state', 'A new meter is registered, in_service or passive.']
    WHEN r ->> 'secondary_address' !~ '^[0-9]{8}$'
        THEN ARRAY['secondary_address', 'A secondary address has 8 digits.']
    WHEN r ->> 'baud_rate' NOT IN ('300', '2400')
        THEN ARRAY['baud_rate', 'The M-Bus is read at 300 or 2400 baud.']
    WHEN lower(r ->> 'addressing_mode') NOT IN ('primary', 'secondary', 'esecondary')
        THEN ARRAY['addressing_mode', 'It is one of primary, secondary, esecondary.']
    WHEN lower(r ->> 'addressing_mode') = 'primary' AND NOT r ? 'primary_address'
        THEN ARRAY['primary_address', 'It is needed where the addressing mode is primary.']
    WHEN r ->> 'primary_address' !~ '^([0-9]|[1-9][0-9]|1[0-9]{2}|2[0-4][0-9]|250)$'
        THEN ARRAY['primary_address', 'It is 0 to 250: 251 to 255 are reserved or reach '
            || 'every meter (EN 13757-2).']
    WHEN length(r ->> 'enhanced_address') > 40
        THEN ARRAY['enhanced_address', 'It has at most 40 characters.']
    END
    FROM (SELECT 1) one LEFT JOIN LATERAL (SELECT x.key, x.key = ANY ('{serial,model,dev_eui,timezone,
            name,note,verification_due,state,secondary_address,baud_rate,addressing_mode,
            primary_address,enhanced_address}'::text[]) AS known
        FROM jsonb_each(CASE jsonb_typeof(r) WHEN 'object' THEN r ELSE '{}' END) x
        WHERE x.key NOT IN ('line', 'error', 'despite_passport')
          AND (jsonb_typeof(x.value) NOT IN ('string', 'number')
            OR NOT x.key = ANY ('{serial,model,dev_eui,timezone,name,note,verification_due,
            state,secondary_address,baud_rate,addressing_mode,primary_address,
            enhanced_address}'::text[]))
        LIMIT 1) odd ON true $$;

CREATE FUNCTION difference(p_name text, p_passport text, p_other text, p_how text)
RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_passport <> p_other THEN jsonb_build_array(jsonb_build_object(
        'parameter', p_name, 'passport', p_passport, p_how, p_other)) ELSE '[]' END $$;
CREATE FUNCTION differences_text(p_differences jsonb) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT string_agg(format('%s is %s, not %s', d ->> 'parameter', d ->> 'passport',
        coalesce(d ->> 'given', d ->> 'reported')), '; ')
    FROM jsonb_array_elements(p_differences) d $$;

-- Registers meters, each row by itself; what became of each. What a row leaves
-- out is taken from the passport of its serial number or DevEUI. p_model: of rows
-- that name none. A meter that is there already stays as it is.
CREATE FUNCTION meters_take(p_tenant int, p_rows jsonb, p_model text, p_dry boolean)
RETURNS TABLE (n int, line int, serial text, result text, meter_id int, passport_id int,
    status int, field text, detail text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
SET plan_cache_mode = force_custom_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    room int;
    passports boolean := EXISTS (SELECT FROM passport p WHERE p.tenant_id = p_tenant);
BEGIN
    PERFORM in_scope(p_tenant);
    room := meter_room(p_tenant);
    RETURN QUERY
    WITH given AS MATERIALIZED (
        SELECT x.n::int AS n, jsonb_strip_nulls(x.r) AS r, meter_row_fault(
            jsonb_strip_nulls(x.r)) AS fault,
            coalesce(x.r ->> 'serial', x.r ->> 'secondary_address') AS serial,
            eui_text(x.r ->> 'dev_eui') AS eui, coalesce(x.r ->> 'model', p_model) AS model,
            x.r ->> 'timezone' AS zone
        FROM jsonb_array_elements(p_rows) WITH ORDINALITY AS x(r, n)
    ), named AS MATERIALIZED ( -- its model and its passport
        SELECT g.*, d.model_id AS given_model, p.*, coalesce(d.model_id, p.its_model) AS model_id,
            coalesce(g.serial, p.its_serial) AS full_serial, coalesce(g.eui, p.its_eui) AS full_eui,
            CASE WHEN p.its_id IS NULL THEN '[]' ELSE
                difference('model', p.its_model_name, d.name, 'given')
                || difference('serial', p.its_serial, g.serial, 'given')
                || difference('dev_eui', p.its_eui, g.eui, 'given') END AS differs
        FROM given g
        LEFT JOIN meter_model d ON d.tenant_id = p_tenant AND d.name = g.model
        LEFT JOIN LATERAL (SELECT p.passport_id AS its_id, p.model_id AS its_model,
                p.serial AS its_serial, p.dev_eui AS its_eui, p.meter_id AS its_meter,
                o.name AS its_model_name, p.by_eui, count(*) OVER () AS many
            FROM (SELECT e.*, true AS by_eui FROM passport e WHERE passports
                    AND e.tenant_id = p_tenant AND e.dev_eui = g.eui
                  UNION ALL SELECT s.*, false FROM passport s WHERE passports
                    AND s.tenant_id = p_tenant AND s.serial = g.serial) p
            JOIN meter_model o USING (tenant_id, model_id)
            WHERE g.fault IS NULL AND (p.by_eui OR g.model IS NULL
                OR d.model_id = p.model_id OR lower(d.maker) = lower(o.maker))
            ORDER BY p.by_eui DESC, p.model_id = d.model_id DESC NULLS LAST, p.passport_id
            LIMIT 1) p ON true
    ), known AS MATERIALIZED ( -- what is wrong with it; the meter that is there
        SELECT x.*, m.meter_id AS same_meter, m.dev_eui AS same_eui, e.meter_id AS eui_meter,
            e.serial AS eui_serial, CASE
            WHEN x.fault IS NOT NULL THEN '{422}'::text[] || x.fault
            WHEN x.model IS NOT NULL AND x.given_model IS NULL THEN ARRAY['422', 'model',
                format('There is no meter model "%s".', left(x.model, 60))]
            WHEN x.model_id IS NULL AND x.serial IS NULL THEN ARRAY['422', 'serial',
                'There is no passport with this DevEUI: say the serial and the model.']
            WHEN x.model_id IS NULL THEN ARRAY['422', 'model',
                'There is no passport with this serial: say the model.']
            WHEN x.given_model IS NULL AND x.many > 1 AND NOT x.by_eui THEN ARRAY['422', 'model',
                'Several passports have this serial: say the model.']
            WHEN x.full_serial IS NULL THEN ARRAY['422', 'serial', 'A meter needs a serial.']
            WHEN NOT zone_known(x.zone) THEN ARRAY['422', 'timezone',
                format('"%s" is no IANA time zone, such as Europe/Berlin.', left(x.zone, 60))]
            END AS wrong
        FROM named x
        LEFT JOIN meter m ON m.tenant_id = p_tenant AND m.model_id = x.model_id
            AND m.serial = x.full_serial
        LEFT JOIN meter e ON e.tenant_id = p_tenant AND e.dev_eui = x.full_eui
    ), judged AS MATERIALIZED (
        SELECT k.*, CASE
            WHEN k.wrong IS NOT NULL THEN k.wrong
            WHEN k.same_meter IS NOT NULL AND k.same_eui IS NOT DISTINCT FROM k.full_eui THEN NULL
            WHEN k.eui_meter IS NOT NULL OR k.same_meter IS NOT NULL THEN ARRAY['409',
                CASE WHEN k.eui_meter IS NOT NULL THEN 'dev_eui' ELSE 'serial' END,
                format('It is that of meter %s (serial %s), which differs.',
                    coalesce(k.eui_meter, k.same_meter), coalesce(k.eui_serial, k.full_serial))]
            WHEN k.r ->> 'state' = 'removed' THEN ARRAY['422', 'state',
                'It is removed: there is nothing to register.']
            WHEN k.differs <> '[]' AND NOT coalesce((k.r -> 'despite_passport') = 'true', false)
                THEN ARRAY['409', k.differs -> 0 ->> 'parameter', format('Its passport (%s) says '
                    || 'otherwise: %s. With despite_passport it is registered all the same.',
                    k.its_id, differences_text(k.differs))]
            WHEN k.differs <> '[]' AND k.r ->> 'state' = 'in_service' THEN ARRAY['409', 'state',
                'A meter that differs from its passport is not in service before somebody accepts '
                || 'that.']
            WHEN k.its_meter IS NOT NULL AND NOT coalesce((k.r -> 'despite_passport') = 'true',
                    false)
                THEN ARRAY['409', 'serial', format('Its passport (%s) is that of meter %s.',
                    k.its_id, k.its_meter)]
            END AS refused,
            k.wrong IS NULL AND k.same_meter IS NOT NULL
                AND k.same_eui IS NOT DISTINCT FROM k.full_eui AS there,
            format('%s (meter %s)', coalesce('Line ' || (k.r ->> 'line'), 'Row ' || k.n),
                k.full_serial) AS label
        FROM known k
    ), rivals AS ( -- rows of this very file for the same meter: the first counts
        SELECT j.*, first_value(j.n) OVER serial AS first_serial,
            first_value(j.label) OVER serial AS serial_label,
            first_value(j.full_eui) OVER serial IS NOT DISTINCT FROM j.full_eui AS alike,
            CASE WHEN j.full_eui IS NULL THEN j.n ELSE first_value(j.n) OVER eui END AS first_eui,
            first_value(j.label) OVER eui AS eui_label
        FROM (SELECT *, refused IS NULL AND NOT there AS fair FROM judged) j
        WINDOW serial AS (PARTITION BY j.fair, j.model_id, j.full_serial ORDER BY j.n),
            eui AS (PARTITION BY j.fair, j.full_eui ORDER BY j.n)
    ), placed AS (
        SELECT v.*, row_number() OVER (PARTITION BY v.wins ORDER BY v.passive, v.n) AS place
        FROM (SELECT *, fair AND first_serial = n AND first_eui = n AS wins,
                (r ->> 'state' = 'passive') IS TRUE AS passive FROM rivals) v
    ), decided AS MATERIALIZED ( -- new_id: of one that is added now
        SELECT x.*, CASE WHEN x.added AND NOT p_dry
            THEN nextval(pg_get_serial_sequence('meter', 'meter_id'))::int END AS new_id
        FROM (SELECT *, wins AND (passive OR room IS NULL OR place <= room) AS added
              FROM placed ORDER BY n) x
    ), fresh AS (
        INSERT INTO meter (tenant_id, meter_id, serial, model_id, dev_eui, timezone, name, note,
            verification_due, state, mbus) OVERRIDING SYSTEM VALUE
        SELECT p_tenant, x.new_id, x.full_serial, x.model_id, x.full_eui, x.zone,
            coalesce(x.r ->> 'name', ''), coalesce(x.r ->> 'note', ''),
            (x.r ->> 'verification_due')::date, coalesce(x.r ->> 'state', 'registered'),
            nullif(jsonb_strip_nulls(jsonb_build_object(
                'secondary_address', x.r ->> 'secondary_address',
                'baud_rate', (x.r ->> 'baud_rate')::int,
                'addressing_mode', lower(x.r ->> 'addressing_mode'),
                'primary_address', (x.r ->> 'primary_address')::int,
                'enhanced_address', x.r ->> 'enhanced_address')), '{}')
        FROM decided x WHERE x.new_id IS NOT NULL ORDER BY x.n
    ), linked AS (
        UPDATE passport p SET meter_id = x.new_id, accepted = NULL FROM decided x
        WHERE p.tenant_id = p_tenant AND p.passport_id = x.its_id AND x.its_meter IS NULL
          AND x.new_id IS NOT NULL
        RETURNING p.passport_id, p.meter_id, x.differs
    ), bound AS (
        UPDATE meter_key k SET meter_id = l.meter_id FROM linked l
        WHERE k.tenant_id = p_tenant AND k.passport_id = l.passport_id AND l.differs = '[]'
          AND k.removed_at IS NULL
    )
    SELECT y.n, (y.r ->> 'line')::int, coalesce(y.full_serial, y.r ->> 'serial'), y.result,
        CASE WHEN y.result = 'refused' THEN NULL WHEN y.there THEN y.same_meter
            ELSE y.first_id END,
        CASE WHEN y.result = 'added' AND y.its_meter IS NULL THEN y.its_id END,
        coalesce(y.refused[1]::int, 409),
        CASE WHEN y.refused IS NOT NULL THEN nullif(y.refused[2], '') WHEN y.wins THEN NULL
            WHEN y.first_serial < y.n THEN 'serial' ELSE 'dev_eui' END,
        CASE WHEN y.refused IS NOT NULL THEN y.refused[3]
            WHEN y.wins THEN format('The tenant may have %s meters and has them.',
                (SELECT t.meter_quota FROM tenant t WHERE t.tenant_id = p_tenant))
            ELSE CASE WHEN y.first_serial < y.n THEN y.serial_label || ' has the same serial'
                ELSE y.eui_label || ' has the same DevEUI' END || ' and differs.' END
    FROM (SELECT x.*, max(x.new_id) OVER (PARTITION BY x.fair, x.model_id, x.full_serial)
                AS first_id, CASE
            WHEN x.there OR x.fair AND x.first_serial < x.n AND x.alike
                AND (x.full_eui IS NULL OR x.first_eui = x.first_serial) THEN 'unchanged'
            WHEN x.added THEN 'added' ELSE 'refused' END AS result
          FROM decided x) y
    ORDER BY y.n;
END $$;

-- One meter, or why not. The very same again is no error: added is false.
CREATE OR REPLACE FUNCTION meter_register(p_tenant int, p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    t record;
BEGIN
    SELECT * INTO t FROM meters_take(p_tenant, jsonb_build_array(p_body), NULL, false);
    IF t.result = 'refused' THEN
        PERFORM refuse(t.status, t.field, t.detail);
    END IF;
    RETURN (SELECT meter_json(m)::jsonb FROM meter m
            WHERE m.tenant_id = p_tenant AND m.meter_id = t.meter_id)
        || jsonb_build_object('added', t.result = 'added');
END $$;

-- Many at once: a result per row. dry_run leaves nothing behind.
DROP FUNCTION meter_import(int, jsonb);
CREATE FUNCTION meter_import(p_tenant int, p_rows jsonb, p_model text, p_dry boolean)
RETURNS json LANGUAGE sql VOLATILE AS $$
    SELECT json_build_object('dry_run', p_dry,
        'added', count(*) FILTER (WHERE result = 'added'),
        'unchanged', count(*) FILTER (WHERE result = 'unchanged'),
        'refused', count(*) FILTER (WHERE result = 'refused'),
        'results', coalesce(json_agg(json_strip_nulls(json_build_object('row', n, 'line', line,
            'serial', serial, 'result', result,
            'meter_id', meter_id,
            'passport_id', passport_id,
            'field', CASE result WHEN 'refused' THEN field END,
            'detail', CASE result WHEN 'refused' THEN detail END)) ORDER BY n), '[]'))
    FROM meters_take(p_tenant, p_rows, p_model, p_dry) $$;
DROP FUNCTION meter_quota_check(int);

-- passive ones are shown only when asked for: by state, or with p_passive.
-- p_sort: a column, with '-' before it downwards; p_after is the last meter seen.
DROP FUNCTION meter_search(int, text, text, text, text, text, int, bigint, int);
CREATE FUNCTION meter_search(p_tenant int, p_serial text, p_text text, p_model text,
    p_state text, p_medium text, p_group int, p_passive boolean, p_sort text, p_after bigint,
    p_limit int)
RETURNS TABLE (item json, key bigint, key_text text) LANGUAGE plpgsql STABLE AS $$
DECLARE
    named text := ltrim(coalesce(p_sort, 'meter_id'), '-');
    way text := CASE WHEN p_sort LIKE '-%' THEN '<' ELSE '>' END;
BEGIN
    RETURN QUERY EXECUTE format($q$
    SELECT meter_json(x.m), x.meter_id::bigint, '' FROM (
        SELECT m, m.meter_id, m.%1$I AS place FROM meter m
        WHERE m.tenant_id = $1 AND ($9::bigint IS NULL OR %3$s)
          AND ($2::text IS NULL OR m.serial = $2)
          AND ($3::text IS NULL OR position(lower($3) IN lower(m.serial || ' ' || m.name || ' '
              || coalesce(m.dev_eui, ''))) > 0)
          AND ($4::text IS NULL OR m.state = $4)
          AND (m.state <> 'passive' OR $5::boolean OR $4 = 'passive')
          AND ($6::text IS NULL AND $7::text IS NULL OR m.model_id IN (
              SELECT d.model_id FROM meter_model d WHERE d.tenant_id = $1
              AND ($6 IS NULL OR d.name = $6) AND ($7 IS NULL OR d.medium = $7)))
          AND ($8::int IS NULL OR m.meter_id IN (SELECT g.meter_id FROM meter_group_member g
              WHERE g.tenant_id = $1 AND g.group_id = $8))
        ORDER BY m.%1$I %2$s, m.meter_id %2$s LIMIT $10) x
    ORDER BY x.place %2$s, x.meter_id %2$s $q$, named, CASE way WHEN '<' THEN 'DESC' ELSE 'ASC' END,
        CASE WHEN named = 'meter_id' THEN 'm.meter_id ' || way || ' $9' ELSE format('(m.%1$I,
            m.meter_id) %2$s (SELECT a.%1$I, a.meter_id FROM meter a
            WHERE a.tenant_id = $1 AND a.meter_id = $9)', named, way) END)
    USING p_tenant, p_serial, p_text, p_state, p_passive, p_model, p_medium, p_group, p_after,
        p_limit;
END $$;

-- ---- does a meter keep what its passport says? ----

-- What a meter has told of itself beside its registers, the newest of each name.
CREATE FUNCTION meter_reported(p_tenant int, p_meter int) RETURNS TABLE (name text, value text)
LANGUAGE sql STABLE AS $$
    SELECT DISTINCT ON (1) t.name, t.value
    FROM (SELECT f.received_at, f.extras FROM frame f WHERE f.tenant_id = p_tenant
            AND f.meter_id = p_meter AND f.extras IS NOT NULL
          ORDER BY f.received_at DESC LIMIT 50) f
        CROSS JOIN LATERAL jsonb_array_elements(CASE jsonb_typeof(f.extras)
            WHEN 'array' THEN f.extras ELSE '[]' END) x
        CROSS JOIN LATERAL (SELECT CASE WHEN x ->> 'quantity' = 'text'
                THEN split_part(x ->> 'text', '=', 1) ELSE x ->> 'quantity' END AS name,
            CASE WHEN x ->> 'quantity' = 'text'
                THEN substr(x ->> 'text', position('=' IN x ->> 'text') + 1)
                ELSE coalesce(x ->> 'text', x ->> 'value') END AS value) t
    WHERE t.value IS NOT NULL
    ORDER BY 1, f.received_at DESC $$;

CREATE FUNCTION passport_differences(p passport, m meter) RETURNS jsonb LANGUAGE sql STABLE AS $$
    SELECT difference('model', o.name, d.name, 'given')
        || difference('serial', p.serial, m.serial, 'given')
        || difference('dev_eui', p.dev_eui, m.dev_eui, 'given')
        || coalesce((SELECT jsonb_agg(jsonb_build_object('parameter', e.key, 'passport', e.value,
                'reported', r.value) ORDER BY e.key)
            FROM jsonb_each_text(p.parameters) e
            JOIN meter_reported(m.tenant_id, m.meter_id) r ON r.name = e.key
            WHERE r.value <> e.value AND p.parameters <> '{}'), '[]')
    FROM meter_model o, meter_model d
    WHERE o.tenant_id = p.tenant_id AND o.model_id = p.model_id
      AND d.tenant_id = m.tenant_id AND d.model_id = m.model_id $$;

-- state: none (no passport), conforms, differs, accepted (differs, and somebody
-- took that upon him).
CREATE FUNCTION meter_conformity(p_tenant int, p_meter int) RETURNS json
LANGUAGE plpgsql STABLE AS $$
DECLARE
    m meter;
    p passport;
    differs jsonb := '[]';
BEGIN
    SELECT * INTO m FROM meter WHERE tenant_id = p_tenant AND meter_id = p_meter;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
    SELECT * INTO p FROM passport WHERE tenant_id = p_tenant AND meter_id = p_meter;
    IF FOUND THEN
        differs := passport_differences(p, m);
    END IF;
    RETURN json_build_object('meter_id', p_meter, 'passport_id', p.passport_id,
        'state', CASE WHEN p.passport_id IS NULL THEN 'none' WHEN differs = '[]' THEN 'conforms'
            WHEN p.accepted -> 'differences' @> differs THEN 'accepted' ELSE 'differs' END,
        'differences', differs, 'unreported', (SELECT coalesce(json_agg(k ORDER BY k), '[]')
            FROM jsonb_object_keys(p.parameters) k WHERE k NOT IN (
                SELECT r.name FROM meter_reported(p_tenant, p_meter) r)),
        'accepted', p.accepted);
END $$;

-- Somebody takes the differences upon him: from then on the passport's keys are
-- the meter's, and it may go into service.
CREATE FUNCTION conformity_accept(p_tenant int, p_body jsonb, p_meter int) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    c json;
BEGIN
    PERFORM in_scope(p_tenant);
    c := meter_conformity(p_tenant, p_meter);
    IF c ->> 'state' <> 'differs' THEN
        PERFORM refuse(409, NULL, format('There is nothing to accept: its conformity is "%s".',
            c ->> 'state'));
    END IF;
    UPDATE passport SET accepted = jsonb_build_object('differences', c -> 'differences',
            'reason', p_body ->> 'reason', 'by', current_setting('headend.actor', true),
            'at', now()), revision = revision + 1
        WHERE tenant_id = p_tenant AND meter_id = p_meter;
    UPDATE meter_key SET meter_id = p_meter WHERE tenant_id = p_tenant AND meter_id IS NULL
        AND removed_at IS NULL AND passport_id = (c ->> 'passport_id')::int;
    PERFORM audit(p_tenant, 'conformity.accept', 'meter', p_meter::text, NULL,
        jsonb_build_object('differences', c -> 'differences', 'reason', p_body ->> 'reason'));
    RETURN meter_conformity(p_tenant, p_meter);
END $$;

CREATE OR REPLACE FUNCTION meter_change(p_tenant int, p_body jsonb, p_id int) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    m meter;
    c json;
BEGIN
    PERFORM in_scope(p_tenant);
    IF p_body ->> 'state' IN ('registered', 'in_service')
        AND meter_room(p_tenant) <= 0 AND EXISTS (SELECT FROM meter WHERE tenant_id = p_tenant
            AND meter_id = p_id AND state IN ('passive', 'removed')) THEN
        PERFORM refuse(409, 'state', format('The tenant may have %s meters and has them.',
            (SELECT meter_quota FROM tenant WHERE tenant_id = p_tenant)));
    END IF;
    SELECT * INTO m FROM meter WHERE tenant_id = p_tenant AND meter_id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
    PERFORM revision_check(p_body, m.revision);
    IF p_body ->> 'state' = 'in_service' AND m.state <> 'in_service' THEN
        c := meter_conformity(p_tenant, p_id);
        IF c ->> 'state' = 'differs' THEN
            PERFORM refuse(409, 'state', format('It differs from its passport (%s): %s.',
                c ->> 'passport_id', differences_text((c -> 'differences')::jsonb)));
        END IF;
    END IF;
    IF p_body ? 'verification_due' AND NOT date_known(p_body ->> 'verification_due') THEN
        PERFORM refuse(422, 'verification_due', 'A date is written 2032-12-11.');
    END IF;
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

REVOKE ALL ON FUNCTION audit_inserted, meters_take, conformity_accept FROM PUBLIC;
GRANT EXECUTE ON FUNCTION meters_take, conformity_accept TO headend_server;

-- ---- passports written ----

CREATE FUNCTION passport_json(p passport) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('passport_id', p.passport_id, 'model', d.name, 'maker', d.maker,
        'serial', p.serial, 'dev_eui', p.dev_eui, 'join_eui', p.join_eui,
        'module_model', p.module_model, 'module_serial', p.module_serial,
        'made_on', p.made_on, 'parameters', p.parameters, 'note', p.note,
        'keys', (SELECT coalesce(json_agg(json_build_object('key_id', k.key_id,
                'purpose', k.purpose) ORDER BY k.purpose), '[]') FROM meter_key k
            WHERE k.tenant_id = p.tenant_id AND k.passport_id = p.passport_id
              AND k.removed_at IS NULL),
        'meter_id', p.meter_id, 'created_at', p.created_at, 'revision', p.revision)
    FROM meter_model d WHERE d.tenant_id = p.tenant_id AND d.model_id = p.model_id $$;

CREATE FUNCTION passport_search(p_tenant int, p_serial text, p_text text, p_model text,
    p_eui text, p_registered boolean, p_after bigint, p_limit int)
RETURNS TABLE (item json, key bigint, key_text text) LANGUAGE sql STABLE AS $$
    SELECT passport_json(p), p.passport_id::bigint, '' FROM passport p
    WHERE p.tenant_id = p_tenant AND p.passport_id > coalesce(p_after, 0)
      AND (p_serial IS NULL OR p.serial = p_serial)
      AND (p_text IS NULL OR position(lower(p_text) IN lower(p.serial || ' '
          || coalesce(p.dev_eui, '') || ' ' || coalesce(p.module_serial, ''))) > 0)
      AND (p_model IS NULL OR p.model_id IN (SELECT d.model_id FROM meter_model d
          WHERE d.tenant_id = p_tenant AND d.name = p_model))
      AND (p_eui IS NULL OR p.dev_eui = eui_text(p_eui))
      AND (p_registered IS NULL OR (p.meter_id IS NOT NULL) = p_registered)
    ORDER BY p.passport_id LIMIT p_limit $$;

-- The server has taken the keys out of the rows (server/api/passports.c); what it
-- found wrong stands in `error` and `field`.
CREATE FUNCTION passport_row_fault(r jsonb) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
    WHEN r ? 'error' THEN ARRAY[coalesce(r ->> 'field', ''), r ->> 'error']
    WHEN length(r ->> 'serial') NOT BETWEEN 1 AND 64
        THEN ARRAY['serial', 'A serial has 1 to 64 characters.']
    WHEN eui_text(r ->> 'dev_eui') !~ '^[0-9a-f]{16}$'
        THEN ARRAY['dev_eui', 'A DevEUI is 16 hex digits.']
    WHEN eui_text(r ->> 'join_eui') !~ '^[0-9a-f]{16}$'
        THEN ARRAY['join_eui', 'A JoinEUI is 16 hex digits.']
    WHEN length(r ->> 'module_model') > 100
        THEN ARRAY['module_model', 'It has at most 100 characters.']
    WHEN length(r ->> 'module_serial') > 64
        THEN ARRAY['module_serial', 'It has at most 64 characters.']
    WHEN NOT date_known(r ->> 'made_on') THEN ARRAY['made_on', 'A date is written 2017-12-31.']
    WHEN length(r ->> 'note') > 2000 THEN ARRAY['note', 'A note has at most 2000 characters.']
    WHEN octet_length(r ->> 'parameters') > 16384
        THEN ARRAY['parameters', 'They have at most 16384 bytes.']
    WHEN jsonb_typeof(r -> 'parameters') <> 'object' OR EXISTS (SELECT FROM jsonb_each(
            CASE jsonb_typeof(r -> 'parameters') WHEN 'object' THEN r -> 'parameters' ELSE '{}' END)
            x WHERE jsonb_typeof(x.value) NOT IN ('string', 'number', 'boolean')
                OR length(x.key) NOT BETWEEN 1 AND 64)
        THEN ARRAY['parameters', 'They are names (1 to 64 characters) with texts or numbers.']
    END $$;

-- For each key that came with a row: an id if it is new, and the sealed one that
-- its passport has for that purpose.
CREATE FUNCTION passports_look(p_tenant int, p_rows jsonb) RETURNS TABLE
    (n int, purpose text, fresh bigint, key_id bigint, key_no int, sealed bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
SET plan_cache_mode = force_custom_plan SET enable_seqscan = off AS $$
BEGIN
    PERFORM in_scope(p_tenant);
    RETURN QUERY
    SELECT x.n::int - 1, u.purpose, nextval(pg_get_serial_sequence('meter_key', 'key_id')),
        k.key_id, s.key_no, s.sealed
    FROM jsonb_array_elements(p_rows) WITH ORDINALITY AS x(r, n)
    CROSS JOIN LATERAL jsonb_array_elements_text(x.r -> 'purposes') u(purpose)
    LEFT JOIN meter_model d ON d.tenant_id = p_tenant AND d.name = x.r ->> 'model'
    LEFT JOIN passport p ON p.tenant_id = p_tenant AND p.model_id = d.model_id
        AND p.serial = x.r ->> 'serial'
    LEFT JOIN meter_key k ON k.tenant_id = p_tenant
        AND k.passport_id = coalesce((x.r ->> 'passport_id')::int, p.passport_id)
        AND k.purpose = u.purpose AND k.removed_at IS NULL
    LEFT JOIN secret s ON s.tenant_id = p_tenant AND s.owner = 'meter_key'
        AND s.row_id = k.key_id AND s.name = 'key';
END $$;

-- Passports from rows, each by itself; what became of each, as a JSON list. What a
-- row does not say stays. With passport_id it is that one's change. p_strict: one
-- that is there and differs is refused, not changed. p_keys: `rows`, those that are
-- new, sealed; and under what (as tenant_key_put() takes it).
CREATE FUNCTION passports_take(p_tenant int, p_rows jsonb, p_keys jsonb, p_strict boolean,
    p_dry boolean) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp
SET plan_cache_mode = force_custom_plan SET enable_seqscan = off AS $$
DECLARE
    results jsonb;
    keyed jsonb := (SELECT coalesce(jsonb_object_agg(k ->> 'n', true), '{}')
        FROM jsonb_array_elements(p_keys -> 'rows') k);
BEGIN
    PERFORM in_scope(p_tenant);
    PERFORM pg_advisory_xact_lock(hashtext('headend meter quota'), p_tenant);
    WITH given AS MATERIALIZED (
        SELECT x.n::int - 1 AS n, x.r, passport_row_fault(x.r) AS fault,
            eui_text(x.r ->> 'dev_eui') AS eui
        FROM jsonb_array_elements(p_rows) WITH ORDINALITY AS x(r, n)
    ), known AS MATERIALIZED (
        SELECT g.*, d.model_id AS its_model, p.passport_id, CASE
            WHEN g.fault IS NOT NULL THEN '{422}'::text[] || g.fault
            WHEN g.r ? 'passport_id' AND p.passport_id IS NULL
                THEN '{404,"","There is nothing with this id."}'
            WHEN g.r ? 'passport_id' AND (g.r ->> 'revision')::bigint <> p.revision
                THEN ARRAY['412', 'revision', format('It was changed meanwhile: it is at '
                    || 'revision %s.', p.revision)]
            WHEN g.r ? 'passport_id' THEN NULL
            WHEN g.r ->> 'serial' IS NULL THEN '{422,serial,"A passport is of one serial."}'
            WHEN g.r ->> 'model' IS NULL THEN '{422,model,"A passport is of one model."}'
            WHEN d.model_id IS NULL THEN ARRAY['422', 'model', format(
                'There is no meter model "%s".', left(g.r ->> 'model', 60))]
            END AS wrong, q.passport_id AS eui_passport, jsonb_build_array(p.dev_eui, p.join_eui,
                p.module_model, p.module_serial, p.made_on, p.parameters, p.note) IS DISTINCT FROM
                jsonb_build_array(v.dev_eui, v.join_eui, v.module_model, v.module_serial,
                    v.made_on, v.parameters, v.note) OR keyed ? g.n::text AS differs,
            v.dev_eui, v.join_eui, v.module_model, v.module_serial, v.made_on, v.parameters, v.note
        FROM given g
        LEFT JOIN meter_model d ON d.tenant_id = p_tenant AND d.name = g.r ->> 'model'
        LEFT JOIN passport o ON o.tenant_id = p_tenant AND o.model_id = d.model_id
            AND o.serial = g.r ->> 'serial'
        LEFT JOIN passport p ON p.tenant_id = p_tenant
            AND p.passport_id = coalesce((g.r ->> 'passport_id')::int, o.passport_id)
        LEFT JOIN passport q ON q.tenant_id = p_tenant AND q.dev_eui = g.eui
        CROSS JOIN LATERAL (SELECT
            CASE WHEN g.r ? 'dev_eui' THEN g.eui ELSE p.dev_eui END AS dev_eui,
            CASE WHEN g.r ? 'join_eui' THEN eui_text(g.r ->> 'join_eui') ELSE p.join_eui END
                AS join_eui,
            CASE WHEN g.r ? 'module_model' THEN g.r ->> 'module_model' ELSE p.module_model END
                AS module_model,
            CASE WHEN g.r ? 'module_serial' THEN g.r ->> 'module_serial' ELSE p.module_serial END
                AS module_serial,
            CASE WHEN NOT g.r ? 'made_on' THEN p.made_on WHEN g.fault IS NULL
                THEN (g.r ->> 'made_on')::date END AS made_on,
            coalesce(g.r -> 'parameters', p.parameters, '{}') AS parameters,
            coalesce(g.r ->> 'note', p.note, '') AS note) v
    ), fair AS MATERIALIZED (
        SELECT k.*, CASE
            WHEN k.wrong IS NOT NULL THEN k.wrong
            WHEN k.eui_passport IS DISTINCT FROM k.passport_id AND k.eui_passport IS NOT NULL
                THEN ARRAY['409', 'dev_eui', format('It is that of passport %s.', k.eui_passport)]
            WHEN k.passport_id IS NOT NULL AND k.differs AND p_strict
                THEN ARRAY['409', 'serial', format('Passport %s has this serial and differs.',
                    k.passport_id)]
            END AS unfair
        FROM known k
    ), judged AS MATERIALIZED (
        SELECT f.*, CASE
            WHEN f.unfair IS NOT NULL THEN f.unfair
            WHEN min(f.n) OVER (PARTITION BY f.unfair IS NULL, f.its_model, f.r ->> 'serial') < f.n
                THEN ARRAY['409', 'serial', 'A row before has the same serial.']
            WHEN min(f.n) OVER (PARTITION BY f.unfair IS NULL, f.eui) < f.n AND f.eui IS NOT NULL
                THEN ARRAY['409', 'dev_eui', 'A row before has the same DevEUI.']
            END AS refused
        FROM fair f
    ), decided AS MATERIALIZED ( -- new_id: of one that is added now
        SELECT j.*, CASE WHEN j.refused IS NULL AND j.passport_id IS NULL AND NOT p_dry
            THEN nextval(pg_get_serial_sequence('passport', 'passport_id'))::int END AS new_id
        FROM judged j ORDER BY j.n
    ), added AS (
        INSERT INTO passport AS p (tenant_id, passport_id, model_id, serial, dev_eui, join_eui,
            module_model, module_serial, made_on, parameters, note) OVERRIDING SYSTEM VALUE
        SELECT p_tenant, j.new_id, j.its_model, j.r ->> 'serial', j.dev_eui, j.join_eui, j.module_model,
            j.module_serial, j.made_on, j.parameters, j.note
        FROM decided j WHERE j.new_id IS NOT NULL ORDER BY j.n
    ), changed AS (
        UPDATE passport p SET dev_eui = j.dev_eui, join_eui = j.join_eui,
            module_model = j.module_model, module_serial = j.module_serial,
            made_on = j.made_on, parameters = j.parameters, note = j.note,
            revision = p.revision + 1
        FROM decided j WHERE NOT p_dry AND j.refused IS NULL AND j.differs
          AND p.tenant_id = p_tenant AND p.passport_id = j.passport_id
    )
    SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('n', j.n, 'row', j.n + 1,
            'line', j.r -> 'line', 'serial', j.r -> 'serial',
            'passport_id', CASE WHEN j.refused IS NULL
                THEN coalesce(j.passport_id, j.new_id) END,
            'result', CASE WHEN j.refused IS NOT NULL THEN 'refused'
                WHEN j.passport_id IS NULL THEN 'added' WHEN j.differs THEN 'changed'
                ELSE 'unchanged' END,
            'status', j.refused[1]::int, 'field', nullif(j.refused[2], ''),
            'detail', j.refused[3])) ORDER BY j.n)
    INTO results FROM decided j;
    IF NOT p_dry THEN
        PERFORM passport_keys_put(p_tenant, results, p_keys);
        PERFORM passports_link(p_tenant, ARRAY(SELECT (x ->> 'passport_id')::int
            FROM jsonb_array_elements(results) x WHERE x ->> 'result' IN ('added', 'changed')));
    END IF;
    RETURN results;
END $$;

-- The keys of the rows that were taken, in place of those of the same purpose.
CREATE FUNCTION passport_keys_put(p_tenant int, p_results jsonb, p_keys jsonb) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan SET enable_seqscan = off AS $$
BEGIN
    IF p_keys -> 'rows' = '[]' THEN
        RETURN;
    END IF;
    PERFORM tenant_key_put(p_tenant, (p_keys ->> 'key_no')::int, p_keys ->> 'master',
        (p_keys ->> 'tenant_key')::bytea, (p_keys ->> 'check')::bytea);
    WITH taken AS MATERIALIZED (
        SELECT (x ->> 'n')::int AS n, (x ->> 'passport_id')::int AS passport_id
        FROM jsonb_array_elements(p_results) x WHERE x ->> 'result' <> 'refused'
    ), keys AS MATERIALIZED (
        SELECT t.passport_id, k.* FROM jsonb_to_recordset(p_keys -> 'rows') AS k(
            n int, purpose text, key_id bigint, old bigint, sealed bytea) JOIN taken t USING (n)
    ), gone AS (
        UPDATE meter_key k SET removed_at = now() FROM keys x
        WHERE k.tenant_id = p_tenant AND k.key_id = x.old AND k.removed_at IS NULL
    ), forgotten AS (
        DELETE FROM secret s USING keys x WHERE s.tenant_id = p_tenant
            AND s.owner = 'meter_key' AND s.row_id = x.old
    ), fresh AS (
        INSERT INTO meter_key (tenant_id, key_id, purpose, passport_id)
        SELECT p_tenant, x.key_id, x.purpose, x.passport_id FROM keys x
    )
    INSERT INTO secret (tenant_id, owner, row_id, name, key_no, sealed)
    SELECT p_tenant, 'meter_key', x.key_id, 'key', (p_keys ->> 'key_no')::int, x.sealed
    FROM keys x;
END $$;

-- Passports that came after their meters; and keys that may be their meter's now.
CREATE FUNCTION passports_link(p_tenant int, p_passports int[]) RETURNS void
LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan SET enable_seqscan = off AS $$
BEGIN
    WITH met AS (
        SELECT p.passport_id, m.meter_id, 1 AS rank FROM passport p
        JOIN meter m ON m.tenant_id = p_tenant AND m.model_id = p.model_id
            AND m.serial = p.serial
        WHERE p.tenant_id = p_tenant AND p.passport_id = ANY (p_passports)
          AND p.meter_id IS NULL AND m.state <> 'removed'
        UNION ALL
        SELECT p.passport_id, m.meter_id, 2 FROM passport p
        JOIN meter m ON m.tenant_id = p_tenant AND m.dev_eui = p.dev_eui
        WHERE p.tenant_id = p_tenant AND p.passport_id = ANY (p_passports)
          AND p.meter_id IS NULL AND m.state <> 'removed'
    ), one AS (
        SELECT DISTINCT ON (meter_id) * FROM (SELECT DISTINCT ON (passport_id) *
            FROM met ORDER BY passport_id, rank) x ORDER BY meter_id, rank
    )
    UPDATE passport p SET meter_id = o.meter_id, accepted = NULL FROM one o
    WHERE p.tenant_id = p_tenant AND p.passport_id = o.passport_id AND NOT EXISTS (SELECT
        FROM passport x WHERE x.tenant_id = p_tenant AND x.meter_id = o.meter_id);
    UPDATE meter_key k SET meter_id = p.meter_id
    FROM passport p JOIN meter m ON m.tenant_id = p.tenant_id AND m.meter_id = p.meter_id
    WHERE p.tenant_id = p_tenant AND p.passport_id = ANY (p_passports)
      AND k.tenant_id = p_tenant AND k.passport_id = p.passport_id
      AND k.meter_id IS DISTINCT FROM p.meter_id AND k.removed_at IS NULL
      AND coalesce(p.accepted -> 'differences', '[]') @> passport_differences(p, m);
END $$;

-- One passport: what it is now, or why not.
CREATE FUNCTION passport_put(p_tenant int, p_rows jsonb, p_keys jsonb, p_strict boolean)
RETURNS json LANGUAGE plpgsql AS $$
DECLARE
    t jsonb := passports_take(p_tenant, p_rows, p_keys, p_strict, false) -> 0;
BEGIN
    IF t ->> 'result' = 'refused' THEN
        PERFORM refuse((t ->> 'status')::int, t ->> 'field', t ->> 'detail');
    END IF;
    RETURN (SELECT passport_json(p)::jsonb || CASE WHEN p_strict THEN jsonb_build_object(
            'added', t ->> 'result' = 'added') ELSE '{}' END
        FROM passport p WHERE p.tenant_id = p_tenant
          AND p.passport_id = (t ->> 'passport_id')::int);
END $$;

CREATE FUNCTION passport_import(p_tenant int, p_rows jsonb, p_keys jsonb, p_dry boolean)
RETURNS json LANGUAGE sql VOLATILE AS $$
    SELECT json_build_object('dry_run', p_dry,
        'added', count(*) FILTER (WHERE x ->> 'result' = 'added'),
        'changed', count(*) FILTER (WHERE x ->> 'result' = 'changed'),
        'unchanged', count(*) FILTER (WHERE x ->> 'result' = 'unchanged'),
        'refused', count(*) FILTER (WHERE x ->> 'result' = 'refused'),
        'results', coalesce(json_agg(x - '{n,status}'::text[] ORDER BY (x ->> 'n')::int), '[]'))
    FROM jsonb_array_elements(passports_take(p_tenant, p_rows, p_keys, false, p_dry)) x $$;

-- Its keys that are no meter's yet go with it.
CREATE FUNCTION passport_remove(p_tenant int, p_id int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM in_scope(p_tenant);
    PERFORM meter_key_remove(p_tenant, k.key_id) FROM meter_key k WHERE k.tenant_id = p_tenant
        AND k.passport_id = p_id AND k.meter_id IS NULL AND k.removed_at IS NULL;
    DELETE FROM passport WHERE tenant_id = p_tenant AND passport_id = p_id;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
END $$;

-- ---- keys that wait for their meter open nothing ----

CREATE FUNCTION key_waits(k meter_key) RETURNS boolean LANGUAGE sql IMMUTABLE AS
$$ SELECT k.passport_id IS NOT NULL AND k.meter_id IS NULL $$;

CREATE OR REPLACE FUNCTION meter_key_json(k meter_key) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('key_id', k.key_id, 'purpose', k.purpose,
        'meter_id', k.meter_id, 'passport_id', k.passport_id, 'address', k.address,
        'manufacturer', k.manufacturer, 'device_type', k.device_type, 'version', k.version,
        'created_at', k.created_at,
        'opens_meters', (SELECT count(*) FROM meter_key_use u
            WHERE u.tenant_id = k.tenant_id AND u.key_id = k.key_id)) $$;

CREATE OR REPLACE FUNCTION directory_meter_keys(p_since xid8) RETURNS TABLE
    (tenant_id int, key_id bigint, purpose text, meter_id int, address text,
     manufacturer text, device_type int, version int, removed boolean,
     key_no int, sealed bytea, upto xid8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT k.tenant_id, k.key_id, k.purpose, k.meter_id, k.address,
          k.manufacturer, k.device_type, k.version, k.removed_at IS NOT NULL,
          s.key_no, s.sealed, pg_snapshot_xmin(pg_current_snapshot())
   FROM meter_key k
   LEFT JOIN secret s ON s.tenant_id = k.tenant_id AND s.owner = 'meter_key'
       AND s.row_id = k.key_id AND s.name = 'key'
   WHERE k.changed_xid >= p_since AND NOT key_waits(k) $$;

-- p_rows: what keys are for ("" and -1: any), "meter" a serial number. For each an
-- id, the meter, how many meters have that serial number, and each key (sealed)
-- that is for the very same.
CREATE OR REPLACE FUNCTION meter_keys_look(p_tenant int, p_rows jsonb) RETURNS TABLE
    (n int, fresh bigint, meter_id int, meters bigint, key_id bigint, key_no int, sealed bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM in_scope(p_tenant);
    RETURN QUERY
    WITH want AS MATERIALIZED (SELECT * FROM jsonb_to_recordset(p_rows) AS r(n int,
            purpose text, meter text, address text, manufacturer text, device_type int,
            version int)),
    named AS (SELECT m.serial, min(m.meter_id) AS meter_id, count(*) AS meters FROM meter m
        WHERE m.tenant_id = p_tenant AND m.state <> 'removed'
          AND m.serial IN (SELECT w.meter FROM want w) GROUP BY m.serial)
    SELECT w.n, nextval(pg_get_serial_sequence('meter_key', 'key_id')), m.meter_id,
        CASE WHEN w.meter IS NULL THEN 1 ELSE coalesce(m.meters, 0) END,
        k.key_id, s.key_no, s.sealed
    FROM want w LEFT JOIN named m ON m.serial = w.meter
    LEFT JOIN meter_key k ON k.tenant_id = p_tenant AND k.removed_at IS NULL
        AND NOT key_waits(k) AND k.purpose = w.purpose AND coalesce(k.meter_id, 0) = coalesce(m.meter_id, 0)
        AND coalesce(k.address, '') = w.address
        AND coalesce(k.manufacturer, '') = w.manufacturer
        AND coalesce(k.device_type, -1) = w.device_type
        AND coalesce(k.version, -1) = w.version
    LEFT JOIN secret s ON s.tenant_id = p_tenant AND s.owner = 'meter_key'
        AND s.row_id = k.key_id AND s.name = 'key';
END $$;

CREATE OR REPLACE FUNCTION strangers_met(p_since xid8, p_tenant int, p_name text, p_most int)
RETURNS TABLE (tenant_id int, name text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ WITH key AS MATERIALIZED (
       SELECT k.tenant_id, k.meter_id, k.address FROM meter_key k
       WHERE k.changed_xid >= p_since AND k.removed_at IS NULL AND NOT key_waits(k)
         AND k.purpose IN ('encryption', 'authentication')
   ), met AS (
       SELECT n.tenant_id, n.name
       FROM meter m CROSS JOIN LATERAL (VALUES
           (m.tenant_id, 'DevEUI ' || m.dev_eui),
           (m.tenant_id, 'serial ' || m.serial),
           (0, 'serial ' || m.serial)) AS n (tenant_id, name)
       WHERE m.changed_xid >= p_since AND m.state <> 'removed'
         AND EXISTS (SELECT FROM quarantine q
             WHERE q.tenant_id = n.tenant_id AND q.detail = n.name
               AND q.reason = 'unknown_meter' AND octet_length(q.detail) < 300)
       UNION
       SELECT q.tenant_id, q.detail FROM quarantine q
       WHERE q.reason IN ('key_missing', 'decrypt_failed') AND octet_length(q.detail) < 300
         AND ((q.tenant_id, q.meter_id) IN (SELECT k.tenant_id, k.meter_id FROM key k)
           OR (q.tenant_id, split_part(q.detail, ' ', 1)) IN
              (SELECT k.tenant_id, k.address FROM key k WHERE k.meter_id IS NULL)
           OR q.tenant_id IN (SELECT k.tenant_id FROM key k
                              WHERE k.meter_id IS NULL AND k.address IS NULL))
       UNION
       SELECT q.tenant_id, q.detail FROM quarantine q
       WHERE q.reason = 'format_missing' AND octet_length(q.detail) < 300
         AND (q.tenant_id, q.detail) IN (SELECT f.tenant_id,
             'record list ' || lpad(to_hex(f.signature), 4, '0')
             FROM meter_format f WHERE f.changed_xid >= p_since)
   )
   SELECT m.tenant_id, m.name FROM met m
   WHERE (m.tenant_id, m.name) > (p_tenant, p_name)
   ORDER BY m.tenant_id, m.name LIMIT p_most $$;

REVOKE ALL ON FUNCTION passports_look, passports_take, passport_remove FROM PUBLIC;
GRANT EXECUTE ON FUNCTION passports_look, passports_take, passport_remove TO headend_server;
