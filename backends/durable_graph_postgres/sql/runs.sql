-- Every list of a run's columns is in the order of `checkpointing.run_changes.RUN_COLUMNS`. States: 0 ready, 1 running,
-- 2 waiting, 3 blocked, from 4 on ended. 4611686018427387904 is 1 << 62: never. All times are by the server's clock;
-- `skew` is added to it, which only tests set. Request 3: an update, a message of the topic '__update__', is left to
-- apply.
--
-- Locks: whoever changes runs locks the rows of their threads first, in the order of their keys, and a worker's row
-- before both. Only a claim takes a run before its thread, and a claim waits for no lock.

-- part: now
(extract(epoch FROM clock_timestamp()) * 1000000)::bigint + :skew::bigint

-- part: lease_now
(extract(epoch FROM clock_timestamp()) * 1000000)::bigint + :lease_skew::bigint

-- part: at_once
(extract(epoch FROM clock_timestamp()) * 1000000)::bigint

-- part: without_a_flush
-- For this transaction: if the server crashes and forgets a claim, it forgets the thread's new epoch too, and the
-- worker's commits are refused. A forgotten registration, heartbeat or release is made again.
set_config('synchronous_commit', 'off', true)

-- part: takes_change
-- A run that has ended is not changed: only a quarantined run takes a checkpoint, or its end with a result.
(r.state < 4 OR (r.state = 7 AND c.state IN (1, 4)))

-- part: run_as_changed
-- A change `c` to a state, or -1: something was sent to the thread. A run that waits becomes ready at once then, and if
-- a message arrived since its execution read the inbox, or if its worker was asked for something. One that is done
-- becomes ready if an update is left to apply (request 3). A run that is to be cancelled (request 1) keeps the caller's
-- reason as its error. A change to "running" leaves the state: the run of a worker whose lease has ended may be ready
-- again, or quarantined.
state = CASE WHEN c.state = 1 OR c.state = -1 AND r.state <> 2 THEN r.state
                   WHEN c.state = -1 OR c.state = 2 AND (r.inbox > c.inbox OR r.request > 0)
                        OR c.state = 4 AND r.request = 3 THEN 0
                   ELSE c.state END,
           due = CASE WHEN c.state = -1 AND r.state = 2 OR c.state = 2 AND (r.inbox > c.inbox OR r.request > 0)
                        OR c.state = 4 AND r.request = 3 THEN {at_once}
                      WHEN c.state IN (0, 2) THEN least(c.due, r.deadline) ELSE r.due END,
           inbox = CASE WHEN c.state = -1 THEN r.inbox + 1 ELSE r.inbox END,
           checkpoint = CASE WHEN c.checkpoint > 0 THEN c.checkpoint ELSE r.checkpoint END,
           first_checkpoint = CASE WHEN c.first_checkpoint > 0 THEN c.first_checkpoint ELSE r.first_checkpoint END,
           input = CASE WHEN c.first_checkpoint > 0 THEN '' ELSE r.input END,
           crashes = CASE WHEN c.state = 2 THEN 0 ELSE r.crashes END,
           worker = CASE WHEN c.state IN (-1, 1) THEN r.worker ELSE 0 END,
           request = CASE WHEN c.state < 4 OR c.state = 4 AND r.request = 3 THEN r.request ELSE 0 END,
           ended_at = CASE WHEN c.state IN (-1, 1) THEN r.ended_at WHEN c.state = 4 AND r.request = 3 THEN 0
                           ELSE c.ended_at END,
           error = CASE WHEN c.state IN (-1, 1) THEN r.error
                        WHEN r.request = 1 AND c.state NOT IN (4, 5) THEN coalesce(r.error, c.error) ELSE c.error END,
           waits_on = CASE WHEN c.state IN (-1, 1) THEN r.waits_on ELSE c.waits_on END

-- part: and_runs_are_known
 -- The subquery reads the thread's row as it was before this statement waited for its lock. Whoever accepts a run, makes
 -- an ended one ready again, sends a message, takes the last update or asks a run for something changes `run_seq`,
 -- because other parts of this statement would not see the new rows: then the write is not made here.
 AND t.run_seq = (SELECT s.run_seq FROM {schema}.threads s WHERE s.thread_key = t.thread_key)

-- part: and_no_update_is_left
 -- A run that this statement would end, and that has an update left to apply (request 3), is ready again instead, and
 -- its thread is not done: then the write is not made here.
 AND NOT EXISTS (SELECT FROM unnest(:run_threads::bigint[], :run_seqs::bigint[], :states::smallint[])
                     AS e (thread_key, seq, state) JOIN {schema}.runs l USING (thread_key, seq)
                  WHERE e.thread_key = t.thread_key AND e.state = 4 AND l.request = 3)

-- part: with_runs
,
  -- The end of a statement that makes prepared writes and changes runs of these threads. No run is changed twice.
  changes AS MATERIALIZED (
    SELECT x.* FROM unnest(:run_threads::bigint[], :run_seqs::bigint[], :states::smallint[], :dues::bigint[],
                           :inboxes::bigint[], :checkpoints::bigint[], :first_checkpoints::bigint[],
                           :ends::bigint[], :errors::text[], :waits::text[])
        AS x (thread_key, seq, state, due, inbox, checkpoint, first_checkpoint, ended_at, error, waits_on)
      JOIN done USING (thread_key)),
  -- The first run of the thread that has not ended then. It is locked, because it may have ended meanwhile.
  next_runs AS MATERIALIZED (
    SELECT n.* FROM changes c CROSS JOIN LATERAL (
      SELECT thread_key, seq, state, due FROM {schema}.runs
       WHERE thread_key = c.thread_key AND seq <> c.seq AND state < 4 ORDER BY seq LIMIT 1 FOR NO KEY UPDATE) n
     WHERE c.state >= 4 AND n.state = 3),
  woken_runs AS MATERIALIZED (
    SELECT thread_key, seq FROM {schema}.runs
     WHERE thread_key = ANY (ARRAY (SELECT thread_key FROM unnest(:woken_threads::bigint[]) AS w (thread_key)
                                      JOIN done USING (thread_key)))
       AND state < 4),
  -- One UPDATE: each one more opens all indexes of the table again, which takes longer than the rest.
  changed_runs AS (
    UPDATE {schema}.runs r
       SET {run_as_changed}
      FROM (SELECT * FROM changes
            UNION ALL SELECT thread_key, seq, 0, due, 0, 0, 0, 0, NULL, NULL FROM next_runs
            UNION ALL SELECT thread_key, seq, -1, 0, 0, 0, 0, 0, NULL, NULL FROM woken_runs) c
     WHERE r.thread_key = c.thread_key AND r.seq = c.seq AND {takes_change})

-- name: store_time
SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint;

-- name: accept_runs
-- Runs of many threads, a thread occurs once: for a new thread its row, the run, and the request if it has a key; for
-- an existing one of the same graph a run without a key, or one with the digest and the last number of the thread's row
-- on which its request was computed (`before`, `last_seq`). Every other run is left to a transaction, as is one whose
-- thread got another run while this statement waited for its lock: see `and_runs_are_known`. A run with a worker is
-- claimed by it at once, if that has a lease and the run is the thread's only one that has not ended.
WITH
  clock AS MATERIALIZED (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now),
  req AS MATERIALIZED (
    SELECT * FROM unnest(
        :thread_key::bigint[], :thread_id::text[], :incarnation::bigint[], :origin::bytea[], :graph::text[],
        :graph_digest::bytea[], :version::bigint[], :head::bigint[], :epoch::bigint[], :writes_seq::bigint[],
        :prunes::bigint[], :oldest_kept::bigint[], :status::text[], :status_since::bigint[], :created_at::bigint[],
        :updated_at::bigint[], :commit_id::bytea[], :next::text[], :metadata::text[], :error::text[], :extra::bytea[],
        :writes_digest::bytea[], :branches_digest::bytea[], :requests_digest::bytea[], :digest::bytea[],
        :seq::bigint[], :key::text[], :request_digest::bytea[], :priority::smallint[], :skew::bigint[],
        :delay::bigint[], :time_limit::bigint[], :waits::boolean[], :queue::text[], :input_digest::bytea[],
        :input::bytea[], :options::bytea[], :context::bytea[], :token::bytea[], :run_metadata::text[],
        :worker::bigint[], :lease_skew::bigint[], :made_at::bigint[], :before::bytea[], :last_seq::bigint[],
        :limit_key::bigint[], :parent_key::bigint[], :parent_seq::bigint[], :on_parent::smallint[])
      AS r (thread_key, thread_id, incarnation, origin, graph, graph_digest, version, head, epoch, writes_seq, prunes,
            oldest_kept, status, status_since, created_at, updated_at, commit_id, next, metadata, error, extra,
            writes_digest, branches_digest, requests_digest, digest, seq, key, request_digest, priority, skew, delay,
            time_limit, waits, queue, input_digest, input, options, context, token, run_metadata, worker, lease_skew,
            made_at, before, last_seq, limit_key, parent_key, parent_seq, on_parent)),
  -- Locked, so that no sweep removes a worker before its claims are visible.
  living AS MATERIALIZED (
    SELECT r.thread_key, r.worker FROM req r JOIN {schema}.workers w ON w.id = r.worker
     WHERE r.worker <> 0 AND r.delay = 0
       AND w.lease_until > (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + r.lease_skew
       FOR KEY SHARE OF w SKIP LOCKED),
  begun AS (
    INSERT INTO {schema}.threads (thread_key, thread_id, incarnation, origin, graph, graph_digest, version, head,
                                 epoch, writes_seq, prunes, oldest_kept, run_seq, status, status_since, created_at,
                                 updated_at, commit_id, next, metadata, error, extra, writes_digest, branches_digest,
                                 requests_digest, digest)
    SELECT thread_key, thread_id, incarnation, origin, graph, graph_digest, version, head, epoch, writes_seq, prunes,
           oldest_kept, seq, status, status_since, created_at, updated_at, commit_id, next, metadata, error, extra,
           writes_digest, branches_digest, requests_digest, digest
      FROM req r
     -- No rows of a thread whose own row is missing.
     WHERE r.before IS NULL
       AND NOT EXISTS (SELECT FROM {schema}.checkpoints o WHERE o.thread_key = r.thread_key OFFSET 0)
       AND NOT EXISTS (SELECT FROM {schema}.channel_rows o WHERE o.thread_key = r.thread_key OFFSET 0)
       AND NOT EXISTS (SELECT FROM {schema}.tasks o WHERE o.thread_key = r.thread_key OFFSET 0)
       AND NOT EXISTS (SELECT FROM {schema}.branches o WHERE o.thread_key = r.thread_key OFFSET 0)
     ORDER BY thread_key
    ON CONFLICT DO NOTHING RETURNING thread_key, run_seq, version, writes_seq),
  locked AS MATERIALIZED (
    SELECT t.thread_key, t.thread_id, t.graph, t.digest, t.run_seq FROM {schema}.threads t
     WHERE t.thread_key = ANY (:thread_key) AND (SELECT count(*) FROM begun) >= 0{and_runs_are_known}
     ORDER BY t.thread_key FOR NO KEY UPDATE),
  known AS MATERIALIZED (
    SELECT l.thread_key, r.waits, (
        SELECT seq FROM {schema}.runs WHERE thread_key = l.thread_key AND state < 4 ORDER BY seq LIMIT 1
           FOR NO KEY UPDATE) AS unfinished
      -- The tombstone of a deleted thread has no id.
      FROM locked l JOIN req r USING (thread_key, thread_id)
     WHERE (r.key IS NULL OR (l.digest = r.before AND l.run_seq = r.last_seq)) AND (l.graph IS NULL OR l.graph = r.graph)
       AND NOT EXISTS (SELECT FROM {schema}.runs s WHERE s.thread_key = l.thread_key AND s.extra = r.token OFFSET 0)),
  counted AS (
    UPDATE {schema}.threads t
       SET run_seq = CASE WHEN r.key IS NOT NULL THEN r.seq WHEN t.run_seq = 0 THEN clock.now ELSE t.run_seq + 1 END,
           requests_digest = CASE WHEN r.key IS NULL THEN t.requests_digest ELSE r.requests_digest END,
           digest = CASE WHEN r.key IS NULL THEN t.digest ELSE r.digest END,
           epoch = CASE WHEN l.worker IS NULL OR k.unfinished IS NOT NULL THEN t.epoch ELSE r.epoch END
      FROM known k JOIN req r USING (thread_key) LEFT JOIN living l USING (thread_key) CROSS JOIN clock
     WHERE t.thread_key = k.thread_key AND (k.waits OR k.unfinished IS NULL)
    RETURNING t.thread_key, t.run_seq, t.version, t.writes_seq, CASE WHEN k.unfinished IS NULL THEN 0 ELSE 3 END AS state),
  new_requests AS (
    INSERT INTO {schema}.requests (thread_key, key, input_digest, seq, checkpoint, made_at, extra, digest)
    SELECT thread_key, r.key, r.input_digest, r.seq, 0, r.made_at, '', r.request_digest
      FROM (SELECT thread_key FROM begun UNION ALL SELECT thread_key FROM counted) n
      JOIN req r USING (thread_key) WHERE r.key IS NOT NULL),
  -- The thread of each new run, and the worker that claims the run.
  taken AS (
    SELECT n.*, CASE WHEN n.state = 0 THEN l.worker END AS worker
      FROM (SELECT thread_key, run_seq, version, writes_seq, 0 AS state FROM begun
            UNION ALL SELECT thread_key, run_seq, version, writes_seq, state FROM counted) n
      LEFT JOIN living l USING (thread_key)),
  accepted AS (
    INSERT INTO {schema}.runs (thread_key, seq, state, priority, due, deadline, first_checkpoint, checkpoint,
                               claimed_version, claimed_writes, attempt, crashes, inbox, worker, request, accepted_at,
                               ended_at, limit_key, parent_key, parent_seq, on_parent, queue, graph, thread_id, error,
                               metadata, input_digest, input, options, context, extra)
    SELECT thread_key, n.run_seq, CASE WHEN n.worker IS NULL THEN n.state ELSE 1 END, r.priority,
           c.now + r.skew + r.delay,
           CASE WHEN r.time_limit > 0 THEN c.now + r.skew + r.delay + r.time_limit ELSE 4611686018427387904 END, 0, 0,
           CASE WHEN n.worker IS NULL THEN 0 ELSE n.version END, CASE WHEN n.worker IS NULL THEN 0 ELSE n.writes_seq END,
           CASE WHEN n.worker IS NULL THEN 0 ELSE 1 END, 0,
           (SELECT count(*) FROM {schema}.messages m WHERE m.thread_key = r.thread_key AND m.taken = 0),
           coalesce(n.worker, 0),
           CASE WHEN EXISTS (SELECT FROM {schema}.messages m WHERE m.thread_key = r.thread_key
                                AND m.topic = '__update__' AND m.taken = 0) THEN 3 ELSE 0 END,
           c.now + r.skew, 0, r.limit_key, r.parent_key, r.parent_seq, r.on_parent, r.queue, r.graph, r.thread_id, NULL,
           r.run_metadata, r.input_digest, r.input, r.options, r.context, r.token
      FROM taken n JOIN req r USING (thread_key) CROSS JOIN clock c
    RETURNING thread_key, seq, state, claimed_version, inbox, deadline, request)
SELECT a.thread_key, a.seq, a.state, c.now, a.claimed_version, a.inbox, a.deadline, a.request,
       a.thread_key IN (SELECT thread_key FROM begun)
  FROM clock c LEFT JOIN accepted a ON true;

-- name: find_acceptance
-- The thread, the number of its last run, the run of a token, and the request of a key with the state of its run.
SELECT t.thread_id, t.incarnation, t.origin, t.graph, t.graph_digest, t.version, t.head, t.epoch, t.writes_seq,
       t.prunes, t.oldest_kept, t.status, t.status_since, t.created_at, t.updated_at, t.commit_id, t.next,
       t.metadata, t.error, t.extra, t.writes_digest, t.branches_digest, t.requests_digest, t.digest,
       t.run_seq, o.seq, o.state, q.seq, q.input_digest, k.state
  FROM {schema}.threads t
  LEFT JOIN {schema}.runs o ON o.thread_key = t.thread_key AND o.extra = :token
  LEFT JOIN {schema}.requests q ON q.thread_key = t.thread_key AND q.key = :key
  LEFT JOIN {schema}.runs k ON k.thread_key = q.thread_key AND k.seq = q.seq
 WHERE t.thread_key = :thread_key;

-- name: find_run
SELECT thread_id, seq, state, priority, due, deadline, first_checkpoint, checkpoint, claimed_version, attempt, crashes,
       inbox, worker, request, accepted_at, ended_at, queue, graph, error,
       waits_on, metadata, from_checkpoint, parent_key, parent_seq, on_parent, coalesce((SELECT name FROM {schema}.workers WHERE id = worker), '')
  FROM {schema}.runs WHERE thread_key = :thread_key AND seq = :seq;

-- name: find_unfinished_run
SELECT thread_id, seq, state, priority, due, deadline, first_checkpoint, checkpoint, claimed_version, attempt, crashes,
       inbox, worker, request, accepted_at, ended_at, queue, graph, error,
       waits_on, metadata, from_checkpoint, parent_key, parent_seq, on_parent, coalesce((SELECT name FROM {schema}.workers WHERE id = worker), '')
  FROM {schema}.runs WHERE thread_key = :thread_key AND state < 4 ORDER BY seq LIMIT 1;

-- name: find_unfinished_runs
SELECT thread_id, seq, state, priority, due, deadline, first_checkpoint, checkpoint, claimed_version, attempt, crashes,
       inbox, worker, request, accepted_at, ended_at, queue, graph, error,
       waits_on, metadata, from_checkpoint, parent_key, parent_seq, on_parent
  FROM {schema}.runs WHERE thread_key = :thread_key AND state < 4 ORDER BY seq;

-- name: find_root_parent
SELECT parent FROM {schema}.checkpoints WHERE thread_key = :thread_key AND namespace = '' AND number = :number;

-- name: find_run_of_token
SELECT thread_id, seq, state, priority, due, deadline, first_checkpoint, checkpoint, claimed_version, attempt, crashes,
       inbox, worker, request, accepted_at, ended_at, queue, graph, error,
       waits_on, metadata, from_checkpoint, parent_key, parent_seq, on_parent
  FROM {schema}.runs WHERE thread_key = :thread_key AND extra = :token;

-- name: find_last_run
SELECT max(seq) FROM {schema}.runs WHERE thread_key = :thread_key;

-- name: take_run_seq
-- The numbers begin at the time, so that a thread that is created again after a purge repeats none.
UPDATE {schema}.threads SET run_seq = CASE WHEN run_seq = 0 THEN :now ELSE run_seq + 1 END
 WHERE thread_key = :thread_key RETURNING run_seq;

-- name: add_run
INSERT INTO {schema}.runs (thread_key, seq, state, priority, due, deadline, first_checkpoint, checkpoint,
                           claimed_version, attempt, crashes, inbox, worker, request, accepted_at, ended_at, limit_key,
                           parent_key, parent_seq, on_parent, queue, graph, thread_id, error, metadata,
                           from_checkpoint, input_digest, input, options, context, extra)
VALUES (:thread_key, :seq, :state, :priority, :due, :deadline, 0, 0, 0, 0, 0,
        (SELECT count(*) FROM {schema}.messages WHERE thread_key = :thread_key AND taken = 0),
        0, CASE WHEN EXISTS (SELECT FROM {schema}.messages WHERE thread_key = :thread_key AND topic = '__update__'
                                AND taken = 0) THEN 3 ELSE 0 END,
        :accepted_at, 0, :limit_key, :parent_key, :parent_seq, :on_parent, :queue, :graph, :thread_id, NULL, :metadata,
        :from_checkpoint, :input_digest, :input, :options, :context, :extra);

-- name: update_run
UPDATE {schema}.runs r
       SET {run_as_changed}
  FROM (VALUES (:thread_key::bigint, :seq::bigint, :state::smallint, :due::bigint, :inbox::bigint,
                :checkpoint::bigint, :first_checkpoint::bigint, :ended_at::bigint, :error::text, :waits_on::text))
    AS c (thread_key, seq, state, due, inbox, checkpoint, first_checkpoint, ended_at, error, waits_on)
 WHERE r.thread_key = c.thread_key AND r.seq = c.seq AND {takes_change};

-- name: unblock_run
-- A run of the thread has ended: the next one may begin, unless an earlier one has not ended either.
UPDATE {schema}.runs SET state = 0
 WHERE thread_key = :thread_key AND state = 3
   AND seq = (SELECT min(seq) FROM {schema}.runs WHERE thread_key = :thread_key AND state < 4);

-- name: wake_run
-- An answer or a message arrived: the unfinished run of the thread that waits becomes ready, and one that is about to
-- wait sees the counter.
UPDATE {schema}.runs r
       SET {run_as_changed}
  FROM (VALUES (-1::smallint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, 0::bigint, NULL, NULL))
    AS c (state, due, inbox, checkpoint, first_checkpoint, ended_at, error, waits_on)
 WHERE r.thread_key = :thread_key AND r.state < 4;

-- name: ask_to_apply_updates
-- An update arrived. A run with a request to cancel it keeps that request.
UPDATE {schema}.runs SET request = 3 WHERE thread_key = :thread_key AND state < 4 AND request = 0;

-- name: end_updates
-- Removes the request if the last update was taken. It takes a number: see `and_runs_are_known`.
WITH counted AS (UPDATE {schema}.threads SET run_seq = run_seq + 1 WHERE thread_key = :thread_key)
UPDATE {schema}.runs SET request = 0
 WHERE thread_key = :thread_key AND state < 4 AND request = 3
   AND NOT EXISTS (SELECT FROM {schema}.messages WHERE thread_key = :thread_key AND topic = '__update__' AND taken = 0);

-- name: settle_run
-- One row: whether the thread is there, whether it was locked, whether the worker held the run, and the run as it was.
WITH
  clock AS MATERIALIZED (SELECT {now} AS now),
  locked AS MATERIALIZED (
    SELECT t.thread_key FROM {schema}.threads t WHERE t.thread_key = :thread_key{and_runs_are_known} FOR NO KEY UPDATE),
  held AS MATERIALIZED (
    SELECT r.thread_key, r.seq, r.request FROM locked JOIN {schema}.runs r USING (thread_key)
     WHERE r.seq = :seq AND r.state = 1 AND r.worker = :worker AND r.attempt = :attempt FOR NO KEY UPDATE OF r),
  next_runs AS MATERIALIZED (
    SELECT n.* FROM held h CROSS JOIN LATERAL (
      SELECT thread_key, seq, state, due FROM {schema}.runs
       WHERE thread_key = h.thread_key AND seq <> h.seq AND state < 4 ORDER BY seq LIMIT 1 FOR NO KEY UPDATE) n
     WHERE :state::smallint >= 4 AND n.state = 3
       -- The run itself is ready again if an update is left to apply.
       AND NOT (:state = 4 AND h.request = 3)),
  changed AS (
    UPDATE {schema}.runs r
       SET {run_as_changed}
      FROM (SELECT h.thread_key, h.seq, :state::smallint AS state,
                   CASE WHEN :state = 0 THEN clock.now + :delay::bigint ELSE :due::bigint END AS due,
                   :inbox::bigint AS inbox, 0 AS checkpoint, 0 AS first_checkpoint,
                   CASE WHEN :state >= 4 THEN clock.now ELSE 0 END AS ended_at, :error::text AS error,
                   :waits_on::text AS waits_on
              FROM held h CROSS JOIN clock
            UNION ALL SELECT thread_key, seq, 0, due, 0, 0, 0, 0, NULL, NULL FROM next_runs) c
     WHERE r.thread_key = c.thread_key AND r.seq = c.seq AND {takes_change})
SELECT EXISTS (SELECT FROM {schema}.threads WHERE thread_key = :thread_key), EXISTS (SELECT FROM locked),
       EXISTS (SELECT FROM held), r.thread_id, r.seq, r.state, r.priority, r.due, r.deadline, r.first_checkpoint,
       r.checkpoint, r.claimed_version, r.attempt, r.crashes, r.inbox, r.worker, r.request, r.accepted_at, r.ended_at,
       r.queue, r.graph, r.error, r.waits_on, r.metadata, r.from_checkpoint, r.parent_key,
       r.parent_seq, r.on_parent
  FROM clock LEFT JOIN {schema}.runs r ON r.thread_key = :thread_key AND r.seq = :seq;

-- name: send_message
-- One row: the thread's status, whether it was locked, whether the message was known, and whether it was added. It takes
-- a number: see `and_runs_are_known`.
WITH
  locked AS MATERIALIZED (
    SELECT t.thread_key FROM {schema}.threads t
     WHERE t.thread_key = :thread_key AND t.status <> 'deleted'{and_runs_are_known} FOR NO KEY UPDATE),
  known AS MATERIALIZED (
    SELECT seq FROM {schema}.messages WHERE thread_key = :thread_key AND topic = :topic AND key = :key),
  unfinished AS MATERIALIZED (
    SELECT r.thread_key, r.seq FROM locked JOIN {schema}.runs r USING (thread_key)
     WHERE r.state < 4 AND NOT EXISTS (SELECT FROM known) ORDER BY r.seq FOR NO KEY UPDATE OF r),
  counted AS (
    UPDATE {schema}.threads SET run_seq = run_seq + 1
     WHERE thread_key = :thread_key AND (SELECT count(*) FROM unfinished) > 0 RETURNING run_seq),
  added AS (
    INSERT INTO {schema}.messages (thread_key, seq, topic, key, taken, made_at, extra, value)
    SELECT :thread_key, run_seq, :topic, :key, 0, {now}, '', :value FROM counted
    RETURNING seq),
  woken AS (
    UPDATE {schema}.runs r
       SET {run_as_changed}
      FROM (SELECT thread_key, seq, -1 AS state, 0::bigint AS due, 0::bigint AS inbox, 0::bigint AS checkpoint,
                   0::bigint AS first_checkpoint, 0::bigint AS ended_at, NULL AS error, NULL AS waits_on
              FROM unfinished) c
     WHERE r.thread_key = c.thread_key AND r.seq = c.seq)
SELECT (SELECT status FROM {schema}.threads WHERE thread_key = :thread_key), EXISTS (SELECT FROM locked),
       EXISTS (SELECT FROM known), EXISTS (SELECT FROM added);

-- name: find_message
SELECT seq FROM {schema}.messages WHERE thread_key = :thread_key AND topic = :topic AND key = :key;

-- name: find_unread_message
SELECT seq FROM {schema}.messages WHERE thread_key = :thread_key AND topic = :topic AND key = :key AND taken = 0;

-- name: add_message
INSERT INTO {schema}.messages (thread_key, seq, topic, key, taken, made_at, extra, value)
VALUES (:thread_key, :seq, :topic, :key, 0, :made_at, '', :value);

-- name: take_message
UPDATE {schema}.messages SET taken = :at, value = '' WHERE thread_key = :thread_key AND seq = :seq AND taken = 0;

-- name: find_inbox
SELECT seq, topic, value, key FROM {schema}.messages
 WHERE thread_key = :thread_key AND taken = 0 AND topic = ANY (:topics::text[]) ORDER BY seq;

-- name: find_inboxes
-- The messages of many threads: a topic of a thread in each row.
SELECT m.thread_key, m.seq, m.topic, m.value, m.key
  FROM unnest(:thread_keys::bigint[], :topics::text[]) AS s (thread_key, topic)
  JOIN {schema}.messages m ON m.thread_key = s.thread_key AND m.topic = s.topic
 WHERE m.taken = 0 ORDER BY m.thread_key, m.seq;

-- name: ask_to_cancel
-- The first caller's reason stays. It takes a number: see `and_runs_are_known`.
WITH counted AS (UPDATE {schema}.threads SET run_seq = run_seq + 1 WHERE thread_key = :thread_key)
UPDATE {schema}.runs SET request = 1, error = CASE WHEN request = 1 THEN error ELSE :reason::text END
 WHERE thread_key = :thread_key AND seq = :seq AND state = 1;

-- name: retry_run
-- A run that an earlier one precedes is blocked again. It takes a number: see `and_runs_are_known`.
WITH counted AS (UPDATE {schema}.threads SET run_seq = run_seq + 1 WHERE thread_key = :thread_key)
UPDATE {schema}.runs
   SET state = :state, due = :now, crashes = 0, ended_at = 0, error = NULL, deadline = 4611686018427387904,
       request = CASE WHEN EXISTS (SELECT FROM {schema}.messages WHERE thread_key = :thread_key AND topic = '__update__'
                                      AND taken = 0) THEN 3 ELSE 0 END
 WHERE thread_key = :thread_key AND seq = :seq;

-- part: and_has_metadata

   -- JSON with a NUL cannot be converted.
   AND (:metadata::text IS NULL
        OR CASE WHEN position('\u0000' IN r.metadata) > 0 THEN false ELSE r.metadata::jsonb @> :metadata::jsonb END)

-- name: list_runs
SELECT r.thread_id, r.seq, r.state, r.priority, r.due, r.deadline, r.first_checkpoint, r.checkpoint, r.claimed_version,
       r.attempt, r.crashes, r.inbox, r.worker, r.request, r.accepted_at, r.ended_at, r.queue, r.graph, r.error,
       r.waits_on, r.metadata, r.from_checkpoint, r.parent_key, r.parent_seq, r.on_parent, coalesce(w.name, '')
  FROM {schema}.runs r LEFT JOIN {schema}.workers w ON w.id = r.worker
 WHERE (:graph::text IS NULL OR r.graph = :graph) AND (:state::smallint IS NULL OR r.state = :state){and_has_metadata}
   AND (r.thread_id, r.seq) > (:after::text, :after_seq::bigint)
 ORDER BY r.thread_id, r.seq LIMIT :limit;

-- name: list_runs_of_thread
SELECT r.thread_id, r.seq, r.state, r.priority, r.due, r.deadline, r.first_checkpoint, r.checkpoint, r.claimed_version,
       r.attempt, r.crashes, r.inbox, r.worker, r.request, r.accepted_at, r.ended_at, r.queue, r.graph, r.error,
       r.waits_on, r.metadata, r.from_checkpoint, r.parent_key, r.parent_seq, r.on_parent, coalesce(w.name, '')
  FROM {schema}.runs r LEFT JOIN {schema}.workers w ON w.id = r.worker
 WHERE r.thread_key = :thread_key AND (:graph::text IS NULL OR r.graph = :graph)
   AND (:state::smallint IS NULL OR r.state = :state){and_has_metadata} AND (r.thread_id, r.seq) > (:after::text, :after_seq::bigint)
 ORDER BY r.seq LIMIT :limit;

-- name: count_runs
SELECT queue, state, count(*), min(due) FILTER (WHERE state IN (0, 2) AND due <= {now}) FROM {schema}.runs
 WHERE state < 4 OR state = 7 GROUP BY queue, state;

-- name: find_next_due
-- The microseconds until the next run of these queues is due.
SELECT min(d.due) - ({now})
  FROM unnest(:queues::text[]) AS q (queue) CROSS JOIN generate_series(0, 4) AS p (priority)
 CROSS JOIN LATERAL (
   SELECT due FROM {schema}.runs
    WHERE queue = q.queue AND priority = p.priority AND state IN (0, 2) AND due < 4611686018427387904
    ORDER BY due LIMIT 1) d;

-- name: add_worker
INSERT INTO {schema}.workers (id, lease_until, boot_id, name, queues, extra)
VALUES (:worker, {lease_now} + :ttl::bigint, '', :name, :queues, '')
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until RETURNING
{without_a_flush};

-- name: renew_lease
-- One row for each request to the worker, and one without a thread if there are none. No row: the lease had ended.
WITH
  renewed AS (
    UPDATE {schema}.workers SET lease_until = {lease_now} + :ttl::bigint WHERE id = :worker AND lease_until > {lease_now}
    RETURNING id,
{without_a_flush})
SELECT r.thread_id, r.seq, r.request, r.followed
  FROM renewed LEFT JOIN {schema}.runs r
    ON r.worker = renewed.id AND r.state = 1 AND (r.request > 0 OR r.followed > 0);

-- part: claim_of_picked
-- The end of a statement that claims the runs in `picked` for a worker, at the time in `clock`.
  free AS MATERIALIZED (
    SELECT thread_key FROM {schema}.threads
     WHERE thread_key = ANY (ARRAY (SELECT thread_key FROM picked)) FOR NO KEY UPDATE SKIP LOCKED),
  fenced AS (
    UPDATE {schema}.threads t SET epoch = f.epoch
      FROM (SELECT thread_key, (:epochs::bigint[])[row_number() OVER ()] AS epoch FROM free) f
     WHERE t.thread_key = f.thread_key
    RETURNING t.thread_key, t.epoch, t.version, t.writes_seq, t.incarnation, t.created_at, t.requests_digest, t.digest),
  claimed AS (
    UPDATE {schema}.runs r
       SET state = 1, worker = :worker, attempt = r.attempt + 1,
           -- A run that progressed since its last claim or crash has no crashes in a row.
           crashes = CASE WHEN (r.claimed_version, r.claimed_writes) = (f.version, f.writes_seq) THEN r.crashes ELSE 0 END,
           claimed_version = f.version, claimed_writes = f.writes_seq
      FROM picked p JOIN fenced f USING (thread_key)
     WHERE r.thread_key = p.thread_key AND r.seq = p.seq
    RETURNING r.thread_id, r.seq, r.graph, r.input, r.options, r.context, r.first_checkpoint, r.checkpoint, r.deadline,
              r.attempt, r.crashes, r.inbox, r.request, r.from_checkpoint, f.epoch, f.version, r.priority, r.due, r.followed,
              r.parent_key, f.incarnation, f.created_at, f.requests_digest, f.digest)
SELECT thread_id, seq, graph, input, options, context, first_checkpoint, checkpoint, deadline, attempt, crashes, inbox,
       request, from_checkpoint, epoch, version, now, followed, parent_key, incarnation, created_at, requests_digest,
       digest
  FROM claimed CROSS JOIN clock ORDER BY priority, due

-- name: claim_runs
-- Up to `most` due runs for a worker: their threads get the given epochs. It waits for no lock: a run or a thread that
-- another transaction has locked is left for the next claim. The worker's row is locked, so that no sweep removes it
-- before these claims are visible. Runs are locked one by one, until `most` are found, because a limit ends the loop.
WITH
  clock AS MATERIALIZED (SELECT {now} AS now,
{without_a_flush}),
  -- The queues with a due run, by priority and by the time of the oldest one.
  queues AS MATERIALIZED (
    SELECT p.priority, q.queue
      FROM clock CROSS JOIN generate_series(0, 4) AS p (priority) CROSS JOIN unnest(:queues::text[]) AS q (queue)
     CROSS JOIN LATERAL (
       SELECT due FROM {schema}.runs
        WHERE queue = q.queue AND priority = p.priority AND state IN (0, 2) AND due <= clock.now
        ORDER BY due LIMIT 1) d
     ORDER BY p.priority, d.due),
  living AS MATERIALIZED (
    SELECT clock.now FROM clock CROSS JOIN {schema}.workers w
     WHERE w.id = :worker AND w.lease_until > {lease_now} AND EXISTS (SELECT FROM queues) FOR KEY SHARE OF w SKIP LOCKED),
  picked AS MATERIALIZED (
    SELECT d.thread_key, d.seq FROM living CROSS JOIN queues q CROSS JOIN LATERAL (
       SELECT r.thread_key, r.seq FROM {schema}.runs r
        WHERE r.queue = q.queue AND r.priority = q.priority AND r.state IN (0, 2) AND r.due <= living.now
          -- OFFSET 0 keeps this a look at the primary key for each run.
          AND NOT EXISTS (SELECT FROM {schema}.runs e
                           WHERE e.thread_key = r.thread_key AND e.seq < r.seq AND e.state < 4 OFFSET 0)
        ORDER BY r.due LIMIT 1000 FOR NO KEY UPDATE OF r SKIP LOCKED) d
     LIMIT :most),
{claim_of_picked};

-- name: find_claims
-- The runs that the worker claimed with these epochs.
SELECT r.thread_id, r.seq, r.graph, r.input, r.options, r.context, r.first_checkpoint, r.checkpoint, r.deadline,
       r.attempt, r.crashes, r.inbox, r.request, r.from_checkpoint, t.epoch, t.version, {now}, r.followed,
       r.parent_key, t.incarnation, t.created_at, t.requests_digest, t.digest
  FROM {schema}.runs r JOIN {schema}.threads t USING (thread_key)
 WHERE r.worker = :worker AND r.state = 1 AND t.epoch = ANY (:epochs::bigint[]) ORDER BY r.priority, r.due;

-- name: lock_worker
-- Waits for the claims of the worker that are under way.
SELECT id FROM {schema}.workers WHERE id = :worker FOR UPDATE;

-- name: release_runs
-- One row for each released run.
WITH
  locked AS MATERIALIZED (
    SELECT thread_key FROM {schema}.threads
     WHERE thread_key = ANY (ARRAY (SELECT thread_key FROM {schema}.runs WHERE worker = :worker AND state = 1))
     ORDER BY thread_key FOR NO KEY UPDATE)
UPDATE {schema}.runs r SET state = 0, worker = 0, due = {now}
 WHERE r.worker = :worker AND r.state = 1 AND (SELECT count(*) FROM locked) >= 0 RETURNING r.seq,
{without_a_flush};

-- name: remove_worker
DELETE FROM {schema}.workers WHERE id = :worker;

-- name: count_workers
SELECT count(*) FROM {schema}.workers WHERE lease_until > {lease_now};

-- name: has_dead_workers
SELECT 1 FROM {schema}.workers WHERE lease_until <= {lease_now} LIMIT 1;

-- name: lock_dead_workers
SELECT id FROM {schema}.workers WHERE lease_until <= {lease_now} ORDER BY id FOR UPDATE SKIP LOCKED;

-- name: lock_threads_of_workers
SELECT thread_key FROM {schema}.threads
 WHERE thread_key = ANY (ARRAY (SELECT thread_key FROM {schema}.runs WHERE worker = ANY (:workers::bigint[]) AND state = 1))
 ORDER BY thread_key FOR NO KEY UPDATE;

-- name: find_runs_of_workers
SELECT r.thread_key, r.seq, r.crashes, (t.version, t.writes_seq) <> (r.claimed_version, r.claimed_writes), t.next
  FROM {schema}.runs r JOIN {schema}.threads t USING (thread_key)
 WHERE r.worker = ANY (:workers::bigint[]) AND r.state = 1;

-- name: free_runs
UPDATE {schema}.runs r
   SET state = f.state, worker = 0, crashes = f.crashes, due = f.due, ended_at = f.ended_at,
       error = coalesce(f.error, r.error), claimed_version = t.version, claimed_writes = t.writes_seq
  FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::smallint[], $5::bigint[], $6::bigint[], $7::text[])
    AS f (thread_key, seq, state, crashes, due, ended_at, error) JOIN {schema}.threads t USING (thread_key)
 WHERE r.thread_key = f.thread_key AND r.seq = f.seq;

-- name: remove_workers
DELETE FROM {schema}.workers WHERE id = ANY (:workers::bigint[]);
