CREATE TABLE principal_keys (
    principal TEXT NOT NULL,
    kid TEXT NOT NULL,
    public_key TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (principal, kid)
);

CREATE TABLE used_assertions (hash TEXT PRIMARY KEY NOT NULL, expires_ms BIGINT NOT NULL);
CREATE INDEX used_assertions_by_expiry ON used_assertions (expires_ms);

ALTER TABLE refresh_tokens ADD COLUMN app_id TEXT NOT NULL DEFAULT '';
ALTER TABLE refresh_tokens ADD COLUMN family TEXT NOT NULL DEFAULT '';
ALTER TABLE refresh_tokens ADD COLUMN spent_ms BIGINT;
CREATE INDEX refresh_tokens_by_principal ON refresh_tokens (principal);
CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_ms);

ALTER TABLE device_codes ADD COLUMN app_id TEXT NOT NULL DEFAULT '';
ALTER TABLE device_codes ADD COLUMN scope TEXT NOT NULL DEFAULT '';
ALTER TABLE device_codes ADD COLUMN denied BIGINT NOT NULL DEFAULT 0;
ALTER TABLE device_codes ADD COLUMN polled_ms BIGINT NOT NULL DEFAULT 0;
CREATE INDEX device_codes_by_expiry ON device_codes (expires_ms);
