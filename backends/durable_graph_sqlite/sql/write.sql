-- name: swap_thread
-- The thread's next row, if its row is still the one that the writer knows: its digest covers everything but the epoch.
-- Without the id and the status: an UPDATE that names an indexed column rewrites the index, even for equal values.
UPDATE threads
   SET incarnation = :incarnation, origin = :origin, graph = :graph, graph_digest = :graph_digest, version = :version,
       head = :head, writes_seq = :writes_seq, prunes = :prunes, oldest_kept = :oldest_kept,
       created_at = :created_at, updated_at = :updated_at, commit_id = :commit_id, next = :next, metadata = :metadata,
       error = :error, extra = :extra, writes_digest = :writes_digest, branches_digest = :branches_digest,
       requests_digest = :requests_digest, digest = :digest
 WHERE thread_key = :thread_key AND digest = :before AND epoch = :epoch;

-- name: swap_status
-- As `swap_thread`, for a row with another status.
UPDATE threads
   SET incarnation = :incarnation, origin = :origin, graph = :graph, graph_digest = :graph_digest, version = :version,
       head = :head, writes_seq = :writes_seq, prunes = :prunes, oldest_kept = :oldest_kept, status = :status,
       status_since = :status_since, created_at = :created_at, updated_at = :updated_at, commit_id = :commit_id,
       next = :next, metadata = :metadata, error = :error, extra = :extra, writes_digest = :writes_digest,
       branches_digest = :branches_digest, requests_digest = :requests_digest, digest = :digest
 WHERE thread_key = :thread_key AND digest = :before AND epoch = :epoch;

-- name: name_thread
-- A deleted thread has no id.
UPDATE threads SET thread_id = :thread_id WHERE thread_key = :thread_key;

-- name: lock_thread
-- The transaction is a write transaction, so no other connection writes.
SELECT thread_id, incarnation, origin, graph, graph_digest, version, head, epoch, writes_seq, prunes,
       oldest_kept, status, status_since, created_at, updated_at, commit_id, next, metadata, error, extra,
       writes_digest, branches_digest, requests_digest, digest
  FROM threads WHERE thread_key = :thread_key;

-- name: add_thread
INSERT INTO threads (thread_key, thread_id, incarnation, origin, graph, graph_digest, version, head, epoch,
                     writes_seq, prunes, oldest_kept, status, status_since, created_at, updated_at, commit_id, next,
                     metadata, error, extra, writes_digest, branches_digest, requests_digest, digest)
VALUES (:thread_key, :thread_id, :incarnation, :origin, :graph, :graph_digest, :version, :head, :epoch, :writes_seq,
        :prunes, :oldest_kept, :status, :status_since, :created_at, :updated_at, :commit_id, :next, :metadata, :error,
        :extra, :writes_digest, :branches_digest, :requests_digest, :digest);

-- name: change_thread
UPDATE threads
   SET thread_id = :thread_id, incarnation = :incarnation, origin = :origin, graph = :graph,
       graph_digest = :graph_digest, version = :version, head = :head, epoch = :epoch, writes_seq = :writes_seq,
       prunes = :prunes, oldest_kept = :oldest_kept, status = :status, status_since = :status_since,
       created_at = :created_at, updated_at = :updated_at, commit_id = :commit_id, next = :next, metadata = :metadata,
       error = :error, extra = :extra, writes_digest = :writes_digest, branches_digest = :branches_digest,
       requests_digest = :requests_digest, digest = :digest
 WHERE thread_key = :thread_key;

-- name: find_commit_id
SELECT commit_id FROM checkpoints WHERE thread_key = :thread_key AND namespace = :ns AND number = :no;

-- name: add_branch
INSERT INTO branches (thread_key, first, parent, digest, extra) VALUES (?, ?, ?, ?, ?);

-- name: add_checkpoint
INSERT INTO checkpoints (thread_key, namespace, number, parent, planned_at, made_at, commit_id, state_digest,
  digest, extra, header)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_channel_row
INSERT INTO channel_rows (thread_key, namespace, channel, number, previous, kind, digest, value)
  VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: find_record
SELECT namespace, planned_at, position, rank, revision, commit_id, value, digest, extra
  FROM tasks WHERE thread_key = :thread_key AND namespace = :ns AND planned_at = :born AND position = :ord;

-- name: add_record
-- A prepared record: its task has none yet.
INSERT INTO tasks (thread_key, namespace, planned_at, position, rank, revision, commit_id, digest, extra, value)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: put_record
-- The winning record was determined before, in the same transaction.
INSERT OR REPLACE INTO tasks (thread_key, namespace, planned_at, position, rank, revision, commit_id, digest, extra,
  value)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: find_records_of_head
-- The records in the head's sum: those of its tasks, and those of other namespaces since.
SELECT namespace, planned_at, position, digest FROM tasks WHERE thread_key = :thread_key AND namespace = ''
  AND planned_at BETWEEN :born AND :head
UNION ALL
SELECT namespace, planned_at, position, digest FROM tasks WHERE thread_key = :thread_key AND namespace <> ''
  AND planned_at >= :born;

-- name: find_newest_root
-- The newest checkpoint of the root in the lineage of number `at`.
WITH RECURSIVE
  seg (first, hi, parent) AS MATERIALIZED (
    SELECT * FROM (SELECT first, :at, parent FROM branches WHERE thread_key = :thread_key AND first <= :at
      ORDER BY first DESC LIMIT 1)
    UNION ALL
    SELECT l.first, s.parent, l.parent FROM seg s CROSS JOIN branches l
        ON l.thread_key = :thread_key AND l.first = (SELECT max(first) FROM branches WHERE thread_key = :thread_key
          AND first <= s.parent)
     WHERE s.parent BETWEEN 1 AND s.first - 1)
SELECT coalesce(max(m), 0)
  FROM (SELECT (SELECT max(number) FROM checkpoints WHERE thread_key = :thread_key AND namespace = ''
    AND number BETWEEN s.first AND s.hi) AS m
          FROM seg s);

-- name: find_born
SELECT coalesce((SELECT planned_at FROM checkpoints WHERE thread_key = :thread_key AND namespace = ''
  AND number = :head), 0);

-- name: find_orphan
-- The kind of rows that exist for a thread whose own row is missing.
SELECT CASE WHEN EXISTS (SELECT 1 FROM checkpoints WHERE thread_key = :thread_key) THEN 'checkpoints'
            WHEN EXISTS (SELECT 1 FROM channel_rows WHERE thread_key = :thread_key) THEN 'values'
            WHEN EXISTS (SELECT 1 FROM tasks WHERE thread_key = :thread_key) THEN 'task records'
            WHEN EXISTS (SELECT 1 FROM branches WHERE thread_key = :thread_key) THEN 'branches' END;

-- name: add_request
INSERT INTO requests (thread_key, key, input_digest, seq, checkpoint, made_at, extra, digest)
VALUES (?, ?, ?, ?, ?, ?, ?, ?);
