-- Queues with limits. Their runs have a `limit_key` other than 0.

-- name: declare_queue
-- The time is that of the newest change of the limits. A log of starts that cannot be read is replaced.
INSERT INTO queues (queue, concurrency, per_key, rate_number, rate_window, declared_at, last_key, starts, extra)
VALUES (:queue, :concurrency, :per_key, :rate_number, :rate_window, :now, 0, x'', x'')
ON CONFLICT (queue) DO UPDATE
   SET concurrency = excluded.concurrency, per_key = excluded.per_key, rate_number = excluded.rate_number,
       rate_window = excluded.rate_window, declared_at = excluded.declared_at,
       starts = CASE WHEN length(starts) % 12 = 0 THEN starts ELSE x'' END
 WHERE (concurrency, per_key, rate_number, rate_window)
    <> (excluded.concurrency, excluded.per_key, excluded.rate_number, excluded.rate_window)
    OR length(starts) % 12 <> 0;

-- name: find_queue
SELECT 1 FROM queues WHERE queue = :queue;

-- name: list_queues
SELECT queue, concurrency, per_key, rate_number, rate_window, declared_at FROM queues;

-- name: find_served_queues
SELECT queues, name FROM workers WHERE lease_until > :now AND boot_id = :boot_id;

-- name: lock_queue
-- The transaction has the lock of the file.
SELECT queue, concurrency, per_key, rate_number, rate_window, last_key, starts FROM queues WHERE queue = :queue;

-- name: count_running
-- The number of runs that are executed by key, if a limit needs it.
SELECT limit_key, count(*) FROM runs INDEXED BY runs_limited
 WHERE queue = :queue AND state = 1 AND limit_key <> 0 AND :is_counted GROUP BY limit_key;

-- part: is_due_in_queue
r.queue = :queue AND r.state IN (0, 2) AND r.limit_key <> 0 AND r.due <> 4611686018427387904 AND r.due <= :now
   AND r.graph IN (SELECT value FROM json_each(:graphs))
   AND NOT EXISTS (SELECT 1 FROM runs e WHERE e.thread_key = r.thread_key AND e.seq < r.seq AND e.state < 4)

-- name: find_due_keys
-- Up to `most` keys with a due run of each priority, in turn: those after the key `last`, then the others. Each step
-- of the recursion is one look at the index for the next key, so the number of runs of a key does not matter. The order
-- of the recursion is that of the turns, and it ends with the limit.
WITH RECURSIVE keys (priority, turn, high, limit_key, is_first) AS (
  SELECT p.value, 0, 9223372036854775807, :last, 1 FROM json_each('[0,1,2,3,4]') p
  UNION ALL
  SELECT p.value, 1, :last, 0, 1 FROM json_each('[0,1,2,3,4]') p
  UNION ALL
  SELECT k.priority, k.turn, k.high,
         (SELECT r.limit_key FROM runs r INDEXED BY runs_keyed
           WHERE r.queue = :queue AND r.priority = k.priority AND r.state IN (0, 2) AND r.limit_key <> 0
             AND r.due <> 4611686018427387904 AND r.limit_key > k.limit_key AND r.limit_key <= k.high
           ORDER BY r.limit_key LIMIT 1), 0
    FROM keys k WHERE k.limit_key IS NOT NULL
   ORDER BY 1, 2, 4)
SELECT k.priority, k.limit_key FROM keys k
 WHERE k.is_first = 0 AND k.limit_key IS NOT NULL AND k.limit_key NOT IN (SELECT value FROM json_each(:full))
   AND EXISTS (SELECT 1 FROM runs r INDEXED BY runs_keyed
                WHERE r.priority = k.priority AND r.limit_key = k.limit_key AND {is_due_in_queue})
 LIMIT :most;

-- name: find_runs_of_key
-- Up to `most` due runs of a priority and a key.
SELECT r.priority, r.limit_key, r.thread_key, r.seq FROM runs r INDEXED BY runs_keyed
 WHERE r.priority = :priority AND r.limit_key = :key AND {is_due_in_queue}
 ORDER BY r.due LIMIT :most;

-- name: put_queue
UPDATE queues SET last_key = :last_key, starts = :starts WHERE queue = :queue;

-- name: find_next_due_of_queue
-- The time of the next run of the queue that is not due yet.
SELECT min(first) FROM (
  SELECT (SELECT min(due) FROM runs INDEXED BY runs_due
           WHERE queue = :queue AND priority = p.value AND state IN (0, 2) AND due > :now AND due < 1 << 62) AS first
    FROM json_each('[0,1,2,3,4]') p);
