-- Second factors, second persons, secrets through the API, tenants that leave
-- and that come by themselves.

-- ---- the second factor: TOTP (RFC 6238) and recovery codes ----

ALTER TABLE account DROP COLUMN totp_pending;
ALTER TABLE account ALTER COLUMN totp TYPE timestamptz USING NULL::timestamptz;
COMMENT ON COLUMN account.totp IS
    'since when there is a second factor; its seed is the secret (0, account, account_id, totp)';
COMMENT ON COLUMN account.recovery IS 'BLAKE2b-256 of recovery codes not yet used, lower hex';

ALTER TABLE tenant ADD COLUMN second_factor boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN tenant.second_factor IS 'its people have no rights without one';

-- A seed goes when the factor is taken away: by its owner or by a reset.
CREATE FUNCTION totp_gone() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM secret WHERE tenant_id = 0 AND owner = 'account'
        AND row_id = OLD.account_id AND name = 'totp';
    RETURN NULL;
END $$;
CREATE TRIGGER totp_gone AFTER UPDATE OF totp ON account FOR EACH ROW
    WHEN (NEW.totp IS NULL) EXECUTE FUNCTION totp_gone();
CREATE TRIGGER totp_gone_too AFTER DELETE ON account FOR EACH ROW
    EXECUTE FUNCTION totp_gone();

-- A seed that counts once its first code has come (what vault_seal() gives).
CREATE FUNCTION totp_begin(p_account int, p_key_no int, p_secret bytea, p_master text,
    p_tenant_key bytea, p_check bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE account SET totp_step = 0 WHERE account_id = p_account AND totp IS NULL;
    IF NOT FOUND THEN
        PERFORM refuse(409, NULL, 'There is a second factor already; take it away first.');
    END IF;
    PERFORM secret_put(0, 'account', p_account, 'totp', p_key_no, p_secret, p_master,
        p_tenant_key, p_check);
END $$;

CREATE FUNCTION totp_seed(p_account int) RETURNS TABLE (key_no int, sealed bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT s.key_no, s.sealed FROM secret s WHERE s.tenant_id = 0 AND s.owner = 'account'
        AND s.row_id = p_account AND s.name = 'totp' $$;

-- p_step: of the code that came; 0 when it was none. Sessions that began with
-- the password alone end.
CREATE FUNCTION totp_confirm(p_account int, p_step bigint, p_recovery text[], p_keep text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM account WHERE account_id = p_account AND totp IS NOT NULL) THEN
        PERFORM refuse(409, NULL, 'There is a second factor already; take it away first.');
    END IF;
    UPDATE account SET totp = now(), totp_step = p_step, recovery = p_recovery
        WHERE account_id = p_account AND p_step > totp_step;
    IF NOT FOUND THEN
        PERFORM refuse(422, 'code', 'This is not the code of this moment, or it was used.');
    END IF;
    DELETE FROM session WHERE account_id = p_account AND hash IS DISTINCT FROM p_keep;
    PERFORM audit(0, 'totp.add', 'account', p_account::text, NULL, NULL);
END $$;

CREATE FUNCTION totp_remove(p_account int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE account SET totp = NULL, recovery = '{}'
        WHERE account_id = p_account AND totp IS NOT NULL;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is no second factor.');
    END IF;
    PERFORM audit(0, 'totp.remove', 'account', p_account::text, NULL, NULL);
END $$;

DROP FUNCTION login_lookup(text);
CREATE FUNCTION login_lookup(p_email text) RETURNS TABLE (account_id int, password text,
    locked_s int, second_factor boolean, key_no int, sealed bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT a.account_id, a.password,
        greatest(0, ceil(extract(epoch FROM a.locked_until - now())))::int,
        a.totp IS NOT NULL, s.key_no, s.sealed
    FROM account a LEFT JOIN totp_seed(a.account_id) s ON a.totp IS NOT NULL
    WHERE a.email = lower(p_email) AND NOT a.disabled $$;

-- After the password: NULL when a second factor is missing. p_step: of the code,
-- 0 if it is none; p_recovery: hash of what may be a recovery code. Each is used up.
DROP FUNCTION login_good(int, text, text, text, bigint);
CREATE FUNCTION login_good(p_account int, p_hash text, p_address text, p_agent text,
    p_step bigint, p_recovery text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    first int := (SELECT m.tenant_id FROM membership m JOIN tenant t USING (tenant_id)
        WHERE m.account_id = p_account ORDER BY t.suspended_at IS NOT NULL, t.name LIMIT 1);
    codes int := (SELECT cardinality(recovery) FROM account WHERE account_id = p_account);
    left_over int;
BEGIN
    UPDATE account a SET failed = 0, locked_until = NULL, last_login_at = now(),
        totp_step = greatest(a.totp_step, p_step),
        recovery = CASE WHEN p_step > a.totp_step THEN a.recovery
            ELSE array_remove(a.recovery, p_recovery) END
        WHERE a.account_id = p_account AND (a.totp IS NULL OR p_step > a.totp_step
            OR p_recovery = ANY (a.recovery))
        RETURNING cardinality(a.recovery) INTO left_over;
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    DELETE FROM session WHERE account_id = p_account
        AND seen_at < now() - interval '30 days';
    INSERT INTO session (hash, account_id, current_tenant, address, agent, confirmed_at)
        VALUES (p_hash, p_account, first, left(p_address, 64), left(p_agent, 200), now());
    PERFORM set_config('headend.actor', (SELECT email FROM account
        WHERE account_id = p_account), true);
    PERFORM audit(coalesce(first, 0), 'login', 'account', p_account::text, NULL,
        CASE WHEN left_over < codes THEN jsonb_build_object('recovery_codes_left', left_over) END);
    RETURN session_show(p_account, first);
END $$;

CREATE OR REPLACE FUNCTION session_show(p_account int, p_tenant int) RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT json_build_object('account_id', a.account_id, 'email', a.email, 'name', a.name,
        'must_change', a.must_change, 'second_factor', a.totp IS NOT NULL,
        'recovery_codes', cardinality(a.recovery),
        'tenant', (SELECT json_build_object('tenant_id', t.tenant_id, 'name', t.name,
                'timezone', t.timezone, 'locale', t.locale, 'role', m.role,
                'suspended', t.suspended_at IS NOT NULL,
                'second_factor', t.second_factor, 'critical', t.critical,
                'rights', right_names(r.rights))
            FROM membership m JOIN tenant t USING (tenant_id)
            JOIN role r ON r.tenant_id = m.tenant_id AND r.name = m.role
            WHERE m.account_id = a.account_id AND m.tenant_id = p_tenant),
        'tenants', (SELECT coalesce(json_agg(json_build_object('tenant_id', t.tenant_id,
                'name', t.name, 'role', m.role) ORDER BY t.name), '[]')
            FROM membership m JOIN tenant t USING (tenant_id)
            WHERE m.account_id = a.account_id))
    FROM account a WHERE a.account_id = p_account $$;

-- rights is 0 while the password must be changed, no tenant is chosen, or a second
-- factor is missing that the tenant demands (lacks_factor).
DROP FUNCTION authenticate_session(text, int, int);
CREATE FUNCTION authenticate_session(p_hash text, p_idle_s int, p_absolute_s int)
RETURNS TABLE (tenant_id int, account_id int, email text, rights int,
    must_change boolean, confirmed boolean, lacks_factor boolean, second_person boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE session s SET seen_at = now()
        WHERE s.hash = p_hash AND s.seen_at < now() - interval '30 seconds'
          AND s.seen_at > now() - p_idle_s * interval '1 second';
    RETURN QUERY SELECT coalesce(m.tenant_id, -1), a.account_id, a.email,
            CASE WHEN a.must_change OR m.tenant_id IS NULL OR t.suspended_at IS NOT NULL
                OR t.second_factor AND a.totp IS NULL THEN 0 ELSE r.rights END,
            a.must_change, coalesce(s.confirmed_at > now() - interval '5 minutes', false),
            coalesce(t.second_factor AND a.totp IS NULL, false),
            coalesce(t.critical = 'second_person', false)
        FROM session s JOIN account a USING (account_id)
        LEFT JOIN membership m ON m.account_id = a.account_id
            AND m.tenant_id = s.current_tenant
        LEFT JOIN role r ON r.tenant_id = m.tenant_id AND r.name = m.role
        LEFT JOIN tenant t ON t.tenant_id = m.tenant_id
        WHERE s.hash = p_hash AND NOT a.disabled
          AND s.seen_at > now() - p_idle_s * interval '1 second'
          AND s.created_at > now() - p_absolute_s * interval '1 second';
END $$;

CREATE OR REPLACE FUNCTION tenant_json(t tenant) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('tenant_id', t.tenant_id, 'name', t.name,
        'timezone', t.timezone, 'locale', t.locale, 'frame_days', t.frame_days,
        'meter_quota', t.meter_quota, 'critical', t.critical,
        'second_factor', t.second_factor,
        'suspended_at', t.suspended_at, 'created_at', t.created_at,
        'revision', t.revision) $$;

CREATE OR REPLACE FUNCTION tenant_change(p_tenant int, p_body jsonb) RETURNS json
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
        revision = revision + 1
        WHERE tenant_id = p_tenant RETURNING * INTO t;
    IF p_body ? 'timezone' THEN -- its meters' clocks
        UPDATE meter SET changed_xid = changed_xid
            WHERE tenant_id = p_tenant AND timezone IS NULL;
    END IF;
    RETURN tenant_json(t);
END $$;

-- ---- critical acts: a second person, or a key that was made for them ----

ALTER TABLE api_key ADD COLUMN critical boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN api_key.critical IS 'may do critical acts, nobody being asked';

CREATE OR REPLACE FUNCTION api_key_json(k api_key) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('api_key_id', k.api_key_id, 'name', k.name,
        'prefix', k.prefix, 'rights', right_names(k.rights), 'critical', k.critical,
        'networks', to_json(k.networks), 'expires_at', k.expires_at,
        'created_by', k.created_by, 'created_at', k.created_at,
        'last_used_at', k.last_used_at) $$;

CREATE OR REPLACE FUNCTION api_key_add(p_tenant int, p_body jsonb, p_prefix text, p_hash text,
    p_shown text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    bits int := right_bits(ARRAY(SELECT jsonb_array_elements_text(p_body -> 'rights')));
    for_critical boolean := coalesce((p_body ->> 'critical')::boolean, false);
    nets cidr[];
    k api_key;
BEGIN
    PERFORM in_scope(p_tenant);
    PERFORM may_give(bits);
    IF bits & right_bits('{platform}') <> 0 AND p_tenant <> 0 THEN
        PERFORM refuse(422, 'rights', 'The right "platform" belongs to the platform alone.');
    END IF;
    IF for_critical AND EXISTS (SELECT FROM tenant WHERE tenant_id = p_tenant
        AND tenant.critical = 'second_person') THEN
        PERFORM refuse(409, 'critical', 'This tenant asks a second person for critical acts: '
            || 'the platform''s operator makes such a key (headend api-key add --critical).');
    END IF;
    BEGIN
        nets := ARRAY(SELECT x::cidr FROM jsonb_array_elements_text(
            coalesce(p_body -> 'networks', '[]')) x);
    EXCEPTION WHEN invalid_text_representation THEN
        PERFORM refuse(422, 'networks', 'A network is written 192.0.2.0/24 or 2001:db8::/32.');
    END;
    INSERT INTO api_key (tenant_id, name, prefix, hash, rights, critical, networks,
        expires_at, created_by)
    VALUES (p_tenant, p_body ->> 'name', p_prefix, p_hash, bits, for_critical, nets,
        (p_body ->> 'expires_at')::timestamptz,
        coalesce(current_setting('headend.actor', true), ''))
    RETURNING * INTO k;
    RETURN (api_key_json(k)::jsonb || jsonb_build_object('key', p_shown))::json;
END $$;

DROP FUNCTION authenticate_key(text, inet);
CREATE FUNCTION authenticate_key(p_hash text, p_address inet) RETURNS TABLE
    (tenant_id int, api_key_id int, name text, rights int, critical boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE api_key k SET last_used_at = now() WHERE k.hash = p_hash
        AND (k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute')
        AND (k.expires_at IS NULL OR k.expires_at > now())
        AND (k.networks = '{}' OR p_address <<= ANY (k.networks));
    RETURN QUERY SELECT k.tenant_id, k.api_key_id, k.name, k.rights, k.critical
        FROM api_key k JOIN tenant t USING (tenant_id)
        WHERE k.hash = p_hash AND t.suspended_at IS NULL
          AND (k.expires_at IS NULL OR k.expires_at > now())
          AND (k.networks = '{}' OR p_address <<= ANY (k.networks));
END $$;

-- A critical act that waits for another person with the same right: the request
-- as it came. `waiting` ends at expires_at; `approved` acts that show something
-- are done by who asked, who sends the request again.
CREATE TABLE approval (
    tenant_id int NOT NULL REFERENCES tenant ON DELETE CASCADE,
    approval_id int GENERATED ALWAYS AS IDENTITY,
    operation text NOT NULL, -- operationId
    title text NOT NULL,
    needs int NOT NULL,      -- the right
    path text[] NOT NULL,    -- values of its path
    body jsonb,
    asked_by int NOT NULL,   -- an account; it may be gone
    asked_actor text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '1 day',
    state text NOT NULL DEFAULT 'waiting'
        CHECK (state IN ('waiting', 'approved', 'rejected', 'done')),
    decided_actor text,
    decided_at timestamptz,
    PRIMARY KEY (tenant_id, approval_id)
);
CREATE INDEX approval_asked_by ON approval (tenant_id, asked_by);
CALL protect('approval');
GRANT SELECT ON approval TO headend_server;

CREATE FUNCTION approval_state(a approval) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN a.state IN ('waiting', 'approved') AND a.expires_at <= now()
        THEN 'expired' ELSE a.state END $$;
CREATE FUNCTION approval_json(a approval) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('approval_id', a.approval_id, 'operation', a.operation,
        'title', a.title, 'right', (right_names(a.needs))[1], 'path', to_json(a.path),
        'body', a.body, 'asked_by', a.asked_actor, 'asked_at', a.asked_at,
        'expires_at', a.expires_at, 'state', approval_state(a),
        'decided_by', a.decided_actor, 'decided_at', a.decided_at) $$;
-- Who has the right, and who asked.
CREATE FUNCTION approval_shown(a approval) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT a.needs & coalesce(nullif(current_setting('headend.rights', true), '')::int, 0) <> 0
        OR a.asked_actor = current_setting('headend.actor', true) $$;

-- passes: another person has approved this very request; it is used up.
CREATE FUNCTION approval_ask(p_tenant int, p_account int, p_operation text, p_title text,
    p_right int, p_a text, p_b text, p_body jsonb) RETURNS TABLE (item json, passes boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    a approval;
BEGIN
    PERFORM in_scope(p_tenant);
    SELECT * INTO a FROM approval p WHERE p.tenant_id = p_tenant AND p.asked_by = p_account
        AND p.operation = p_operation AND p.path = array_remove(ARRAY[p_a, p_b], NULL)
        AND p.body IS NOT DISTINCT FROM p_body AND p.state IN ('waiting', 'approved')
        AND p.expires_at > now() ORDER BY p.state LIMIT 1 FOR UPDATE;
    IF FOUND AND a.state = 'approved' THEN
        UPDATE approval p SET state = 'done'
            WHERE p.tenant_id = p_tenant AND p.approval_id = a.approval_id;
    ELSIF NOT FOUND THEN
        IF (SELECT count(*) FROM approval p WHERE p.tenant_id = p_tenant
            AND p.asked_by = p_account AND p.state = 'waiting' AND p.expires_at > now()) >= 100 THEN
            PERFORM refuse(429, NULL, 'A hundred acts of this person wait for approval already.');
        END IF;
        INSERT INTO approval (tenant_id, operation, title, needs, path, body, asked_by,
            asked_actor)
        VALUES (p_tenant, p_operation, p_title, p_right, array_remove(ARRAY[p_a, p_b], NULL),
            p_body, p_account, current_setting('headend.actor')) RETURNING * INTO a;
        PERFORM audit(p_tenant, 'approval.ask', 'approval', a.approval_id::text, NULL,
            jsonb_build_object('operation', p_operation, 'path', a.path));
    END IF;
    RETURN QUERY SELECT approval_json(a), a.state = 'approved';
END $$;

-- Locks it for who decides; an own one may only be rejected.
CREATE FUNCTION approval_take(p_tenant int, p_id int, p_account int, p_state text)
RETURNS boolean LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    a approval;
BEGIN
    PERFORM in_scope(p_tenant);
    SELECT * INTO a FROM approval WHERE tenant_id = p_tenant AND approval_id = p_id FOR UPDATE;
    IF NOT FOUND OR NOT approval_shown(a) THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    ELSIF p_state <> 'rejected' AND (a.asked_by = p_account OR a.needs &
        coalesce(nullif(current_setting('headend.rights', true), '')::int, 0) = 0) THEN
        PERFORM refuse(403, NULL, 'Another person with the same right approves it.');
    ELSIF p_state <> 'rejected' AND NOT EXISTS (SELECT FROM membership m
        JOIN role r ON r.tenant_id = m.tenant_id AND r.name = m.role
        JOIN account o USING (account_id)
        WHERE m.tenant_id = p_tenant AND m.account_id = a.asked_by AND NOT o.disabled
          AND r.rights & a.needs <> 0) THEN
        PERFORM refuse(409, NULL, 'Who asked has not the right any more.');
    ELSIF approval_state(a) <> 'waiting' THEN
        PERFORM refuse(409, NULL, format('It does not wait any more: it is %s.',
            approval_state(a)));
    END IF;
    UPDATE approval SET state = p_state, decided_at = now(),
        decided_actor = (SELECT email FROM account WHERE account_id = p_account)
        WHERE tenant_id = p_tenant AND approval_id = p_id;
    PERFORM audit(p_tenant, CASE p_state WHEN 'rejected' THEN 'approval.reject'
        ELSE 'approval.approve' END, 'approval', p_id::text, NULL,
        jsonb_build_object('operation', a.operation, 'path', a.path, 'asked_by', a.asked_actor));
    RETURN true;
END $$;
-- Volatile: it shows what approval_take() has just written.
CREATE FUNCTION approval_result(p_tenant int, p_id int, p_answer json) RETURNS json
LANGUAGE sql VOLATILE AS $$
    SELECT json_build_object('approval', approval_json(a), 'answer', p_answer)
    FROM approval a WHERE a.tenant_id = p_tenant AND a.approval_id = p_id $$;

-- How the tenant guards itself; critical, or one person could take it away.
CREATE FUNCTION tenant_protect(p_tenant int, p_body jsonb) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    t tenant;
BEGIN
    PERFORM in_scope(p_tenant);
    UPDATE tenant SET critical = coalesce(p_body ->> 'critical', critical),
        second_factor = coalesce((p_body ->> 'second_factor')::boolean, second_factor),
        revision = revision + 1
        WHERE tenant_id = p_tenant RETURNING * INTO t;
    RETURN tenant_json(t);
END $$;

-- ---- keys of meters and integrations, through the API ----

CALL audited('tenant_key', 'key_no');

CREATE FUNCTION meter_key_json(k meter_key) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('key_id', k.key_id, 'purpose', k.purpose,
        'meter_id', k.meter_id, 'address', k.address, 'manufacturer', k.manufacturer,
        'device_type', k.device_type, 'version', k.version, 'created_at', k.created_at,
        'opens_meters', (SELECT count(*) FROM meter_key_use u
            WHERE u.tenant_id = k.tenant_id AND u.key_id = k.key_id)) $$;

-- p_rows: what keys are for ("" and -1: any), "meter" a serial number. For each an
-- id, the meter, how many meters have that serial number, and each key (sealed)
-- that is for the very same.
CREATE FUNCTION meter_keys_look(p_tenant int, p_rows jsonb) RETURNS TABLE
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
        AND k.purpose = w.purpose AND coalesce(k.meter_id, 0) = coalesce(m.meter_id, 0)
        AND coalesce(k.address, '') = w.address
        AND coalesce(k.manufacturer, '') = w.manufacturer
        AND coalesce(k.device_type, -1) = w.device_type
        AND coalesce(k.version, -1) = w.version
    LEFT JOIN secret s ON s.tenant_id = p_tenant AND s.owner = 'meter_key'
        AND s.row_id = k.key_id AND s.name = 'key';
END $$;

CREATE FUNCTION meter_keys_put(p_tenant int, p_rows jsonb, p_key_no int, p_master text,
    p_tenant_key bytea, p_check bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM in_scope(p_tenant);
    PERFORM tenant_key_put(p_tenant, p_key_no, p_master, p_tenant_key, p_check);
    INSERT INTO meter_key (tenant_id, key_id, purpose, meter_id, address, manufacturer,
        device_type, version)
    SELECT p_tenant, r.key_id, r.purpose, nullif(r.meter_id, 0), nullif(r.address, ''),
        nullif(r.manufacturer, ''), nullif(r.device_type, -1), nullif(r.version, -1)
    FROM jsonb_to_recordset(p_rows) AS r(key_id bigint, purpose text, meter_id int,
        address text, manufacturer text, device_type int, version int);
    INSERT INTO secret (tenant_id, owner, row_id, name, key_no, sealed)
    SELECT p_tenant, 'meter_key', r.key_id, 'key', p_key_no, r.sealed
    FROM jsonb_to_recordset(p_rows) AS r(key_id bigint, sealed bytea);
END $$;

CREATE FUNCTION meter_key_take(p_tenant int, p_key bigint) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT meter_key_remove(p_tenant, p_key) THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
END $$;

CREATE FUNCTION meter_key_reveal(p_tenant int, p_key bigint) RETURNS TABLE
    (key_id bigint, key_no int, sealed bytea)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM in_scope(p_tenant);
    RETURN QUERY SELECT s.row_id, s.key_no, s.sealed FROM secret s
        WHERE s.tenant_id = p_tenant AND s.owner = 'meter_key' AND s.row_id = p_key
          AND s.name = 'key';
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
    PERFORM audit(p_tenant, 'meter_key.reveal', 'meter_key', p_key::text, NULL, NULL);
END $$;

CREATE FUNCTION integration_json(i integration) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('integration_id', i.integration_id, 'name', i.name,
        'kind', i.kind, 'url', i.url, 'username', i.username,
        'has_password', i.password IS NOT NULL OR EXISTS (SELECT FROM secret s
            WHERE s.tenant_id = i.tenant_id AND s.owner = 'integration'
              AND s.row_id = i.integration_id AND s.name = 'password'),
        'topic_prefix', i.topic_prefix, 'bridges', i.bridges, 'enabled', i.enabled,
        'revision', i.revision) $$;

-- An id before the row: its password is sealed for it.
CREATE FUNCTION integration_id() RETURNS bigint
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT nextval(pg_get_serial_sequence('integration', 'integration_id')) $$;

-- A listener opens a port of the server: that is its operator's to do.
CREATE FUNCTION integration_check(p_kind text, p_url text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF p_kind = 'heo-tcp' THEN
        PERFORM refuse(409, 'kind', 'Listeners are the operator''s (headend integration).');
    ELSIF p_url !~ '^mqtts?://[^[:space:]@/?#]{1,250}$' THEN
        PERFORM refuse(422, 'url', 'A broker is mqtt://host:port or mqtts://host:port.');
    END IF;
END $$;

-- p_new: make it, with that id. p_secret: of the new password, or NULL.
CREATE FUNCTION integration_put(p_tenant int, p_body jsonb, p_id bigint, p_new boolean,
    p_key_no int, p_secret bytea, p_master text, p_tenant_key bytea, p_check bytea)
RETURNS json LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    i integration;
BEGIN
    PERFORM in_scope(p_tenant);
    IF p_new THEN
        INSERT INTO integration (tenant_id, integration_id, name, kind, url, revision)
            OVERRIDING SYSTEM VALUE
            VALUES (p_tenant, p_id, p_body ->> 'name', p_body ->> 'kind', p_body ->> 'url', 0);
    END IF;
    SELECT * INTO i FROM integration WHERE tenant_id = p_tenant AND integration_id = p_id
        FOR UPDATE;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
    PERFORM revision_check(p_body, i.revision);
    PERFORM integration_check(i.kind, coalesce(p_body ->> 'url', i.url));
    IF p_secret IS NOT NULL THEN
        PERFORM secret_put(p_tenant, 'integration', p_id, 'password', p_key_no, p_secret,
            p_master, p_tenant_key, p_check);
        PERFORM audit(p_tenant, 'integration.password', 'integration', p_id::text, NULL, NULL);
    ELSIF p_body ? 'password' THEN
        DELETE FROM secret WHERE tenant_id = p_tenant AND owner = 'integration'
            AND row_id = p_id AND name = 'password';
    END IF;
    UPDATE integration SET name = coalesce(p_body ->> 'name', name),
        url = coalesce(p_body ->> 'url', url),
        username = CASE WHEN p_body ? 'username' THEN p_body ->> 'username' ELSE username END,
        password = CASE WHEN p_body ? 'password' THEN NULL ELSE password END,
        topic_prefix = coalesce(p_body ->> 'topic_prefix', topic_prefix),
        bridges = coalesce((p_body ->> 'bridges')::int, bridges),
        enabled = coalesce((p_body ->> 'enabled')::boolean, enabled),
        revision = revision + 1
        WHERE tenant_id = p_tenant AND integration_id = p_id RETURNING * INTO i;
    RETURN integration_json(i);
END $$;

CREATE FUNCTION integration_remove(p_tenant int, p_id int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    what text := (SELECT kind FROM integration
        WHERE tenant_id = p_tenant AND integration_id = p_id);
BEGIN
    PERFORM in_scope(p_tenant);
    IF what IS NULL THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
    PERFORM integration_check(what, 'mqtt://any');
    DELETE FROM integration WHERE tenant_id = p_tenant AND integration_id = p_id;
END $$;

-- ---- a tenant leaves: suspended, exported, forgotten (headend tenant remove) ----

-- What is left of it is a row without a name: late frames find that it is gone.
ALTER TABLE tenant
    ADD COLUMN leaving_at timestamptz,
    ADD COLUMN exported_at timestamptz,
    ADD COLUMN removed_at timestamptz;

CREATE OR REPLACE FUNCTION tenant_list() RETURNS TABLE
    (tenant_id int, name text, timezone text, meters bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT t.tenant_id, t.name, t.timezone,
          (SELECT count(*) FROM meter m WHERE m.tenant_id = t.tenant_id)
   FROM tenant t WHERE t.removed_at IS NULL ORDER BY t.tenant_id $$;

CREATE OR REPLACE FUNCTION tenants(p_after int, p_limit int) RETURNS TABLE
    (item json, key bigint, key_text text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM in_scope(0);
    RETURN QUERY SELECT (tenant_json(t)::jsonb || jsonb_build_object('meters',
            (SELECT count(*) FROM meter m WHERE m.tenant_id = t.tenant_id
             AND m.state <> 'removed')))::json, t.tenant_id::bigint, ''
        FROM tenant t WHERE t.tenant_id > coalesce(p_after, -1) AND t.removed_at IS NULL
        ORDER BY t.tenant_id LIMIT p_limit;
END $$;

-- Nothing of a tenant that leaves is received any more.
CREATE OR REPLACE FUNCTION directory_meters(p_since xid8) RETURNS TABLE
    (tenant_id int, meter_id int, dev_eui text, serial text, codec text,
     timezone text, removed boolean, upto xid8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT m.tenant_id, m.meter_id, m.dev_eui, m.serial, d.codec,
          coalesce(m.timezone, t.timezone), m.state = 'removed' OR t.leaving_at IS NOT NULL,
          pg_snapshot_xmin(pg_current_snapshot())
   FROM meter m
   JOIN meter_model d USING (tenant_id, model_id)
   JOIN tenant t USING (tenant_id)
   WHERE m.changed_xid >= p_since $$;
CREATE OR REPLACE FUNCTION directory_integrations() RETURNS SETOF integration
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT i.* FROM integration i JOIN tenant t USING (tenant_id)
   WHERE t.leaving_at IS NULL ORDER BY i.integration_id $$;

-- While a tenant is forgotten, nothing of that goes into its own trail, and the
-- trail goes too. Only functions of the owner can do so: nobody else may delete.
CREATE FUNCTION leaves_now(p_tenant int) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT current_setting('headend.leaving', true) = p_tenant::text AND EXISTS (SELECT
        FROM tenant t WHERE t.tenant_id = p_tenant AND t.exported_at IS NOT NULL) $$;
CREATE OR REPLACE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_LEVEL = 'ROW' AND TG_OP = 'DELETE' AND leaves_now(OLD.tenant_id) THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only';
END $$;
DROP TRIGGER append_only ON audit_entry;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit_entry
    FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER append_only_whole BEFORE TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

CREATE OR REPLACE FUNCTION audit_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE
    was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    is_now jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    whole jsonb := coalesce(is_now, was);
    changed text[];
BEGIN
    IF leaves_now((whole ->> 'tenant_id')::int) THEN
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        SELECT array_agg(key) INTO changed FROM jsonb_each(is_now)
            WHERE value IS DISTINCT FROM was -> key AND key NOT IN
                ('changed_xid', 'revision', 'last_used_at', 'seen_at');
        IF changed IS NULL THEN
            RETURN NULL;
        END IF;
        SELECT jsonb_object_agg(key, value) INTO was
            FROM jsonb_each(was) WHERE key = ANY (changed);
        SELECT jsonb_object_agg(key, value) INTO is_now
            FROM jsonb_each(is_now) WHERE key = ANY (changed);
    END IF;
    PERFORM audit((whole ->> 'tenant_id')::int, TG_TABLE_NAME || CASE TG_OP
            WHEN 'INSERT' THEN '.add' WHEN 'DELETE' THEN '.remove' ELSE '.change' END,
        TG_TABLE_NAME, whole ->> TG_ARGV[0], audit_view(was), audit_view(is_now));
    RETURN NULL;
END $$;

-- The tables of tenants, those that others refer to last.
CREATE FUNCTION tenant_tables() RETURNS TABLE (name text) LANGUAGE sql STABLE AS $$
    WITH RECURSIVE t AS (
        SELECT c.oid, c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
            AND a.attname = 'tenant_id' AND NOT a.attisdropped
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname <> 'tenant'
          AND c.relnamespace = 'public'::regnamespace
    ), fk AS (
        SELECT DISTINCT conrelid AS child, confrelid AS parent FROM pg_constraint
        WHERE contype = 'f' AND conrelid <> confrelid
    ), walk AS (
        SELECT oid, 0 AS depth FROM t
        UNION SELECT fk.parent, w.depth + 1 FROM walk w JOIN fk ON fk.child = w.oid
        WHERE w.depth < 20
    )
    SELECT t.relname::text FROM walk JOIN t USING (oid)
    GROUP BY t.relname ORDER BY max(depth), t.relname $$;

-- The columns of a table that are exported: all but what is secret.
CREATE FUNCTION tenant_export_columns(p_table text) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
    WHERE a.attrelid = p_table::regclass AND a.attnum > 0 AND NOT a.attisdropped
      AND a.attname NOT IN ('password', 'secret', 'sealed')
      AND (p_table, a.attname) <> ('api_key', 'hash')
      AND p_table NOT IN ('secret', 'tenant_key', 'idempotency', 'feed', 'feed_listener') $$;

-- NULL: there is no such tenant. May be called again.
CREATE FUNCTION tenant_leave(p_name text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    id int;
    already timestamptz;
BEGIN
    SELECT tenant_id, leaving_at INTO id, already FROM tenant
        WHERE name = p_name AND tenant_id <> 0 AND removed_at IS NULL FOR UPDATE;
    IF id IS NULL OR already IS NOT NULL THEN
        RETURN id;
    END IF;
    UPDATE tenant SET leaving_at = now(), suspended_at = coalesce(suspended_at, now()),
        revision = revision + 1 WHERE tenant_id = id;
    UPDATE meter SET changed_xid = changed_xid WHERE tenant_id = id; -- read anew
    UPDATE session SET current_tenant = NULL WHERE current_tenant = id;
    PERFORM audit(0, 'tenant.leave', 'tenant', id::text, NULL,
        jsonb_build_object('name', p_name));
    NOTIFY headend_directory;
    RETURN id;
END $$;

-- Rows of one table; how many there were.
CREATE FUNCTION tenant_wipe(p_tenant int, p_table text) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    n bigint;
BEGIN
    PERFORM set_config('headend.leaving', p_tenant::text, true);
    IF NOT leaves_now(p_tenant) THEN
        RAISE EXCEPTION 'tenant % has not been exported', p_tenant;
    END IF;
    EXECUTE format('DELETE FROM %I WHERE tenant_id = $1', p_table) USING p_tenant;
    GET DIAGNOSTICS n = ROW_COUNT;
    PERFORM set_config('headend.leaving', '', true);
    RETURN n;
END $$;

-- The last step: its people who belong nowhere else, its name.
CREATE FUNCTION tenant_gone(p_tenant int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    t tenant;
    last audit_entry;
BEGIN
    SELECT * INTO STRICT t FROM tenant WHERE tenant_id = p_tenant AND exported_at IS NOT NULL;
    SELECT * INTO last FROM audit_entry WHERE tenant_id = p_tenant ORDER BY seq DESC LIMIT 1;
    DELETE FROM account a USING membership m WHERE m.account_id = a.account_id
        AND m.tenant_id = p_tenant AND NOT EXISTS (SELECT FROM membership o
            WHERE o.account_id = a.account_id AND o.tenant_id <> p_tenant);
    PERFORM tenant_wipe(p_tenant, name) FROM tenant_tables();
    PERFORM set_config('headend.leaving', p_tenant::text, true);
    UPDATE tenant SET name = 'removed-' || p_tenant, removed_at = now(), meter_quota = NULL
        WHERE tenant_id = p_tenant;
    PERFORM set_config('headend.leaving', '', true);
    PERFORM audit(0, 'tenant.remove', 'tenant', p_tenant::text, jsonb_build_object(
        'name', t.name, 'leaving_at', t.leaving_at, 'exported_at', t.exported_at,
        'last_entry', last.seq, 'last_hash', encode(last.hash, 'hex')), NULL);
    NOTIFY headend_directory;
END $$;

-- Hourly: what was under way when a tenant went.
CREATE FUNCTION tenants_sweep() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM tenant_wipe(t.tenant_id, x.name) FROM tenant t, tenant_tables() x
        WHERE t.removed_at > now() - interval '30 days';
END $$;

-- ---- self-service: somebody asks for a tenant, the operator decides ----

-- Of the platform: reached only through the functions below. Gone once decided,
-- or after a month.
CREATE TABLE signup (
    signup_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tenant text NOT NULL CHECK (tenant ~ '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$'),
    email text NOT NULL UNIQUE CHECK (email = lower(email) AND email ~ '^[^@\s]+@[^@\s]+$'),
    name text NOT NULL DEFAULT '',
    timezone text NOT NULL,
    address text NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now()
);

-- The answer tells nobody whether a tenant or an account is there.
CREATE FUNCTION signup_ask(p_body jsonb) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    whence text := coalesce(current_setting('headend.address', true), '');
    id int;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('headend signup'));
    DELETE FROM signup WHERE asked_at < now() - interval '30 days';
    IF (SELECT count(*) FROM signup) >= 100 OR (SELECT count(*) FROM signup s
        WHERE s.address = whence AND s.asked_at > now() - interval '1 day') >= 3 THEN
        PERFORM refuse(429, NULL, 'Too many have asked; come back tomorrow.');
    END IF;
    INSERT INTO signup (tenant, email, name, timezone, address)
    VALUES (p_body ->> 'tenant', lower(p_body ->> 'email'), coalesce(p_body ->> 'name', ''),
        coalesce(zone_check('timezone', p_body ->> 'timezone'), 'UTC'), whence)
    ON CONFLICT (email) DO NOTHING RETURNING signup_id INTO id;
    IF id IS NOT NULL THEN
        PERFORM audit(0, 'signup.ask', 'signup', id::text, NULL,
            jsonb_build_object('tenant', p_body ->> 'tenant', 'email', p_body ->> 'email'));
    END IF;
    RETURN '{"state": "waiting"}'::json;
END $$;

CREATE FUNCTION signups(p_after int, p_limit int) RETURNS TABLE
    (item json, key bigint, key_text text)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM in_scope(0);
    RETURN QUERY SELECT to_json(s), s.signup_id::bigint, '' FROM signup s
        WHERE s.signup_id > coalesce(p_after, 0) ORDER BY s.signup_id LIMIT p_limit;
END $$;

CREATE FUNCTION signup_take(p_id int) RETURNS signup LANGUAGE plpgsql AS $$
DECLARE
    s signup;
BEGIN
    PERFORM in_scope(0);
    DELETE FROM signup WHERE signup_id = p_id RETURNING * INTO s;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
    RETURN s;
END $$;

-- p_tenant: the operator's, the platform.
CREATE FUNCTION signup_approve(p_tenant int, p_id int, p_password text, p_shown text)
RETURNS json LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    s signup := signup_take(p_id);
    t json := tenant_make(jsonb_build_object('name', s.tenant, 'timezone', s.timezone));
    id int := (t ->> 'tenant_id')::int;
    known int := (SELECT account_id FROM account WHERE email = s.email);
BEGIN
    IF known IS NULL THEN
        INSERT INTO account (email, name, password) VALUES (s.email, s.name, p_password)
            RETURNING account_id INTO known;
    ELSE
        p_shown := NULL;
    END IF;
    INSERT INTO membership (tenant_id, account_id, role) VALUES (id, known, 'tenant admin');
    PERFORM audit(0, 'signup.approve', 'signup', p_id::text, NULL,
        jsonb_build_object('tenant', s.tenant, 'tenant_id', id, 'email', s.email));
    RETURN json_build_object('tenant', t, 'email', s.email, 'password', p_shown);
END $$;

CREATE FUNCTION signup_refuse(p_tenant int, p_id int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    s signup := signup_take(p_id);
BEGIN
    PERFORM audit(0, 'signup.refuse', 'signup', p_id::text, NULL,
        jsonb_build_object('tenant', s.tenant, 'email', s.email));
END $$;

-- ---- signing in by an identity provider's word ----

-- NULL: nobody here. p_email: verified, or NULL; it links an account that is there
-- once, then the subject is what counts. A generated password that was never
-- changed is worth nothing from then on. p_fresh: just proven, critical acts are open.
CREATE FUNCTION oidc_login(p_issuer text, p_subject text, p_email text, p_hash text,
    p_address text, p_agent text, p_fresh boolean) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    id int := (SELECT account_id FROM account WHERE oidc_issuer = p_issuer
        AND oidc_subject = p_subject AND NOT disabled);
    first int;
BEGIN
    IF id IS NULL AND NOT EXISTS (SELECT FROM account WHERE oidc_issuer = p_issuer
        AND oidc_subject = p_subject) THEN
        UPDATE account SET oidc_issuer = p_issuer, oidc_subject = p_subject,
            password = CASE WHEN must_change THEN NULL ELSE password END, must_change = false
            WHERE email = lower(p_email) AND oidc_subject IS NULL AND NOT disabled
            RETURNING account_id INTO id;
        IF id IS NOT NULL THEN
            PERFORM audit(0, 'oidc.link', 'account', id::text, NULL,
                jsonb_build_object('issuer', p_issuer, 'subject', p_subject));
        END IF;
    END IF;
    IF id IS NULL THEN
        RETURN NULL;
    END IF;
    first := (SELECT m.tenant_id FROM membership m JOIN tenant t USING (tenant_id)
        WHERE m.account_id = id ORDER BY t.suspended_at IS NOT NULL, t.name LIMIT 1);
    UPDATE account SET last_login_at = now() WHERE account_id = id;
    INSERT INTO session (hash, account_id, current_tenant, address, agent, confirmed_at)
        VALUES (p_hash, id, first, left(p_address, 64), left(p_agent, 200),
            CASE WHEN p_fresh THEN now() END);
    PERFORM set_config('headend.actor', (SELECT email FROM account WHERE account_id = id), true);
    PERFORM audit(coalesce(first, 0), 'login', 'account', id::text, NULL,
        jsonb_build_object('issuer', p_issuer));
    RETURN session_show(id, first);
END $$;

REVOKE ALL ON FUNCTION totp_begin, totp_seed, totp_confirm, totp_remove, login_lookup,
    login_good, authenticate_session, authenticate_key, approval_ask, approval_take,
    tenant_protect, meter_keys_look, meter_keys_put, meter_key_reveal, integration_id,
    integration_put, integration_remove,
    tenant_leave, tenant_wipe, tenant_gone, tenants_sweep, signup_ask, signups,
    signup_take, signup_approve, signup_refuse, oidc_login FROM PUBLIC;
GRANT EXECUTE ON FUNCTION totp_begin, totp_seed, totp_confirm, totp_remove, login_lookup,
    login_good, authenticate_session, authenticate_key, approval_ask, approval_take,
    tenant_protect, meter_keys_look, meter_keys_put, meter_key_reveal, integration_id,
    integration_put, integration_remove,
    tenants_sweep, signup_ask, signups, signup_approve, signup_refuse, oidc_login TO headend_server;
