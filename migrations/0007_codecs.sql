-- Payload codecs of a tenant: versions that never change, of which one a name
-- is in force.
CREATE TABLE codec (
    tenant_id int NOT NULL REFERENCES tenant,
    name text NOT NULL CHECK (name ~ '^[a-z0-9][a-z0-9._-]{0,62}$'),
    version int NOT NULL CHECK (version > 0),
    script text NOT NULL CHECK (octet_length(script) BETWEEN 1 AND 1048576),
    mapping text CHECK (octet_length(mapping) <= 65536),
    vectors text CHECK (octet_length(vectors) <= 1048576),
    state text NOT NULL DEFAULT 'uploaded'
        CHECK (state IN ('uploaded', 'active', 'retired')),
    codec_version_id smallint REFERENCES codec_version, -- once it was active
    created_at timestamptz NOT NULL DEFAULT now(),
    activated_at timestamptz,
    changed_xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    PRIMARY KEY (tenant_id, name, version),
    CHECK (state = 'uploaded' OR codec_version_id IS NOT NULL)
);
CREATE UNIQUE INDEX codec_active ON codec (tenant_id, name) WHERE state = 'active';
CREATE INDEX codec_changed ON codec (changed_xid);
CALL protect('codec');
GRANT SELECT, INSERT, UPDATE (state, codec_version_id, activated_at) ON codec
    TO headend_server;

CREATE FUNCTION codec_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.changed_xid := pg_current_xact_id();
    RETURN NEW;
END $$;
CREATE TRIGGER codec_row BEFORE UPDATE ON codec
    FOR EACH ROW EXECUTE FUNCTION codec_changed();
CREATE TRIGGER codec_notify AFTER UPDATE ON codec
    FOR EACH STATEMENT EXECUTE FUNCTION directory_changed();

-- The number of the new version; of the newest one where nothing differs.
-- HE004: the tenant's codecs together would be larger than they may.
CREATE FUNCTION codec_upload(p_tenant int, p_name text, p_script text,
    p_mapping text, p_vectors text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    newest codec;
    held bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('codec ' || p_tenant, 0));
    SELECT * INTO newest FROM codec c
        WHERE c.tenant_id = p_tenant AND c.name = p_name
        ORDER BY c.version DESC LIMIT 1;
    IF (newest.script, newest.mapping, newest.vectors)
       IS NOT DISTINCT FROM (p_script, p_mapping, p_vectors) THEN
        RETURN newest.version;
    END IF;
    SELECT coalesce(sum(octet_length(c.script) + coalesce(octet_length(c.mapping), 0)
                        + coalesce(octet_length(c.vectors), 0)), 0)
        INTO held FROM codec c WHERE c.tenant_id = p_tenant;
    IF held + octet_length(p_script) > 64 << 20 THEN
        RAISE EXCEPTION 'the codecs of a tenant may hold 64 MiB in all'
            USING ERRCODE = 'HE004';
    END IF;
    INSERT INTO codec (tenant_id, name, version, script, mapping, vectors)
    VALUES (p_tenant, p_name, coalesce(newest.version, 0) + 1, p_script,
            p_mapping, p_vectors);
    RETURN coalesce(newest.version, 0) + 1;
END $$;

-- Puts one version in force (NULL: the newest); its number, or NULL where there
-- is none. With a model, the model's meters are decoded by it from now on.
CREATE FUNCTION codec_activate(p_tenant int, p_name text, p_version int,
    p_model text, p_maker text, p_medium text) RETURNS int LANGUAGE plpgsql AS $$
DECLARE
    v int;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('codec ' || p_tenant, 0));
    SELECT max(c.version) INTO v FROM codec c
        WHERE c.tenant_id = p_tenant AND c.name = p_name
          AND (p_version IS NULL OR c.version = p_version);
    UPDATE codec c SET state = 'retired'
        WHERE c.tenant_id = p_tenant AND c.name = p_name AND c.version <> v
          AND c.state = 'active';
    UPDATE codec c SET state = 'active', activated_at = now(),
            codec_version_id = codec_version_of(c.name, c.version)
        WHERE c.tenant_id = p_tenant AND c.name = p_name AND c.version = v
          AND c.state <> 'active';
    IF v IS NOT NULL AND p_model IS NOT NULL THEN
        INSERT INTO meter_model (tenant_id, name, maker, medium, codec)
        VALUES (p_tenant, p_model, p_maker, p_medium, p_name)
        ON CONFLICT (tenant_id, name) DO UPDATE SET codec = excluded.codec;
    END IF;
    RETURN v;
END $$;

-- A model's codec is its meters' codec.
CREATE FUNCTION model_codec_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE meter m SET state = m.state
        WHERE m.tenant_id = NEW.tenant_id AND m.model_id = NEW.model_id;
    RETURN NULL;
END $$;
CREATE TRIGGER meter_model_codec AFTER UPDATE OF codec ON meter_model
    FOR EACH ROW WHEN (OLD.codec IS DISTINCT FROM NEW.codec)
    EXECUTE FUNCTION model_codec_changed();

-- Those in force that changed since a snapshot's xmin, as directory_meters().
CREATE FUNCTION directory_codecs(p_since xid8) RETURNS TABLE
    (tenant_id int, name text, version int, codec_version_id smallint,
     script text, mapping text, upto xid8)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS
$$ SELECT c.tenant_id, c.name, c.version, c.codec_version_id, c.script,
          coalesce(c.mapping, ''), pg_snapshot_xmin(pg_current_snapshot())
   FROM codec c WHERE c.state = 'active' AND c.changed_xid >= p_since $$;
REVOKE ALL ON FUNCTION directory_codecs FROM PUBLIC;
GRANT EXECUTE ON FUNCTION directory_codecs TO headend_server;
