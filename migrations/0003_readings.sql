-- Frames with their fate, captures with their evidence, and the views that
-- people read.

-- One journal of one node, and how far it is stored. Frame ids are
-- journal_no << 48 | position / 8, so an id names the very bytes on that disk.
CREATE TABLE journal (
    journal_no smallint GENERATED ALWAYS AS IDENTITY (MAXVALUE 32767) PRIMARY KEY,
    node text NOT NULL,
    cursor bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    stored_at timestamptz
);
GRANT SELECT, INSERT, UPDATE ON journal TO headend_server;

CREATE TABLE frame (
    received_at timestamptz NOT NULL,
    frame_time timestamptz NOT NULL, -- when the network heard it
    frame_id bigint NOT NULL,
    duplicate_of bigint,
    counter bigint,                  -- fCnt, or the meter's own sequence
    gateway bigint,
    tenant_id int NOT NULL,
    integration_id int,
    meter_id int,
    port int,
    size int NOT NULL,               -- bytes as they arrived
    frames int NOT NULL DEFAULT 1,   -- a sample of rejected ones stands for more
    codec_version int,
    rssi smallint,                   -- dBm
    snr smallint,                    -- dB * 10
    source smallint NOT NULL,
    fate smallint NOT NULL,          -- 1 stored 2 duplicate 3 quarantined 4 rejected
    codec text,
    peer text,
    reason text,
    detail text,
    extras jsonb,                    -- decoded, but no register: never dropped
    payload bytea NOT NULL,
    PRIMARY KEY (tenant_id, received_at, frame_id)
) PARTITION BY RANGE (received_at);
CREATE INDEX frame_by_id ON frame USING brin (frame_id int8_minmax_multi_ops)
    WITH (pages_per_range = 16);
CALL protect('frame');
GRANT SELECT, INSERT, DELETE ON frame TO headend_server;

-- What tells frames apart. A key counts for the dedup window around seen_at.
CREATE TABLE frame_key (
    key uuid NOT NULL,
    seen_at timestamptz NOT NULL,
    frame_id bigint NOT NULL,
    tenant_id int NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CALL protect('frame_key');
GRANT SELECT, INSERT, UPDATE ON frame_key TO headend_server;

-- Frames that could not become readings, whole (in the journal's own form),
-- until they are replayed.
CREATE TABLE quarantine (
    tenant_id int NOT NULL,
    frame_id bigint NOT NULL,
    received_at timestamptz NOT NULL,
    meter_id int,
    reason text NOT NULL,
    detail text,
    record bytea NOT NULL,
    PRIMARY KEY (tenant_id, frame_id)
);
CREATE INDEX quarantine_reason ON quarantine (tenant_id, reason, frame_id);
CALL protect('quarantine');
GRANT SELECT, INSERT, UPDATE, DELETE ON quarantine TO headend_server;

CREATE TABLE profile (
    profile_id bigint NOT NULL, -- from the content, see schema/reading.h
    tenant_id int NOT NULL,
    obis text[] NOT NULL,
    unit text[] NOT NULL,
    kind text[] NOT NULL,
    factor numeric[] NOT NULL,  -- value = mantissa * factor
    PRIMARY KEY (tenant_id, profile_id)
);
CALL protect('profile');
GRANT SELECT, INSERT ON profile TO headend_server;

CREATE TABLE capture (
    time timestamptz NOT NULL,        -- reconciled
    received_at timestamptz NOT NULL,
    meter_time timestamptz,           -- the meter's own
    frame_id bigint NOT NULL,
    profile_id bigint NOT NULL,
    tenant_id int NOT NULL,
    meter_id int NOT NULL,
    quality int NOT NULL,             -- bits of schema/quality.h; 0 is good
    uncertainty_ms int NOT NULL,
    revision smallint NOT NULL DEFAULT 0,
    codec_version_id smallint NOT NULL,
    values bigint[] NOT NULL,         -- mantissas in the profile's order
    value_quality int[],              -- only where it is not the row's
    PRIMARY KEY (tenant_id, meter_id, time, profile_id, revision)
) PARTITION BY RANGE (time);
CALL protect('capture');
GRANT SELECT, INSERT ON capture TO headend_server;

CREATE TABLE event (
    time timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    meter_time timestamptz,
    frame_id bigint,
    tenant_id int NOT NULL,
    meter_id int NOT NULL,
    severity smallint NOT NULL,       -- 0 debug 1 info 2 warning 3 critical
    state smallint NOT NULL,          -- 0 pulse 1 start 2 end
    code text NOT NULL,
    detail text,
    PRIMARY KEY (tenant_id, meter_id, time, code, state)
) PARTITION BY RANGE (time);
CALL protect('event');
GRANT SELECT, INSERT ON event TO headend_server;

-- What each contact said about the meter's clock; the time service reads it.
CREATE TABLE clock_sample (
    tenant_id int NOT NULL,
    meter_id int NOT NULL,
    heard_at timestamptz NOT NULL,
    meter_time timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    frame_id bigint NOT NULL,
    PRIMARY KEY (tenant_id, meter_id, heard_at, frame_id)
);
CALL protect('clock_sample');
GRANT SELECT, INSERT ON clock_sample TO headend_server;

CREATE TABLE ledger (
    tenant_id int NOT NULL,
    minute timestamptz NOT NULL,      -- of arrival
    stored bigint NOT NULL DEFAULT 0,
    duplicate bigint NOT NULL DEFAULT 0,
    quarantined bigint NOT NULL DEFAULT 0,
    rejected bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, minute)
);
COMMENT ON TABLE ledger IS 'fates of frames; received = their sum + what the journals still hold';
CALL protect('ledger');
GRANT SELECT, INSERT, UPDATE ON ledger TO headend_server;

-- Every reading of every revision.
CREATE VIEW reading WITH (security_invoker = true) AS
SELECT c.tenant_id, c.meter_id, o.obis, c.time,
       c.values[o.n] * o.factor AS value, o.unit, o.kind,
       coalesce(c.value_quality[o.n], c.quality) AS quality,
       c.meter_time, c.received_at, c.uncertainty_ms, c.revision, c.frame_id,
       c.profile_id, c.codec_version_id
FROM capture c
JOIN profile p ON p.tenant_id = c.tenant_id AND p.profile_id = c.profile_id
CROSS JOIN LATERAL unnest(p.obis, p.unit, p.kind, p.factor)
    WITH ORDINALITY AS o(obis, unit, kind, factor, n)
WHERE c.values[o.n] IS NOT NULL;

-- One reading per meter, register and time: valid ones only (not marked
-- invalid by the meter, bit 512), the newest revision first, then the one that
-- arrived last, then the smaller profile id.
CREATE VIEW reading_current WITH (security_invoker = true) AS
SELECT DISTINCT ON (tenant_id, meter_id, time, obis) *
FROM reading
WHERE quality & 512 = 0
ORDER BY tenant_id, meter_id, time, obis, revision DESC, received_at DESC, profile_id;

GRANT SELECT ON reading, reading_current TO headend_server;
