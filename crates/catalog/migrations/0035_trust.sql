-- Answers to invitations: whom a gallery was shared with, and whether they rejected it.
CREATE TABLE share_answers (
    gallery TEXT NOT NULL,
    invitee TEXT NOT NULL,
    is_accepted BIGINT NOT NULL,
    answered_by TEXT NOT NULL,
    answered_ms BIGINT NOT NULL,
    PRIMARY KEY (gallery, invitee)
);
-- Subscriptions whose public galleries the operator vouches for.
CREATE TABLE verified_publishers (
    subscription TEXT PRIMARY KEY NOT NULL,
    name TEXT NOT NULL,
    verified_ms BIGINT NOT NULL
);
-- What a subscription lets be made from whose images, as JSON.
CREATE TABLE allowed_images (
    subscription TEXT PRIMARY KEY NOT NULL,
    rules TEXT NOT NULL,
    changed_ms BIGINT NOT NULL
);
-- Whom the subjects of other token services stand for here.
CREATE TABLE external_subjects (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    principal TEXT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX external_subjects_by_principal ON external_subjects (principal);
-- How many refusals of the same kind an entry stands for beside the first; 0 for one alone.
ALTER TABLE audit ADD COLUMN repeats BIGINT NOT NULL DEFAULT 0;
