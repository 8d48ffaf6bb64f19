-- Image definitions that the operator offers to all subscriptions, by publisher:offer:sku in lower case.
CREATE TABLE platform_images (
    sku_key TEXT PRIMARY KEY NOT NULL,
    publisher TEXT NOT NULL,
    offer TEXT NOT NULL,
    sku TEXT NOT NULL,
    definition_key TEXT NOT NULL,
    definition TEXT NOT NULL,
    alias TEXT,
    offered_ms BIGINT NOT NULL
);
CREATE INDEX platform_images_by_definition ON platform_images (definition_key);
