-- name: lock_thread
-- The thread, and how far back the plan of its head goes. The transaction has begun as a writing one: nobody else writes.
SELECT t.thread, t.incarnation, t.origin, t.version, t.head, t.epoch, t.wseq, t.gen, t.floor, t.status, t.status_since,
       t.commit_id, t.writes_digest, t.lines_digest, t.digest, coalesce(c.born, 0)
  FROM threads t LEFT JOIN checkpoints c ON c.tid = t.tid AND c.ns = '' AND c.no = t.head
 WHERE t.tid = :tid;

-- name: add_thread
INSERT INTO threads (tid, thread, incarnation, origin, version, head, epoch, wseq, gen, floor, status, status_since,
                     commit_id, writes_digest, lines_digest, digest)
VALUES (:tid, :thread, :incarnation, :origin, :version, :head, :epoch, :wseq, :gen, :floor, :status, :status_since,
        :commit_id, :writes_digest, :lines_digest, :digest);

-- name: change_thread
-- Without the status: an UPDATE that names an indexed column rewrites the index, changed or not.
UPDATE threads
   SET incarnation = :incarnation, origin = :origin, version = :version, head = :head, epoch = :epoch, wseq = :wseq,
       gen = :gen, floor = :floor, commit_id = :commit_id, writes_digest = :writes_digest,
       lines_digest = :lines_digest, digest = :digest
 WHERE tid = :tid;

-- name: change_status
UPDATE threads SET status = :status, status_since = :status_since WHERE tid = :tid;

-- name: find_commit_id
SELECT commit_id FROM checkpoints WHERE tid = :tid AND ns = :ns AND no = :no;

-- name: add_line
INSERT INTO lines (tid, lo, parent, digest) VALUES (:tid, :lo, :parent, :digest);

-- name: add_checkpoint
INSERT INTO checkpoints (tid, ns, no, parent, born, at, commit_id, state_digest, digest, header)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_channel_row
INSERT INTO channel_rows (tid, ns, channel, no, prev, kind, digest, value) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: find_record
SELECT ns, born, ord, rank, revision, commit_id, value, digest
  FROM tasks WHERE tid = :tid AND ns = :ns AND born = :born AND ord = :ord;

-- name: put_record
-- Which record stands was decided before, in the same transaction.
INSERT OR REPLACE INTO tasks (tid, ns, born, ord, rank, revision, commit_id, digest, value)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: find_records_of_head
-- What the head's sum covers: the records of its tasks, and those of other namespaces since.
SELECT ns, born, ord, digest FROM tasks WHERE tid = :tid AND ns = '' AND born BETWEEN :born AND :head
UNION ALL
SELECT ns, born, ord, digest FROM tasks WHERE tid = :tid AND ns <> '' AND born >= :born;

-- name: find_newest_root
-- The newest checkpoint of the root in the lineage of number `at`.
WITH RECURSIVE
  seg (lo, hi, parent) AS MATERIALIZED (
    SELECT * FROM (SELECT lo, :at, parent FROM lines WHERE tid = :tid AND lo <= :at ORDER BY lo DESC LIMIT 1)
    UNION ALL
    SELECT l.lo, s.parent, l.parent FROM seg s CROSS JOIN lines l
        ON l.tid = :tid AND l.lo = (SELECT max(lo) FROM lines WHERE tid = :tid AND lo <= s.parent)
     WHERE s.parent BETWEEN 1 AND s.lo - 1)
SELECT coalesce(max(m), 0)
  FROM (SELECT (SELECT max(no) FROM checkpoints WHERE tid = :tid AND ns = '' AND no BETWEEN s.lo AND s.hi) AS m
          FROM seg s);

-- name: find_born
SELECT coalesce((SELECT born FROM checkpoints WHERE tid = :tid AND ns = '' AND no = :head), 0);

-- name: find_orphan
-- Whether rows exist of a thread that has none itself.
SELECT CASE WHEN EXISTS (SELECT 1 FROM checkpoints WHERE tid = :tid) THEN 'checkpoints'
            WHEN EXISTS (SELECT 1 FROM channel_rows WHERE tid = :tid) THEN 'values'
            WHEN EXISTS (SELECT 1 FROM tasks WHERE tid = :tid) THEN 'task records'
            WHEN EXISTS (SELECT 1 FROM lines WHERE tid = :tid) THEN 'lines' END;
