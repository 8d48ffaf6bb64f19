-- Counts the changes of anybody's rights: who has read them reads them again only when the number is another one.
CREATE TABLE generations (name TEXT PRIMARY KEY NOT NULL, value BIGINT NOT NULL);
INSERT INTO generations (name, value) VALUES ('access', 1);
