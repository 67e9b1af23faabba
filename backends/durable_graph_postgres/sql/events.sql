-- Events of runs. A thread's events are in the order of `version` and `position`; `seq` is the run's. Kinds: 1 a result,
-- from 3 to 4 a custom event or a message, 5 a retraction of a task's events.

-- name: add_event
-- An event that exists was stored by an earlier attempt at the same call.
INSERT INTO {schema}.events (thread_key, version, position, epoch, seq, kind, planned_at, task, namespace, extra, value)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING;

-- name: tail_events
-- The run and its thread, the checkpoints since a version, and the run's events after a place, each with the task's
-- record if it is a result. 1 << 20 is the number of positions.
SELECT 0::bigint, t.version, r.state::bigint, r.first_checkpoint, r.checkpoint,
       coalesce((SELECT min(l.first_checkpoint) FROM {schema}.runs l
                  WHERE l.thread_key = r.thread_key AND l.seq > r.seq AND l.first_checkpoint > 0), 0),
       0::bigint, '', t.origin, ''::bytea, NULL::smallint, NULL::bigint, NULL::bytea, NULL::bytea, NULL::bytea, NULL::bytea
  FROM {schema}.runs r JOIN {schema}.threads t ON t.thread_key = r.thread_key WHERE r.thread_key = :thread_key AND r.seq = :seq
UNION ALL
SELECT * FROM (
  SELECT 1::bigint, number, parent, 0::bigint, 0::bigint, 0::bigint, 0::bigint, namespace, ''::bytea, ''::bytea, NULL::smallint, NULL::bigint, NULL::bytea, NULL::bytea, NULL::bytea, NULL::bytea FROM (
    SELECT * FROM (
      SELECT number, parent, namespace FROM {schema}.checkpoints
       WHERE thread_key = :thread_key AND namespace = ''
         AND number >= (SELECT greatest(first_checkpoint, :since::bigint) FROM {schema}.runs
                         WHERE thread_key = :thread_key AND seq = :seq AND first_checkpoint > 0)
       ORDER BY number LIMIT :limit::bigint) of_root
    UNION ALL
    SELECT * FROM (
      SELECT number, parent, namespace FROM {schema}.checkpoints
       WHERE thread_key = :thread_key AND namespace <> ''
         AND number >= (SELECT greatest(first_checkpoint, :since::bigint) FROM {schema}.runs
                         WHERE thread_key = :thread_key AND seq = :seq AND first_checkpoint > 0)
       ORDER BY number LIMIT :limit::bigint) of_nested) c
   ORDER BY number LIMIT :limit::bigint) made
UNION ALL
SELECT * FROM (
  SELECT 2::bigint, e.version, e.position::bigint, e.epoch, e.kind::bigint, e.planned_at, e.task, e.namespace, e.value, e.extra,
         k.rank, k.revision, k.commit_id, k.value, k.digest, k.extra
    FROM {schema}.events e
    LEFT JOIN {schema}.tasks k ON e.kind = 1 AND k.thread_key = e.thread_key AND k.namespace = e.namespace
                       AND k.planned_at = e.planned_at AND k.position = e.task
   WHERE e.thread_key = :thread_key AND e.seq = :seq AND (e.version, e.position) > (:version::bigint, :position::integer)
     AND e.version < coalesce((SELECT min(l.first_checkpoint) FROM {schema}.runs l WHERE l.thread_key = :thread_key
                                 AND l.seq > :seq AND l.first_checkpoint > 0), 4611686018427387904)
   ORDER BY e.version, e.position LIMIT :limit::bigint) emitted;

-- name: find_result_events
-- Results before the newest superstep that had ended at that event are left out.
SELECT namespace, planned_at, task FROM {schema}.events
 WHERE thread_key = :thread_key AND seq = :seq AND kind = 1 AND (version, position) <= (:version::bigint, :position::integer)
   AND version >= coalesce((SELECT max(number) FROM {schema}.checkpoints
                             WHERE thread_key = :thread_key AND namespace = '' AND number < :version::bigint), 0);

-- name: find_last_event
-- The version of a run's thread, and the position of its last event there.
SELECT t.version, (SELECT max(position) FROM {schema}.events e WHERE e.thread_key = t.thread_key AND e.version = t.version)
  FROM {schema}.runs r JOIN {schema}.threads t ON t.thread_key = r.thread_key WHERE r.thread_key = :thread_key AND r.seq = :seq;

-- name: find_open_events
-- The tasks of the pending superstep that emitted events: the ids of the last one, and of the last retraction.
SELECT extra, max(CASE WHEN kind < 5 THEN version * 1048576 + position ELSE 0 END),
       max(CASE WHEN kind = 5 THEN version * 1048576 + position END)
  FROM {schema}.events
 WHERE thread_key = :thread_key AND seq = :seq AND kind IN (3, 4, 5)
   AND version >= (SELECT head FROM {schema}.threads WHERE thread_key = :thread_key)
 GROUP BY extra;

-- name: find_follower
SELECT state, followed FROM {schema}.runs WHERE thread_key = :thread_key AND seq = :seq;

-- name: follow_run
UPDATE {schema}.runs SET followed = :followed WHERE thread_key = :thread_key AND seq = :seq;

-- name: note_events
-- The holder of a run has stored events of it.
UPDATE {schema}.runs SET followed = 2 WHERE thread_key = :thread_key AND seq = :seq AND followed <> 2;

-- name: remove_events
DELETE FROM {schema}.events WHERE thread_key = :thread_key AND seq = :seq RETURNING position;

-- name: append_events
-- Stores events of a run, if the thread has this epoch, and finds a row then. The run of a worker whose lease has ended is
-- ready or quarantined until it is claimed: the worker's commits are accepted until then, and so are its events. A commit
-- that ends the run, and a claim, change a row that this locks.
WITH
  held AS MATERIALIZED (
    SELECT t.thread_key, r.seq FROM {schema}.threads t JOIN {schema}.runs r ON r.thread_key = t.thread_key
     WHERE t.thread_key = $1::bigint AND t.epoch = $2::bigint AND r.seq = ($6::bigint[])[1]
       AND r.state IN (0, 1, 7)
       FOR NO KEY UPDATE OF t, r),
  added AS (
    INSERT INTO {schema}.events (thread_key, version, position, epoch, seq, kind, planned_at, task, namespace, extra,
                                 value)
    SELECT held.thread_key, e.*
      FROM held CROSS JOIN unnest($3::bigint[], $4::integer[], $5::bigint[], $6::bigint[], $7::smallint[], $8::bigint[],
                                  $9::bigint[], $10::text[], $11::bytea[], $12::bytea[]) AS e
    ON CONFLICT DO NOTHING),
  noted AS (
    UPDATE {schema}.runs r SET followed = 2
      FROM held WHERE r.thread_key = held.thread_key AND r.seq = held.seq AND r.followed <> 2)
SELECT 1 FROM held;
