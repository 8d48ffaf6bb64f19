ALTER TABLE role_assignments ADD COLUMN shown_scope TEXT NOT NULL DEFAULT '';
ALTER TABLE role_assignments ADD COLUMN description TEXT;
ALTER TABLE role_assignments ADD COLUMN created_by TEXT NOT NULL DEFAULT '';
CREATE INDEX role_assignments_by_definition ON role_assignments (role_definition);

CREATE TABLE role_definitions (
    id TEXT PRIMARY KEY NOT NULL,
    tenant TEXT NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    permissions TEXT NOT NULL,
    assignable_scopes TEXT NOT NULL,
    created_by TEXT NOT NULL,
    updated_by TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    updated_ms BIGINT NOT NULL
);
CREATE INDEX role_definitions_by_tenant ON role_definitions (tenant, name, id);

CREATE TABLE group_members (
    group_id TEXT NOT NULL,
    member TEXT NOT NULL,
    PRIMARY KEY (group_id, member)
);
CREATE INDEX group_members_by_member ON group_members (member);

CREATE TABLE locks (
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    shown_scope TEXT NOT NULL,
    shown_name TEXT NOT NULL,
    level TEXT NOT NULL,
    notes TEXT,
    owners TEXT NOT NULL,
    created_ms BIGINT NOT NULL,
    PRIMARY KEY (scope, name)
);
