-- name: apply
-- The prepared writes of many threads, each applied whole or not at all. A thread occurs once. Each of $1-$27 is a
-- column of the threads: the new row, and the digest and the epoch that the old row must have (NULL: no row may exist).
-- The other parameters are the rows of branches, checkpoints, values and task records. Threads are locked in the order
-- of their keys, so that two such statements never deadlock. After waiting for a lock, only the locked row is current,
-- and all other rows are from the older snapshot: so the statement decides by the digest, which covers all of that row
-- except the epoch, and by the epoch. The braces are for the forms of the statement that change runs: see runs.sql.
WITH
  req AS MATERIALIZED (
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bytea[], $5::text[], $6::bytea[], $7::bigint[],
                         $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::text[],
                         $14::bigint[], $15::bigint[], $16::bigint[], $17::bytea[], $18::text[], $19::text[],
                         $20::text[], $21::bytea[], $22::bytea[], $23::bytea[], $24::bytea[], $25::bytea[],
                         $26::bytea[], $27::bigint[])
      AS r (thread_key, thread_id, incarnation, origin, graph, graph_digest, version, head, epoch, writes_seq, prunes,
            oldest_kept, status, status_since, created_at, updated_at, commit_id, next, metadata, error, extra,
            writes_digest, branches_digest, requests_digest, digest, before, before_epoch)),
  begun AS (
    INSERT INTO {schema}.threads (thread_key, thread_id, incarnation, origin, graph, graph_digest, version, head,
                                 epoch, writes_seq, prunes, oldest_kept, status, status_since, created_at, updated_at,
                                 commit_id, next, metadata, error, extra, writes_digest, branches_digest,
                                 requests_digest, digest)
    SELECT thread_key, thread_id, incarnation, origin, graph, graph_digest, version, head, epoch, writes_seq, prunes,
           oldest_kept, status, status_since, created_at, updated_at, commit_id, next, metadata, error, extra,
           writes_digest, branches_digest, requests_digest, digest
      FROM req WHERE before IS NULL ORDER BY thread_key
    ON CONFLICT DO NOTHING RETURNING thread_key),
  locked AS MATERIALIZED (
    SELECT t.thread_key, t.digest, t.epoch FROM {schema}.threads t
     WHERE t.thread_key = ANY ($1) AND (SELECT count(*) FROM begun) >= 0{and_runs_are_known}{and_no_update_is_left}
     ORDER BY t.thread_key FOR NO KEY UPDATE),
  swapped AS (
    UPDATE {schema}.threads t
       SET thread_id = r.thread_id, incarnation = r.incarnation, origin = r.origin, graph = r.graph,
           graph_digest = r.graph_digest, version = r.version, head = r.head, epoch = r.epoch,
           writes_seq = r.writes_seq, prunes = r.prunes, oldest_kept = r.oldest_kept, status = r.status,
           status_since = r.status_since, created_at = r.created_at, updated_at = r.updated_at,
           commit_id = r.commit_id, next = r.next, metadata = r.metadata, error = r.error, extra = r.extra,
           writes_digest = r.writes_digest, branches_digest = r.branches_digest, requests_digest = r.requests_digest,
           digest = r.digest
      FROM req r JOIN locked l USING (thread_key)
     WHERE t.thread_key = r.thread_key AND l.digest = r.before AND l.epoch = r.before_epoch RETURNING t.thread_key),
  done AS MATERIALIZED (SELECT thread_key FROM swapped UNION ALL SELECT thread_key FROM begun),
  new_branches AS (
    INSERT INTO {schema}.branches (thread_key, first, parent, digest, extra)
    SELECT x.* FROM unnest($28::bigint[], $29::bigint[], $30::bigint[], $31::bytea[], $32::bytea[])
        AS x (thread_key, first, parent, digest, extra)
      JOIN done USING (thread_key)),
  new_checkpoints AS (
    INSERT INTO {schema}.checkpoints (thread_key, namespace, number, parent, planned_at, made_at, commit_id,
                                      state_digest,
                            digest, extra, header)
    SELECT x.* FROM unnest($33::bigint[], $34::text[], $35::bigint[], $36::bigint[], $37::bigint[], $38::bigint[],
                           $39::bytea[], $40::bytea[], $41::bytea[], $42::bytea[], $43::bytea[])
        AS x (thread_key, namespace, number, parent, planned_at, made_at, commit_id, state_digest, digest, extra,
              header)
      JOIN done USING (thread_key)),
  new_values AS (
    INSERT INTO {schema}.channel_rows (thread_key, namespace, channel, number, previous, kind, digest, value)
    SELECT x.* FROM unnest($44::bigint[], $45::text[], $46::text[], $47::bigint[], $48::bigint[], $49::smallint[],
                           $50::bytea[], $51::bytea[])
        AS x (thread_key, namespace, channel, number, previous, kind, digest, value)
      JOIN done USING (thread_key)),
  new_records AS (
    INSERT INTO {schema}.tasks (thread_key, namespace, planned_at, position, rank, revision, commit_id, digest, extra,
                                value)
    SELECT x.* FROM unnest($52::bigint[], $53::text[], $54::bigint[], $55::bigint[], $56::smallint[], $57::bigint[],
                           $58::bytea[], $59::bytea[], $60::bytea[], $61::bytea[])
        AS x (thread_key, namespace, planned_at, position, rank, revision, commit_id, digest, extra, value)
      JOIN done USING (thread_key)){with_runs}
SELECT thread_key FROM done;

-- name: apply_plain
-- As `apply`, for one thread and one new checkpoint: $1 is the thread's key, $2 and $3 the digest and the epoch that
-- its row must have, $4-$16 the row's changed columns, $17-$26 the checkpoint, and each of the others a column of its
-- values.
WITH
  done AS (
    UPDATE {schema}.threads t
       SET writes_seq = 0, version = $4, head = $5, graph = $6, graph_digest = $7, status = $8, status_since = $9,
           updated_at = $10, commit_id = $11, next = $12, metadata = $13, error = $14,
           writes_digest = $15, digest = $16
     WHERE thread_key = $1 AND digest = $2 AND epoch = $3{and_runs_are_known}{and_no_update_is_left} RETURNING thread_key),
  new_checkpoint AS (
    INSERT INTO {schema}.checkpoints (thread_key, namespace, number, parent, planned_at, made_at, commit_id,
                                     state_digest, digest, extra, header)
    SELECT thread_key, $17::text, $18::bigint, $19::bigint, $20::bigint, $21::bigint, $22::bytea, $23::bytea,
           $24::bytea, $25::bytea, $26::bytea
      FROM done),
  new_values AS (
    INSERT INTO {schema}.channel_rows (thread_key, namespace, channel, number, previous, kind, digest, value)
    SELECT thread_key, $17, x.channel, $18, x.previous, x.kind, x.digest, x.value
      FROM done CROSS JOIN unnest($27::text[], $28::bigint[], $29::smallint[], $30::bytea[], $31::bytea[])
                        AS x (channel, previous, kind, digest, value)){with_runs}
SELECT thread_key FROM done;

-- name: apply_one_value
-- As `apply_plain`, for a checkpoint that changes one channel, as most do: $27-$31 are its row. Arrays cost more.
WITH
  done AS (
    UPDATE {schema}.threads t
       SET writes_seq = 0, version = $4, head = $5, graph = $6, graph_digest = $7, status = $8, status_since = $9,
           updated_at = $10, commit_id = $11, next = $12, metadata = $13, error = $14,
           writes_digest = $15, digest = $16
     WHERE thread_key = $1 AND digest = $2 AND epoch = $3{and_runs_are_known}{and_no_update_is_left} RETURNING thread_key),
  new_checkpoint AS (
    INSERT INTO {schema}.checkpoints (thread_key, namespace, number, parent, planned_at, made_at, commit_id,
                                     state_digest, digest, extra, header)
    SELECT thread_key, $17::text, $18::bigint, $19::bigint, $20::bigint, $21::bigint, $22::bytea, $23::bytea,
           $24::bytea, $25::bytea, $26::bytea
      FROM done),
  new_value AS (
    INSERT INTO {schema}.channel_rows (thread_key, namespace, channel, number, previous, kind, digest, value)
    SELECT thread_key, $17, $27::text, $18, $28::bigint, $29::smallint, $30::bytea, $31::bytea
      FROM done){with_runs}
SELECT thread_key FROM done;

-- name: lock_thread
-- The thread, which no other transaction can write until this one ends.
SELECT thread_id, incarnation, origin, graph, graph_digest, version, head, epoch, writes_seq, prunes,
       oldest_kept, status, status_since, created_at, updated_at, commit_id, next, metadata, error, extra,
       writes_digest, branches_digest, requests_digest, digest
  FROM {schema}.threads WHERE thread_key = :thread_key FOR NO KEY UPDATE;

-- name: find_born
-- The smallest number of a task in the head's plan. A separate statement, because a statement that waits for a lock
-- reads other rows from its older snapshot.
SELECT planned_at FROM {schema}.checkpoints WHERE thread_key = :thread_key AND namespace = '' AND number = :head;

-- name: add_thread
INSERT INTO {schema}.threads (thread_key, thread_id, incarnation, origin, graph, graph_digest, version, head, epoch,
                               writes_seq, prunes, oldest_kept, status, status_since, created_at, updated_at,
                               commit_id, next, metadata, error, extra, writes_digest, branches_digest,
                               requests_digest, digest)
VALUES (:thread_key, :thread_id, :incarnation, :origin, :graph, :graph_digest, :version, :head, :epoch, :writes_seq,
        :prunes, :oldest_kept, :status, :status_since, :created_at, :updated_at, :commit_id, :next, :metadata, :error,
        :extra, :writes_digest, :branches_digest, :requests_digest, :digest);

-- name: change_thread
UPDATE {schema}.threads
   SET thread_id = :thread_id, incarnation = :incarnation, origin = :origin, graph = :graph,
       graph_digest = :graph_digest, version = :version, head = :head, epoch = :epoch, writes_seq = :writes_seq,
       prunes = :prunes, oldest_kept = :oldest_kept, status = :status, status_since = :status_since,
       created_at = :created_at, updated_at = :updated_at, commit_id = :commit_id, next = :next, metadata = :metadata,
       error = :error, extra = :extra, writes_digest = :writes_digest, branches_digest = :branches_digest,
       requests_digest = :requests_digest, digest = :digest
 WHERE thread_key = :thread_key;

-- name: find_commit_id
SELECT commit_id FROM {schema}.checkpoints WHERE thread_key = :thread_key AND namespace = :ns AND number = :no;

-- name: add_branch
INSERT INTO {schema}.branches (thread_key, first, parent, digest, extra) VALUES ($1, $2, $3, $4, $5);

-- name: add_checkpoint
INSERT INTO {schema}.checkpoints (thread_key, namespace, number, parent, planned_at, made_at, commit_id,
  state_digest, digest, extra, header)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11);

-- name: add_channel_row
INSERT INTO {schema}.channel_rows (thread_key, namespace, channel, number, previous, kind, digest, value)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);

-- name: find_record
SELECT namespace, planned_at, position, rank, revision, commit_id, value, digest, extra
  FROM {schema}.tasks WHERE thread_key = :thread_key AND namespace = :ns AND planned_at = :born AND position = :ord;

-- name: put_record
-- The winning record was determined before, in the same transaction.
INSERT INTO {schema}.tasks (thread_key, namespace, planned_at, position, rank, revision, commit_id, digest, extra,
  value)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (thread_key, namespace, planned_at, position) DO UPDATE
SET rank = excluded.rank, revision = excluded.revision, commit_id = excluded.commit_id, digest = excluded.digest,
    extra = excluded.extra, value = excluded.value;

-- name: find_records_of_head
-- The records in the head's sum: those of its tasks, and those of other namespaces since.
SELECT namespace, planned_at, position, digest FROM {schema}.tasks WHERE thread_key = :thread_key AND namespace = ''
  AND planned_at BETWEEN :born AND :head
UNION ALL
SELECT namespace, planned_at, position, digest FROM {schema}.tasks WHERE thread_key = :thread_key AND namespace <> ''
  AND planned_at >= :born;

-- name: find_lineage
-- The branches in the lineage of a number, newest first.
WITH RECURSIVE seg (first, hi, parent, digest, extra) AS (
    (SELECT first, :at::bigint, parent, digest, extra FROM {schema}.branches WHERE thread_key = :thread_key
      AND first <= :at ORDER BY first DESC LIMIT 1)
    UNION ALL
    SELECT l.first, s.parent, l.parent, l.digest, l.extra FROM seg s
     CROSS JOIN LATERAL (SELECT * FROM {schema}.branches WHERE thread_key = :thread_key AND first <= s.parent
                          ORDER BY first DESC LIMIT 1) l
     WHERE s.parent BETWEEN 1 AND s.first - 1)
SELECT first, parent, digest, extra FROM seg;

-- name: find_newest_root
-- The newest checkpoint of the root in the lineage of a number.
WITH RECURSIVE seg (first, hi, parent) AS (
    (SELECT first, :at::bigint, parent FROM {schema}.branches WHERE thread_key = :thread_key AND first <= :at
      ORDER BY first DESC LIMIT 1)
    UNION ALL
    SELECT l.first, s.parent, l.parent FROM seg s
     CROSS JOIN LATERAL (SELECT * FROM {schema}.branches WHERE thread_key = :thread_key AND first <= s.parent
                          ORDER BY first DESC LIMIT 1) l
     WHERE s.parent BETWEEN 1 AND s.first - 1)
SELECT coalesce(max(m.number), 0) FROM seg s CROSS JOIN LATERAL (
  SELECT number FROM {schema}.checkpoints WHERE thread_key = :thread_key AND namespace = '' AND number BETWEEN s.first AND s.hi
   ORDER BY number DESC LIMIT 1) m;

-- name: add_request
INSERT INTO {schema}.requests (thread_key, key, input_digest, seq, checkpoint, made_at, extra, digest)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8);
