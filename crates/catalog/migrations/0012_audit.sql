CREATE TABLE audit (
    sequence BIGINT PRIMARY KEY NOT NULL,
    at_ms BIGINT NOT NULL,
    tenant TEXT NOT NULL,
    subscription TEXT NOT NULL,
    principal TEXT NOT NULL,
    caller TEXT NOT NULL,
    action TEXT NOT NULL,
    scope TEXT NOT NULL,
    code TEXT NOT NULL,
    correlation TEXT NOT NULL,
    client TEXT NOT NULL,
    before_digest TEXT NOT NULL,
    after_digest TEXT NOT NULL,
    hash TEXT NOT NULL
);
CREATE INDEX audit_by_subscription ON audit (subscription, sequence);
