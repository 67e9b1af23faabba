-- Retention, deadlines and repair of runs: see `checkpointing/run_retention.py`. States are as in `runs.sql`.

-- name: find_ended_runs
-- The runs that ended first.
SELECT thread_key, seq FROM runs INDEXED BY runs_ended
 WHERE state IN (4, 5, 6) AND ended_at <= :before AND accepted_at <= :before ORDER BY ended_at LIMIT :limit;

-- name: drop_ended_run
-- The end is a time of the worker's clock, which may be wrong: a run is also kept this long after its acceptance.
DELETE FROM runs WHERE thread_key = :thread_key AND seq = :seq AND state IN (4, 5, 6) AND ended_at <= :before
   AND accepted_at <= :before
RETURNING thread_id;

-- name: drop_tombstones
-- Keys of messages that were taken that long ago.
DELETE FROM messages WHERE thread_key = ? AND taken > 0 AND taken <= ?;

-- name: drop_events
-- Events of runs that were deleted.
DELETE FROM events
 WHERE thread_key = :thread_key
   AND seq NOT IN (SELECT r.seq FROM runs r WHERE r.thread_key = :thread_key);

-- name: find_requests_without_runs
SELECT q.key, q.digest FROM requests q
 WHERE q.thread_key = :thread_key AND q.seq > 0
   AND NOT EXISTS (SELECT 1 FROM runs r WHERE r.thread_key = q.thread_key AND r.seq = q.seq);

-- name: drop_request
DELETE FROM requests WHERE thread_key = ? AND key = ?;

-- name: find_overdue_runs
-- Runs that no worker executes and whose deadline has passed.
SELECT thread_id, seq FROM runs INDEXED BY runs_with_deadline
 WHERE state IN (0, 2, 3) AND deadline < 4611686018427387904 AND deadline <= :now ORDER BY deadline LIMIT :limit;

-- name: find_next_deadline
SELECT min(deadline) FROM runs INDEXED BY runs_with_deadline
 WHERE state IN (0, 2, 3) AND deadline < 4611686018427387904;

-- name: find_stuck_runs
-- Runs that wait for a message that is in the inbox, and blocked runs with no unfinished run before them. The CROSS JOIN
-- reads the messages first: there may be many more waiting runs.
SELECT r.thread_key, r.seq FROM messages m INDEXED BY messages_unread CROSS JOIN runs r INDEXED BY runs_of_thread
 WHERE m.taken = 0 AND r.thread_key = m.thread_key AND r.state < 4 AND r.state = 2
   AND m.topic IN (SELECT value FROM json_each(r.waits_on, '$.topics'))
 UNION
SELECT r.thread_key, r.seq FROM runs r INDEXED BY runs_blocked
 WHERE r.state = 3
   AND NOT EXISTS (SELECT 1 FROM runs e WHERE e.thread_key = r.thread_key AND e.seq < r.seq AND e.state < 4)
 LIMIT :limit;

-- name: free_stuck_run
UPDATE runs SET due = CASE WHEN state = 2 THEN :now ELSE due END, state = 0
 WHERE thread_key = :thread_key AND seq = :seq
   AND (state = 2 AND EXISTS (SELECT 1 FROM messages m
                               WHERE m.thread_key = runs.thread_key AND m.taken = 0
                                 AND m.topic IN (SELECT value FROM json_each(runs.waits_on, '$.topics')))
        OR state = 3 AND NOT EXISTS (SELECT 1 FROM runs e
                                      WHERE e.thread_key = runs.thread_key AND e.seq < runs.seq AND e.state < 4))
RETURNING seq;
