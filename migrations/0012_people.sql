-- Who may do what: rights, roles, accounts, sessions, API keys; and the audit
-- trail of what was done.

-- What the API tells a client: its HTTP status, the field, a sentence.
CREATE FUNCTION refuse(p_status int, p_field text, p_text text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', p_text
        USING ERRCODE = 'HE' || p_status, COLUMN = coalesce(p_field, '');
END $$;

-- Rights are independent bits, in this order (server/api/rights.c has the same).
CREATE FUNCTION right_list() RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT ARRAY['view', 'edit_meters', 'register', 'substitution', 'valve', 'command',
    'export', 'users', 'integrations', 'keys', 'codecs', 'audit', 'settings', 'ingest',
    'platform'] $$;
CREATE FUNCTION right_bits(p_names text[]) RETURNS int LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    bits int := 0;
    one text;
BEGIN
    FOREACH one IN ARRAY p_names LOOP
        IF array_position(right_list(), one) IS NULL THEN
            PERFORM refuse(422, 'rights', format('There is no right "%s"; known: %s.', one,
                array_to_string(right_list(), ', ')));
        END IF;
        bits := bits | (1 << (array_position(right_list(), one) - 1));
    END LOOP;
    RETURN bits;
END $$;
CREATE FUNCTION right_names(p_bits int) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT coalesce(array_agg(name ORDER BY n), '{}')
   FROM unnest(right_list()) WITH ORDINALITY AS u(name, n)
   WHERE p_bits & (1 << (n::int - 1)) <> 0 $$;

ALTER TABLE tenant
    ADD COLUMN suspended_at timestamptz,
    ADD COLUMN locale text NOT NULL DEFAULT 'en' CHECK (locale ~ '^[a-z]{2}(-[A-Z]{2})?$'),
    ADD COLUMN meter_quota int CHECK (meter_quota >= 0),
    ADD COLUMN critical text NOT NULL DEFAULT 'password'
        CHECK (critical IN ('password', 'second_person')),
    ADD COLUMN revision bigint NOT NULL DEFAULT 1;
COMMENT ON COLUMN tenant.critical IS 'what a critical act asks for';

CREATE TABLE role (
    tenant_id int NOT NULL REFERENCES tenant ON DELETE CASCADE,
    name text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_ -]{0,62}$'),
    rights int NOT NULL,
    builtin boolean NOT NULL DEFAULT false,
    revision bigint NOT NULL DEFAULT 1,
    PRIMARY KEY (tenant_id, name)
);
CALL protect('role');
GRANT SELECT ON role TO headend_server;

-- The roles that every tenant has; the platform has its own.
CREATE FUNCTION role_seed(p_tenant int) RETURNS void LANGUAGE sql AS $$
    INSERT INTO role (tenant_id, name, rights, builtin)
    SELECT p_tenant, name, right_bits(rights), true FROM (VALUES
        ('viewer', ARRAY['view']),
        ('meter editor', ARRAY['view', 'edit_meters']),
        ('substitution', ARRAY['view', 'substitution']),
        ('valve control', ARRAY['view', 'valve']),
        ('technician', ARRAY['view', 'edit_meters', 'register']),
        ('billing', ARRAY['view', 'export']),
        ('tenant admin', array_remove(right_list(), 'platform'))) AS r(name, rights)
    WHERE p_tenant <> 0
    UNION ALL
    SELECT 0, 'platform operator', right_bits(ARRAY['platform', 'audit', 'users']), true
    WHERE p_tenant = 0
    ON CONFLICT DO NOTHING $$;
CREATE FUNCTION tenant_seed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM role_seed(NEW.tenant_id);
    RETURN NULL;
END $$;
CREATE TRIGGER tenant_seed AFTER INSERT ON tenant
    FOR EACH ROW EXECUTE FUNCTION tenant_seed();
SELECT role_seed(tenant_id) FROM tenant;

-- A person. Of the platform, not of one tenant: reached only through the
-- functions below.
CREATE TABLE account (
    account_id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email text NOT NULL UNIQUE CHECK (email = lower(email) AND email ~ '^[^@\s]+@[^@\s]+$'),
    name text NOT NULL DEFAULT '',
    password text,                      -- Argon2id; NULL: no sign-in by password
    must_change boolean NOT NULL DEFAULT true,
    failed int NOT NULL DEFAULT 0,
    locked_until timestamptz,
    totp bytea,                         -- sealed; NULL: no second factor
    totp_pending bytea,                 -- sealed, not yet confirmed
    totp_step bigint NOT NULL DEFAULT 0,-- the last 30 s step that was used
    recovery text[] NOT NULL DEFAULT '{}', -- hashes of codes not yet used
    oidc_issuer text,
    oidc_subject text,
    disabled boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    last_login_at timestamptz,
    UNIQUE (oidc_issuer, oidc_subject)
);

CREATE TABLE membership (
    tenant_id int NOT NULL REFERENCES tenant ON DELETE CASCADE,
    account_id int NOT NULL REFERENCES account ON DELETE CASCADE,
    role text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, account_id),
    FOREIGN KEY (tenant_id, role) REFERENCES role (tenant_id, name) ON UPDATE CASCADE
);
CREATE INDEX membership_account ON membership (account_id);
CALL protect('membership');
GRANT SELECT ON membership TO headend_server;

CREATE TABLE session (
    hash text PRIMARY KEY,              -- lower hex of BLAKE2b-256 of the cookie
    account_id int NOT NULL REFERENCES account ON DELETE CASCADE,
    current_tenant int REFERENCES tenant ON DELETE SET NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at timestamptz NOT NULL DEFAULT now(),
    confirmed_at timestamptz,           -- the password was given again
    address text NOT NULL DEFAULT '',
    agent text NOT NULL DEFAULT ''
);
CREATE INDEX session_account ON session (account_id);

CREATE TABLE api_key (
    tenant_id int NOT NULL REFERENCES tenant ON DELETE CASCADE,
    api_key_id int GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    prefix text NOT NULL,               -- what may be shown of it
    hash text NOT NULL UNIQUE,          -- lower hex of BLAKE2b-256 of all of it
    rights int NOT NULL,
    networks cidr[] NOT NULL DEFAULT '{}', -- empty: from anywhere
    expires_at timestamptz,
    created_by text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    last_used_at timestamptz,
    PRIMARY KEY (tenant_id, api_key_id)
);
CALL protect('api_key');
GRANT SELECT, INSERT, DELETE ON api_key TO headend_server;
INSERT INTO api_key (tenant_id, name, prefix, hash, rights, created_at)
SELECT tenant_id, 'token ' || token_id, 'hdk_', hash,
    right_bits(array_remove(right_list(), 'platform')), created_at FROM api_token;
DROP FUNCTION authenticate_token;
DROP TABLE api_token;

-- ---- the audit trail ----

-- hash = SHA-256 of the hash before it and of the entry's own fields, so that a
-- changed, removed or inserted row breaks the chain (headend audit verify).
CREATE TABLE audit_entry (
    tenant_id int NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    address text NOT NULL,
    action text NOT NULL,
    object text NOT NULL,
    object_id text NOT NULL,
    before jsonb,
    after jsonb,
    hash bytea NOT NULL,
    PRIMARY KEY (tenant_id, seq)
);
CALL protect('audit_entry');
GRANT SELECT ON audit_entry TO headend_server;
CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only';
END $$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

-- What is hashed: every field with its length before it, times in microseconds.
CREATE FUNCTION audit_text(e audit_entry) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT string_agg(octet_length(f) || ':' || f, ',' ORDER BY n)
    FROM unnest(ARRAY[e.tenant_id::text, e.seq::text,
        ((extract(epoch FROM e.at) * 1000000)::bigint)::text, e.actor, e.address,
        e.action, e.object, e.object_id, coalesce(e.before::text, ''),
        coalesce(e.after::text, '')]) WITH ORDINALITY AS u(f, n) $$;

-- Who acts is a setting of the transaction; the server sets it for each call.
CREATE FUNCTION audit(p_tenant int, p_action text, p_object text, p_object_id text,
    p_before jsonb, p_after jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    e audit_entry;
    prior bytea;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('headend audit'), p_tenant);
    SELECT a.seq, a.hash INTO e.seq, prior FROM audit_entry a
        WHERE a.tenant_id = p_tenant ORDER BY a.seq DESC LIMIT 1;
    e.tenant_id := p_tenant;
    e.seq := coalesce(e.seq, 0) + 1;
    e.at := clock_timestamp();
    e.actor := coalesce(nullif(current_setting('headend.actor', true), ''),
        'database ' || session_user);
    e.address := coalesce(current_setting('headend.address', true), '');
    e.action := p_action;
    e.object := p_object;
    e.object_id := coalesce(p_object_id, '');
    e.before := p_before;
    e.after := p_after;
    e.hash := sha256(coalesce(prior, ''::bytea) || convert_to(audit_text(e), 'UTF8'));
    INSERT INTO audit_entry SELECT e.*;
END $$;

-- A row as the trail shows it: no secrets, no bookkeeping.
CREATE FUNCTION audit_view(p_row jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_object_agg(key, CASE WHEN key IN ('password', 'hash', 'totp',
        'totp_pending', 'recovery', 'secret', 'sealed') AND value <> 'null'
        THEN '"(secret)"' ELSE value END)
    FROM jsonb_each(p_row)
    WHERE key NOT IN ('changed_xid', 'revision', 'last_used_at', 'seen_at') $$;

-- TG_ARGV[0]: the column that names the object.
CREATE FUNCTION audit_row() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE
    was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    is_now jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    whole jsonb := coalesce(is_now, was);
    changed text[];
BEGIN
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
-- Every change of `t`, which has a tenant_id, from now on stands in the trail.
CREATE PROCEDURE audited(t regclass, id_column text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER audited AFTER INSERT OR UPDATE OR DELETE ON %s
        FOR EACH ROW EXECUTE FUNCTION audit_row(%L)', t, id_column);
END $$;
CALL audited('tenant', 'tenant_id');
CALL audited('role', 'name');
CALL audited('membership', 'account_id');
CALL audited('api_key', 'api_key_id');
CALL audited('integration', 'integration_id');
CALL audited('meter_model', 'model_id');
CALL audited('meter', 'meter_id');

-- ---- who is it? ----

-- A machine: its key's tenant and rights, if it may come from that address now.
CREATE FUNCTION authenticate_key(p_hash text, p_address inet) RETURNS TABLE
    (tenant_id int, api_key_id int, name text, rights int, networks text)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    RETURN QUERY UPDATE api_key k SET last_used_at = now() FROM tenant t
        WHERE k.hash = p_hash AND t.tenant_id = k.tenant_id
          AND (k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute')
          AND t.suspended_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
          AND (k.networks = '{}' OR p_address <<= ANY (k.networks))
        RETURNING k.tenant_id, k.api_key_id, k.name, k.rights, k.networks::text;
    IF NOT FOUND THEN
        RETURN QUERY SELECT k.tenant_id, k.api_key_id, k.name, k.rights, k.networks::text
            FROM api_key k JOIN tenant t USING (tenant_id)
            WHERE k.hash = p_hash AND t.suspended_at IS NULL
              AND (k.expires_at IS NULL OR k.expires_at > now())
              AND (k.networks = '{}' OR p_address <<= ANY (k.networks));
    END IF;
END $$;

-- A person's session; idle and absolute limits in seconds. rights is 0 while the
-- password must be changed or no tenant is chosen.
CREATE FUNCTION authenticate_session(p_hash text, p_idle_s int, p_absolute_s int)
RETURNS TABLE (tenant_id int, account_id int, email text, rights int,
    must_change boolean, confirmed boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE session s SET seen_at = now()
        WHERE s.hash = p_hash AND s.seen_at < now() - interval '30 seconds'
          AND s.seen_at > now() - p_idle_s * interval '1 second';
    RETURN QUERY SELECT coalesce(m.tenant_id, -1), a.account_id, a.email,
            CASE WHEN a.must_change OR m.tenant_id IS NULL OR t.suspended_at IS NOT NULL
                THEN 0 ELSE r.rights END,
            a.must_change, coalesce(s.confirmed_at > now() - interval '5 minutes', false)
        FROM session s JOIN account a USING (account_id)
        LEFT JOIN membership m ON m.account_id = a.account_id
            AND m.tenant_id = s.current_tenant
        LEFT JOIN role r ON r.tenant_id = m.tenant_id AND r.name = m.role
        LEFT JOIN tenant t ON t.tenant_id = m.tenant_id
        WHERE s.hash = p_hash AND NOT a.disabled
          AND s.seen_at > now() - p_idle_s * interval '1 second'
          AND s.created_at > now() - p_absolute_s * interval '1 second';
END $$;

-- ---- signing in: login_lookup -> (the server checks the password) ->
-- login_failed or login_good ----

CREATE FUNCTION login_lookup(p_email text) RETURNS TABLE (account_id int, password text,
    locked_s int, totp bytea, totp_step bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT a.account_id, a.password,
        greatest(0, ceil(extract(epoch FROM a.locked_until - now())))::int, a.totp, a.totp_step
    FROM account a WHERE a.email = lower(p_email) AND NOT a.disabled $$;

-- Five wrong ones are free; then each doubles the wait, up to a quarter hour.
CREATE FUNCTION login_failed(p_email text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    id int;
    n int;
BEGIN
    UPDATE account a SET failed = a.failed + 1,
        locked_until = CASE WHEN a.failed >= 4 THEN now() +
            least(900, 2 ^ least(a.failed - 3, 10)) * interval '1 second' END
        WHERE a.email = lower(p_email) RETURNING a.account_id, a.failed INTO id, n;
    IF id IS NOT NULL THEN
        PERFORM audit(0, 'login.failed', 'account', id::text, NULL,
            jsonb_build_object('failed', n));
    END IF;
END $$;

CREATE FUNCTION session_show(p_account int, p_tenant int) RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT json_build_object('account_id', a.account_id, 'email', a.email, 'name', a.name,
        'must_change', a.must_change, 'second_factor', a.totp IS NOT NULL,
        'tenant', (SELECT json_build_object('tenant_id', t.tenant_id, 'name', t.name,
                'timezone', t.timezone, 'locale', t.locale, 'role', m.role,
                'suspended', t.suspended_at IS NOT NULL,
                'rights', right_names(r.rights))
            FROM membership m JOIN tenant t USING (tenant_id)
            JOIN role r ON r.tenant_id = m.tenant_id AND r.name = m.role
            WHERE m.account_id = a.account_id AND m.tenant_id = p_tenant),
        'tenants', (SELECT coalesce(json_agg(json_build_object('tenant_id', t.tenant_id,
                'name', t.name, 'role', m.role) ORDER BY t.name), '[]')
            FROM membership m JOIN tenant t USING (tenant_id)
            WHERE m.account_id = a.account_id))
    FROM account a WHERE a.account_id = p_account $$;

CREATE FUNCTION login_good(p_account int, p_hash text, p_address text, p_agent text,
    p_totp_step bigint) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    first int := (SELECT m.tenant_id FROM membership m JOIN tenant t USING (tenant_id)
        WHERE m.account_id = p_account ORDER BY t.suspended_at IS NOT NULL, t.name LIMIT 1);
BEGIN
    UPDATE account SET failed = 0, locked_until = NULL, last_login_at = now(),
        totp_step = greatest(totp_step, p_totp_step) WHERE account_id = p_account;
    DELETE FROM session WHERE account_id = p_account
        AND seen_at < now() - interval '30 days';
    INSERT INTO session (hash, account_id, current_tenant, address, agent, confirmed_at)
        VALUES (p_hash, p_account, first, left(p_address, 64), left(p_agent, 200), now());
    PERFORM set_config('headend.actor', (SELECT email FROM account
        WHERE account_id = p_account), true);
    PERFORM audit(coalesce(first, 0), 'login', 'account', p_account::text, NULL, NULL);
    RETURN session_show(p_account, first);
END $$;

CREATE FUNCTION session_switch(p_account int, p_hash text, p_tenant text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    id int := (SELECT m.tenant_id FROM membership m JOIN tenant t USING (tenant_id)
        WHERE m.account_id = p_account AND t.name = p_tenant);
BEGIN
    IF id IS NULL THEN
        PERFORM refuse(404, 'tenant', 'This account belongs to no tenant of this name.');
    END IF;
    UPDATE session SET current_tenant = id WHERE hash = p_hash AND account_id = p_account;
    RETURN session_show(p_account, id);
END $$;

CREATE FUNCTION session_end(p_hash text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$ DELETE FROM session WHERE hash = p_hash $$;

CREATE FUNCTION session_confirm(p_hash text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$ UPDATE session SET confirmed_at = now() WHERE hash = p_hash $$;

-- A new password ends every other session of the account.
CREATE FUNCTION password_set(p_account int, p_password text, p_keep text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE account SET password = p_password, must_change = false, failed = 0,
        locked_until = NULL WHERE account_id = p_account;
    DELETE FROM session WHERE account_id = p_account AND hash IS DISTINCT FROM p_keep;
    PERFORM audit(0, 'password.change', 'account', p_account::text, NULL, NULL);
END $$;

-- ---- accounts, as a tenant's admin sees them: its members ----

CREATE FUNCTION account_list(p_tenant int, p_after int, p_limit int) RETURNS TABLE
    (item json, key bigint, key_text text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT json_build_object('account_id', a.account_id, 'email', a.email, 'name', a.name,
            'role', m.role, 'disabled', a.disabled, 'must_change', a.must_change,
            'second_factor', a.totp IS NOT NULL, 'created_at', m.created_at,
            'last_login_at', a.last_login_at), a.account_id, ''
    FROM membership m JOIN account a USING (account_id)
    WHERE m.tenant_id = p_tenant AND m.tenant_id = ANY (visible_tenants())
      AND a.account_id > coalesce(p_after, 0)
    ORDER BY a.account_id LIMIT p_limit $$;

CREATE FUNCTION account_get(p_tenant int, p_account int) RETURNS json
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    found json := (SELECT l.item FROM account_list(p_tenant, p_account - 1, 1) l
        WHERE l.key = p_account);
BEGIN
    IF found IS NULL THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
    RETURN found;
END $$;

-- The functions below see all tenants: the transaction's scope still counts.
CREATE FUNCTION in_scope(p_tenant int) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    IF NOT p_tenant = ANY (visible_tenants()) THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
END $$;

-- Rights that somebody gives away must be his own.
CREATE FUNCTION may_give(p_rights int) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    own text := nullif(current_setting('headend.rights', true), '');
BEGIN
    IF own IS NOT NULL AND p_rights & ~own::int <> 0 THEN
        PERFORM refuse(403, 'rights', 'Only rights that one has can be given: not '
            || array_to_string(right_names(p_rights & ~own::int), ', ') || '.');
    END IF;
END $$;

CREATE FUNCTION role_rights(p_tenant int, p_role text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    bits int := (SELECT r.rights FROM role r WHERE r.tenant_id = p_tenant AND r.name = p_role);
BEGIN
    IF bits IS NULL THEN
        PERFORM refuse(422, 'role', format('There is no role "%s".', p_role));
    END IF;
    RETURN bits;
END $$;

-- An account that exists joins the tenant; a new one starts with p_password.
CREATE FUNCTION account_add(p_tenant int, p_body jsonb, p_password text, p_shown text)
RETURNS json LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    id int := (SELECT account_id FROM account WHERE email = lower(p_body ->> 'email'));
    fresh boolean := id IS NULL;
BEGIN
    PERFORM in_scope(p_tenant);
    PERFORM may_give(role_rights(p_tenant, p_body ->> 'role'));
    IF fresh THEN
        INSERT INTO account (email, name, password) VALUES (lower(p_body ->> 'email'),
            coalesce(p_body ->> 'name', ''), p_password) RETURNING account_id INTO id;
    ELSIF EXISTS (SELECT FROM membership WHERE tenant_id = p_tenant AND account_id = id) THEN
        PERFORM refuse(409, 'email', 'This person is a member of the tenant already.');
    END IF;
    INSERT INTO membership (tenant_id, account_id, role)
        VALUES (p_tenant, id, p_body ->> 'role');
    RETURN (account_get(p_tenant, id)::jsonb || jsonb_build_object('password',
        CASE WHEN fresh THEN p_shown END))::json;
END $$;

CREATE FUNCTION account_change(p_tenant int, p_body jsonb, p_account int) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM account_get(p_tenant, p_account);
    IF p_body ? 'role' THEN
        PERFORM may_give(role_rights(p_tenant, p_body ->> 'role'));
        PERFORM may_give(role_rights(p_tenant, (SELECT role FROM membership
            WHERE tenant_id = p_tenant AND account_id = p_account)));
        UPDATE membership SET role = p_body ->> 'role'
            WHERE tenant_id = p_tenant AND account_id = p_account;
    END IF;
    RETURN account_get(p_tenant, p_account);
END $$;

CREATE FUNCTION account_remove(p_tenant int, p_account int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM account_get(p_tenant, p_account);
    PERFORM may_give(role_rights(p_tenant, (SELECT role FROM membership
        WHERE tenant_id = p_tenant AND account_id = p_account)));
    DELETE FROM membership WHERE tenant_id = p_tenant AND account_id = p_account;
    UPDATE session SET current_tenant = NULL
        WHERE account_id = p_account AND current_tenant = p_tenant;
END $$;

-- Only while the person belongs to nobody else: another tenant's admin must not
-- be able to take an account over.
CREATE FUNCTION account_reset(p_tenant int, p_account int, p_password text, p_shown text)
RETURNS json LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM account_get(p_tenant, p_account);
    PERFORM may_give(role_rights(p_tenant, (SELECT role FROM membership
        WHERE tenant_id = p_tenant AND account_id = p_account)));
    IF EXISTS (SELECT FROM membership WHERE account_id = p_account AND tenant_id <> p_tenant) THEN
        PERFORM refuse(409, NULL, 'This person belongs to other tenants too: the platform''s '
            || 'operator can reset the password (headend account reset).');
    END IF;
    UPDATE account SET password = p_password, must_change = true, failed = 0,
        locked_until = NULL, totp = NULL, recovery = '{}' WHERE account_id = p_account;
    DELETE FROM session WHERE account_id = p_account;
    PERFORM audit(p_tenant, 'password.reset', 'account', p_account::text, NULL, NULL);
    RETURN json_build_object('account_id', p_account, 'password', p_shown);
END $$;

-- ---- for the operator at the command line ----

CREATE FUNCTION account_operate(p_email text, p_act text, p_password text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    id int := (SELECT account_id FROM account WHERE email = lower(p_email));
BEGIN
    CASE p_act
    WHEN 'reset' THEN
        UPDATE account SET password = p_password, must_change = true, failed = 0,
            locked_until = NULL, totp = NULL, recovery = '{}' WHERE account_id = id;
    WHEN 'disable' THEN UPDATE account SET disabled = true WHERE account_id = id;
    WHEN 'enable' THEN UPDATE account SET disabled = false WHERE account_id = id;
    END CASE;
    IF p_act <> 'enable' THEN
        DELETE FROM session WHERE account_id = id;
    END IF;
    PERFORM audit(0, 'account.' || p_act, 'account', id::text, NULL, NULL)
        WHERE id IS NOT NULL;
    RETURN id IS NOT NULL;
END $$;

-- ---- roles ----

CREATE FUNCTION role_json(r role) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('name', r.name, 'rights', right_names(r.rights),
        'builtin', r.builtin) $$;

CREATE FUNCTION role_put(p_tenant int, p_body jsonb, p_name text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    bits int := right_bits(ARRAY(SELECT jsonb_array_elements_text(p_body -> 'rights')));
    r role;
BEGIN
    PERFORM in_scope(p_tenant);
    PERFORM may_give(bits);
    IF bits & right_bits('{platform}') <> 0 AND p_tenant <> 0 THEN
        PERFORM refuse(422, 'rights', 'The right "platform" belongs to the platform alone.');
    END IF;
    SELECT * INTO r FROM role WHERE tenant_id = p_tenant AND name = p_name FOR UPDATE;
    IF r.builtin THEN
        PERFORM refuse(409, NULL, 'A built-in role cannot be changed.');
    END IF;
    IF FOUND AND r.rights IS NOT NULL THEN
        PERFORM may_give(r.rights);
    END IF;
    INSERT INTO role (tenant_id, name, rights) VALUES (p_tenant, p_name, bits)
        ON CONFLICT (tenant_id, name) DO UPDATE SET rights = excluded.rights,
            revision = role.revision + 1
        RETURNING * INTO r;
    RETURN role_json(r);
END $$;

CREATE FUNCTION role_remove(p_tenant int, p_name text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM in_scope(p_tenant);
    IF EXISTS (SELECT FROM membership WHERE tenant_id = p_tenant AND role = p_name) THEN
        PERFORM refuse(409, NULL, 'Some members still have this role.');
    END IF;
    DELETE FROM role WHERE tenant_id = p_tenant AND name = p_name AND NOT builtin;
    IF NOT FOUND THEN
        PERFORM refuse(CASE WHEN EXISTS (SELECT FROM role WHERE tenant_id = p_tenant
            AND name = p_name) THEN 409 ELSE 404 END, NULL,
            'There is no role of this name that could be removed.');
    END IF;
END $$;

-- ---- API keys ----

CREATE FUNCTION api_key_json(k api_key) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('api_key_id', k.api_key_id, 'name', k.name,
        'prefix', k.prefix, 'rights', right_names(k.rights),
        'networks', to_json(k.networks), 'expires_at', k.expires_at,
        'created_by', k.created_by, 'created_at', k.created_at,
        'last_used_at', k.last_used_at) $$;

CREATE FUNCTION api_key_add(p_tenant int, p_body jsonb, p_prefix text, p_hash text,
    p_shown text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    bits int := right_bits(ARRAY(SELECT jsonb_array_elements_text(p_body -> 'rights')));
    nets cidr[];
    k api_key;
BEGIN
    PERFORM in_scope(p_tenant);
    PERFORM may_give(bits);
    IF bits & right_bits('{platform}') <> 0 AND p_tenant <> 0 THEN
        PERFORM refuse(422, 'rights', 'The right "platform" belongs to the platform alone.');
    END IF;
    BEGIN
        nets := ARRAY(SELECT x::cidr FROM jsonb_array_elements_text(
            coalesce(p_body -> 'networks', '[]')) x);
    EXCEPTION WHEN invalid_text_representation THEN
        PERFORM refuse(422, 'networks', 'A network is written 192.0.2.0/24 or 2001:db8::/32.');
    END;
    INSERT INTO api_key (tenant_id, name, prefix, hash, rights, networks, expires_at,
        created_by)
    VALUES (p_tenant, p_body ->> 'name', p_prefix, p_hash, bits, nets,
        (p_body ->> 'expires_at')::timestamptz,
        coalesce(current_setting('headend.actor', true), ''))
    RETURNING * INTO k;
    RETURN (api_key_json(k)::jsonb || jsonb_build_object('key', p_shown))::json;
END $$;

CREATE FUNCTION api_key_remove(p_tenant int, p_id int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM in_scope(p_tenant);
    DELETE FROM api_key WHERE tenant_id = p_tenant AND api_key_id = p_id;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is nothing with this id.');
    END IF;
END $$;

-- ---- a post that is sent again ----

CREATE TABLE idempotency (
    tenant_id int NOT NULL REFERENCES tenant ON DELETE CASCADE,
    actor text NOT NULL,
    key text NOT NULL,
    request text NOT NULL,  -- hash of method, path and body
    answer text,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, actor, key)
);
CALL protect('idempotency');
GRANT SELECT, INSERT, UPDATE, DELETE ON idempotency TO headend_server;

-- Runs `p_call`, an expression of $1 (tenant), $2 (body) and $3, $4 (of the
-- path), once for a key; again it gives the answer of the first time.
CREATE FUNCTION once(p_key text, p_request text, p_call text, p_tenant int, p_body jsonb,
    p_a text, p_b text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    who text := coalesce(current_setting('headend.actor', true), '');
    known idempotency;
    result text;
BEGIN
    INSERT INTO idempotency (tenant_id, actor, key, request)
        VALUES (p_tenant, who, p_key, p_request) ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        SELECT * INTO known FROM idempotency i
            WHERE i.tenant_id = p_tenant AND i.actor = who AND i.key = p_key;
        IF known.request <> p_request THEN
            PERFORM refuse(422, 'Idempotency-Key',
                'This Idempotency-Key was used with another request.');
        END IF;
        RETURN known.answer;
    END IF;
    EXECUTE 'SELECT (' || p_call || ')::text' INTO result
        USING p_tenant, p_body, p_a, p_b;
    UPDATE idempotency i SET answer = result
        WHERE i.tenant_id = p_tenant AND i.actor = who AND i.key = p_key;
    RETURN result;
END $$;

-- Hourly, with maintain(): what has run out.
CREATE FUNCTION expire_people(p_absolute_s int) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    DELETE FROM session WHERE created_at < now() - p_absolute_s * interval '1 second';
    DELETE FROM idempotency WHERE created_at < now() - interval '1 day' $$;

REVOKE ALL ON FUNCTION audit, authenticate_key, authenticate_session, login_lookup,
    login_failed, session_show, login_good, session_switch, session_end, session_confirm,
    password_set, account_list, account_get, account_add, account_change, account_remove,
    account_reset, account_operate, role_put, role_remove, api_key_add, api_key_remove, expire_people,
    role_seed FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit, authenticate_key, authenticate_session, login_lookup,
    login_failed, session_show, login_good, session_switch, session_end, session_confirm,
    password_set, account_list, account_get, account_add, account_change, account_remove,
    account_reset, account_operate, role_put, role_remove, api_key_add, api_key_remove, expire_people
    TO headend_server;
