-- Schedules: see `checkpointing/schedule_transactions.py`.

-- part: schedule
SELECT id, name, revision, graph, cron, zone, overlap, catch_up, jitter, until_at, thread_id, is_paused, next_at,
       due, held_at, last_at, fired, skipped, created_at, updated_at, runs, error, metadata, digest, start_with
  FROM {schema}.schedules

-- name: find_schedule
{schedule}
 WHERE name = :named;

-- name: find_schedule_by_id
{schedule}
 WHERE id = :id;

-- name: lock_schedule
{schedule}
 WHERE id = :id FOR UPDATE;

-- name: list_schedules
{schedule}
 WHERE name > :after ORDER BY name LIMIT :limit;

-- name: add_schedule
INSERT INTO {schema}.schedules (
  id, name, revision, graph, cron, zone, overlap, catch_up, jitter, until_at, thread_id, is_paused, next_at, due,
  held_at, last_at, fired, skipped, created_at, updated_at, runs, error, metadata, digest, start_with)
VALUES (
  :id, :name, :revision, :graph, :cron, :zone, :overlap, :catch_up, :jitter, :until, :thread::text, :is_paused,
  :next, :due, :held, :last, :fired, :skipped, :created_at, :updated_at, :runs, :error::text, :metadata, :digest,
  :start)
ON CONFLICT (name) DO NOTHING;

-- name: swap_schedule
-- The row is replaced if it has the revision before that of the new one.
UPDATE {schema}.schedules
   SET revision = :revision, graph = :graph, cron = :cron, zone = :zone, overlap = :overlap, catch_up = :catch_up,
       jitter = :jitter, until_at = :until, thread_id = :thread::text, is_paused = :is_paused, next_at = :next,
       due = :due, held_at = :held, last_at = :last, fired = :fired, skipped = :skipped, updated_at = :updated_at,
       runs = :runs, error = :error::text, metadata = :metadata, digest = :digest, start_with = :start
 WHERE id = :id AND revision = :revision - 1
RETURNING id;

-- name: remove_schedule
DELETE FROM {schema}.schedules WHERE id = :id RETURNING id;

-- name: find_next_schedule
SELECT min(due) FROM {schema}.schedules WHERE due < 4611686018427387904 AND graph = ANY (:graphs::text[]);

-- name: find_due_schedules
{schedule}
 WHERE due < 4611686018427387904 AND due <= :now::bigint AND graph = ANY (:graphs::text[])
 ORDER BY due, id LIMIT :limit;
