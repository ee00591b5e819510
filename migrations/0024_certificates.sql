-- Machines that are known by a client certificate; what a session has proven
-- beside the password, or beside an identity provider's word; quotas.

-- ---- client certificates ----

ALTER TABLE api_key ALTER COLUMN hash DROP NOT NULL,
    ADD COLUMN certificate_sha256 text CHECK (certificate_sha256 ~ '^[0-9a-f]{64}$'),
    ADD COLUMN certificate_subject text
        CHECK (length(certificate_subject) BETWEEN 1 AND 255),
    ADD CONSTRAINT api_key_is_known CHECK (hash IS NOT NULL
        OR certificate_sha256 IS NOT NULL OR certificate_subject IS NOT NULL);
COMMENT ON COLUMN api_key.hash IS
    'lower hex of BLAKE2b-256 of all of it; NULL: the certificate is enough';
CREATE UNIQUE INDEX api_key_certificate ON api_key
    (tenant_id, certificate_sha256, certificate_subject) NULLS NOT DISTINCT
    WHERE hash IS NULL;

CREATE OR REPLACE FUNCTION api_key_json(k api_key) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('api_key_id', k.api_key_id, 'name', k.name,
        'prefix', k.prefix, 'rights', right_names(k.rights), 'critical', k.critical,
        'networks', to_json(k.networks), 'certificate_sha256', k.certificate_sha256,
        'certificate_subject', k.certificate_subject, 'secret', k.hash IS NOT NULL,
        'expires_at', k.expires_at,
        'created_by', k.created_by, 'created_at', k.created_at,
        'last_used_at', k.last_used_at) $$;

-- As openssl(1) prints it, with or without colons; lower hex.
CREATE FUNCTION certificate_hash(p_text text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    hex text := lower(replace(p_text, ':', ''));
BEGIN
    IF hex !~ '^[0-9a-f]{64}$' THEN
        PERFORM refuse(422, 'certificate_sha256', 'A SHA-256 is 64 hex digits: '
            || 'openssl x509 -noout -fingerprint -sha256 -in FILE.');
    END IF;
    RETURN hex;
END $$;

-- p_prefix, p_hash, p_shown: of a secret, which a certificate makes needless
-- unless it is asked for: then both must come.
CREATE OR REPLACE FUNCTION api_key_add(p_tenant int, p_body jsonb, p_prefix text, p_hash text,
    p_shown text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    bits int := right_bits(ARRAY(SELECT jsonb_array_elements_text(p_body -> 'rights')));
    for_critical boolean := coalesce((p_body ->> 'critical')::boolean, false);
    sha256 text := certificate_hash(p_body ->> 'certificate_sha256');
    subject text := p_body ->> 'certificate_subject';
    secret boolean := coalesce((p_body ->> 'secret')::boolean,
        sha256 IS NULL AND subject IS NULL);
    nets cidr[];
    k api_key;
BEGIN
    PERFORM in_scope(p_tenant);
    PERFORM may_give(bits);
    IF bits & right_bits('{platform}') <> 0 AND p_tenant <> 0 THEN
        PERFORM refuse(422, 'rights', 'The right "platform" belongs to the platform alone.');
    END IF;
    IF NOT secret AND sha256 IS NULL AND subject IS NULL THEN
        PERFORM refuse(422, 'secret', 'Without a secret it needs a certificate.');
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
        certificate_sha256, certificate_subject, expires_at, created_by)
    VALUES (p_tenant, p_body ->> 'name', CASE WHEN secret THEN p_prefix ELSE '' END,
        CASE WHEN secret THEN p_hash END, bits, for_critical, nets, sha256, subject,
        (p_body ->> 'expires_at')::timestamptz,
        coalesce(current_setting('headend.actor', true), ''))
    RETURNING * INTO k;
    RETURN (api_key_json(k)::jsonb || jsonb_build_object('key',
        CASE WHEN secret THEN p_shown END))::json;
END $$;

-- A machine: by its key, and the certificate where that needs one; or (p_hash
-- NULL) by its certificate at the tenant that it names. A certificate by itself
-- names no tenant: whoever may bind one may bind another's. p_sha256, p_subject:
-- '' where no certificate came.
DROP FUNCTION authenticate_key(text, inet);
CREATE FUNCTION authenticate_key(p_hash text, p_tenant text, p_sha256 text,
    p_subject text, p_address inet)
RETURNS TABLE (tenant_id int, api_key_id int, name text, rights int, critical boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    k api_key;
BEGIN
    IF p_hash IS NOT NULL THEN
        SELECT * INTO k FROM api_key a WHERE a.hash = p_hash;
    ELSE
        SELECT a.* INTO k FROM api_key a JOIN tenant t ON t.tenant_id = a.tenant_id
            WHERE t.name = p_tenant AND a.hash IS NULL
              AND coalesce(a.certificate_sha256 = p_sha256, true)
              AND coalesce(a.certificate_subject = p_subject, true)
            ORDER BY a.certificate_sha256 NULLS LAST, a.certificate_subject NULLS LAST
            LIMIT 1;
    END IF;
    IF k.api_key_id IS NULL OR k.expires_at <= now()
        OR k.certificate_sha256 <> p_sha256 OR k.certificate_subject <> p_subject
        OR k.networks <> '{}' AND NOT p_address <<= ANY (k.networks)
        OR EXISTS (SELECT FROM tenant t WHERE t.tenant_id = k.tenant_id
            AND t.suspended_at IS NOT NULL) THEN
        RETURN;
    END IF;
    UPDATE api_key a SET last_used_at = now() WHERE a.tenant_id = k.tenant_id
        AND a.api_key_id = k.api_key_id
        AND (a.last_used_at IS NULL OR a.last_used_at < now() - interval '1 minute');
    RETURN QUERY SELECT k.tenant_id, k.api_key_id, k.name, k.rights, k.critical;
END $$;

-- ---- the second factor of a session ----

ALTER TABLE session ADD COLUMN second_factor text
    CHECK (second_factor IN ('totp', 'provider'));
COMMENT ON COLUMN session.second_factor IS
    'which was proven in it: a code of ours, or one that the identity provider vouches for';
UPDATE session s SET second_factor = 'totp' FROM account a
    WHERE a.account_id = s.account_id AND a.totp IS NOT NULL AND a.oidc_subject IS NULL;

-- A second factor is missing: who has one must prove it, and who has none must
-- get one where the tenant demands it.
CREATE FUNCTION lacks_factor(s session, a account, t tenant) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT s.second_factor IS NULL
        AND (a.totp IS NOT NULL OR coalesce(t.second_factor, false)) $$;

CREATE OR REPLACE FUNCTION authenticate_session(p_hash text, p_idle_s int, p_absolute_s int)
RETURNS TABLE (tenant_id int, account_id int, email text, rights int,
    must_change boolean, confirmed boolean, lacks_factor boolean, second_person boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE session s SET seen_at = now()
        WHERE s.hash = p_hash AND s.seen_at < now() - interval '30 seconds'
          AND s.seen_at > now() - p_idle_s * interval '1 second';
    RETURN QUERY SELECT coalesce(m.tenant_id, -1), a.account_id, a.email,
            CASE WHEN a.must_change OR m.tenant_id IS NULL OR t.suspended_at IS NOT NULL
                OR lacks_factor(s, a, t) THEN 0 ELSE r.rights END,
            a.must_change, coalesce(s.confirmed_at > now() - interval '5 minutes', false),
            lacks_factor(s, a, t),
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

DROP FUNCTION session_show(int, int);
CREATE FUNCTION session_show(p_account int, p_tenant int, p_hash text) RETURNS json
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT json_build_object('account_id', a.account_id, 'email', a.email, 'name', a.name,
        'must_change', a.must_change, 'second_factor', a.totp IS NOT NULL,
        'lacks_factor', coalesce((SELECT lacks_factor(s, a, t) FROM session s
            LEFT JOIN tenant t ON t.tenant_id = p_tenant
            WHERE s.hash = p_hash AND s.account_id = p_account), false),
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

CREATE OR REPLACE FUNCTION session_switch(p_account int, p_hash text, p_tenant text)
RETURNS json LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    id int := (SELECT m.tenant_id FROM membership m JOIN tenant t USING (tenant_id)
        WHERE m.account_id = p_account AND t.name = p_tenant);
BEGIN
    IF id IS NULL THEN
        PERFORM refuse(404, 'tenant', 'This account belongs to no tenant of this name.');
    END IF;
    UPDATE session SET current_tenant = id WHERE hash = p_hash AND account_id = p_account;
    RETURN session_show(p_account, id, p_hash);
END $$;

-- p_step: of the code that came, 0 if it was none; p_recovery: hash of what may be a
-- recovery code. It is used up. False: it was neither.
CREATE FUNCTION factor_use(p_account int, p_step bigint, p_recovery text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE account a SET failed = 0, locked_until = NULL,
        totp_step = greatest(a.totp_step, p_step),
        recovery = CASE WHEN p_step > a.totp_step THEN a.recovery
            ELSE array_remove(a.recovery, p_recovery) END
        WHERE a.account_id = p_account AND a.totp IS NOT NULL
          AND (p_step > a.totp_step OR p_recovery = ANY (a.recovery));
    RETURN FOUND;
END $$;

-- A code after the identity provider's word. NULL: it was none.
CREATE FUNCTION session_factor(p_account int, p_hash text, p_step bigint, p_recovery text)
RETURNS json LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    tenant int;
BEGIN
    IF NOT EXISTS (SELECT FROM account WHERE account_id = p_account AND totp IS NOT NULL) THEN
        PERFORM refuse(409, NULL, 'There is no second factor yet: POST /api/v1/totp.');
    END IF;
    IF NOT factor_use(p_account, p_step, p_recovery) THEN
        RETURN NULL;
    END IF;
    UPDATE session SET second_factor = 'totp'
        WHERE hash = p_hash AND account_id = p_account RETURNING current_tenant INTO tenant;
    PERFORM audit(coalesce(tenant, 0), 'login.factor', 'account', p_account::text, NULL, NULL);
    RETURN session_show(p_account, tenant, p_hash);
END $$;

CREATE OR REPLACE FUNCTION login_good(p_account int, p_hash text, p_address text, p_agent text,
    p_step bigint, p_recovery text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    first int := (SELECT m.tenant_id FROM membership m JOIN tenant t USING (tenant_id)
        WHERE m.account_id = p_account ORDER BY t.suspended_at IS NOT NULL, t.name LIMIT 1);
    before account;
    left_over int;
BEGIN
    SELECT * INTO before FROM account WHERE account_id = p_account FOR UPDATE;
    IF before.totp IS NOT NULL AND NOT factor_use(p_account, p_step, p_recovery) THEN
        RETURN NULL;
    END IF;
    UPDATE account SET failed = 0, locked_until = NULL, last_login_at = now()
        WHERE account_id = p_account RETURNING cardinality(recovery) INTO left_over;
    DELETE FROM session WHERE account_id = p_account
        AND seen_at < now() - interval '30 days';
    INSERT INTO session (hash, account_id, current_tenant, address, agent, confirmed_at,
        second_factor)
        VALUES (p_hash, p_account, first, left(p_address, 64), left(p_agent, 200), now(),
            CASE WHEN before.totp IS NOT NULL THEN 'totp' END);
    PERFORM set_config('headend.actor', before.email, true);
    PERFORM audit(coalesce(first, 0), 'login', 'account', p_account::text, NULL,
        CASE WHEN left_over < cardinality(before.recovery)
            THEN jsonb_build_object('recovery_codes_left', left_over) END);
    RETURN session_show(p_account, first, p_hash);
END $$;

-- p_factor: the provider says that it asked for a second factor, and the operator
-- believes it.
DROP FUNCTION oidc_login(text, text, text, text, text, text, boolean);
CREATE FUNCTION oidc_login(p_issuer text, p_subject text, p_email text, p_hash text,
    p_address text, p_agent text, p_fresh boolean, p_factor boolean) RETURNS json
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
    INSERT INTO session (hash, account_id, current_tenant, address, agent, confirmed_at,
        second_factor)
        VALUES (p_hash, id, first, left(p_address, 64), left(p_agent, 200),
            CASE WHEN p_fresh THEN now() END, CASE WHEN p_factor THEN 'provider' END);
    PERFORM set_config('headend.actor', (SELECT email FROM account WHERE account_id = id), true);
    PERFORM audit(coalesce(first, 0), 'login', 'account', id::text, NULL,
        jsonb_build_object('issuer', p_issuer, 'second_factor', p_factor));
    RETURN session_show(id, first, p_hash);
END $$;

-- The session in which the first code came has proven it.
CREATE OR REPLACE FUNCTION totp_confirm(p_account int, p_step bigint, p_recovery text[],
    p_keep text)
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
    UPDATE session SET second_factor = 'totp' WHERE account_id = p_account;
    PERFORM audit(0, 'totp.add', 'account', p_account::text, NULL, NULL);
END $$;

-- Only in a session that has proven it: else who got hold of the provider's
-- account would put one of his own in its place.
DROP FUNCTION totp_remove(int);
CREATE FUNCTION totp_remove(p_account int, p_hash text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF EXISTS (SELECT FROM account WHERE account_id = p_account AND totp IS NOT NULL)
        AND NOT EXISTS (SELECT FROM session WHERE hash = p_hash
            AND second_factor IS NOT NULL) THEN
        PERFORM refuse(403, 'second_factor',
            'Give its code first: POST /api/v1/session/factor.');
    END IF;
    UPDATE account SET totp = NULL, recovery = '{}'
        WHERE account_id = p_account AND totp IS NOT NULL;
    IF NOT FOUND THEN
        PERFORM refuse(404, NULL, 'There is no second factor.');
    END IF;
    UPDATE session SET second_factor = NULL
        WHERE account_id = p_account AND second_factor = 'totp';
    PERFORM audit(0, 'totp.remove', 'account', p_account::text, NULL, NULL);
END $$;

REVOKE ALL ON FUNCTION authenticate_key, session_show, factor_use, session_factor,
    oidc_login, totp_remove FROM PUBLIC;
GRANT EXECUTE ON FUNCTION authenticate_key, session_show, session_factor, oidc_login,
    totp_remove TO headend_server;

-- ---- quotas: the operator says how much, the tenant's admin no more ----

ALTER TABLE tenant
    ADD COLUMN codec_quota int CHECK (codec_quota >= 0),
    ADD COLUMN frame_days_quota int CHECK (frame_days_quota BETWEEN 1 AND 3660);
COMMENT ON COLUMN tenant.codec_quota IS 'most payload codecs, by name; NULL: no limit';
COMMENT ON COLUMN tenant.frame_days_quota IS 'most that frame_days may be; NULL: 3660';

CREATE OR REPLACE FUNCTION tenant_json(t tenant) RETURNS json LANGUAGE sql STABLE AS $$
    SELECT json_build_object('tenant_id', t.tenant_id, 'name', t.name,
        'timezone', t.timezone, 'locale', t.locale, 'frame_days', t.frame_days,
        'meter_quota', t.meter_quota, 'codec_quota', t.codec_quota,
        'frame_days_quota', t.frame_days_quota,
        'uplinks_per_minute', t.uplinks_per_minute, 'critical', t.critical,
        'second_factor', t.second_factor,
        'suspended_at', t.suspended_at, 'created_at', t.created_at,
        'revision', t.revision) $$;

CREATE FUNCTION frame_days_checked() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.frame_days_quota IS DISTINCT FROM OLD.frame_days_quota THEN
        NEW.frame_days := least(NEW.frame_days, NEW.frame_days_quota);
    ELSIF NEW.frame_days > NEW.frame_days_quota THEN
        PERFORM refuse(422, 'frame_days', format(
            'The platform''s operator allows this tenant %s days.', NEW.frame_days_quota));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER frame_days_quota BEFORE UPDATE OF frame_days, frame_days_quota ON tenant
    FOR EACH ROW EXECUTE FUNCTION frame_days_checked();

CREATE FUNCTION codec_quota_check() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    quota int := (SELECT codec_quota FROM tenant WHERE tenant_id = NEW.tenant_id);
BEGIN
    IF quota <= (SELECT count(DISTINCT c.name) FROM codec c
        WHERE c.tenant_id = NEW.tenant_id AND c.name <> NEW.name) THEN
        PERFORM refuse(409, 'name', format(
            'The tenant may have %s payload codecs and has them.', quota));
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER codec_quota BEFORE INSERT ON codec
    FOR EACH ROW EXECUTE FUNCTION codec_quota_check();

-- Absent: as it was; null (uplinks_per_minute: 0 too): no limit.
CREATE FUNCTION quota_said(p_body jsonb, p_name text, p_was int) RETURNS int
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN p_body ? p_name THEN (p_body ->> p_name)::int ELSE p_was END $$;

CREATE FUNCTION tenant_quotas(p_id int, p_body jsonb) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    UPDATE tenant SET meter_quota = quota_said(p_body, 'meter_quota', meter_quota),
        codec_quota = quota_said(p_body, 'codec_quota', codec_quota),
        frame_days_quota = quota_said(p_body, 'frame_days_quota', frame_days_quota),
        uplinks_per_minute = nullif(
            quota_said(p_body, 'uplinks_per_minute', uplinks_per_minute), 0)
        WHERE tenant_id = p_id $$;

CREATE OR REPLACE FUNCTION tenant_make(p_body jsonb) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    id int;
BEGIN
    PERFORM in_scope(0);
    id := tenant_add(p_body ->> 'name',
        coalesce(zone_check('timezone', p_body ->> 'timezone'), 'UTC'));
    PERFORM tenant_quotas(id, p_body);
    UPDATE tenant SET locale = coalesce(p_body ->> 'locale', locale) WHERE tenant_id = id;
    RETURN (SELECT tenant_json(t) FROM tenant t WHERE tenant_id = id);
END $$;

CREATE OR REPLACE FUNCTION tenant_operate(p_body jsonb, p_id int) RETURNS json
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
    PERFORM tenant_quotas(p_id, p_body);
    UPDATE tenant SET
        suspended_at = CASE (p_body ->> 'suspended')::boolean WHEN true
            THEN coalesce(suspended_at, now()) WHEN false THEN NULL ELSE suspended_at END,
        revision = revision + 1
        WHERE tenant_id = p_id RETURNING * INTO t;
    RETURN tenant_json(t);
END $$;

REVOKE ALL ON FUNCTION tenant_quotas FROM PUBLIC;
GRANT EXECUTE ON FUNCTION tenant_quotas TO headend_server;
