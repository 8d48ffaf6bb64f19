-- What the blobs and staged blocks of every account hold of its subscription's quota.
INSERT INTO byte_holds (owner, subscription, bytes)
SELECT resources.key, resources.subscription, CAST(SUM(held.bytes) AS BIGINT)
FROM resources
JOIN (
    SELECT account, size_bytes AS bytes FROM blobs
    UNION ALL
    SELECT account, length AS bytes FROM staged_blocks
) AS held ON held.account = resources.key
GROUP BY resources.key, resources.subscription;
