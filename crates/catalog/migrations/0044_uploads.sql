-- Bytes that uploads under way hold of a quota until a row says whose they are.
CREATE TABLE uploads (
    id TEXT NOT NULL PRIMARY KEY,
    subscription TEXT NOT NULL,
    blob TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    lent_bytes BIGINT NOT NULL,
    until_ms BIGINT NOT NULL
);
CREATE INDEX uploads_by_subscription ON uploads (subscription);
CREATE INDEX uploads_by_blob ON uploads (blob);
