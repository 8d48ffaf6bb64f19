-- Who does periodic work now; a name is free once its time is over.
CREATE TABLE leases (
    name TEXT PRIMARY KEY NOT NULL,
    owner TEXT NOT NULL,
    until_ms BIGINT NOT NULL
);

-- When periodic work was done, what it found, when it is due again.
CREATE TABLE care (
    task TEXT NOT NULL,
    region TEXT NOT NULL,
    ended_ms BIGINT NOT NULL,
    due_ms BIGINT NOT NULL,
    result TEXT NOT NULL,
    error TEXT,
    PRIMARY KEY (task, region)
);

-- SHA-256 of contents, by their BLAKE3; without one it waits for a worker.
CREATE TABLE digests (
    content TEXT PRIMARY KEY NOT NULL,
    manifest TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 TEXT,
    asked_ms BIGINT NOT NULL
);
CREATE INDEX digests_waiting ON digests (asked_ms) WHERE sha256 IS NULL;

-- What was stored, the last time it was measured on a day.
CREATE TABLE storage_usage (
    day TEXT NOT NULL,
    subscription TEXT NOT NULL,
    owner TEXT NOT NULL,
    region TEXT NOT NULL,
    logical_bytes BIGINT NOT NULL,
    content_bytes BIGINT NOT NULL,
    copies BIGINT NOT NULL,
    measured_ms BIGINT NOT NULL,
    PRIMARY KEY (subscription, day, owner, region)
);

-- Bytes that left a region on a day.
CREATE TABLE egress_usage (
    day TEXT NOT NULL,
    subscription TEXT NOT NULL,
    owner TEXT NOT NULL,
    meter TEXT NOT NULL,
    region TEXT NOT NULL,
    target TEXT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (subscription, day, owner, meter, region, target)
);

-- Bytes that resources hold of their subscription's quota.
CREATE TABLE byte_holds (
    owner TEXT PRIMARY KEY NOT NULL,
    subscription TEXT NOT NULL,
    bytes BIGINT NOT NULL
);
CREATE INDEX byte_holds_by_subscription ON byte_holds (subscription);

-- Results of opening a disk held its secret; they are made again when they are read.
UPDATE operations SET output = NULL WHERE work = 'BeginAccess';
