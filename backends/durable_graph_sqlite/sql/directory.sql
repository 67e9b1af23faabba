-- The directory of threads: see `checkpointing/directory_transactions.py`. A `-- part:` is a text that statements
-- include by its name in braces.

-- name: find_metadata
SELECT metadata FROM thread_metadata WHERE thread_key = :thread_key;

-- name: put_metadata
INSERT INTO thread_metadata (thread_key, updated_at, metadata) VALUES (:thread_key, :updated_at, :metadata)
ON CONFLICT (thread_key) DO UPDATE SET updated_at = excluded.updated_at, metadata = excluded.metadata;

-- name: add_metadata_entry
INSERT INTO metadata_entries (thread_key, digest) VALUES (?, ?);

-- part: entry
-- The columns of a thread in the directory: its row, its metadata, its first run that has not ended, and its last run.
SELECT t.thread_id, t.incarnation, t.origin, t.graph, t.graph_digest, t.version, t.head, t.epoch, t.writes_seq,
       t.prunes, t.oldest_kept, t.status, t.status_since, t.created_at, t.updated_at, t.commit_id, t.next,
       t.metadata, t.error, t.extra, t.writes_digest, t.branches_digest, t.requests_digest, t.digest, t.thread_key,
       m.metadata, m.updated_at,
       u.state, u.due, u.deadline, u.waits_on, u.graph, u.ended_at, u.error,
       l.state, l.due, l.deadline, l.waits_on, l.graph, l.ended_at, l.error

-- part: of_thread
-- The rows of `entry`, for the thread `t`.
LEFT JOIN thread_metadata m ON m.thread_key = t.thread_key
LEFT JOIN runs u ON u.thread_key = t.thread_key
      AND u.seq = (SELECT min(r.seq) FROM runs r INDEXED BY runs_of_thread
                    WHERE r.thread_key = t.thread_key AND r.state < 4)
LEFT JOIN runs l ON l.thread_key = t.thread_key
      AND l.seq = (SELECT max(r.seq) FROM runs r WHERE r.thread_key = t.thread_key)

-- name: find_entry
{entry}
  FROM threads t
{of_thread}
 WHERE t.thread_key = :thread_key AND t.status <> 'deleted';

-- part: standing
-- The status of the thread `t`. As `directory_rules.entry_of` computes it.
coalesce(
  (SELECT CASE WHEN r.state <> 2 THEN 'busy'
               WHEN json_array_length(r.waits_on, '$.interrupts') > 0 THEN 'interrupted'
               WHEN json_array_length(r.waits_on, '$.topics') > 0 OR r.due < r.deadline THEN 'busy'
               ELSE 'interrupted' END
     FROM runs r INDEXED BY runs_of_thread WHERE r.thread_key = t.thread_key AND r.state < 4 ORDER BY r.seq LIMIT 1),
  (SELECT 'error' FROM runs r
    WHERE r.thread_key = t.thread_key AND r.state IN (5, 7) AND r.ended_at >= t.updated_at
      AND r.seq = (SELECT max(n.seq) FROM runs n WHERE n.thread_key = t.thread_key)),
  CASE t.status WHEN 'failed' THEN 'error' WHEN 'running' THEN 'busy' WHEN 'interrupted' THEN 'interrupted'
                ELSE 'idle' END)

-- part: matching
-- The threads that a search finds. `candidates` has one index to begin with: that of an entry of the metadata, of the
-- keys, or of the ids. `standing` is computed only if the search needs it.
WITH
  candidates (thread_key) AS (
    SELECT thread_key FROM metadata_entries WHERE :entry IS NOT NULL AND digest = :entry
    UNION ALL
    SELECT value FROM json_each(:keys) WHERE :entry IS NULL
    UNION ALL
    SELECT thread_key FROM threads
     WHERE :entry IS NULL AND :keys IS NULL AND :following IS NOT NULL
       AND thread_id >= :prefix AND thread_id < :following
    UNION ALL
    SELECT thread_key FROM threads
     WHERE :entry IS NULL AND :keys IS NULL AND :following IS NULL AND thread_id >= :prefix),
  found AS MATERIALIZED (
    SELECT t.thread_key, t.thread_id, t.created_at, max(t.updated_at, coalesce(m.updated_at, 0)) AS updated_at,
           CASE WHEN :status IS NOT NULL OR :sort_by = 'status' THEN {standing} END AS standing
      FROM candidates CROSS JOIN threads t ON t.thread_key = candidates.thread_key
           LEFT JOIN thread_metadata m ON m.thread_key = t.thread_key
     WHERE t.status <> 'deleted'
       AND t.thread_id >= :prefix AND (:following IS NULL OR t.thread_id < :following)
       AND (:keys IS NULL OR t.thread_key IN (SELECT value FROM json_each(:keys)))
       AND (:graph IS NULL
            OR coalesce(t.graph, (SELECT r.graph FROM runs r INDEXED BY runs_of_thread
                                   WHERE r.thread_key = t.thread_key AND r.state < 4 ORDER BY r.seq LIMIT 1)) = :graph)
       AND NOT EXISTS (SELECT 1 FROM json_each(:entries) w
                        WHERE NOT EXISTS (SELECT 1 FROM metadata_entries e
                                           WHERE e.thread_key = t.thread_key AND hex(e.digest) = w.value))),
  matching AS (SELECT * FROM found WHERE :status IS NULL OR standing = :status)

-- name: count_threads
{matching}
SELECT count(*) FROM matching;

-- name: search_threads
{matching},
  placed AS (
    SELECT thread_key, row_number() OVER (
             ORDER BY CASE WHEN :descending THEN NULL WHEN :sort_by = 'created_at' THEN created_at
                           WHEN :sort_by = 'updated_at' THEN updated_at WHEN :sort_by = 'status' THEN standing END,
                      CASE WHEN NOT :descending THEN NULL WHEN :sort_by = 'created_at' THEN created_at
                           WHEN :sort_by = 'updated_at' THEN updated_at WHEN :sort_by = 'status' THEN standing END DESC,
                      CASE WHEN NOT :descending THEN thread_id END,
                      CASE WHEN :descending THEN thread_id END DESC) AS place
      FROM matching),
  page AS MATERIALIZED (SELECT * FROM placed ORDER BY place LIMIT :limit OFFSET :offset)
{entry}
  FROM page CROSS JOIN threads t ON t.thread_key = page.thread_key
{of_thread}
 ORDER BY page.place;
