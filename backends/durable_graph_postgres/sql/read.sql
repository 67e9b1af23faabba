-- name: load
-- One statement, so one moment: a checkpoint of thread $1, and all that makes its state. $2 is its namespace; $3 its
-- number, by default the newest in the line of the thread's head. Eight kinds of rows:
--   9  what there is of a thread that has no row itself
--   0  the thread    1  the checkpoint    2  a line that led to it    3  a row of a channel's value
--   4  a task record of the checkpoints `born` to `no`    5  where a record of another namespace is, at the head
-- A chain or a line leads downwards only: damaged ones must not be walked for ever.
WITH RECURSIVE
  t AS MATERIALIZED (SELECT * FROM {schema}.threads WHERE tid = $1),
  -- The intervals that led to the thread's version, or to the number asked for, newest first.
  seg (lo, hi, parent, digest) AS (
    (SELECT l.lo, coalesce($3, t.version), l.parent, l.digest FROM t
      CROSS JOIN LATERAL (SELECT * FROM {schema}.lines WHERE tid = $1 AND lo <= coalesce($3, t.version)
                           ORDER BY lo DESC LIMIT 1) l)
    UNION ALL
    SELECT l.lo, s.parent, l.parent, l.digest FROM seg s
     CROSS JOIN LATERAL (SELECT * FROM {schema}.lines WHERE tid = $1 AND lo <= s.parent
                          ORDER BY lo DESC LIMIT 1) l
     WHERE s.parent BETWEEN 1 AND s.lo - 1),
  c AS MATERIALIZED (
    SELECT c.* FROM t CROSS JOIN {schema}.checkpoints c
     WHERE c.tid = $1 AND c.ns = $2 AND c.no = CASE
       WHEN $3::bigint IS NOT NULL THEN $3
       WHEN $2 = '' THEN t.head
       ELSE (SELECT max(m.no) FROM seg s CROSS JOIN LATERAL (
               SELECT no FROM {schema}.checkpoints
                WHERE tid = $1 AND ns = $2 AND no BETWEEN s.lo AND s.hi ORDER BY no DESC LIMIT 1) m) END),
  -- The channels, by skipping from one to the next: there is no manifest.
  ch (channel) AS (
    SELECT min(channel) FROM {schema}.channel_rows WHERE tid = $1 AND ns = $2 AND EXISTS (SELECT FROM c)
    UNION ALL
    SELECT (SELECT min(v.channel) FROM {schema}.channel_rows v WHERE v.tid = $1 AND v.ns = $2 AND v.channel > ch.channel)
      FROM ch WHERE ch.channel IS NOT NULL),
  -- Each channel's last row in those intervals, and the rows that it goes on from.
  walk (channel, no, prev, kind, digest, value) AS (
    SELECT v.channel, v.no, v.prev, v.kind, v.digest, v.value FROM ch
     CROSS JOIN LATERAL (
       SELECT max(m.no) AS no FROM seg s CROSS JOIN LATERAL (
         SELECT no FROM {schema}.channel_rows
          WHERE tid = $1 AND ns = $2 AND channel = ch.channel AND no BETWEEN s.lo AND s.hi
          ORDER BY no DESC LIMIT 1) m) last
     CROSS JOIN LATERAL (
       SELECT * FROM {schema}.channel_rows
        WHERE tid = $1 AND ns = $2 AND channel = ch.channel AND no = last.no OFFSET 0) v
     WHERE ch.channel IS NOT NULL
    UNION ALL
    SELECT v.channel, v.no, v.prev, v.kind, v.digest, v.value FROM walk w
     CROSS JOIN LATERAL (
       SELECT * FROM {schema}.channel_rows
        WHERE tid = $1 AND ns = $2 AND channel = w.channel AND no = w.prev OFFSET 0) v
     WHERE w.prev BETWEEN 1 AND w.no - 1)
SELECT 0 AS arm, thread AS text, incarnation AS i1, version AS i2, head AS i3, epoch AS i4, wseq AS i5, gen AS i6,
       floor AS i7, status::bigint AS i8, status_since AS i9,
       origin AS b1, commit_id AS b2, writes_digest AS b3, lines_digest AS b4, digest AS b5 FROM t
UNION ALL
SELECT 1, ns, no, parent, born, at, NULL, NULL, NULL, NULL, NULL, commit_id, header, state_digest, digest, NULL FROM c
UNION ALL
SELECT 2, NULL, lo, parent, NULL, NULL, NULL, NULL, NULL, NULL, NULL, digest, NULL, NULL, NULL, NULL FROM seg
UNION ALL
SELECT 3, channel, no, prev, kind, NULL, NULL, NULL, NULL, NULL, NULL, value, digest, NULL, NULL, NULL FROM walk
UNION ALL
SELECT 4, k.ns, k.born, k.ord, k.rank, k.revision, NULL, NULL, NULL, NULL, NULL, k.commit_id, k.value, k.digest, NULL, NULL
  FROM c CROSS JOIN LATERAL (
    SELECT * FROM {schema}.tasks WHERE tid = $1 AND ns = $2 AND born BETWEEN c.born AND c.no OFFSET 0) k
UNION ALL
SELECT 5, k.ns, k.born, k.ord, NULL, NULL, NULL, NULL, NULL, NULL, NULL, k.digest, NULL, NULL, NULL, NULL
  FROM t CROSS JOIN c CROSS JOIN LATERAL (
    SELECT * FROM {schema}.tasks WHERE tid = $1 AND ns <> '' AND born >= c.born OFFSET 0) k
 WHERE $2 = '' AND c.no = t.head
UNION ALL
SELECT 9, CASE WHEN EXISTS (SELECT FROM {schema}.checkpoints WHERE tid = $1) THEN 'checkpoints'
               WHEN EXISTS (SELECT FROM {schema}.channel_rows WHERE tid = $1) THEN 'values'
               WHEN EXISTS (SELECT FROM {schema}.tasks WHERE tid = $1) THEN 'task records'
               WHEN EXISTS (SELECT FROM {schema}.lines WHERE tid = $1) THEN 'lines' END,
       NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
 WHERE NOT EXISTS (SELECT FROM t);

-- name: find_thread
SELECT thread, incarnation, origin, version, head, epoch, wseq, gen, floor, status, status_since, commit_id,
       writes_digest, lines_digest, digest
  FROM {schema}.threads WHERE tid = $1;

-- name: find_orphan
-- Whether rows exist of a thread that has none itself. It may have begun since somebody did not find it.
SELECT CASE WHEN EXISTS (SELECT FROM {schema}.threads WHERE tid = $1) THEN NULL
            WHEN EXISTS (SELECT FROM {schema}.checkpoints WHERE tid = $1) THEN 'checkpoints'
            WHEN EXISTS (SELECT FROM {schema}.channel_rows WHERE tid = $1) THEN 'values'
            WHEN EXISTS (SELECT FROM {schema}.tasks WHERE tid = $1) THEN 'task records'
            WHEN EXISTS (SELECT FROM {schema}.lines WHERE tid = $1) THEN 'lines' END;

-- name: find_records
-- The thread, and every task record of one namespace; one row without a record if there is none.
SELECT t.thread, t.incarnation, t.origin, t.version, t.head, t.epoch, t.wseq, t.gen, t.floor, t.status, t.status_since,
       t.commit_id, t.writes_digest, t.lines_digest, t.digest,
       k.ns, k.born, k.ord, k.rank, k.revision, k.commit_id, k.value, k.digest
  FROM {schema}.threads t LEFT JOIN {schema}.tasks k ON k.tid = t.tid AND k.ns = $2
 WHERE t.tid = $1 ORDER BY k.born, k.ord;

-- name: find_state
-- The rows of a channel's value, for all channels of namespace $2, in the lineage of number $3; and that lineage.
WITH RECURSIVE
  seg (lo, hi, parent, digest) AS (
    (SELECT lo, $3::bigint, parent, digest FROM {schema}.lines WHERE tid = $1 AND lo <= $3 ORDER BY lo DESC LIMIT 1)
    UNION ALL
    SELECT l.lo, s.parent, l.parent, l.digest FROM seg s
     CROSS JOIN LATERAL (SELECT * FROM {schema}.lines WHERE tid = $1 AND lo <= s.parent
                          ORDER BY lo DESC LIMIT 1) l
     WHERE s.parent BETWEEN 1 AND s.lo - 1),
  ch (channel) AS (
    SELECT min(channel) FROM {schema}.channel_rows WHERE tid = $1 AND ns = $2
    UNION ALL
    SELECT (SELECT min(v.channel) FROM {schema}.channel_rows v WHERE v.tid = $1 AND v.ns = $2 AND v.channel > ch.channel)
      FROM ch WHERE ch.channel IS NOT NULL),
  walk (channel, no, prev, kind, digest, value) AS (
    SELECT v.channel, v.no, v.prev, v.kind, v.digest, v.value FROM ch
     CROSS JOIN LATERAL (
       SELECT max(m.no) AS no FROM seg s CROSS JOIN LATERAL (
         SELECT no FROM {schema}.channel_rows
          WHERE tid = $1 AND ns = $2 AND channel = ch.channel AND no BETWEEN s.lo AND s.hi
          ORDER BY no DESC LIMIT 1) m) last
     CROSS JOIN LATERAL (
       SELECT * FROM {schema}.channel_rows
        WHERE tid = $1 AND ns = $2 AND channel = ch.channel AND no = last.no OFFSET 0) v
     WHERE ch.channel IS NOT NULL
    UNION ALL
    SELECT v.channel, v.no, v.prev, v.kind, v.digest, v.value FROM walk w
     CROSS JOIN LATERAL (
       SELECT * FROM {schema}.channel_rows
        WHERE tid = $1 AND ns = $2 AND channel = w.channel AND no = w.prev OFFSET 0) v
     WHERE w.prev BETWEEN 1 AND w.no - 1)
SELECT 2 AS arm, NULL AS channel, lo AS no, parent AS prev, NULL AS kind, NULL AS value, digest FROM seg
UNION ALL
SELECT 3, channel, no, prev, kind, value, digest FROM walk;

-- name: page_of_checkpoints
SELECT ns, no, parent, born, at, commit_id, header, state_digest, digest
  FROM {schema}.checkpoints WHERE tid = $1 AND ns = $2 AND no < $3 ORDER BY no DESC LIMIT $4;

-- name: page_of_values
-- What the checkpoints from number $3 to $4 wrote, channel by channel.
WITH RECURSIVE ch (channel) AS (
    SELECT min(channel) FROM {schema}.channel_rows WHERE tid = $1 AND ns = $2
    UNION ALL
    SELECT (SELECT min(v.channel) FROM {schema}.channel_rows v WHERE v.tid = $1 AND v.ns = $2 AND v.channel > ch.channel)
      FROM ch WHERE ch.channel IS NOT NULL)
SELECT v.channel, v.no, v.prev, v.kind, v.value, v.digest FROM ch CROSS JOIN LATERAL (
  SELECT * FROM {schema}.channel_rows
   WHERE tid = $1 AND ns = $2 AND channel = ch.channel AND no BETWEEN $3 AND $4 ORDER BY no) v;

-- name: page_of_records
SELECT ns, born, ord, rank, revision, commit_id, value, digest
  FROM {schema}.tasks WHERE tid = $1 AND ns = $2 AND born BETWEEN $3 AND $4 ORDER BY born, ord;

-- name: list_threads
SELECT thread, status, status_since, head, version, wseq
  FROM {schema}.threads WHERE thread > $1 AND status <> $2 AND status_since < $4 ORDER BY thread LIMIT $3;

-- name: list_threads_of_status
SELECT thread, status, status_since, head, version, wseq
  FROM {schema}.threads WHERE status = $2 AND thread > $1 AND status_since < $4 ORDER BY thread LIMIT $3;
