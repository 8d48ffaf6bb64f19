CREATE TABLE resources (
    key TEXT PRIMARY KEY NOT NULL,
    id TEXT NOT NULL,
    kind TEXT NOT NULL,
    subscription TEXT NOT NULL,
    resource_group TEXT NOT NULL,
    parent TEXT NOT NULL,
    location TEXT NOT NULL,
    sort_key TEXT NOT NULL,
    tags TEXT,
    top TEXT NOT NULL,
    properties TEXT NOT NULL,
    internal TEXT NOT NULL,
    state TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    changed_ms BIGINT NOT NULL,
    deleted_ms BIGINT,
    revision BIGINT NOT NULL
);
CREATE INDEX resources_by_parent ON resources (parent, kind, sort_key, key);
CREATE INDEX resources_by_group ON resources (subscription, resource_group, kind, sort_key, key);
CREATE INDEX resources_by_kind ON resources (subscription, kind, location);

CREATE TABLE claims (
    scope TEXT NOT NULL,
    key TEXT NOT NULL,
    owner TEXT NOT NULL,
    PRIMARY KEY (scope, key)
);
CREATE INDEX claims_by_owner ON claims (owner);

CREATE TABLE operations (
    id TEXT PRIMARY KEY NOT NULL,
    family TEXT NOT NULL,
    work TEXT NOT NULL,
    resource_key TEXT NOT NULL,
    resource TEXT NOT NULL,
    location TEXT NOT NULL,
    state TEXT NOT NULL,
    step TEXT NOT NULL,
    error TEXT,
    output TEXT,
    attempts BIGINT NOT NULL,
    run_at_ms BIGINT NOT NULL,
    started_ms BIGINT NOT NULL,
    ended_ms BIGINT,
    lease_owner TEXT,
    lease_generation BIGINT NOT NULL,
    lease_until_ms BIGINT NOT NULL,
    sequence BIGINT NOT NULL
);
CREATE INDEX operations_open ON operations (sequence) WHERE state = 'InProgress';
CREATE INDEX operations_by_resource ON operations (resource_key, state, sequence);
CREATE INDEX operations_ended ON operations (ended_ms) WHERE ended_ms IS NOT NULL;

CREATE TABLE replicas (
    owner TEXT NOT NULL,
    slot TEXT NOT NULL,
    region TEXT NOT NULL,
    content_kind TEXT NOT NULL,
    content_id TEXT NOT NULL,
    state TEXT NOT NULL,
    bytes_total BIGINT NOT NULL,
    bytes_done BIGINT NOT NULL,
    details TEXT,
    updated_ms BIGINT NOT NULL,
    PRIMARY KEY (owner, slot, region)
);
CREATE INDEX replicas_by_region ON replicas (region, owner, slot);

CREATE TABLE tenants (id TEXT PRIMARY KEY NOT NULL, name TEXT NOT NULL, domain TEXT NOT NULL);

CREATE TABLE subscriptions (
    id TEXT PRIMARY KEY NOT NULL,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL
);
CREATE INDEX subscriptions_by_tenant ON subscriptions (tenant, id);

CREATE TABLE principals (
    object_id TEXT PRIMARY KEY NOT NULL,
    tenant TEXT NOT NULL,
    kind TEXT NOT NULL,
    app_id TEXT NOT NULL,
    name TEXT NOT NULL,
    secret_hash TEXT,
    enabled BIGINT NOT NULL,
    created_ms BIGINT NOT NULL
);
CREATE INDEX principals_by_app ON principals (app_id, tenant);
CREATE INDEX principals_by_name ON principals (name, tenant);

CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY NOT NULL,
    private_pem TEXT NOT NULL,
    public_jwk TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    retired_ms BIGINT
);

CREATE TABLE role_assignments (
    id TEXT PRIMARY KEY NOT NULL,
    scope TEXT NOT NULL,
    role_definition TEXT NOT NULL,
    principal TEXT NOT NULL,
    principal_type TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);
CREATE INDEX role_assignments_by_principal ON role_assignments (principal);
CREATE INDEX role_assignments_by_scope ON role_assignments (scope);

CREATE TABLE refresh_tokens (
    hash TEXT PRIMARY KEY NOT NULL,
    principal TEXT NOT NULL,
    tenant TEXT NOT NULL,
    expires_ms BIGINT NOT NULL
);

CREATE TABLE device_codes (
    device_hash TEXT PRIMARY KEY NOT NULL,
    user_code TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL,
    principal TEXT,
    expires_ms BIGINT NOT NULL
);

CREATE TABLE containers (
    account TEXT NOT NULL,
    name TEXT NOT NULL,
    etag TEXT NOT NULL,
    modified_ms BIGINT NOT NULL,
    metadata TEXT NOT NULL,
    PRIMARY KEY (account, name)
);

CREATE TABLE blobs (
    account TEXT NOT NULL,
    container TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    etag TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    modified_ms BIGINT NOT NULL,
    metadata TEXT NOT NULL,
    headers TEXT NOT NULL,
    layer TEXT NOT NULL,
    region TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    PRIMARY KEY (account, container, name)
);
CREATE INDEX blobs_by_region ON blobs (region, layer);

CREATE TABLE staged_blocks (
    account TEXT NOT NULL,
    container TEXT NOT NULL,
    blob TEXT NOT NULL,
    block_id TEXT NOT NULL,
    layer TEXT NOT NULL,
    start BIGINT NOT NULL,
    length BIGINT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (account, container, blob, block_id)
);

CREATE TABLE block_lists (
    account TEXT NOT NULL,
    container TEXT NOT NULL,
    blob TEXT NOT NULL,
    blocks TEXT NOT NULL,
    PRIMARY KEY (account, container, blob)
);

CREATE TABLE grants (
    token_hash TEXT PRIMARY KEY NOT NULL,
    resource_key TEXT NOT NULL,
    resource TEXT NOT NULL,
    can_write BIGINT NOT NULL,
    expires_ms BIGINT NOT NULL
);
CREATE INDEX grants_by_resource ON grants (resource_key);

CREATE TABLE settings (key TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL);
