-- How much a tenant may send: above it, it is slowed down (never refused for
-- good, never dropped).
ALTER TABLE tenant
    ADD COLUMN uplinks_per_minute int CHECK (uplinks_per_minute BETWEEN 1 AND 10000000);
COMMENT ON COLUMN tenant.uplinks_per_minute IS 'NULL: no limit';
CREATE TRIGGER tenant_notify AFTER UPDATE ON tenant
    FOR EACH STATEMENT EXECUTE FUNCTION directory_changed();

-- 0: no limit.
CREATE FUNCTION directory_quotas() RETURNS TABLE (tenant_id int, uplinks_per_minute int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT t.tenant_id, coalesce(t.uplinks_per_minute, 0) FROM tenant t $$;

CREATE FUNCTION tenant_quota(p_name text, p_uplinks_per_minute int) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$ UPDATE tenant SET uplinks_per_minute = nullif(p_uplinks_per_minute, 0)
   WHERE name = p_name RETURNING true $$;

REVOKE ALL ON FUNCTION directory_quotas, tenant_quota FROM PUBLIC;
GRANT EXECUTE ON FUNCTION directory_quotas, tenant_quota TO headend_server;
