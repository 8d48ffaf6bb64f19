CREATE TABLE deployments (
    deployment_key TEXT PRIMARY KEY NOT NULL,
    group_key TEXT NOT NULL,
    id TEXT NOT NULL,
    state TEXT NOT NULL,
    tags TEXT,
    shown TEXT NOT NULL,
    content TEXT NOT NULL,
    secrets TEXT,
    changed_ms BIGINT NOT NULL
);
CREATE INDEX deployments_by_group ON deployments (group_key, changed_ms);
CREATE TABLE deployment_steps (
    deployment_key TEXT NOT NULL,
    step TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    shown TEXT NOT NULL,
    PRIMARY KEY (deployment_key, step)
);
