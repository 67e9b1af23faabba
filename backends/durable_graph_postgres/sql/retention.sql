-- Retention, deadlines and repair of runs: see `checkpointing/run_retention.py`. States are as in `runs.sql`. These statements
-- wait for no lock: a thread that another transaction has locked is left for the next call.

-- name: find_ended_runs
-- The runs that ended first. Their threads are locked.
WITH
  ended AS MATERIALIZED (
    SELECT thread_key, seq FROM {schema}.runs
     WHERE state IN (4, 5, 6) AND ended_at <= :before AND accepted_at <= :before ORDER BY ended_at LIMIT :limit),
  locked AS MATERIALIZED (
    SELECT thread_key FROM {schema}.threads WHERE thread_key = ANY (ARRAY (SELECT thread_key FROM ended))
     ORDER BY thread_key FOR NO KEY UPDATE SKIP LOCKED)
SELECT e.thread_key, e.seq FROM ended e JOIN locked l USING (thread_key);

-- name: drop_ended_run
-- The end is a time of the worker's clock, which may be wrong: a run is also kept this long after its acceptance.
DELETE FROM {schema}.runs WHERE thread_key = :thread_key AND seq = :seq AND state IN (4, 5, 6) AND ended_at <= :before
   AND accepted_at <= :before
RETURNING thread_id;

-- name: drop_tombstones
-- Keys of messages that were taken that long ago.
DELETE FROM {schema}.messages WHERE thread_key = $1 AND taken > 0 AND taken <= $2;

-- name: drop_events
-- Events of runs that were deleted.
DELETE FROM {schema}.events
 WHERE thread_key = :thread_key
   AND seq NOT IN (SELECT r.seq FROM {schema}.runs r WHERE r.thread_key = :thread_key);

-- name: find_requests_without_runs
SELECT q.key, q.digest FROM {schema}.requests q
 WHERE q.thread_key = :thread_key AND q.seq > 0
   AND NOT EXISTS (SELECT FROM {schema}.runs r WHERE r.thread_key = q.thread_key AND r.seq = q.seq OFFSET 0);

-- name: drop_request
DELETE FROM {schema}.requests WHERE thread_key = $1 AND key = $2;

-- name: find_overdue_runs
-- Runs that no worker executes and whose deadline has passed. Their threads are locked.
WITH
  overdue AS MATERIALIZED (
    SELECT thread_key, thread_id, seq, deadline FROM {schema}.runs
     WHERE state IN (0, 2, 3) AND deadline < 4611686018427387904 AND deadline <= :now ORDER BY deadline LIMIT :limit),
  locked AS MATERIALIZED (
    SELECT thread_key FROM {schema}.threads WHERE thread_key = ANY (ARRAY (SELECT thread_key FROM overdue))
     ORDER BY thread_key FOR NO KEY UPDATE SKIP LOCKED)
SELECT o.thread_id, o.seq FROM overdue o JOIN locked l USING (thread_key) ORDER BY o.deadline;

-- name: find_next_deadline
-- The microseconds until the next deadline of a run that no worker executes.
SELECT min(deadline) - ({now}) FROM {schema}.runs WHERE state IN (0, 2, 3) AND deadline < 4611686018427387904;

-- part: waits_for_a_message
EXISTS (SELECT FROM {schema}.messages m
         WHERE m.thread_key = r.thread_key AND m.taken = 0 AND r.waits_on::jsonb -> 'topics' ? m.topic)

-- part: is_first_of_its_thread
NOT EXISTS (SELECT FROM {schema}.runs e
             WHERE e.thread_key = r.thread_key AND e.seq < r.seq AND e.state < 4 OFFSET 0)

-- name: find_stuck_runs
-- Runs that wait for a message that is in the inbox, and blocked runs with no unfinished run before them. Their threads
-- are locked.
WITH
  stuck AS MATERIALIZED (
    SELECT * FROM (
      -- The server begins with the runs that wait for messages or with the unread messages, whichever are fewer.
      SELECT r.thread_key, r.seq FROM {schema}.messages m JOIN {schema}.runs r USING (thread_key)
       WHERE m.taken = 0 AND r.state = 2 AND r.waits_on LIKE '{"topics"%' AND r.waits_on::jsonb -> 'topics' ? m.topic
       UNION
      SELECT r.thread_key, r.seq FROM {schema}.runs r WHERE r.state = 3 AND {is_first_of_its_thread}) s
     LIMIT :limit),
  locked AS MATERIALIZED (
    SELECT thread_key FROM {schema}.threads WHERE thread_key = ANY (ARRAY (SELECT thread_key FROM stuck))
     ORDER BY thread_key FOR NO KEY UPDATE SKIP LOCKED)
SELECT s.thread_key, s.seq FROM stuck s JOIN locked l USING (thread_key);

-- name: free_stuck_run
UPDATE {schema}.runs r SET due = CASE WHEN r.state = 2 THEN :now ELSE r.due END, state = 0
 WHERE r.thread_key = :thread_key AND r.seq = :seq
   AND (r.state = 2 AND {waits_for_a_message} OR r.state = 3 AND {is_first_of_its_thread})
RETURNING r.seq;
