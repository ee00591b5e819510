-- Clock samples come with every frame: they are kept for 400 days, so that a
-- year's drift can be seen, and found by time through a BRIN, which costs
-- nothing to write.
CREATE INDEX clock_sample_heard ON clock_sample USING brin (heard_at);

CREATE FUNCTION expire_samples() RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS
$$ DELETE FROM clock_sample WHERE heard_at < now() - interval '400 days' $$;
REVOKE ALL ON FUNCTION expire_samples FROM PUBLIC;
GRANT EXECUTE ON FUNCTION expire_samples TO headend_server;

-- In the audit trail a long value (a script) is told by its length and hash.
CREATE OR REPLACE FUNCTION audit_view(p_row jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT jsonb_object_agg(key, CASE
        WHEN value = 'null' THEN value
        WHEN key IN ('password', 'hash', 'totp', 'totp_pending', 'recovery', 'secret', 'sealed')
            THEN '"(secret)"'
        WHEN length(value #>> '{}') > 1000 THEN to_jsonb(format('(%s bytes, SHA-256 %s)',
            octet_length(value #>> '{}'),
            encode(sha256(convert_to(value #>> '{}', 'UTF8')), 'hex')))
        ELSE value END)
    FROM jsonb_each(p_row)
    WHERE key NOT IN ('changed_xid', 'revision', 'last_used_at', 'seen_at') $$;
CALL audited('codec', 'name');
