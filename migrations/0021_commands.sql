-- Commands to meters: the queue, and every step of each. A command is here
-- before it leaves; one at a time is under way to a meter; corrections of clocks
-- show here too.

-- The last topic that a meter was heard on behind a network server: the way down.
CREATE TABLE meter_way (
    tenant_id int NOT NULL REFERENCES tenant ON DELETE CASCADE,
    meter_id int NOT NULL,
    integration_id int NOT NULL,
    topic text NOT NULL,
    since timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, meter_id)
);
CALL protect('meter_way');
GRANT SELECT ON meter_way TO headend_server;

-- What codecs can say to their meters, as the servers' own programs tell at
-- their start. choices: what the kind's one argument may be; NULL: anything.
CREATE TABLE codec_command (
    codec text NOT NULL,
    kind text NOT NULL,
    choices text[],
    PRIMARY KEY (codec, kind)
);
GRANT SELECT ON codec_command TO headend_server;

-- needs: the right. again: may reach a meter twice, because it says how things
-- are to be, not what is to be done.
CREATE TABLE command_kind (
    kind text PRIMARY KEY,
    needs text NOT NULL,
    again boolean NOT NULL
);
INSERT INTO command_kind VALUES ('valve_open', 'valve', true), ('valve_close', 'valve', true),
    ('read_archive', 'command', true), ('set_schedule', 'command', true),
    ('set_substitution', 'substitution', true), ('set_clock', 'command', true),
    ('reboot', 'command', false), ('raw', 'command', false);
GRANT SELECT ON command_kind TO headend_server;

CREATE TABLE command (
    created_at timestamptz NOT NULL DEFAULT now(),
    not_after timestamptz NOT NULL,  -- it does not leave later than this
    due_at timestamptz NOT NULL DEFAULT now(), -- queued: not before; sent: patience ends
    sent_at timestamptz,
    settled_at timestamptz,
    command_id bigint GENERATED ALWAYS AS IDENTITY,
    correction_id bigint,            -- the time service sends it, not the queue
    tenant_id int NOT NULL REFERENCES tenant ON DELETE CASCADE,
    meter_id int NOT NULL,
    integration_id int,              -- behind a network server, once it was heard there
    priority smallint NOT NULL DEFAULT 0 CHECK (priority BETWEEN 0 AND 9), -- 9 first
    attempts smallint NOT NULL DEFAULT 0,
    attempts_most smallint NOT NULL,
    radio boolean NOT NULL,          -- behind a network server; else the meter dials in
    handed boolean NOT NULL DEFAULT false, -- this attempt has left the server
    kind text NOT NULL REFERENCES command_kind,
    state text NOT NULL DEFAULT 'queued' CHECK (state IN ('waiting', 'queued', 'sent',
        'acknowledged', 'done', 'failed', 'expired', 'cancelled')),
    detail text,                     -- of the newest step
    arguments jsonb NOT NULL DEFAULT '{}',
    asked_by text NOT NULL,
    PRIMARY KEY (tenant_id, command_id),
    FOREIGN KEY (tenant_id, meter_id) REFERENCES meter
);
CREATE UNIQUE INDEX command_under_way ON command (tenant_id, meter_id)
    WHERE state IN ('sent', 'acknowledged') AND correction_id IS NULL;
CREATE INDEX command_next ON command (tenant_id, meter_id, priority DESC, command_id)
    WHERE state = 'queued' AND correction_id IS NULL;
CREATE INDEX command_radio ON command (integration_id, due_at)
    WHERE state = 'queued' AND radio AND correction_id IS NULL;
CREATE INDEX command_fresh ON command (due_at)
    WHERE state = 'queued' AND NOT radio AND correction_id IS NULL;
CREATE INDEX command_patience ON command (due_at)
    WHERE state IN ('sent', 'acknowledged') AND correction_id IS NULL;
CREATE INDEX command_expiry ON command (not_after) WHERE state = 'queued';
CREATE UNIQUE INDEX command_correction ON command (tenant_id, correction_id)
    WHERE correction_id IS NOT NULL;
CREATE INDEX command_meter ON command (tenant_id, meter_id, command_id);
CALL protect('command');
GRANT SELECT ON command TO headend_server;

CREATE TABLE command_step (
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    tenant_id int NOT NULL,
    command_id bigint NOT NULL,
    step int NOT NULL,
    attempt smallint NOT NULL,
    state text NOT NULL,             -- after it
    actor text NOT NULL,
    detail text,
    PRIMARY KEY (tenant_id, command_id, step),
    FOREIGN KEY (tenant_id, command_id) REFERENCES command ON DELETE CASCADE
);
CALL protect('command_step');
GRANT SELECT ON command_step TO headend_server;
CREATE FUNCTION step_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'steps of commands are append-only';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR TRUNCATE ON command_step
    FOR EACH STATEMENT EXECUTE FUNCTION step_is_append_only();

-- Who asks and who takes back stands in the trail; the rest is in the steps.
CREATE TRIGGER audited AFTER INSERT ON command FOR EACH ROW
    WHEN (NEW.correction_id IS NULL) EXECUTE FUNCTION audit_row('command_id');
CREATE TRIGGER audited_cancel AFTER UPDATE ON command FOR EACH ROW
    WHEN (NEW.state = 'cancelled' AND OLD.state <> 'cancelled' AND NEW.correction_id IS NULL)
    EXECUTE FUNCTION audit_row('command_id');

-- ---- states ----

-- The state that an event leads to; NULL: none, it is only noted. again: another
-- attempt may be made. What the meter itself says counts, however late.
CREATE FUNCTION command_after(p_state text, p_event text, p_again boolean) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN p_event = 'done' AND p_state <> 'done' THEN 'done'
        WHEN p_event = 'failed' AND p_state IN ('queued', 'sent', 'acknowledged') THEN 'failed'
        WHEN p_event = 'take' AND p_state = 'queued' THEN 'sent'
        WHEN p_event = 'unsent' AND p_state = 'sent' THEN 'queued'
        WHEN p_event = 'refused' AND p_state = 'sent' THEN 'failed'
        WHEN p_event = 'radiated' AND p_state = 'sent' THEN 'acknowledged'
        WHEN p_event = 'lost' AND p_state IN ('sent', 'acknowledged')
            THEN CASE WHEN p_again THEN 'queued' ELSE 'failed' END
        WHEN p_event = 'expire' AND p_state IN ('queued', 'sent', 'acknowledged') THEN 'expired'
        WHEN p_event = 'cancel' AND p_state IN ('waiting', 'queued') THEN 'cancelled'
    END $$;

CREATE FUNCTION command_note(c command, p_actor text, p_detail text) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    s command_step;
BEGIN
    INSERT INTO command_step (tenant_id, command_id, step, attempt, state, actor, detail)
    SELECT c.tenant_id, c.command_id, coalesce(max(x.step), 0) + 1, c.attempts, c.state,
        p_actor, p_detail
    FROM command_step x WHERE x.tenant_id = c.tenant_id AND x.command_id = c.command_id
    RETURNING * INTO s;
    PERFORM feed_put(c.tenant_id, 'command', c.meter_id, jsonb_build_object(
        'command_id', c.command_id, 'meter_id', c.meter_id, 'kind', c.kind,
        'state', s.state, 'attempt', s.attempt, 'at', s.at, 'actor', s.actor,
        'detail', s.detail, 'step', s.step));
END $$;

-- What happened to a command. An event of an earlier attempt changes nothing but
-- what the meter itself has said.
CREATE FUNCTION command_event(p_tenant int, p_id bigint, p_attempt int, p_event text,
    p_actor text, p_detail text) RETURNS command
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    c command;
    after text;
BEGIN
    SELECT * INTO c FROM command x WHERE x.tenant_id = p_tenant AND x.command_id = p_id
        FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    IF p_event = 'handed' AND (c.state <> 'sent' OR p_attempt <> c.attempts) THEN
        RETURN c; -- the meter was faster than we are
    ELSIF p_event = 'lost' AND c.not_after <= now() THEN
        p_event := 'expire';
    ELSIF p_event = 'radiated' AND c.arguments ->> 'confirmed' = 'false' THEN
        p_event := 'done';
        p_detail := p_detail || '; the meter was not asked to confirm it';
    END IF;
    IF p_attempt IS NULL OR p_attempt = c.attempts OR p_event IN ('done', 'failed') THEN
        after := command_after(c.state, p_event, c.attempts < c.attempts_most
            AND c.not_after > now());
    END IF;
    UPDATE command x SET state = coalesce(after, x.state),
        detail = CASE WHEN after IS NULL AND x.settled_at IS NOT NULL THEN x.detail
            ELSE p_detail END,
        handed = x.handed OR p_event = 'handed',
        attempts = x.attempts + CASE WHEN after = 'sent' THEN 1
            WHEN p_event = 'unsent' AND after = 'queued' THEN -1 ELSE 0 END,
        sent_at = CASE after WHEN 'sent' THEN now() ELSE x.sent_at END,
        settled_at = CASE WHEN after IN ('done', 'failed', 'expired', 'cancelled') THEN now()
            ELSE x.settled_at END,
        due_at = CASE WHEN after = 'queued' THEN now() + interval '1 second' * x.radio::int
            WHEN after = 'sent' THEN now() + interval '60 seconds'
            WHEN p_event = 'handed' AND x.radio AND x.state = 'sent' THEN x.not_after
            ELSE x.due_at END
        WHERE x.tenant_id = p_tenant AND x.command_id = p_id RETURNING * INTO c;
    IF after = 'sent' THEN
        UPDATE command x SET handed = false
            WHERE x.tenant_id = p_tenant AND x.command_id = p_id RETURNING * INTO c;
    END IF;
    PERFORM command_note(c, p_actor, p_detail);
    IF after NOT IN ('sent', 'acknowledged') AND c.radio AND c.correction_id IS NULL THEN
        UPDATE command x SET due_at = now() WHERE (x.tenant_id, x.command_id) IN (
            SELECT n.tenant_id, n.command_id FROM command n WHERE n.tenant_id = p_tenant
                AND n.meter_id = c.meter_id AND n.state = 'queued' AND n.correction_id IS NULL
                AND n.command_id <> p_id ORDER BY n.priority DESC, n.command_id LIMIT 1
                FOR UPDATE SKIP LOCKED);
    END IF;
    RETURN c;
END $$;

-- ---- asking ----

CREATE FUNCTION command_json(c command) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('command_id', c.command_id, 'meter_id', c.meter_id,
        'kind', c.kind, 'arguments', c.arguments, 'state', c.state, 'detail', c.detail,
        'priority', c.priority, 'attempts', c.attempts, 'attempts_most', c.attempts_most,
        'created_at', c.created_at, 'not_after', c.not_after, 'sent_at', c.sent_at,
        'settled_at', c.settled_at, 'asked_by', c.asked_by, 'correction_id', c.correction_id) $$;
CREATE FUNCTION command_whole_json(c command) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT (command_json(c)::jsonb || jsonb_build_object('steps', (
        SELECT jsonb_agg(jsonb_build_object('at', s.at, 'state', s.state, 'attempt', s.attempt,
            'actor', s.actor, 'detail', s.detail) ORDER BY s.step)
        FROM command_step s WHERE s.tenant_id = c.tenant_id AND s.command_id = c.command_id)))::json $$;

CREATE FUNCTION command_decimal(p_body jsonb, p_name text, p_least numeric, p_most numeric)
RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    v numeric := (p_body ->> p_name)::numeric;
BEGIN
    IF v IS NULL OR v < p_least OR v > p_most THEN
        PERFORM refuse(422, p_name, format('"%s" is needed, from %s to %s.', p_name, p_least,
            p_most));
    END IF;
    RETURN trim_scale(v)::text;
END $$;

-- The arguments of a command as they are kept; refuses what makes no sense.
CREATE FUNCTION command_arguments(p_kind text, p_body jsonb) RETURNS jsonb
LANGUAGE plpgsql AS $$
DECLARE
    since timestamptz := (p_body ->> 'from')::timestamptz;
    until timestamptz := coalesce((p_body ->> 'to')::timestamptz, now());
    stray text := (SELECT f.name FROM (VALUES ('archive', 'read_archive'),
        ('from', 'read_archive'), ('to', 'read_archive'), ('period_h', 'set_schedule'))
        AS f(name, kind) WHERE p_body ? f.name AND f.kind <> p_kind LIMIT 1);
BEGIN
    IF stray IS NOT NULL THEN
        PERFORM refuse(422, stray, format('"%s" has no "%s".', p_kind, stray));
    END IF;
    CASE p_kind
    WHEN 'read_archive' THEN
        IF since IS NULL OR since > until THEN
            PERFORM refuse(422, 'from', '"from" is needed, and not after "to".');
        END IF;
        RETURN jsonb_build_object('archive', coalesce(p_body ->> 'archive', 'hour'),
            'from', to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            'to', to_char(until AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'));
    WHEN 'set_schedule' THEN
        IF p_body -> 'period_h' IS NULL THEN
            PERFORM refuse(422, 'period_h', '"period_h" is needed: hours between two reports.');
        END IF;
        RETURN jsonb_build_object('period_h', (p_body ->> 'period_h')::int);
    WHEN 'set_substitution' THEN
        RETURN jsonb_build_object('pressure_kpa', command_decimal(p_body, 'pressure_kpa', 1, 100000),
            'z', command_decimal(p_body, 'z', 0.01, 10), 'w', command_decimal(p_body, 'w', 0.0001, 10000));
    WHEN 'raw' THEN
        IF coalesce((p_body ->> 'port')::int, 0) NOT BETWEEN 1 AND 223 THEN
            PERFORM refuse(422, 'port', '"port" is needed, from 1 to 223.');
        ELSIF coalesce(p_body ->> 'payload', '') !~ '^([0-9A-Fa-f]{2}){1,242}$' THEN
            PERFORM refuse(422, 'payload', 'The payload is hexadecimal, 1 to 242 bytes.');
        END IF;
        RETURN jsonb_build_object('port', (p_body ->> 'port')::int, 'payload', lower(p_body ->> 'payload'),
            'confirmed', coalesce((p_body ->> 'confirmed')::boolean, true));
    ELSE
        RETURN '{}';
    END CASE;
END $$;

-- Can this meter be told so? Its codec decides.
CREATE FUNCTION command_possible(m meter, p_kind text, p_arguments jsonb) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    d meter_model := (SELECT x FROM meter_model x WHERE x.tenant_id = m.tenant_id
        AND x.model_id = m.model_id);
    k codec_command;
    given text := coalesce(p_arguments ->> 'period_h', p_arguments ->> 'archive');
BEGIN
    IF p_kind = 'raw' THEN
        IF m.dev_eui IS NULL THEN
            PERFORM refuse(422, NULL, 'This meter dials in: bytes for a port can be sent only '
                || 'to meters behind a LoRaWAN network server.');
        END IF;
        RETURN;
    END IF;
    SELECT * INTO k FROM codec_command x WHERE x.codec = d.codec AND x.kind = p_kind;
    IF NOT FOUND THEN
        PERFORM refuse(422, 'kind', format('A meter of model %s cannot be told "%s": its codec '
            '%s knows %s.', d.name, p_kind, d.codec, coalesce((SELECT 'only ' || string_agg(
            x.kind, ', ' ORDER BY x.kind) FROM codec_command x WHERE x.codec = d.codec),
            'no commands')));
    ELSIF given IS NOT NULL AND NOT given = ANY (k.choices) THEN
        PERFORM refuse(422, CASE p_kind WHEN 'set_schedule' THEN 'period_h' ELSE 'archive' END,
            format('A meter of model %s takes %s here.', d.name, CASE WHEN
            cardinality(k.choices) <= 12 THEN 'one of ' || array_to_string(k.choices, ', ')
            ELSE k.choices[1] || ' to ' || k.choices[cardinality(k.choices)] END));
    END IF;
END $$;

-- A clock is set by the time service alone, which knows when it does no harm: a
-- person's wish is a correction that is approved beforehand.
CREATE FUNCTION command_set_clock(p_tenant int, p_meter int, p_actor text) RETURNS bigint
LANGUAGE plpgsql AS $$
DECLARE
    c meter_clock;
    k clock_correction;
    accepted_s int := 60;
    whose text;
BEGIN
    SELECT coalesce(mc.owner, p.owner, 'server'), coalesce(p.accepted_s, 60) INTO whose, accepted_s
        FROM meter m LEFT JOIN meter_clock mc USING (tenant_id, meter_id)
        LEFT JOIN LATERAL policy_of(m.tenant_id, m.model_id) p ON true
        WHERE m.tenant_id = p_tenant AND m.meter_id = p_meter;
    SELECT * INTO c FROM meter_clock x WHERE x.tenant_id = p_tenant AND x.meter_id = p_meter
        FOR UPDATE;
    SELECT * INTO k FROM clock_correction x WHERE x.tenant_id = p_tenant
        AND x.meter_id = p_meter AND x.state IN ('approval', 'approved', 'sent')
        ORDER BY x.correction_id DESC LIMIT 1 FOR UPDATE;
    IF whose <> 'server' THEN
        PERFORM refuse(409, NULL, 'This clock is not ours to set (see its clock policy).');
    ELSIF c.offset_us IS NULL THEN
        PERFORM refuse(409, NULL, 'Nothing is known of this clock yet; it is looked at, and '
            || 'corrected, with the meter''s next contact.');
    ELSIF k.state IN ('approved', 'sent') THEN
        RETURN k.correction_id;
    ELSIF k.state = 'approval' THEN
        PERFORM correction_settle(p_tenant, k.correction_id, 'approved');
        RETURN k.correction_id;
    ELSIF abs(c.offset_us) < 1000000 THEN
        PERFORM refuse(409, NULL, format('This clock is right: off by %s s.',
            seconds(c.offset_us)));
    ELSIF abs(c.offset_us) < accepted_s * 1000000::bigint AND c.state <> 'untrusted' THEN
        PERFORM refuse(409, NULL, format('This clock is off by %s s, which its policy accepts '
            '(accepted_s is %s).', seconds(c.offset_us), accepted_s));
    END IF;
    INSERT INTO clock_correction (tenant_id, meter_id, state, by_us, offset_before_us,
        crosses_edge, way, reason, decided_by)
    VALUES (p_tenant, p_meter, 'approved', -c.offset_us, c.offset_us, false, 'none', 'asked_for',
        p_actor) RETURNING * INTO k;
    PERFORM audit(p_tenant, 'ask', 'clock_correction', k.correction_id::text, NULL, to_jsonb(k));
    RETURN k.correction_id;
END $$;

-- p_body: kind, its arguments, priority, not_after.
CREATE FUNCTION command_add(p_tenant int, p_body jsonb, p_meter int) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    m meter;
    c command;
    of_kind command_kind := (SELECT k FROM command_kind k WHERE k.kind = p_body ->> 'kind');
    who text := coalesce(nullif(current_setting('headend.actor', true), ''), 'somebody');
    args jsonb := command_arguments(p_body ->> 'kind', p_body);
    until timestamptz := coalesce((p_body ->> 'not_after')::timestamptz, now() + interval '3 days');
    by_clock bigint;
BEGIN
    PERFORM in_scope(p_tenant);
    IF of_kind IS NULL THEN
        PERFORM refuse(422, 'kind', format('There is no kind "%s"; known: %s.',
            left(p_body ->> 'kind', 40), (SELECT string_agg(k.kind, ', ' ORDER BY k.kind)
            FROM command_kind k)));
    END IF;
    SELECT * INTO m FROM meter x WHERE x.tenant_id = p_tenant AND x.meter_id = p_meter
        FOR NO KEY UPDATE;
    IF NOT FOUND OR m.state = 'removed' THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
    IF until <= now() OR until > now() + interval '90 days' THEN
        PERFORM refuse(422, 'not_after', '"not_after" is a time within the next 90 days.');
    END IF;
    IF of_kind.kind = 'set_clock' THEN
        by_clock := command_set_clock(p_tenant, p_meter, who);
        RETURN (SELECT command_whole_json(x) FROM command x WHERE x.tenant_id = p_tenant
            AND x.correction_id = by_clock);
    END IF;
    PERFORM command_possible(m, of_kind.kind, args);
    IF (SELECT count(*) FROM command x WHERE x.tenant_id = p_tenant AND x.meter_id = p_meter
            AND x.state IN ('queued', 'sent', 'acknowledged')) >= 50 THEN
        PERFORM refuse(409, NULL, 'Fifty commands wait for this meter already; cancel some.');
    END IF;
    INSERT INTO command (tenant_id, meter_id, kind, arguments, priority, not_after,
        attempts_most, radio, integration_id, asked_by)
    VALUES (p_tenant, p_meter, of_kind.kind, args, coalesce((p_body ->> 'priority')::int, 0),
        until, CASE WHEN of_kind.again THEN 5 ELSE 1 END, m.dev_eui IS NOT NULL,
        (SELECT w.integration_id FROM meter_way w WHERE w.tenant_id = p_tenant
            AND w.meter_id = p_meter AND m.dev_eui IS NOT NULL), who)
    RETURNING * INTO c;
    PERFORM command_note(c, who, 'asked for');
    RETURN command_whole_json(c);
END $$;

CREATE FUNCTION command_cancel(p_tenant int, p_id bigint) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    c command;
    may int := nullif(current_setting('headend.rights', true), '')::int;
    needs text;
    who text := coalesce(nullif(current_setting('headend.actor', true), ''), 'somebody');
BEGIN
    PERFORM in_scope(p_tenant);
    SELECT * INTO c FROM command x WHERE x.tenant_id = p_tenant AND x.command_id = p_id FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
    needs := (SELECT k.needs FROM command_kind k WHERE k.kind = c.kind);
    IF may IS NOT NULL AND may & right_bits(ARRAY[needs]) = 0 THEN
        PERFORM refuse(403, NULL, format('This needs the right "%s".', needs));
    ELSIF command_after(c.state, 'cancel', false) IS NULL THEN
        PERFORM refuse(409, 'state', format('It is %s already.', c.state));
    ELSIF c.correction_id IS NOT NULL THEN
        UPDATE clock_correction k SET state = 'rejected', settled_at = now(), decided_by = who
            WHERE k.tenant_id = p_tenant AND k.correction_id = c.correction_id;
        PERFORM audit(p_tenant, 'rejected', 'clock_correction', c.correction_id::text, NULL, NULL);
    ELSE
        PERFORM command_event(p_tenant, p_id, NULL, 'cancel', who, 'cancelled');
    END IF;
    RETURN (SELECT command_whole_json(x) FROM command x WHERE x.tenant_id = p_tenant
        AND x.command_id = p_id);
END $$;

-- ---- what the servers send ----

-- One that leaves now: encoded by its meter's codec, into its session or to its
-- network server. command_id NULL: a meter that dials in has one; busy: one is
-- under way.
CREATE TYPE command_order AS (tenant_id int, meter_id int, command_id bigint, attempt int,
    kind text, arguments text, codec text, integration_id int, network text, topic text,
    dev_eui text, not_after_us bigint, busy boolean);

CREATE FUNCTION command_take(p_tenant int, p_meter int, p_node text) RETURNS command_order
LANGUAGE plpgsql AS $$
DECLARE
    c command;
    r command_order;
BEGIN
    r.tenant_id := p_tenant;
    r.meter_id := p_meter;
    -- Two nodes may hear one meter: one of them looks at a time.
    IF NOT pg_try_advisory_xact_lock(p_tenant, p_meter) THEN
        r.busy := true;
        RETURN r;
    END IF;
    IF EXISTS (SELECT FROM command x WHERE x.tenant_id = p_tenant AND x.meter_id = p_meter
            AND x.state IN ('sent', 'acknowledged') AND x.correction_id IS NULL) THEN
        r.busy := true;
        RETURN r;
    END IF;
    SELECT x.* INTO c FROM command x JOIN tenant t USING (tenant_id)
        WHERE x.tenant_id = p_tenant AND x.meter_id = p_meter AND x.state = 'queued'
          AND x.correction_id IS NULL AND x.not_after > now() AND t.suspended_at IS NULL
        ORDER BY x.priority DESC, x.command_id LIMIT 1 FOR UPDATE OF x SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    c := command_event(p_tenant, c.command_id, NULL, 'take', p_node,
        format('attempt %s', c.attempts + 1));
    SELECT c.tenant_id, c.meter_id, c.command_id, c.attempts, c.kind, c.arguments::text, d.codec,
        w.integration_id, i.kind, w.topic, m.dev_eui, time_us(c.not_after), false INTO r
    FROM meter m JOIN meter_model d USING (tenant_id, model_id)
    LEFT JOIN meter_way w ON w.tenant_id = m.tenant_id AND w.meter_id = m.meter_id AND c.radio
    LEFT JOIN integration i ON i.tenant_id = w.tenant_id AND i.integration_id = w.integration_id
    WHERE m.tenant_id = p_tenant AND m.meter_id = p_meter;
    RETURN r;
END $$;

-- For meters whose sessions listen here.
CREATE FUNCTION commands_for(p_node text, p_tenants int[], p_meters int[])
RETURNS SETOF command_order
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    o record;
    r command_order;
BEGIN
    FOR o IN SELECT * FROM unnest(p_tenants, p_meters) AS u(tenant_id, meter_id)
        WHERE EXISTS (SELECT FROM command c WHERE c.tenant_id = u.tenant_id
                AND c.meter_id = u.meter_id AND c.state = 'queued' AND c.correction_id IS NULL)
            OR EXISTS (SELECT FROM command c WHERE c.tenant_id = u.tenant_id
                AND c.meter_id = u.meter_id AND c.state IN ('sent', 'acknowledged')
                AND c.correction_id IS NULL) LOOP
        r := command_take(o.tenant_id, o.meter_id, p_node);
        IF r.tenant_id IS NOT NULL THEN
            RETURN NEXT r;
        END IF;
    END LOOP;
END $$;

-- Twice a second on every node: patience that has ended, what has expired, what
-- leaves through the integrations that are connected here, and for which meters
-- that dial in there is something new.
CREATE FUNCTION commands_look(p_node text, p_integrations int[], p_most int)
RETURNS SETOF command_order
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    c command;
    r command_order;
BEGIN
    FOR c IN SELECT * FROM command x WHERE x.state IN ('sent', 'acknowledged')
            AND x.correction_id IS NULL AND x.due_at <= now()
            ORDER BY x.due_at LIMIT p_most FOR UPDATE SKIP LOCKED LOOP
        IF NOT c.handed THEN
            PERFORM command_event(c.tenant_id, c.command_id, c.attempts, 'lost', p_node,
                'who sent it has gone; it may have left');
        ELSIF c.radio THEN
            PERFORM command_event(c.tenant_id, c.command_id, c.attempts, 'expire', p_node,
                CASE c.state WHEN 'sent' THEN 'the network server has not said that it was sent'
                ELSE 'sent by radio; the meter has not confirmed it' END);
        ELSE
            PERFORM command_event(c.tenant_id, c.command_id, c.attempts, 'lost', p_node,
                'the meter has not answered; it may have carried it out');
        END IF;
    END LOOP;
    FOR c IN SELECT * FROM command x WHERE x.state = 'queued' AND x.not_after <= now()
            ORDER BY x.not_after LIMIT p_most FOR UPDATE SKIP LOCKED LOOP
        IF c.correction_id IS NULL THEN
            PERFORM command_event(c.tenant_id, c.command_id, NULL, 'expire', p_node,
                'not sent in time');
        ELSE
            UPDATE clock_correction k SET state = 'rejected', settled_at = now()
                WHERE k.tenant_id = c.tenant_id AND k.correction_id = c.correction_id;
        END IF;
    END LOOP;
    FOR c IN SELECT * FROM command x WHERE x.state = 'queued' AND x.radio
            AND x.correction_id IS NULL AND x.integration_id = ANY (p_integrations)
            AND x.due_at <= now()
            ORDER BY x.due_at LIMIT p_most FOR UPDATE SKIP LOCKED LOOP
        r := command_take(c.tenant_id, c.meter_id, p_node);
        IF r.busy IS DISTINCT FROM false THEN -- woken when that one is settled
            UPDATE command x SET due_at = now() + interval '1 minute'
                WHERE x.tenant_id = c.tenant_id AND x.command_id = c.command_id;
        ELSE
            RETURN NEXT r;
        END IF;
    END LOOP;
    RETURN QUERY SELECT DISTINCT x.tenant_id, x.meter_id, NULL::bigint, 0, '', '', '', 0, '', '',
            '', 0::bigint, false
        FROM command x WHERE x.state = 'queued' AND NOT x.radio AND x.correction_id IS NULL
        AND x.due_at BETWEEN now() - interval '5 seconds' AND now() LIMIT 1000;
END $$;

-- What became of what was sent: [{"tenant", "id", "attempt", "correction",
-- "event", "actor", "detail"}]. Of a correction the next sample decides; that
-- its answer was sent, or came, is noted.
CREATE FUNCTION commands_told(p_notes jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    n jsonb;
    c command;
    said text;
BEGIN
    FOR n IN SELECT x FROM jsonb_array_elements(p_notes) x
            ORDER BY (x ->> 'tenant')::int, (x ->> 'id')::bigint LOOP
        said := n ->> 'event';
        IF (n ->> 'correction')::boolean THEN
            SELECT * INTO c FROM command x WHERE x.tenant_id = (n ->> 'tenant')::int
                AND x.correction_id = (n ->> 'id')::bigint;
            PERFORM command_event(c.tenant_id, c.command_id, NULL, CASE
                WHEN said IN ('radiated', 'done') AND c.state = 'sent' THEN 'radiated'
                ELSE 'note' END, n ->> 'actor', n ->> 'detail');
            -- A person's word is not used up by what did not leave.
            UPDATE clock_correction k SET state = 'approved', sent_at = NULL
                WHERE k.tenant_id = c.tenant_id AND k.correction_id = c.correction_id
                  AND said = 'unsent' AND k.state = 'sent' AND k.decided_by <> 'time service';
        ELSE
            PERFORM command_event((n ->> 'tenant')::int, (n ->> 'id')::bigint,
                (n ->> 'attempt')::int, said, n ->> 'actor', n ->> 'detail');
        END IF;
    END LOOP;
END $$;

-- [[tenant, meter, integration, topic, joined in us or null], ...]: where meters
-- were heard.
-- Who has joined anew has lost what its network server kept for it.
CREATE FUNCTION ways_put(p_rows jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    c command;
BEGIN
    WITH told AS (
        INSERT INTO meter_way AS w (tenant_id, meter_id, integration_id, topic)
        SELECT DISTINCT ON (m.tenant_id, m.meter_id) m.tenant_id, m.meter_id,
            (r ->> 2)::int, r ->> 3
        FROM jsonb_array_elements(p_rows) WITH ORDINALITY AS x(r, n)
        JOIN meter m ON m.tenant_id = (r ->> 0)::int AND m.meter_id = (r ->> 1)::int
        ORDER BY m.tenant_id, m.meter_id, n DESC
        ON CONFLICT (tenant_id, meter_id) DO UPDATE SET topic = excluded.topic,
            integration_id = excluded.integration_id, since = now()
        WHERE (w.integration_id, w.topic) IS DISTINCT FROM
            (excluded.integration_id, excluded.topic)
        RETURNING w.tenant_id, w.meter_id, w.integration_id)
    UPDATE command x SET integration_id = t.integration_id, due_at = now() FROM told t
        WHERE x.tenant_id = t.tenant_id AND x.meter_id = t.meter_id AND x.state = 'queued'
          AND x.radio AND x.correction_id IS NULL;
    FOR c IN SELECT x.* FROM jsonb_array_elements(p_rows) r JOIN command x
            ON x.tenant_id = (r ->> 0)::int AND x.meter_id = (r ->> 1)::int
        WHERE x.sent_at < us_time((r ->> 4)::bigint) AND x.state = 'sent' AND x.handed AND x.radio
          AND x.correction_id IS NULL
        ORDER BY x.tenant_id, x.command_id FOR UPDATE OF x SKIP LOCKED LOOP
        PERFORM command_event(c.tenant_id, c.command_id, c.attempts, 'lost', 'network server',
            'the meter has joined anew, its network server drops what it kept for it');
    END LOOP;
END $$;

CREATE FUNCTION commands_count() RETURNS TABLE (state text, n bigint, oldest_s bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT c.state, count(*), extract(epoch FROM now() - min(c.created_at))::bigint
    FROM command c WHERE c.state IN ('sent', 'acknowledged') AND c.correction_id IS NULL
    GROUP BY c.state
    UNION ALL
    SELECT 'queued', count(*), coalesce(extract(epoch FROM now() - min(c.created_at)), 0)::bigint
    FROM command c WHERE c.state = 'queued' AND c.correction_id IS NULL $$;

-- [[codec, kind, choices], ...]: of the codecs that are named, all there is.
CREATE FUNCTION codec_commands_put(p_codecs text[], p_rows jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM codec_command c WHERE c.codec = ANY (p_codecs) AND NOT EXISTS (
        SELECT FROM jsonb_array_elements(p_rows) r WHERE r ->> 0 = c.codec AND r ->> 1 = c.kind);
    INSERT INTO codec_command AS c
    SELECT r ->> 0, r ->> 1, CASE WHEN jsonb_array_length(r -> 2) > 0
        THEN ARRAY(SELECT jsonb_array_elements_text(r -> 2)) END
    FROM jsonb_array_elements(p_rows) r
    ON CONFLICT (codec, kind) DO UPDATE SET choices = excluded.choices
        WHERE c.choices IS DISTINCT FROM excluded.choices $$;

-- ---- what telegrams say ----

-- In the transaction that stores the telegram: a meter says what it has done
-- ("c-9" is ours, "clock-9" the time service's), or shows how its valve is.
CREATE FUNCTION command_answers() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE
    a record;
BEGIN
    IF NOT EXISTS (SELECT FROM news n WHERE n.code IN ('command.done', 'command.failed',
            'valve.open', 'valve.closed')) THEN
        RETURN NULL;
    END IF;
    FOR a IN
        SELECT c.tenant_id, c.command_id, c.correction_id, c.kind, n.code, n.detail
        FROM news n JOIN command c ON c.tenant_id = n.tenant_id AND c.meter_id = n.meter_id
            AND CASE WHEN n.detail ~ '^c-[0-9]{1,18}(:|$)'
                THEN c.command_id = substring(n.detail FROM '^c-([0-9]+)')::bigint
                     AND c.correction_id IS NULL
                WHEN n.detail ~ '^clock-[0-9]{1,18}(:|$)'
                THEN c.correction_id = substring(n.detail FROM '^clock-([0-9]+)')::bigint END
        WHERE n.code IN ('command.done', 'command.failed')
        UNION ALL
        SELECT c.tenant_id, c.command_id, NULL, c.kind, n.code, n.detail
        FROM news n JOIN command c ON c.tenant_id = n.tenant_id AND c.meter_id = n.meter_id
            AND c.state IN ('sent', 'acknowledged') AND c.correction_id IS NULL
            AND c.kind = CASE n.code WHEN 'valve.open' THEN 'valve_open' ELSE 'valve_close' END
            AND n.time >= c.sent_at - interval '2 minutes'
        WHERE n.code IN ('valve.open', 'valve.closed')
        ORDER BY 1, 2
    LOOP
        IF a.correction_id IS NOT NULL THEN
            PERFORM command_event(a.tenant_id, a.command_id, NULL, CASE a.code
                WHEN 'command.done' THEN 'radiated' ELSE 'note' END, 'meter',
                CASE a.code WHEN 'command.done' THEN 'the meter has set its clock; a sample is to show it'
                ELSE 'the meter refuses: ' || a.detail END);
        ELSE
            PERFORM command_event(a.tenant_id, a.command_id, NULL, CASE a.code
                WHEN 'command.failed' THEN 'failed' ELSE 'done' END, 'meter',
                CASE a.code WHEN 'command.done' THEN 'the meter has done it'
                WHEN 'command.failed' THEN 'the meter refuses' || coalesce(
                    substring(a.detail FROM '^c-[0-9]+(:.*)$'), '')
                ELSE 'the meter reports ' || a.code END);
        END IF;
    END LOOP;
    RETURN NULL;
END $$;
CREATE TRIGGER command_answers AFTER INSERT ON event REFERENCING NEW TABLE AS news
    FOR EACH STATEMENT EXECUTE FUNCTION command_answers();

-- ---- corrections of clocks ----

CREATE FUNCTION correction_text(k clock_correction) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE k.state
        WHEN 'approval' THEN format('by %s s: waits for a person (%s)', seconds(k.by_us), k.reason)
        WHEN 'approved' THEN format('by %s s: with the next contact', seconds(k.by_us))
        WHEN 'sent' THEN format('by %s s over %s (%s)', seconds(k.by_us), k.way, k.reason)
        WHEN 'verified' THEN format('off by %s s afterwards', seconds(k.offset_after_us))
        WHEN 'failed' THEN 'no sample has shown it'
        ELSE 'not wanted, or not needed any more' END $$;

-- Each correction is a command that the time service carries: same transaction.
CREATE FUNCTION correction_command() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE
    c command;
    is_now text := CASE NEW.state WHEN 'approval' THEN 'waiting' WHEN 'approved' THEN 'queued'
        WHEN 'sent' THEN 'sent' WHEN 'verified' THEN 'done' WHEN 'failed' THEN 'failed'
        ELSE 'cancelled' END;
    fresh int := (NEW.state = 'sent' AND (TG_OP = 'INSERT'
        OR OLD.sent_at IS DISTINCT FROM NEW.sent_at))::int;
BEGIN
    INSERT INTO command AS x (tenant_id, meter_id, correction_id, kind, arguments, state,
        asked_by, not_after, attempts, attempts_most, radio, handed, sent_at, settled_at, detail)
    SELECT m.tenant_id, m.meter_id, NEW.correction_id, 'set_clock', '{}', is_now, NEW.decided_by,
        now() + CASE NEW.reason WHEN 'asked_for' THEN interval '3 days'
            ELSE interval '30 days' END, fresh, 32767, m.dev_eui IS NOT NULL, fresh = 1, NEW.sent_at,
        NEW.settled_at, correction_text(NEW)
    FROM meter m WHERE m.tenant_id = NEW.tenant_id AND m.meter_id = NEW.meter_id
    ON CONFLICT (tenant_id, correction_id) WHERE correction_id IS NOT NULL DO UPDATE SET
        state = excluded.state, attempts = x.attempts + fresh, sent_at = excluded.sent_at,
        settled_at = excluded.settled_at, detail = excluded.detail,
        handed = x.handed OR excluded.handed
    RETURNING * INTO c;
    UPDATE command x SET arguments = jsonb_build_object('by_s', seconds(NEW.by_us)::text,
            'reason', NEW.reason, 'way', NEW.way)
        WHERE x.tenant_id = c.tenant_id AND x.command_id = c.command_id;
    PERFORM command_note(c, CASE WHEN NEW.state IN ('approved', 'rejected')
        THEN NEW.decided_by ELSE 'time service' END, c.detail)
        WHERE c.command_id IS NOT NULL;
    RETURN NULL;
END $$;
CREATE TRIGGER correction_command AFTER INSERT OR UPDATE ON clock_correction
    FOR EACH ROW EXECUTE FUNCTION correction_command();
UPDATE clock_correction SET reason = reason; -- those of before

REVOKE ALL ON FUNCTION command_event, command_add, command_cancel, commands_for, commands_look,
    commands_told, ways_put, commands_count, codec_commands_put FROM PUBLIC;
GRANT EXECUTE ON FUNCTION command_add, command_cancel, commands_for, commands_look,
    commands_told, ways_put, commands_count, codec_commands_put TO headend_server;
