-- Two roles. headend_owner owns every object and nobody logs in as it;
-- headend_server is what the server works as: it owns nothing, is no superuser
-- and cannot bypass row-level security. Roles belong to the cluster, so another
-- database of it may have made them already.
DO $$
BEGIN
    BEGIN
        CREATE ROLE headend_owner NOLOGIN NOSUPERUSER NOBYPASSRLS;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
    BEGIN
        CREATE ROLE headend_server LOGIN NOSUPERUSER NOBYPASSRLS;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
    IF EXISTS (SELECT FROM pg_roles WHERE rolname IN ('headend_owner', 'headend_server')
               AND (rolsuper OR rolbypassrls)) THEN
        RAISE EXCEPTION 'role headend_owner or headend_server can bypass row-level security'
            USING HINT = 'ALTER ROLE ... NOSUPERUSER NOBYPASSRLS';
    END IF;
    IF NOT pg_has_role(current_user, 'headend_owner', 'MEMBER') THEN
        EXECUTE format('GRANT headend_owner TO %I', current_user);
    END IF;
    EXECUTE format('GRANT TEMPORARY, CONNECT ON DATABASE %I TO headend_server', current_database());
END $$;
GRANT USAGE, CREATE ON SCHEMA public TO headend_owner;
GRANT USAGE ON SCHEMA public TO headend_server;
