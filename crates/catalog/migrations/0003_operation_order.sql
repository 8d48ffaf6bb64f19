-- Operations of one resource run in the order of their numbers: no two may have the same.
UPDATE operations SET sequence = numbered.position
FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY sequence, started_ms, id) AS position FROM operations) AS numbered
WHERE operations.id = numbered.id;
CREATE UNIQUE INDEX operations_by_sequence ON operations (sequence);
