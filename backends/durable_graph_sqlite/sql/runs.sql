-- Every list of a run's columns is in the order of `checkpointing.run_changes.RUN_COLUMNS`. States: 0 ready, 1 running,
-- 2 waiting, 3 blocked, from 4 on ended. 1 << 62 is never. Request 3: an update, a message of the topic '__update__', is
-- left to apply.

-- name: find_run
SELECT thread_id, seq, state, priority, due, deadline, first_checkpoint, checkpoint, claimed_version, attempt, crashes,
       inbox, worker, request, accepted_at, ended_at, queue, graph, error,
       waits_on, metadata, from_checkpoint, parent_key, parent_seq, on_parent, coalesce((SELECT name FROM workers WHERE id = worker), '')
  FROM runs WHERE thread_key = :thread_key AND seq = :seq;

-- name: find_unfinished_run
SELECT thread_id, seq, state, priority, due, deadline, first_checkpoint, checkpoint, claimed_version, attempt, crashes,
       inbox, worker, request, accepted_at, ended_at, queue, graph, error,
       waits_on, metadata, from_checkpoint, parent_key, parent_seq, on_parent, coalesce((SELECT name FROM workers WHERE id = worker), '')
  FROM runs WHERE thread_key = :thread_key AND state < 4 ORDER BY seq LIMIT 1;

-- name: find_unfinished_runs
SELECT thread_id, seq, state, priority, due, deadline, first_checkpoint, checkpoint, claimed_version, attempt, crashes,
       inbox, worker, request, accepted_at, ended_at, queue, graph, error,
       waits_on, metadata, from_checkpoint, parent_key, parent_seq, on_parent
  FROM runs WHERE thread_key = :thread_key AND state < 4 ORDER BY seq;

-- name: find_root_parent
SELECT parent FROM checkpoints WHERE thread_key = :thread_key AND namespace = '' AND number = :number;

-- name: find_run_of_token
SELECT thread_id, seq, state, priority, due, deadline, first_checkpoint, checkpoint, claimed_version, attempt, crashes,
       inbox, worker, request, accepted_at, ended_at, queue, graph, error,
       waits_on, metadata, from_checkpoint, parent_key, parent_seq, on_parent
  FROM runs WHERE thread_key = :thread_key AND extra = :token;

-- name: find_last_run
SELECT max(seq) FROM runs WHERE thread_key = :thread_key;

-- name: take_run_seq
-- The numbers begin at the time, so that a thread that is created again after a purge repeats none.
UPDATE threads SET run_seq = CASE WHEN run_seq = 0 THEN :now ELSE run_seq + 1 END WHERE thread_key = :thread_key
RETURNING run_seq;

-- name: add_run
INSERT INTO runs (thread_key, seq, state, priority, due, deadline, first_checkpoint, checkpoint, claimed_version,
                  attempt, crashes, inbox, worker, request, accepted_at, ended_at, limit_key, parent_key, parent_seq,
                  on_parent, queue, graph, thread_id, error, metadata, from_checkpoint, input_digest, input, options,
                  context, extra)
VALUES (:thread_key, :seq, :state, :priority, :due, :deadline, 0, 0, 0, 0, 0,
        (SELECT count(*) FROM messages WHERE thread_key = :thread_key AND taken = 0),
        0, CASE WHEN EXISTS (SELECT 1 FROM messages WHERE thread_key = :thread_key AND topic = '__update__' AND taken = 0)
                THEN 3 ELSE 0 END,
        :accepted_at, 0, :limit_key, :parent_key, :parent_seq, :on_parent, :queue, :graph, :thread_id, NULL, :metadata,
        :from_checkpoint, :input_digest, :input, :options, :context, :extra);

-- name: update_run
-- A run that waits becomes ready at once if a message arrived since its execution read the inbox, or if its worker was
-- asked for something, and one that is done if an update is left to apply (request 3). A run that is to be cancelled
-- (request 1) keeps the caller's reason as its error. A change to "running" leaves the state: the run of a worker whose
-- lease has ended may be ready again, or quarantined. A quarantined run takes no other change of such a worker than a
-- checkpoint, or its end with a result.
UPDATE runs
   SET state = CASE WHEN :state = 1 THEN state
                    WHEN :state = 2 AND (inbox > :inbox OR request > 0) OR :state = 4 AND request = 3 THEN 0
                    ELSE :state END,
       due = CASE WHEN :state = 2 AND (inbox > :inbox OR request > 0) OR :state = 4 AND request = 3 THEN :at
                  WHEN :state IN (0, 2) THEN min(:due, deadline) ELSE due END,
       checkpoint = CASE WHEN :checkpoint > 0 THEN :checkpoint ELSE checkpoint END,
       first_checkpoint = CASE WHEN :first_checkpoint > 0 THEN :first_checkpoint ELSE first_checkpoint END,
       input = CASE WHEN :first_checkpoint > 0 THEN x'' ELSE input END,
       crashes = CASE WHEN :state = 2 THEN 0 ELSE crashes END,
       worker = CASE WHEN :state = 1 THEN worker ELSE 0 END,
       request = CASE WHEN :state < 4 OR :state = 4 AND request = 3 THEN request ELSE 0 END,
       ended_at = CASE WHEN :state = 1 THEN ended_at WHEN :state = 4 AND request = 3 THEN 0 ELSE :ended_at END,
       error = CASE WHEN :state = 1 THEN error
                    WHEN request = 1 AND :state NOT IN (4, 5) THEN coalesce(error, :error) ELSE :error END,
       waits_on = CASE WHEN :state = 1 THEN waits_on ELSE :waits_on END
 WHERE thread_key = :thread_key AND seq = :seq AND (state < 4 OR (state = 7 AND :state IN (1, 4)));

-- name: find_run_with_update
SELECT 1 FROM runs WHERE thread_key = :thread_key AND seq = :seq AND request = 3;

-- name: unblock_run
-- A run of the thread has ended: the next one may begin, unless an earlier one has not ended either.
UPDATE runs SET state = 0
 WHERE thread_key = :thread_key AND state = 3
   AND seq = (SELECT min(seq) FROM runs WHERE thread_key = :thread_key AND state < 4);

-- name: wake_run
-- An answer or a message arrived: the unfinished run of the thread that waits becomes ready, and one that is about to
-- wait sees the counter.
UPDATE runs SET inbox = inbox + 1, due = CASE WHEN state = 2 THEN :at ELSE due END,
                state = CASE WHEN state = 2 THEN 0 ELSE state END
 WHERE thread_key = :thread_key AND state < 4;

-- name: ask_to_apply_updates
-- An update arrived. A run with a request to cancel it keeps that request.
UPDATE runs SET request = 3 WHERE thread_key = :thread_key AND state < 4 AND request = 0;

-- name: end_updates
-- Removes the request if the last update was taken.
UPDATE runs SET request = 0
 WHERE thread_key = :thread_key AND state < 4 AND request = 3
   AND NOT EXISTS (SELECT 1 FROM messages WHERE thread_key = :thread_key AND topic = '__update__' AND taken = 0);

-- name: find_message
SELECT seq FROM messages WHERE thread_key = :thread_key AND topic = :topic AND key = :key;

-- name: find_unread_message
SELECT seq FROM messages WHERE thread_key = :thread_key AND topic = :topic AND key = :key AND taken = 0;

-- name: add_message
INSERT INTO messages (thread_key, seq, topic, key, taken, made_at, extra, value)
VALUES (:thread_key, :seq, :topic, :key, 0, :made_at, x'', :value);

-- name: take_message
UPDATE messages SET taken = :at, value = x'' WHERE thread_key = :thread_key AND seq = :seq AND taken = 0;

-- name: find_inbox
SELECT seq, topic, value, key FROM messages
 WHERE thread_key = :thread_key AND taken = 0 AND topic IN (SELECT value FROM json_each(:topics)) ORDER BY seq;

-- name: ask_to_cancel
-- The first caller's reason stays.
UPDATE runs SET request = 1, error = CASE WHEN request = 1 THEN error ELSE :reason END
 WHERE thread_key = :thread_key AND seq = :seq AND state = 1;

-- name: retry_run
-- A run that an earlier one precedes is blocked again.
UPDATE runs SET state = :state, due = :now, crashes = 0, ended_at = 0, error = NULL, deadline = 1 << 62,
                request = CASE WHEN EXISTS (SELECT 1 FROM messages WHERE thread_key = :thread_key
                                               AND topic = '__update__' AND taken = 0) THEN 3 ELSE 0 END
 WHERE thread_key = :thread_key AND seq = :seq;

-- name: find_ended_among
-- The given runs (pairs of a thread's key and a number) that have ended or do not exist.
SELECT json_extract(each.value, '$[0]'), json_extract(each.value, '$[1]')
  FROM json_each(:runs) AS each
  LEFT JOIN runs r ON r.thread_key = json_extract(each.value, '$[0]') AND r.seq = json_extract(each.value, '$[1]')
 WHERE r.state IS NULL OR r.state >= 4;

-- name: list_runs
SELECT r.thread_id, r.seq, r.state, r.priority, r.due, r.deadline, r.first_checkpoint, r.checkpoint, r.claimed_version,
       r.attempt, r.crashes, r.inbox, r.worker, r.request, r.accepted_at, r.ended_at, r.queue, r.graph, r.error,
       r.waits_on, r.metadata, r.from_checkpoint, r.parent_key, r.parent_seq, r.on_parent, coalesce(w.name, '')
  FROM runs r LEFT JOIN workers w ON w.id = r.worker
 WHERE (:graph IS NULL OR r.graph = :graph) AND (:state IS NULL OR r.state = :state)
   AND (:thread IS NULL OR r.thread_id = :thread)
   AND (:metadata IS NULL
        OR NOT EXISTS (SELECT 1 FROM json_each(:metadata) w
                        WHERE NOT EXISTS (SELECT 1 FROM json_each(r.metadata) h
                                           WHERE h.key = w.key AND h.type = w.type AND h.value IS w.value)))
   AND (r.thread_id, r.seq) > (:after, :after_seq)
 ORDER BY r.thread_id, r.seq LIMIT :limit;

-- name: is_worker_alive
SELECT 1 FROM workers WHERE id = :worker AND lease_until > :now AND boot_id = :boot_id;

-- name: find_due_runs
-- Of one queue and priority. Those of a thread whose earlier run has not ended are left out.
SELECT r.thread_key, r.seq, r.due FROM runs r INDEXED BY runs_due
 WHERE r.queue = :queue AND r.priority = :priority AND r.due <= :now AND r.state IN (0, 2)
   AND NOT EXISTS (SELECT 1 FROM runs e WHERE e.thread_key = r.thread_key AND e.seq < r.seq AND e.state < 4)
 ORDER BY r.due LIMIT :most;

-- name: fence_thread
UPDATE threads SET epoch = :epoch WHERE thread_key = :thread_key
RETURNING version, writes_seq, incarnation, created_at, requests_digest, digest;

-- name: claim_run
-- A run that progressed since its last claim or crash has no crashes in a row.
UPDATE runs SET state = 1, worker = :worker, attempt = attempt + 1,
                crashes = CASE WHEN (claimed_version, claimed_writes) = (:version, :writes) THEN crashes ELSE 0 END,
                claimed_version = :version, claimed_writes = :writes
 WHERE thread_key = :thread_key AND seq = :seq
RETURNING thread_id, seq, graph, input, options, context, first_checkpoint, checkpoint, deadline, attempt, crashes,
          inbox, request, from_checkpoint, followed, parent_key;

-- name: find_next_due
-- By priority, because the index has the times of each priority in their order.
SELECT min(first) FROM (
  SELECT min(due) AS first FROM runs INDEXED BY runs_due
   WHERE queue = :queue AND priority = 0 AND state IN (0, 2) AND due < 1 << 62
UNION ALL
  SELECT min(due) AS first FROM runs INDEXED BY runs_due
   WHERE queue = :queue AND priority = 1 AND state IN (0, 2) AND due < 1 << 62
UNION ALL
  SELECT min(due) AS first FROM runs INDEXED BY runs_due
   WHERE queue = :queue AND priority = 2 AND state IN (0, 2) AND due < 1 << 62
UNION ALL
  SELECT min(due) AS first FROM runs INDEXED BY runs_due
   WHERE queue = :queue AND priority = 3 AND state IN (0, 2) AND due < 1 << 62
UNION ALL
  SELECT min(due) AS first FROM runs INDEXED BY runs_due
   WHERE queue = :queue AND priority = 4 AND state IN (0, 2) AND due < 1 << 62
);

-- name: add_worker
INSERT INTO workers (id, lease_until, boot_id, name, queues, extra)
VALUES (:worker, :until, :boot_id, :name, :queues, x'')
ON CONFLICT (id) DO UPDATE SET lease_until = excluded.lease_until;

-- name: renew_lease
UPDATE workers SET lease_until = :until
 WHERE id = :worker AND lease_until > :now AND boot_id = :boot_id RETURNING id;

-- name: find_asked_runs
-- The requests to the worker. The counter of messages grows with each update for a run that it executes.
SELECT thread_id, seq, request, followed, inbox FROM runs
 WHERE worker = :worker AND state = 1 AND (request > 0 OR followed > 0);

-- name: release_runs
UPDATE runs SET state = 0, worker = 0, due = :now WHERE worker = :worker AND state = 1 RETURNING seq;

-- name: remove_worker
DELETE FROM workers WHERE id = :worker;

-- name: find_dead_workers
SELECT id FROM workers WHERE lease_until <= :now OR boot_id <> :boot_id;

-- name: find_runs_of_worker
SELECT r.thread_key, r.seq, r.crashes, (t.version, t.writes_seq) <> (r.claimed_version, r.claimed_writes), t.next
  FROM runs r JOIN threads t USING (thread_key)
 WHERE r.worker = :worker AND r.state = 1;

-- name: free_run
UPDATE runs SET state = :state, worker = 0, crashes = :crashes, due = :due, ended_at = :ended_at,
                error = coalesce(:error, error),
                (claimed_version, claimed_writes) =
                  (SELECT version, writes_seq FROM threads WHERE thread_key = :thread_key)
 WHERE thread_key = :thread_key AND seq = :seq;

-- name: count_runs
SELECT queue, state, count(*), min(CASE WHEN state IN (0, 2) AND due <= :now THEN due END) FROM runs
 WHERE state < 4 OR state = 7 GROUP BY queue, state;

-- name: count_workers
SELECT count(*) FROM workers WHERE lease_until > :now AND boot_id = :boot_id;
