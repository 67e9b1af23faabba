-- name: apply
-- Everything of many threads' next moves, each applied whole or not at all. A thread comes once. $1-$17 have a column of
-- the threads each: what its row becomes, and the digest that it has to have before (NULL: there is none yet). What
-- follows are the rows of lines, checkpoints, values and task records.
-- Threads are locked in the order of their keys, so that two of these never wait for each other. Only the locked row is
-- seen as it is after a wait, everything else as it was before: so the digest, which binds all of that row, decides.
WITH
  req AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bytea[], $5::bigint[], $6::bigint[], $7::bigint[],
                         $8::bigint[], $9::bigint[], $10::bigint[], $11::smallint[], $12::bigint[], $13::bytea[],
                         $14::bytea[], $15::bytea[], $16::bytea[], $17::bytea[])
      AS r (tid, thread, incarnation, origin, version, head, epoch, wseq, gen, floor, status, status_since, commit_id,
            writes_digest, lines_digest, digest, before)),
  born AS (
    INSERT INTO {schema}.threads (tid, thread, incarnation, origin, version, head, epoch, wseq, gen, floor, status,
                                  status_since, commit_id, writes_digest, lines_digest, digest)
    SELECT tid, thread, incarnation, origin, version, head, epoch, wseq, gen, floor, status, status_since, commit_id,
           writes_digest, lines_digest, digest
      FROM req WHERE before IS NULL ORDER BY tid
    ON CONFLICT DO NOTHING RETURNING tid),
  locked AS MATERIALIZED (
    SELECT t.tid, t.digest FROM {schema}.threads t
     WHERE t.tid = ANY ($1) AND (SELECT count(*) FROM born) >= 0 ORDER BY t.tid FOR NO KEY UPDATE),
  swapped AS (
    UPDATE {schema}.threads t
       SET incarnation = r.incarnation, origin = r.origin, version = r.version, head = r.head, epoch = r.epoch,
           wseq = r.wseq, gen = r.gen, floor = r.floor, status = r.status, status_since = r.status_since,
           commit_id = r.commit_id, writes_digest = r.writes_digest, lines_digest = r.lines_digest, digest = r.digest
      FROM req r JOIN locked l USING (tid)
     WHERE t.tid = r.tid AND l.digest = r.before RETURNING t.tid),
  done AS MATERIALIZED (SELECT tid FROM swapped UNION ALL SELECT tid FROM born),
  new_lines AS (
    INSERT INTO {schema}.lines (tid, lo, parent, digest)
    SELECT x.* FROM unnest($18::bigint[], $19::bigint[], $20::bigint[], $21::bytea[]) AS x (tid, lo, parent, digest)
      JOIN done USING (tid)),
  new_checkpoints AS (
    INSERT INTO {schema}.checkpoints (tid, ns, no, parent, born, at, commit_id, state_digest, digest, header)
    SELECT x.* FROM unnest($22::bigint[], $23::text[], $24::bigint[], $25::bigint[], $26::bigint[], $27::bigint[],
                           $28::bytea[], $29::bytea[], $30::bytea[], $31::bytea[])
        AS x (tid, ns, no, parent, born, at, commit_id, state_digest, digest, header) JOIN done USING (tid)),
  new_values AS (
    INSERT INTO {schema}.channel_rows (tid, ns, channel, no, prev, kind, digest, value)
    SELECT x.* FROM unnest($32::bigint[], $33::text[], $34::text[], $35::bigint[], $36::bigint[], $37::smallint[],
                           $38::bytea[], $39::bytea[])
        AS x (tid, ns, channel, no, prev, kind, digest, value) JOIN done USING (tid)),
  new_records AS (
    INSERT INTO {schema}.tasks (tid, ns, born, ord, rank, revision, commit_id, digest, value)
    SELECT x.* FROM unnest($40::bigint[], $41::text[], $42::bigint[], $43::bigint[], $44::smallint[], $45::bigint[],
                           $46::bytea[], $47::bytea[], $48::bytea[])
        AS x (tid, ns, born, ord, rank, revision, commit_id, digest, value) JOIN done USING (tid))
SELECT tid FROM done;

-- name: apply_plain
-- The same for one thread that gets one checkpoint more: $1 is its key, $2 the digest that its row has to have, $3-$10
-- what changes in it, $11-$19 the checkpoint, and what follows has a column of its values each.
WITH
  done AS (
    UPDATE {schema}.threads
       SET version = $3, head = $4, epoch = $5, wseq = 0, status = $6, status_since = $7, commit_id = $8,
           writes_digest = $9, digest = $10
     WHERE tid = $1 AND digest = $2 RETURNING tid),
  new_checkpoint AS (
    INSERT INTO {schema}.checkpoints (tid, ns, no, parent, born, at, commit_id, state_digest, digest, header)
    SELECT tid, $11::text, $12::bigint, $13::bigint, $14::bigint, $15::bigint, $16::bytea, $17::bytea, $18::bytea,
           $19::bytea
      FROM done),
  new_values AS (
    INSERT INTO {schema}.channel_rows (tid, ns, channel, no, prev, kind, digest, value)
    SELECT tid, $11, x.channel, $12, x.prev, x.kind, x.digest, x.value
      FROM done CROSS JOIN unnest($20::text[], $21::bigint[], $22::smallint[], $23::bytea[], $24::bytea[])
                        AS x (channel, prev, kind, digest, value))
SELECT tid FROM done;

-- name: lock_thread
-- The thread. Nobody else writes it until the transaction's end.
SELECT thread, incarnation, origin, version, head, epoch, wseq, gen, floor, status, status_since, commit_id,
       writes_digest, lines_digest, digest
  FROM {schema}.threads WHERE tid = $1 FOR NO KEY UPDATE;

-- name: find_born
-- How far back the plan of the head goes. A statement of its own: one that waits for a lock sees the rest as of before.
SELECT born FROM {schema}.checkpoints WHERE tid = $1 AND ns = '' AND no = $2;

-- name: add_thread
INSERT INTO {schema}.threads (tid, thread, incarnation, origin, version, head, epoch, wseq, gen, floor, status,
                              status_since, commit_id, writes_digest, lines_digest, digest)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16);

-- name: change_thread
UPDATE {schema}.threads
   SET thread = $2, incarnation = $3, origin = $4, version = $5, head = $6, epoch = $7, wseq = $8, gen = $9, floor = $10,
       status = $11, status_since = $12, commit_id = $13, writes_digest = $14, lines_digest = $15, digest = $16
 WHERE tid = $1;

-- name: find_commit_id
SELECT commit_id FROM {schema}.checkpoints WHERE tid = $1 AND ns = $2 AND no = $3;

-- name: add_line
INSERT INTO {schema}.lines (tid, lo, parent, digest) VALUES ($1, $2, $3, $4);

-- name: add_checkpoint
INSERT INTO {schema}.checkpoints (tid, ns, no, parent, born, at, commit_id, state_digest, digest, header)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10);

-- name: add_channel_row
INSERT INTO {schema}.channel_rows (tid, ns, channel, no, prev, kind, digest, value)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: find_record
SELECT ns, born, ord, rank, revision, commit_id, value, digest
  FROM {schema}.tasks WHERE tid = $1 AND ns = $2 AND born = $3 AND ord = $4;

-- name: put_record
-- Which record stands was decided before, in the same transaction.
INSERT INTO {schema}.tasks (tid, ns, born, ord, rank, revision, commit_id, digest, value)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (tid, ns, born, ord) DO UPDATE
SET rank = excluded.rank, revision = excluded.revision, commit_id = excluded.commit_id, digest = excluded.digest,
    value = excluded.value;

-- name: find_records_of_head
-- What the head's sum covers: the records of its tasks, and those of other namespaces since.
SELECT ns, born, ord, digest FROM {schema}.tasks WHERE tid = $1 AND ns = '' AND born BETWEEN $2 AND $3
UNION ALL
SELECT ns, born, ord, digest FROM {schema}.tasks WHERE tid = $1 AND ns <> '' AND born >= $2;

-- name: find_lineage
-- The lines that led to a number, newest first.
WITH RECURSIVE seg (lo, hi, parent, digest) AS (
    (SELECT lo, $2::bigint, parent, digest FROM {schema}.lines WHERE tid = $1 AND lo <= $2 ORDER BY lo DESC LIMIT 1)
    UNION ALL
    SELECT l.lo, s.parent, l.parent, l.digest FROM seg s
     CROSS JOIN LATERAL (SELECT * FROM {schema}.lines WHERE tid = $1 AND lo <= s.parent
                          ORDER BY lo DESC LIMIT 1) l
     WHERE s.parent BETWEEN 1 AND s.lo - 1)
SELECT lo, parent, digest FROM seg;

-- name: find_newest_root
-- The newest checkpoint of the root in the lineage of a number.
WITH RECURSIVE seg (lo, hi, parent) AS (
    (SELECT lo, $2::bigint, parent FROM {schema}.lines WHERE tid = $1 AND lo <= $2 ORDER BY lo DESC LIMIT 1)
    UNION ALL
    SELECT l.lo, s.parent, l.parent FROM seg s
     CROSS JOIN LATERAL (SELECT * FROM {schema}.lines WHERE tid = $1 AND lo <= s.parent
                          ORDER BY lo DESC LIMIT 1) l
     WHERE s.parent BETWEEN 1 AND s.lo - 1)
SELECT coalesce(max(m.no), 0) FROM seg s CROSS JOIN LATERAL (
  SELECT no FROM {schema}.checkpoints WHERE tid = $1 AND ns = '' AND no BETWEEN s.lo AND s.hi
   ORDER BY no DESC LIMIT 1) m;
