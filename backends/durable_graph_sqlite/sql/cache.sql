-- name: select_result
SELECT until, digest, value FROM results
WHERE namespace = :namespace AND key = :key AND (until IS NULL OR until > :now);

-- name: insert_result
INSERT INTO results (namespace, key, until, digest, value)
VALUES (:namespace, :key, :until, :digest, :value)
ON CONFLICT (namespace, key) DO UPDATE
SET until = excluded.until, digest = excluded.digest, value = excluded.value;

-- name: delete_expired_results
DELETE FROM results WHERE until <= :now;

-- name: delete_results_of
DELETE FROM results WHERE namespace = :namespace;

-- name: delete_results
DELETE FROM results;
