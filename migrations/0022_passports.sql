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
