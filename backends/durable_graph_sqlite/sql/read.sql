-- name: find_checkpoint
-- The thread, and a checkpoint of it: the root's head unless `no` names one.
SELECT t.thread_id, t.incarnation, t.origin, t.graph, t.graph_digest, t.version, t.head, t.epoch, t.writes_seq,
       t.prunes, t.oldest_kept, t.status, t.status_since, t.created_at, t.updated_at, t.commit_id, t.next,
       t.metadata, t.error, t.extra, t.writes_digest, t.branches_digest, t.requests_digest, t.digest,
       c.namespace, c.number, c.parent, c.planned_at, c.made_at, c.commit_id, c.header, c.state_digest, c.digest,
         c.extra, (SELECT min(seq) FROM runs r WHERE r.thread_key = t.thread_key AND r.state < 4)
  FROM threads t LEFT JOIN checkpoints c ON c.thread_key = t.thread_key AND c.namespace = :ns
    AND c.number = coalesce(:no, t.head)
 WHERE t.thread_key = :thread_key;

-- name: find_newest_checkpoint
-- The thread, and the newest checkpoint of any namespace on the branch of the thread's head.
WITH RECURSIVE
  seg (first, hi, parent) AS MATERIALIZED (
    SELECT * FROM (SELECT l.first, t.version, l.parent FROM threads t JOIN branches l
      ON l.thread_key = t.thread_key AND l.first <= t.version
                    WHERE t.thread_key = :thread_key ORDER BY l.first DESC LIMIT 1)
    UNION ALL
    SELECT l.first, s.parent, l.parent FROM seg s CROSS JOIN branches l
        ON l.thread_key = :thread_key AND l.first = (SELECT max(first) FROM branches WHERE thread_key = :thread_key
          AND first <= s.parent)
     WHERE s.parent BETWEEN 1 AND s.first - 1)
SELECT t.thread_id, t.incarnation, t.origin, t.graph, t.graph_digest, t.version, t.head, t.epoch, t.writes_seq,
       t.prunes, t.oldest_kept, t.status, t.status_since, t.created_at, t.updated_at, t.commit_id, t.next,
       t.metadata, t.error, t.extra, t.writes_digest, t.branches_digest, t.requests_digest, t.digest,
       c.namespace, c.number, c.parent, c.planned_at, c.made_at, c.commit_id, c.header, c.state_digest, c.digest,
         c.extra, (SELECT min(seq) FROM runs r WHERE r.thread_key = t.thread_key AND r.state < 4)
  FROM threads t LEFT JOIN checkpoints c ON c.thread_key = t.thread_key AND c.namespace = :ns AND c.number = (
         SELECT max(m) FROM (SELECT (SELECT max(number) FROM checkpoints
                                      WHERE thread_key = :thread_key AND namespace = :ns AND number BETWEEN s.first
                                        AND s.hi) AS m FROM seg s))
 WHERE t.thread_key = :thread_key;

-- name: read_state
-- Four kinds of rows in one result: 0 a branch in the lineage of number `at`, 1 a row of a channel's value there, 2 a
-- task record of the checkpoints `planned_at` to `number`, 3 the key of a record of another namespace since `nested`.
-- For a whole value above `most` bytes its size is read instead.
--   seg   the intervals of the lineage, newest first
--   ch    the channels, by index skips from one to the next: no row lists them
--   last  each channel's last row in those intervals
--   walk  these rows and their predecessors in the chain
-- The CROSS JOINs fix the order of the joins, and MATERIALIZED evaluates each step once; without them a load of 300
-- channels took 400 ms instead of 1 ms. The numbers of chains and branches have to decrease, so that damaged ones are
-- not walked for ever.
WITH RECURSIVE
  seg (first, hi, parent, digest, extra) AS MATERIALIZED (
    SELECT * FROM (SELECT first, :at, parent, digest, extra FROM branches WHERE thread_key = :thread_key
      AND first <= :at ORDER BY first DESC LIMIT 1)
    UNION ALL
    SELECT l.first, s.parent, l.parent, l.digest, l.extra FROM seg s CROSS JOIN branches l
        ON l.thread_key = :thread_key AND l.first = (SELECT max(first) FROM branches WHERE thread_key = :thread_key
          AND first <= s.parent)
     WHERE s.parent BETWEEN 1 AND s.first - 1),
  ch (channel) AS (
    SELECT min(channel) FROM channel_rows WHERE thread_key = :thread_key AND namespace = :ns
    UNION ALL
    SELECT (SELECT min(v.channel) FROM channel_rows v WHERE v.thread_key = :thread_key AND v.namespace = :ns
      AND v.channel > ch.channel)
      FROM ch WHERE ch.channel IS NOT NULL),
  last (channel, number) AS MATERIALIZED (
    SELECT ch.channel,
           (SELECT max(m) FROM (SELECT (SELECT max(v.number) FROM channel_rows v
                                         WHERE v.thread_key = :thread_key AND v.namespace = :ns AND v.channel = ch.channel
                                           AND v.number BETWEEN s.first AND s.hi) AS m FROM seg s))
      FROM ch WHERE ch.channel IS NOT NULL),
  walk (channel, number, previous) AS (
    SELECT v.channel, v.number, v.previous FROM last CROSS JOIN channel_rows v
        ON v.thread_key = :thread_key AND v.namespace = :ns AND v.channel = last.channel AND v.number = last.number
    UNION ALL
    SELECT v.channel, v.number, v.previous FROM walk w CROSS JOIN channel_rows v
        ON v.thread_key = :thread_key AND v.namespace = :ns AND v.channel = w.channel AND v.number = w.previous
     WHERE w.previous BETWEEN 1 AND w.number - 1)
SELECT 0, NULL, first, parent, NULL, NULL, digest, NULL, extra FROM seg
UNION ALL
SELECT 1, v.channel, v.number, v.previous, v.kind, NULL, v.digest,
       CASE WHEN v.kind = 0 AND length(v.value) > :most THEN length(v.value) ELSE v.value END, NULL
  FROM walk w CROSS JOIN channel_rows v
    ON v.thread_key = :thread_key AND v.namespace = :ns AND v.channel = w.channel AND v.number = w.number
UNION ALL
SELECT 2, commit_id, planned_at, position, rank, revision, digest, value, extra FROM tasks
 WHERE thread_key = :thread_key AND namespace = :ns AND planned_at BETWEEN :born AND :no
UNION ALL
SELECT 3, namespace, planned_at, position, NULL, NULL, digest, NULL, NULL FROM tasks
 WHERE thread_key = :thread_key AND namespace <> '' AND planned_at >= :nested;

-- name: find_records
-- The thread, and every task record of one namespace; one row without a record if there is none.
SELECT t.thread_id, t.incarnation, t.origin, t.graph, t.graph_digest, t.version, t.head, t.epoch, t.writes_seq,
       t.prunes, t.oldest_kept, t.status, t.status_since, t.created_at, t.updated_at, t.commit_id, t.next,
       t.metadata, t.error, t.extra, t.writes_digest, t.branches_digest, t.requests_digest, t.digest,
       k.namespace, k.planned_at, k.position, k.rank, k.revision, k.commit_id, k.value, k.digest, k.extra
  FROM threads t LEFT JOIN tasks k ON k.thread_key = t.thread_key AND k.namespace = :ns
 WHERE t.thread_key = :thread_key ORDER BY k.planned_at, k.position;

-- name: find_lineage
-- The branches in the lineage of number `at`, newest first.
WITH RECURSIVE
  seg (first, parent, digest, extra) AS (
    SELECT * FROM (SELECT first, parent, digest, extra FROM branches WHERE thread_key = :thread_key
      AND first <= :at ORDER BY first DESC LIMIT 1)
    UNION ALL
    SELECT l.first, l.parent, l.digest, l.extra FROM seg s CROSS JOIN branches l
        ON l.thread_key = :thread_key AND l.first = (SELECT max(first) FROM branches WHERE thread_key = :thread_key
          AND first <= s.parent)
     WHERE s.parent BETWEEN 1 AND s.first - 1)
SELECT first, parent, digest, extra FROM seg;

-- name: find_thread
SELECT thread_id, incarnation, origin, graph, graph_digest, version, head, epoch, writes_seq, prunes,
       oldest_kept, status, status_since, created_at, updated_at, commit_id, next, metadata, error, extra,
       writes_digest, branches_digest, requests_digest, digest
  FROM threads WHERE thread_key = :thread_key;

-- name: page_of_checkpoints
SELECT namespace, number, parent, planned_at, made_at, commit_id, header, state_digest, digest, extra
  FROM checkpoints WHERE thread_key = :thread_key AND namespace = :ns AND number < :before ORDER BY number DESC LIMIT :limit;

-- name: page_of_values
-- The rows of the checkpoints from `lo` to `hi`, channel by channel.
WITH RECURSIVE
  ch (channel) AS (
    SELECT min(channel) FROM channel_rows WHERE thread_key = :thread_key AND namespace = :ns
    UNION ALL
    SELECT (SELECT min(v.channel) FROM channel_rows v WHERE v.thread_key = :thread_key AND v.namespace = :ns
      AND v.channel > ch.channel)
      FROM ch WHERE ch.channel IS NOT NULL)
SELECT v.channel, v.number, v.previous, v.kind, v.value, v.digest FROM ch CROSS JOIN channel_rows v
    ON v.thread_key = :thread_key AND v.namespace = :ns AND v.channel = ch.channel AND v.number BETWEEN :lo AND :hi;

-- name: page_of_records
SELECT namespace, planned_at, position, rank, revision, commit_id, value, digest, extra
  FROM tasks WHERE thread_key = :thread_key AND namespace = :ns AND planned_at BETWEEN :born AND :hi
    ORDER BY planned_at, position;

-- name: list_threads
-- A page by id.
SELECT thread_id, incarnation, origin, graph, graph_digest, version, head, epoch, writes_seq, prunes, oldest_kept,
       status, status_since, created_at, updated_at, commit_id, next, metadata, error, extra, writes_digest,
       branches_digest, requests_digest, digest, thread_key
  FROM threads WHERE thread_id > CAST(:after AS TEXT) AND status <> 'deleted' AND status_since < :before
 ORDER BY thread_id LIMIT :limit;

-- name: list_threads_of_status
-- A page of one status, by the time of the status.
SELECT thread_id, incarnation, origin, graph, graph_digest, version, head, epoch, writes_seq, prunes, oldest_kept,
       status, status_since, created_at, updated_at, commit_id, next, metadata, error, extra, writes_digest,
       branches_digest, requests_digest, digest, thread_key
  FROM threads WHERE status = :status AND status_since < :before AND (status_since, thread_id) > (:since, CAST(:after AS TEXT))
 ORDER BY status_since, thread_id LIMIT :limit;

-- name: is_there
SELECT 1 FROM threads WHERE thread_key = :thread_key;

-- name: find_key
-- The key of the row with an id. It does not match the id if one of them is damaged.
SELECT thread_key FROM threads WHERE thread_id = CAST(:thread AS TEXT);

-- name: find_request
SELECT key, input_digest, seq, checkpoint, made_at, extra, digest
  FROM requests WHERE thread_key = :thread_key AND key = :key;

-- name: find_requests
SELECT key, input_digest, seq, checkpoint, made_at, extra, digest FROM requests WHERE thread_key = :thread_key;

-- name: find_value_in_lineage
-- Whether a namespace has a value in the lineage of number `at`.
WITH RECURSIVE
  seg (first, hi, parent) AS MATERIALIZED (
    SELECT * FROM (SELECT first, :at, parent FROM branches
                    WHERE thread_key = :thread_key AND first <= :at ORDER BY first DESC LIMIT 1)
    UNION ALL
    SELECT l.first, s.parent, l.parent FROM seg s CROSS JOIN branches l
        ON l.thread_key = :thread_key
       AND l.first = (SELECT max(first) FROM branches WHERE thread_key = :thread_key AND first <= s.parent)
     WHERE s.parent BETWEEN 1 AND s.first - 1)
SELECT 1 FROM channel_rows v
 WHERE v.thread_key = :thread_key AND v.namespace = :ns
   AND EXISTS (SELECT 1 FROM seg s WHERE v.number BETWEEN s.first AND s.hi)
 LIMIT 1;
