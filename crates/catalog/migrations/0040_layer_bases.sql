-- What writable layers stand on, known before a layer is made: a sweep by any node keeps it. '' is nothing.
CREATE TABLE layer_bases (
    layer TEXT NOT NULL,
    base TEXT NOT NULL,
    owner TEXT NOT NULL,
    region TEXT NOT NULL,
    PRIMARY KEY (layer, base)
);
CREATE INDEX layer_bases_by_region ON layer_bases (region);
CREATE INDEX layer_bases_by_owner ON layer_bases (owner);
