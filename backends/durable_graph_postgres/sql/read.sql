-- name: load
-- One statement, so one snapshot: a checkpoint of a thread, and the rows of its state. `no` is its number,
-- by default the newest in the branch of the thread's head. For a whole value above `most` bytes its size is read
-- instead. Eight kinds of rows:
--   9  the kind of rows that exist for a thread whose own row is missing
--   0  the thread, and its first run that has not ended    1  the checkpoint    2  a branch of its lineage    3  a row of a channel's value
--   4  a task record of the checkpoints `planned_at` to `number`
--   5  the key of a record of another namespace, for the head
--   6  the namespace has values in that lineage, and no checkpoint
-- The thread's columns are returned as text: for an array of another type the driver would have to query the server
-- first. The numbers of chains and branches have to decrease, so that damaged ones are not walked for ever.
WITH RECURSIVE
  t AS MATERIALIZED (SELECT * FROM {schema}.threads WHERE thread_key = :thread_key),
  -- The lineage of the thread's version, or of the given number, newest interval first.
  seg (first, hi, parent, digest, extra) AS (
    (SELECT l.first, coalesce(:no, t.version), l.parent, l.digest, l.extra FROM t
      CROSS JOIN LATERAL (SELECT * FROM {schema}.branches WHERE thread_key = :thread_key AND first <= coalesce(:no, t.version)
                           ORDER BY first DESC LIMIT 1) l)
    UNION ALL
    SELECT l.first, s.parent, l.parent, l.digest, l.extra FROM seg s
     CROSS JOIN LATERAL (SELECT * FROM {schema}.branches WHERE thread_key = :thread_key AND first <= s.parent
                          ORDER BY first DESC LIMIT 1) l
     WHERE s.parent BETWEEN 1 AND s.first - 1),
  c AS MATERIALIZED (
    SELECT c.* FROM t CROSS JOIN {schema}.checkpoints c
     WHERE c.thread_key = :thread_key AND c.namespace = :ns AND c.number = CASE
       WHEN :no::bigint IS NOT NULL THEN :no
       WHEN :ns = '' THEN t.head
       ELSE (SELECT max(m.number) FROM seg s CROSS JOIN LATERAL (
               SELECT number FROM {schema}.checkpoints
                WHERE thread_key = :thread_key AND namespace = :ns AND number BETWEEN s.first AND s.hi
                  ORDER BY number DESC LIMIT 1) m) END),
  -- The channels, by index skips from one to the next: no row lists them.
  ch (channel) AS (
    SELECT min(channel) FROM {schema}.channel_rows WHERE thread_key = :thread_key AND namespace = :ns AND EXISTS (SELECT FROM c)
    UNION ALL
    SELECT (SELECT min(v.channel) FROM {schema}.channel_rows v WHERE v.thread_key = :thread_key AND v.namespace = :ns
      AND v.channel > ch.channel)
      FROM ch WHERE ch.channel IS NOT NULL),
  -- Each channel's last row in those intervals, and its predecessors in the chain.
  walk (channel, number, previous, kind, digest, value) AS (
    SELECT v.channel, v.number, v.previous, v.kind, v.digest, v.value FROM ch
     CROSS JOIN LATERAL (
       SELECT max(m.number) AS number FROM seg s CROSS JOIN LATERAL (
         SELECT number FROM {schema}.channel_rows
          WHERE thread_key = :thread_key AND namespace = :ns AND channel = ch.channel AND number BETWEEN s.first AND s.hi
          ORDER BY number DESC LIMIT 1) m) last
     CROSS JOIN LATERAL (
       SELECT * FROM {schema}.channel_rows
        WHERE thread_key = :thread_key AND namespace = :ns AND channel = ch.channel AND number = last.number OFFSET 0) v
     WHERE ch.channel IS NOT NULL
    UNION ALL
    SELECT v.channel, v.number, v.previous, v.kind, v.digest, v.value FROM walk w
     CROSS JOIN LATERAL (
       SELECT * FROM {schema}.channel_rows
        WHERE thread_key = :thread_key AND namespace = :ns AND channel = w.channel AND number = w.previous OFFSET 0) v
     WHERE w.previous BETWEEN 1 AND w.number - 1)
SELECT 0 AS arm, NULL AS text,
       (SELECT min(seq) FROM {schema}.runs r WHERE r.thread_key = :thread_key AND r.state < 4) AS i1, NULL::bigint AS i2, NULL::bigint AS i3, NULL::bigint AS i4,
       NULL::bytea AS b1, NULL::bytea AS b2, NULL::bytea AS b3, NULL::bytea AS b4, NULL::bytea AS b5,
       ARRAY[thread_id, incarnation::text, encode(origin, 'hex'), graph, encode(graph_digest, 'hex'),
             version::text, head::text, epoch::text, writes_seq::text, prunes::text, oldest_kept::text, status,
             status_since::text, created_at::text, updated_at::text, encode(commit_id, 'hex'), next, metadata,
             error, encode(extra, 'hex'), encode(writes_digest, 'hex'), encode(branches_digest, 'hex'),
             encode(requests_digest, 'hex'), encode(digest, 'hex')] AS thread
  FROM t
UNION ALL
SELECT 1, namespace, number, parent, planned_at, made_at, commit_id, header, state_digest, digest, extra, NULL
  FROM c
UNION ALL
SELECT 2, NULL, first, parent, NULL, NULL, digest, extra, NULL, NULL, NULL, NULL FROM seg
UNION ALL
SELECT 3, channel, number, previous, kind, CASE WHEN kind = 0 AND length(value) > :most::bigint THEN length(value) END,
       CASE WHEN kind = 0 AND length(value) > :most::bigint THEN NULL ELSE value END, digest, NULL, NULL, NULL, NULL FROM walk
UNION ALL
SELECT 4, k.namespace, k.planned_at, k.position, k.rank, k.revision, k.commit_id, k.value, k.digest, k.extra, NULL,
       NULL
  FROM c CROSS JOIN LATERAL (
    SELECT * FROM {schema}.tasks
     WHERE thread_key = :thread_key AND namespace = :ns AND planned_at BETWEEN c.planned_at AND c.number OFFSET 0) k
UNION ALL
SELECT 5, k.namespace, k.planned_at, k.position, NULL, NULL, k.digest, NULL, NULL, NULL, NULL, NULL
  FROM t CROSS JOIN c CROSS JOIN LATERAL (
    SELECT * FROM {schema}.tasks WHERE thread_key = :thread_key AND namespace <> '' AND planned_at >= c.planned_at OFFSET 0) k
 WHERE :ns = '' AND c.number = t.head
UNION ALL
SELECT 6, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
 WHERE :ns <> '' AND :no IS NULL AND NOT EXISTS (SELECT FROM c) AND EXISTS (
   SELECT FROM seg s CROSS JOIN {schema}.channel_rows v
    WHERE v.thread_key = :thread_key AND v.namespace = :ns AND v.number BETWEEN s.first AND s.hi)
UNION ALL
SELECT 9, CASE WHEN EXISTS (SELECT FROM {schema}.checkpoints WHERE thread_key = :thread_key) THEN 'checkpoints'
               WHEN EXISTS (SELECT FROM {schema}.channel_rows WHERE thread_key = :thread_key) THEN 'values'
               WHEN EXISTS (SELECT FROM {schema}.tasks WHERE thread_key = :thread_key) THEN 'task records'
               WHEN EXISTS (SELECT FROM {schema}.branches WHERE thread_key = :thread_key) THEN 'branches' END,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
 WHERE NOT EXISTS (SELECT FROM t);

-- name: load_many
-- The rows of `load` for the heads of many threads, each with the thread's key.
SELECT q.thread_key, l.* FROM unnest(:thread_keys::bigint[]) AS q (thread_key) CROSS JOIN LATERAL (
{load_of_each}) l;

-- name: find_thread
SELECT thread_id, incarnation, origin, graph, graph_digest, version, head, epoch, writes_seq, prunes,
       oldest_kept, status, status_since, created_at, updated_at, commit_id, next, metadata, error, extra,
       writes_digest, branches_digest, requests_digest, digest
  FROM {schema}.threads WHERE thread_key = :thread_key;

-- name: find_orphan
-- The kind of rows that exist for a thread whose own row is missing. The thread may have been created since the caller
-- looked for it.
SELECT CASE WHEN EXISTS (SELECT FROM {schema}.threads WHERE thread_key = :thread_key) THEN NULL
            WHEN EXISTS (SELECT FROM {schema}.checkpoints WHERE thread_key = :thread_key) THEN 'checkpoints'
            WHEN EXISTS (SELECT FROM {schema}.channel_rows WHERE thread_key = :thread_key) THEN 'values'
            WHEN EXISTS (SELECT FROM {schema}.tasks WHERE thread_key = :thread_key) THEN 'task records'
            WHEN EXISTS (SELECT FROM {schema}.branches WHERE thread_key = :thread_key) THEN 'branches' END;

-- name: find_records
-- The thread, and every task record of one namespace; one row without a record if there is none.
SELECT t.thread_id, t.incarnation, t.origin, t.graph, t.graph_digest, t.version, t.head, t.epoch, t.writes_seq,
       t.prunes, t.oldest_kept, t.status, t.status_since, t.created_at, t.updated_at, t.commit_id, t.next,
       t.metadata, t.error, t.extra, t.writes_digest, t.branches_digest, t.requests_digest, t.digest,
       k.namespace, k.planned_at, k.position, k.rank, k.revision, k.commit_id, k.value, k.digest, k.extra
  FROM {schema}.threads t LEFT JOIN {schema}.tasks k ON k.thread_key = t.thread_key AND k.namespace = :ns
 WHERE t.thread_key = :thread_key ORDER BY k.planned_at, k.position;

-- name: read_state
-- Two kinds of rows: 0 a branch in the lineage of number `at`, 1 a row of a channel's value there.
WITH RECURSIVE
  seg (first, hi, parent, digest, extra) AS (
    (SELECT first, :at::bigint, parent, digest, extra FROM {schema}.branches WHERE thread_key = :thread_key
      AND first <= :at ORDER BY first DESC LIMIT 1)
    UNION ALL
    SELECT l.first, s.parent, l.parent, l.digest, l.extra FROM seg s
     CROSS JOIN LATERAL (SELECT * FROM {schema}.branches WHERE thread_key = :thread_key AND first <= s.parent
                          ORDER BY first DESC LIMIT 1) l
     WHERE s.parent BETWEEN 1 AND s.first - 1),
  ch (channel) AS (
    SELECT min(channel) FROM {schema}.channel_rows WHERE thread_key = :thread_key AND namespace = :ns
    UNION ALL
    SELECT (SELECT min(v.channel) FROM {schema}.channel_rows v WHERE v.thread_key = :thread_key AND v.namespace = :ns
      AND v.channel > ch.channel)
      FROM ch WHERE ch.channel IS NOT NULL),
  walk (channel, number, previous, kind, digest, value) AS (
    SELECT v.channel, v.number, v.previous, v.kind, v.digest, v.value FROM ch
     CROSS JOIN LATERAL (
       SELECT max(m.number) AS number FROM seg s CROSS JOIN LATERAL (
         SELECT number FROM {schema}.channel_rows
          WHERE thread_key = :thread_key AND namespace = :ns AND channel = ch.channel AND number BETWEEN s.first AND s.hi
          ORDER BY number DESC LIMIT 1) m) last
     CROSS JOIN LATERAL (
       SELECT * FROM {schema}.channel_rows
        WHERE thread_key = :thread_key AND namespace = :ns AND channel = ch.channel AND number = last.number OFFSET 0) v
     WHERE ch.channel IS NOT NULL
    UNION ALL
    SELECT v.channel, v.number, v.previous, v.kind, v.digest, v.value FROM walk w
     CROSS JOIN LATERAL (
       SELECT * FROM {schema}.channel_rows
        WHERE thread_key = :thread_key AND namespace = :ns AND channel = w.channel AND number = w.previous OFFSET 0) v
     WHERE w.previous BETWEEN 1 AND w.number - 1)
SELECT 0, NULL, first, parent, NULL::smallint, NULL, digest, NULL::bytea, extra FROM seg
UNION ALL
SELECT 1, channel, number, previous, kind, NULL, digest, value, NULL FROM walk;

-- name: page_of_checkpoints
SELECT namespace, number, parent, planned_at, made_at, commit_id, header, state_digest, digest, extra
  FROM {schema}.checkpoints WHERE thread_key = :thread_key AND namespace = :ns AND number < :before ORDER BY number DESC LIMIT :limit;

-- name: page_of_values
-- The rows of the checkpoints from `lo` to `hi`, channel by channel.
WITH RECURSIVE ch (channel) AS (
    SELECT min(channel) FROM {schema}.channel_rows WHERE thread_key = :thread_key AND namespace = :ns
    UNION ALL
    SELECT (SELECT min(v.channel) FROM {schema}.channel_rows v WHERE v.thread_key = :thread_key AND v.namespace = :ns
      AND v.channel > ch.channel)
      FROM ch WHERE ch.channel IS NOT NULL)
SELECT v.channel, v.number, v.previous, v.kind, v.value, v.digest FROM ch CROSS JOIN LATERAL (
  SELECT * FROM {schema}.channel_rows
   WHERE thread_key = :thread_key AND namespace = :ns AND channel = ch.channel AND number BETWEEN :lo AND :hi ORDER BY number) v;

-- name: page_of_records
SELECT namespace, planned_at, position, rank, revision, commit_id, value, digest, extra
  FROM {schema}.tasks WHERE thread_key = :thread_key AND namespace = :ns AND planned_at BETWEEN :born AND :hi
    ORDER BY planned_at, position;

-- name: list_threads
-- A page by id.
SELECT thread_id, incarnation, origin, graph, graph_digest, version, head, epoch, writes_seq, prunes, oldest_kept,
       status, status_since, created_at, updated_at, commit_id, next, metadata, error, extra, writes_digest,
       branches_digest, requests_digest, digest, thread_key
  FROM {schema}.threads WHERE thread_id > :after AND status <> 'deleted' AND status_since < :before
 ORDER BY thread_id LIMIT :limit;

-- name: list_threads_of_status
-- A page of one status, by the time of the status.
SELECT thread_id, incarnation, origin, graph, graph_digest, version, head, epoch, writes_seq, prunes, oldest_kept,
       status, status_since, created_at, updated_at, commit_id, next, metadata, error, extra, writes_digest,
       branches_digest, requests_digest, digest, thread_key
  FROM {schema}.threads WHERE status = :status AND status_since < :before AND (status_since, thread_id) > (:since, :after)
 ORDER BY status_since, thread_id LIMIT :limit;

-- name: is_there
SELECT 1 FROM {schema}.threads WHERE thread_key = :thread_key;

-- name: find_key
-- The key of the row with an id. It does not match the id if one of them is damaged.
SELECT thread_key FROM {schema}.threads WHERE thread_id = :thread;

-- name: find_request
SELECT key, input_digest, seq, checkpoint, made_at, extra, digest
  FROM {schema}.requests WHERE thread_key = :thread_key AND key = :key;

-- name: find_requests
SELECT key, input_digest, seq, checkpoint, made_at, extra, digest FROM {schema}.requests WHERE thread_key = :thread_key;

-- name: find_sessions
SELECT pid FROM pg_catalog.pg_stat_activity WHERE pid = ANY ($1::int[])
