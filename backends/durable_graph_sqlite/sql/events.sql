-- Events of runs. A thread's events are in the order of `version` and `position`; `seq` is the run's. Kinds: 1 a result,
-- from 3 to 4 a custom event or a message, 5 a retraction of a task's events.

-- name: add_event
-- An event that exists was stored by an earlier attempt at the same call.
INSERT INTO events (thread_key, version, position, epoch, seq, kind, planned_at, task, namespace, extra, value)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING;

-- name: tail_events
-- The run and its thread, the checkpoints since a version, and the run's events after a place, each with the task's
-- record if it is a result. 1 << 20 is the number of positions.
SELECT 0, t.version, r.state, r.first_checkpoint, r.checkpoint,
       coalesce((SELECT min(l.first_checkpoint) FROM runs l
                  WHERE l.thread_key = r.thread_key AND l.seq > r.seq AND l.first_checkpoint > 0), 0),
       0, '', t.origin, x'', NULL, NULL, NULL, NULL, NULL, NULL
  FROM runs r JOIN threads t ON t.thread_key = r.thread_key WHERE r.thread_key = :thread_key AND r.seq = :seq
UNION ALL
SELECT * FROM (
  SELECT 1, number, parent, 0, 0, 0, 0, namespace, x'', x'', NULL, NULL, NULL, NULL, NULL, NULL FROM (
    SELECT * FROM (
      SELECT number, parent, namespace FROM checkpoints
       WHERE thread_key = :thread_key AND namespace = ''
         AND number >= (SELECT max(first_checkpoint, :since) FROM runs
                         WHERE thread_key = :thread_key AND seq = :seq AND first_checkpoint > 0)
       ORDER BY number LIMIT :limit) of_root
    UNION ALL
    SELECT * FROM (
      SELECT number, parent, namespace FROM checkpoints
       WHERE thread_key = :thread_key AND namespace <> ''
         AND number >= (SELECT max(first_checkpoint, :since) FROM runs
                         WHERE thread_key = :thread_key AND seq = :seq AND first_checkpoint > 0)
       ORDER BY number LIMIT :limit) of_nested) c
   ORDER BY number LIMIT :limit) made
UNION ALL
SELECT * FROM (
  SELECT 2, e.version, e.position, e.epoch, e.kind, e.planned_at, e.task, e.namespace, e.value, e.extra,
         k.rank, k.revision, k.commit_id, k.value, k.digest, k.extra
    FROM events e
    LEFT JOIN tasks k ON e.kind = 1 AND k.thread_key = e.thread_key AND k.namespace = e.namespace
                       AND k.planned_at = e.planned_at AND k.position = e.task
   WHERE e.thread_key = :thread_key AND e.seq = :seq AND (e.version, e.position) > (:version, :position)
     AND e.version < coalesce((SELECT min(l.first_checkpoint) FROM runs l WHERE l.thread_key = :thread_key
                                 AND l.seq > :seq AND l.first_checkpoint > 0), 4611686018427387904)
   ORDER BY e.version, e.position LIMIT :limit) emitted;

-- name: find_result_events
-- Results before the newest superstep that had ended at that event are left out.
SELECT namespace, planned_at, task FROM events
 WHERE thread_key = :thread_key AND seq = :seq AND kind = 1 AND (version, position) <= (:version, :position)
   AND version >= coalesce((SELECT max(number) FROM checkpoints
                             WHERE thread_key = :thread_key AND namespace = '' AND number < :version), 0);

-- name: find_last_event
-- The version of a run's thread, and the position of its last event there.
SELECT t.version, (SELECT max(position) FROM events e WHERE e.thread_key = t.thread_key AND e.version = t.version)
  FROM runs r JOIN threads t ON t.thread_key = r.thread_key WHERE r.thread_key = :thread_key AND r.seq = :seq;

-- name: find_open_events
-- The tasks of the pending superstep that emitted events: the ids of the last one, and of the last retraction.
SELECT extra, max(CASE WHEN kind < 5 THEN version * 1048576 + position ELSE 0 END),
       max(CASE WHEN kind = 5 THEN version * 1048576 + position END)
  FROM events
 WHERE thread_key = :thread_key AND seq = :seq AND kind IN (3, 4, 5)
   AND version >= (SELECT head FROM threads WHERE thread_key = :thread_key)
 GROUP BY extra;

-- name: find_moves
-- How far each of these threads and its unfinished runs are: it changes with everything that a follower may wait for.
SELECT each.value, t.version, t.writes_seq, t.epoch, t.run_seq,
       (SELECT e.version * 1048576 + e.position FROM events e WHERE e.thread_key = each.value
         ORDER BY e.version DESC, e.position DESC LIMIT 1),
       (SELECT group_concat(r.seq || ' ' || r.state || ' ' || r.inbox || ' ' || r.followed) FROM runs r
         WHERE r.thread_key = each.value AND r.state < 4)
  FROM json_each(:threads) AS each LEFT JOIN threads t ON t.thread_key = each.value;

-- name: find_follower
SELECT state, followed FROM runs WHERE thread_key = :thread_key AND seq = :seq;

-- name: follow_run
UPDATE runs SET followed = :followed WHERE thread_key = :thread_key AND seq = :seq;

-- name: note_events
-- The holder of a run has stored events of it.
UPDATE runs SET followed = 2 WHERE thread_key = :thread_key AND seq = :seq AND followed <> 2;

-- name: remove_events
DELETE FROM events WHERE thread_key = :thread_key AND seq = :seq RETURNING position;

-- name: is_run_held
-- The run of a worker whose lease has ended is ready or quarantined until it is claimed: the worker's commits are accepted
-- until then, and so are its events.
SELECT 1 FROM threads t JOIN runs r ON r.thread_key = t.thread_key
 WHERE t.thread_key = :thread_key AND t.epoch = :epoch AND r.seq = :seq AND r.state IN (0, 1, 7);
