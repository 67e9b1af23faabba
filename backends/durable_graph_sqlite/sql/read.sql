-- name: find_checkpoint
-- The thread, and a checkpoint of it: the root's head unless `no` names one.
SELECT t.thread, t.incarnation, t.origin, t.version, t.head, t.epoch, t.wseq, t.gen, t.floor, t.status, t.status_since,
       t.commit_id, t.writes_digest, t.lines_digest, t.digest,
       c.ns, c.no, c.parent, c.born, c.at, c.commit_id, c.header, c.state_digest, c.digest
  FROM threads t LEFT JOIN checkpoints c ON c.tid = t.tid AND c.ns = :ns AND c.no = coalesce(:no, t.head)
 WHERE t.tid = :tid;

-- name: find_newest_checkpoint
-- The same for the newest checkpoint of any namespace in the line of the thread's head.
WITH RECURSIVE
  seg (lo, hi, parent) AS MATERIALIZED (
    SELECT * FROM (SELECT l.lo, t.version, l.parent FROM threads t JOIN lines l ON l.tid = t.tid AND l.lo <= t.version
                    WHERE t.tid = :tid ORDER BY l.lo DESC LIMIT 1)
    UNION ALL
    SELECT l.lo, s.parent, l.parent FROM seg s CROSS JOIN lines l
        ON l.tid = :tid AND l.lo = (SELECT max(lo) FROM lines WHERE tid = :tid AND lo <= s.parent)
     WHERE s.parent BETWEEN 1 AND s.lo - 1)
SELECT t.thread, t.incarnation, t.origin, t.version, t.head, t.epoch, t.wseq, t.gen, t.floor, t.status, t.status_since,
       t.commit_id, t.writes_digest, t.lines_digest, t.digest,
       c.ns, c.no, c.parent, c.born, c.at, c.commit_id, c.header, c.state_digest, c.digest
  FROM threads t LEFT JOIN checkpoints c ON c.tid = t.tid AND c.ns = :ns AND c.no = (
         SELECT max(m) FROM (SELECT (SELECT max(no) FROM checkpoints
                                      WHERE tid = :tid AND ns = :ns AND no BETWEEN s.lo AND s.hi) AS m FROM seg s))
 WHERE t.tid = :tid;

-- name: read_state
-- Four kinds of rows in one answer: 0 a line that led to number `at`, 1 a row of a channel's value there, 2 a task
-- record of the checkpoints `born` to `no`, 3 where a record of another namespace since `nested` is.
--   seg   the intervals that led there, newest first
--   ch    the channels, by skipping from one to the next: there is no manifest
--   last  each channel's last row in those intervals
--   walk  and the rows that it goes on from
-- The CROSS JOINs fix the order of the joins and MATERIALIZED has each step done once; without them a load of 300
-- channels took 400 ms and not one. A chain or a line leads downwards only: damaged ones must not be walked for ever.
WITH RECURSIVE
  seg (lo, hi, parent, digest) AS MATERIALIZED (
    SELECT * FROM (SELECT lo, :at, parent, digest FROM lines WHERE tid = :tid AND lo <= :at ORDER BY lo DESC LIMIT 1)
    UNION ALL
    SELECT l.lo, s.parent, l.parent, l.digest FROM seg s CROSS JOIN lines l
        ON l.tid = :tid AND l.lo = (SELECT max(lo) FROM lines WHERE tid = :tid AND lo <= s.parent)
     WHERE s.parent BETWEEN 1 AND s.lo - 1),
  ch (channel) AS (
    SELECT min(channel) FROM channel_rows WHERE tid = :tid AND ns = :ns
    UNION ALL
    SELECT (SELECT min(v.channel) FROM channel_rows v WHERE v.tid = :tid AND v.ns = :ns AND v.channel > ch.channel)
      FROM ch WHERE ch.channel IS NOT NULL),
  last (channel, no) AS MATERIALIZED (
    SELECT ch.channel,
           (SELECT max(m) FROM (SELECT (SELECT max(v.no) FROM channel_rows v
                                         WHERE v.tid = :tid AND v.ns = :ns AND v.channel = ch.channel
                                           AND v.no BETWEEN s.lo AND s.hi) AS m FROM seg s))
      FROM ch WHERE ch.channel IS NOT NULL),
  walk (channel, no, prev) AS (
    SELECT v.channel, v.no, v.prev FROM last CROSS JOIN channel_rows v
        ON v.tid = :tid AND v.ns = :ns AND v.channel = last.channel AND v.no = last.no
    UNION ALL
    SELECT v.channel, v.no, v.prev FROM walk w CROSS JOIN channel_rows v
        ON v.tid = :tid AND v.ns = :ns AND v.channel = w.channel AND v.no = w.prev
     WHERE w.prev BETWEEN 1 AND w.no - 1)
SELECT 0, NULL, lo, parent, NULL, NULL, digest, NULL FROM seg
UNION ALL
SELECT 1, v.channel, v.no, v.prev, v.kind, NULL, v.digest, v.value FROM walk w CROSS JOIN channel_rows v
    ON v.tid = :tid AND v.ns = :ns AND v.channel = w.channel AND v.no = w.no
UNION ALL
SELECT 2, commit_id, born, ord, rank, revision, digest, value FROM tasks
 WHERE tid = :tid AND ns = :ns AND born BETWEEN :born AND :no
UNION ALL
SELECT 3, ns, born, ord, NULL, NULL, digest, NULL FROM tasks WHERE tid = :tid AND ns <> '' AND born >= :nested;

-- name: find_records
-- The thread, and every task record of one namespace; one row without a record if there is none.
SELECT t.thread, t.incarnation, t.origin, t.version, t.head, t.epoch, t.wseq, t.gen, t.floor, t.status, t.status_since,
       t.commit_id, t.writes_digest, t.lines_digest, t.digest,
       k.ns, k.born, k.ord, k.rank, k.revision, k.commit_id, k.value, k.digest
  FROM threads t LEFT JOIN tasks k ON k.tid = t.tid AND k.ns = :ns
 WHERE t.tid = :tid ORDER BY k.born, k.ord;

-- name: find_lineage
-- The lines that led to number `at`, newest first.
WITH RECURSIVE
  seg (lo, parent, digest) AS (
    SELECT * FROM (SELECT lo, parent, digest FROM lines WHERE tid = :tid AND lo <= :at ORDER BY lo DESC LIMIT 1)
    UNION ALL
    SELECT l.lo, l.parent, l.digest FROM seg s CROSS JOIN lines l
        ON l.tid = :tid AND l.lo = (SELECT max(lo) FROM lines WHERE tid = :tid AND lo <= s.parent)
     WHERE s.parent BETWEEN 1 AND s.lo - 1)
SELECT lo, parent, digest FROM seg;

-- name: find_thread
SELECT thread, incarnation, origin, version, head, epoch, wseq, gen, floor, status, status_since, commit_id,
       writes_digest, lines_digest, digest
  FROM threads WHERE tid = :tid;

-- name: page_of_checkpoints
SELECT ns, no, parent, born, at, commit_id, header, state_digest, digest
  FROM checkpoints WHERE tid = :tid AND ns = :ns AND no < :before ORDER BY no DESC LIMIT :limit;

-- name: page_of_values
-- What the checkpoints from `lo` to `hi` wrote, channel by channel.
WITH RECURSIVE
  ch (channel) AS (
    SELECT min(channel) FROM channel_rows WHERE tid = :tid AND ns = :ns
    UNION ALL
    SELECT (SELECT min(v.channel) FROM channel_rows v WHERE v.tid = :tid AND v.ns = :ns AND v.channel > ch.channel)
      FROM ch WHERE ch.channel IS NOT NULL)
SELECT v.channel, v.no, v.prev, v.kind, v.value, v.digest FROM ch CROSS JOIN channel_rows v
    ON v.tid = :tid AND v.ns = :ns AND v.channel = ch.channel AND v.no BETWEEN :lo AND :hi;

-- name: page_of_records
SELECT ns, born, ord, rank, revision, commit_id, value, digest
  FROM tasks WHERE tid = :tid AND ns = :ns AND born BETWEEN :born AND :hi ORDER BY born, ord;

-- name: list_threads
SELECT thread, status, status_since, head, version, wseq
  FROM threads WHERE thread > :after AND status <> :deleted AND status_since < :before ORDER BY thread LIMIT :limit;

-- name: list_threads_of_status
SELECT thread, status, status_since, head, version, wseq
  FROM threads WHERE status = :status AND thread > :after AND status_since < :before ORDER BY thread LIMIT :limit;
