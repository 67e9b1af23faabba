-- Queues with limits. Their runs have a `limit_key` other than 0. A claim locks the row of its queue, and the statements
-- after that one see all earlier claims: under READ COMMITTED each statement has a snapshot of its own.

-- name: declare_queue
-- The time is that of the newest change of the limits. A log of starts that cannot be read is replaced.
INSERT INTO {schema}.queues AS q (queue, rate_window, declared_at, last_key, concurrency, per_key, rate_number, starts,
                                  extra)
VALUES (:queue, :rate_window, {now}, 0, :concurrency, :per_key, :rate_number, '', '')
ON CONFLICT (queue) DO UPDATE
   SET rate_window = excluded.rate_window, declared_at = excluded.declared_at, concurrency = excluded.concurrency,
       per_key = excluded.per_key, rate_number = excluded.rate_number,
       starts = CASE WHEN length(q.starts) % 12 = 0 THEN q.starts ELSE '' END
 WHERE (q.concurrency, q.per_key, q.rate_number, q.rate_window)
    <> (excluded.concurrency, excluded.per_key, excluded.rate_number, excluded.rate_window)
    OR length(q.starts) % 12 <> 0;

-- name: find_queue
SELECT 1 FROM {schema}.queues WHERE queue = :queue;

-- name: list_queues
SELECT queue, concurrency, per_key, rate_number, rate_window, declared_at FROM {schema}.queues;

-- name: find_served_queues
SELECT queues, name FROM {schema}.workers WHERE lease_until > {lease_now};

-- name: find_due_queues
-- The microseconds until the next run of each of these queues is due.
SELECT q.queue, (
    SELECT min(d.due) - ({now}) FROM generate_series(0, 4) AS p (priority) CROSS JOIN LATERAL (
      SELECT due FROM {schema}.runs
       WHERE queue = q.queue AND priority = p.priority AND state IN (0, 2) AND due < 4611686018427387904
       ORDER BY due LIMIT 1) d)
  FROM unnest(:queues::text[]) AS q (queue);

-- name: lock_queue
-- No row: another worker is claiming from the queue, or the lease of this one has ended. The worker's row is locked, so
-- that no sweep removes it before these claims are visible.
SELECT q.queue, q.concurrency, q.per_key, q.rate_number, q.rate_window, q.last_key, q.starts,
{without_a_flush}
  FROM {schema}.queues q JOIN {schema}.workers w ON w.id = :worker AND w.lease_until > {lease_now}
 WHERE q.queue = :queue
   FOR NO KEY UPDATE OF q SKIP LOCKED FOR KEY SHARE OF w SKIP LOCKED;

-- name: count_running
-- The number of runs that are executed by key, if a limit needs it. The row of the key 0 has the time.
SELECT 0::bigint, {now}
UNION ALL
SELECT limit_key, count(*) FROM {schema}.runs
 WHERE queue = :queue AND state = 1 AND limit_key <> 0 AND :is_counted::boolean GROUP BY limit_key;

-- part: is_due_in_queue
r.queue = :queue AND r.state IN (0, 2) AND r.limit_key <> 0 AND r.due <> 4611686018427387904 AND r.due <= :now
         AND r.graph = ANY (:graphs::text[])
         -- OFFSET 0 keeps this a look at the primary key for each run.
         AND NOT EXISTS (SELECT FROM {schema}.runs e
                          WHERE e.thread_key = r.thread_key AND e.seq < r.seq AND e.state < 4 OFFSET 0)

-- part: next_key
SELECT r.limit_key FROM {schema}.runs r
          WHERE r.queue = :queue AND r.priority = p.priority AND r.state IN (0, 2) AND r.limit_key <> 0
            AND r.due <> 4611686018427387904 AND r.limit_key <= part.high

-- name: find_due_keys
-- Up to `most` keys with a due run of each priority, in turn: those after the key `last`, then the others. Each step
-- of the recursion is one look at the index for the next key, so the number of runs of a key does not matter.
SELECT p.priority, k.limit_key
  FROM generate_series(0, 4) AS p (priority)
 CROSS JOIN (VALUES (0, :last::bigint, 9223372036854775807), (1, 0, :last)) AS part (turn, low, high)
 CROSS JOIN LATERAL (
   WITH RECURSIVE keys AS (
     ({next_key} AND r.limit_key > part.low ORDER BY r.limit_key LIMIT 1)
     UNION ALL
     SELECT n.limit_key FROM keys CROSS JOIN LATERAL (
       {next_key} AND r.limit_key > keys.limit_key ORDER BY r.limit_key LIMIT 1) n)
   SELECT keys.limit_key FROM keys
    WHERE keys.limit_key <> ALL (:full::bigint[])
      AND EXISTS (SELECT FROM {schema}.runs r
                   WHERE r.priority = p.priority AND r.limit_key = keys.limit_key AND {is_due_in_queue}
                   -- OFFSET 0 keeps this a look for each key in turn: a join may give the keys in another order.
                   OFFSET 0)
    LIMIT :most) k
 ORDER BY p.priority, part.turn, k.limit_key LIMIT :most;

-- name: find_runs_of_keys
-- Up to `most` due runs of each of these priorities and keys.
SELECT k.priority, k.limit_key, d.thread_key, d.seq
  FROM unnest(:priorities::smallint[], :keys::bigint[]) WITH ORDINALITY AS k (priority, limit_key, place)
 CROSS JOIN LATERAL (
   SELECT r.thread_key, r.seq, r.due FROM {schema}.runs r
    WHERE r.priority = k.priority AND r.limit_key = k.limit_key AND {is_due_in_queue}
    ORDER BY r.due LIMIT :most) d
 ORDER BY k.place, d.due;

-- name: claim_chosen
-- Claims these runs. A run or a thread that another transaction has locked, or changed, is left for the next claim.
WITH
  clock AS MATERIALIZED (SELECT :now::bigint AS now),
  picked AS MATERIALIZED (
    SELECT r.thread_key, r.seq
      FROM unnest(:thread_keys::bigint[], :seqs::bigint[]) AS c (thread_key, seq) JOIN {schema}.runs r USING (thread_key, seq)
     WHERE r.state IN (0, 2) AND r.due <= :now FOR NO KEY UPDATE OF r SKIP LOCKED),
{claim_of_picked};

-- name: put_queue
UPDATE {schema}.queues SET last_key = :last_key, starts = :starts WHERE queue = :queue;

-- name: find_next_due_of_queue
-- The time of the next run of the queue that is not due yet.
SELECT min(d.due) FROM generate_series(0, 4) AS p (priority) CROSS JOIN LATERAL (
   SELECT due FROM {schema}.runs
    WHERE queue = :queue AND priority = p.priority AND state IN (0, 2) AND due > :now AND due < 4611686018427387904
    ORDER BY due LIMIT 1) d;
