-- Format 3. Applied to a new file; `migrations/` will have later formats.
--
-- Every table begins with `thread_key`, a 63-bit hash of the thread's id, so that rows whose thread's row is missing
-- still identify their thread. The columns of keys come first; the long one is last, so that reading keys does not read
-- it. Times are microseconds since 1970. `extra` is room for later columns that a digest has to cover: a msgpack array
-- that only grows, or nothing. Every digest covers all columns of its row except the epoch and `run_seq` of a thread,
-- which are changed in SQL alone.

-- A row is a thread, or the tombstone of a deleted thread: it has no thread id, and refuses late writers until
-- maintenance removes it. Every commit compares the row and replaces it.
CREATE TABLE threads (
  thread_key      INTEGER PRIMARY KEY,
  thread_id       TEXT UNIQUE,
  -- Random for each new thread: commits of writers that know an earlier thread of the same id are refused.
  incarnation     INTEGER NOT NULL,
  -- The digests of the thread's rows include it; a copy keeps it.
  origin          BLOB NOT NULL,
  -- The name of the graph that the thread belongs to, NULL for a graph without one; and a digest of its nodes' names.
  graph           TEXT,
  graph_digest    BLOB NOT NULL,
  -- The last assigned checkpoint number of all namespaces; and the root namespace's newest checkpoint.
  version         INTEGER NOT NULL,
  head            INTEGER NOT NULL,
  -- Operators change it to refuse the thread's current writers: every commit compares it.
  epoch           INTEGER NOT NULL,
  writes_seq      INTEGER NOT NULL,
  prunes          INTEGER NOT NULL,
  oldest_kept     INTEGER NOT NULL,
  -- The last assigned sequence number of a run of the thread.
  run_seq         INTEGER NOT NULL DEFAULT 0,
  status          TEXT NOT NULL,
  status_since    INTEGER NOT NULL,
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL,
  commit_id       BLOB NOT NULL,
  -- The nodes that run next, a JSON array of at most 100 names; the newest run's metadata, a JSON object; and the
  -- error of a failed thread.
  next            TEXT NOT NULL,
  metadata        TEXT NOT NULL,
  error           TEXT,
  extra           BLOB NOT NULL,
  -- The sum of the digests of the task records of checkpoint `head`.
  writes_digest   BLOB NOT NULL,
  -- The sum of the digests of the branches in the lineage of `version`.
  branches_digest BLOB NOT NULL,
  -- The sum of the digests of the thread's requests.
  requests_digest BLOB NOT NULL,
  digest          BLOB NOT NULL
) STRICT;

-- For listing threads by status and time, such as unfinished or expired threads, page by page. It has no column that
-- each commit changes.
CREATE INDEX threads_by_status ON threads (status, status_since, thread_id);

-- A row is a branch: the checkpoints from `first` to before the next branch's first, grown from checkpoint `parent`
-- (0: none).
CREATE TABLE branches (
  thread_key INTEGER NOT NULL,
  first      INTEGER NOT NULL,
  parent     INTEGER NOT NULL,
  digest     BLOB NOT NULL,
  extra      BLOB NOT NULL,
  PRIMARY KEY (thread_key, first)
) STRICT, WITHOUT ROWID;

-- A row is one checkpoint of one namespace. `planned_at` is the smallest checkpoint number under which a task of its
-- plan is recorded.
CREATE TABLE checkpoints (
  thread_key   INTEGER NOT NULL,
  namespace    TEXT NOT NULL,
  number       INTEGER NOT NULL,
  parent       INTEGER NOT NULL,
  planned_at   INTEGER NOT NULL,
  made_at      INTEGER NOT NULL,
  commit_id    BLOB NOT NULL,
  state_digest BLOB NOT NULL,
  digest       BLOB NOT NULL,
  extra        BLOB NOT NULL,
  header       BLOB NOT NULL,
  PRIMARY KEY (thread_key, namespace, number)
) STRICT, WITHOUT ROWID;

-- Finds new checkpoints of nested graphs, for followers of a run's events.
CREATE INDEX checkpoints_of_namespaces ON checkpoints (thread_key, number) WHERE namespace <> '';

-- A row is the change of one channel by checkpoint `number`; it extends the value of row `previous` (0: none).
CREATE TABLE channel_rows (
  thread_key INTEGER NOT NULL,
  namespace  TEXT NOT NULL,
  channel    TEXT NOT NULL,
  number     INTEGER NOT NULL,
  previous   INTEGER NOT NULL,
  kind       INTEGER NOT NULL,
  digest     BLOB NOT NULL,
  value      BLOB NOT NULL,
  PRIMARY KEY (thread_key, namespace, channel, number)
) STRICT, WITHOUT ROWID;

-- A row is the outcome of one task: the task at `position` of those that checkpoint `planned_at` first planned.
CREATE TABLE tasks (
  thread_key INTEGER NOT NULL,
  namespace  TEXT NOT NULL,
  planned_at INTEGER NOT NULL,
  position   INTEGER NOT NULL,
  rank       INTEGER NOT NULL,
  revision   INTEGER NOT NULL,
  commit_id  BLOB NOT NULL,
  digest     BLOB NOT NULL,
  extra      BLOB NOT NULL,
  value      BLOB NOT NULL,
  PRIMARY KEY (thread_key, namespace, planned_at, position)
) STRICT, WITHOUT ROWID;

-- For the records of nested tasks and calls of all namespaces since a number: the head's sum, which detects a missing
-- record, covers them.
CREATE INDEX tasks_of_namespaces ON tasks (thread_key, planned_at) WHERE namespace <> '';

-- A row is a request that was accepted once, with its caller's key. `input_digest` is the digest of graph and input,
-- `seq` the run's (0: none), `checkpoint` the checkpoint that the input made.
CREATE TABLE requests (
  thread_key   INTEGER NOT NULL,
  key          TEXT NOT NULL,
  input_digest BLOB NOT NULL,
  seq          INTEGER NOT NULL,
  checkpoint   INTEGER NOT NULL,
  made_at      INTEGER NOT NULL,
  extra        BLOB NOT NULL,
  digest       BLOB NOT NULL,
  PRIMARY KEY (thread_key, key)
) STRICT, WITHOUT ROWID;

-- The tables below are for runs that outlive their process.

-- A row is one accepted input of a thread: its graph, its options, its worker, and when it is due.
CREATE TABLE runs (
  thread_key       INTEGER NOT NULL,
  seq              INTEGER NOT NULL,
  state            INTEGER NOT NULL,
  priority         INTEGER NOT NULL,
  due              INTEGER NOT NULL,
  deadline         INTEGER NOT NULL,
  first_checkpoint INTEGER NOT NULL,
  checkpoint       INTEGER NOT NULL,
  claimed_version  INTEGER NOT NULL,
  claimed_writes   INTEGER NOT NULL DEFAULT 0,
  attempt          INTEGER NOT NULL,
  crashes          INTEGER NOT NULL,
  inbox            INTEGER NOT NULL,
  worker           INTEGER NOT NULL,
  request          INTEGER NOT NULL,
  -- 1 if the run has a follower, 2 if its events are stored.
  followed         INTEGER NOT NULL DEFAULT 0,
  accepted_at      INTEGER NOT NULL,
  ended_at         INTEGER NOT NULL,
  limit_key        INTEGER NOT NULL,
  parent_key       INTEGER NOT NULL,
  parent_seq       INTEGER NOT NULL,
  on_parent        INTEGER NOT NULL,
  queue            TEXT NOT NULL,
  graph            TEXT NOT NULL,
  thread_id        TEXT NOT NULL,
  error            TEXT,
  -- What a waiting run waits for, and its caller's metadata: JSON objects. The checkpoint from which a run that has not
  -- begun will begin (0: an empty state), NULL for the head.
  waits_on         TEXT,
  metadata         TEXT,
  from_checkpoint  INTEGER,
  input_digest     BLOB NOT NULL,
  input            BLOB NOT NULL,
  options          BLOB NOT NULL,
  context          BLOB NOT NULL,
  extra            BLOB NOT NULL,
  PRIMARY KEY (thread_key, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_of_thread ON runs (thread_key, seq) WHERE state < 4;
CREATE INDEX runs_due ON runs (queue, priority, due) WHERE state IN (0, 2);
CREATE INDEX runs_with_deadline ON runs (deadline) WHERE state IN (0, 2, 3) AND deadline < 4611686018427387904;
CREATE INDEX runs_ended ON runs (ended_at) WHERE state IN (4, 5, 6);
CREATE INDEX runs_of_worker ON runs (worker) WHERE state = 1;
-- The runs of queues with limits that are due at a time.
CREATE INDEX runs_keyed ON runs (queue, priority, limit_key, due)
  WHERE state IN (0, 2) AND limit_key <> 0 AND due <> 4611686018427387904;
CREATE INDEX runs_limited ON runs (queue, limit_key) WHERE state = 1;
CREATE INDEX runs_blocked ON runs (queue, limit_key, priority, due) WHERE state = 3;
CREATE INDEX runs_of_parent ON runs (parent_key, parent_seq) WHERE parent_key <> 0 AND state < 4;

-- A row is the metadata of a thread, a JSON object that its callers set. No commit reads or writes it, and it is deleted
-- with the thread.
CREATE TABLE thread_metadata (
  thread_key INTEGER PRIMARY KEY,
  updated_at INTEGER NOT NULL,
  metadata   TEXT NOT NULL
) STRICT;

-- A row is a key of a thread's metadata with its value: a digest of both, by which a search finds the thread.
CREATE TABLE metadata_entries (
  thread_key INTEGER NOT NULL,
  digest     BLOB NOT NULL,
  PRIMARY KEY (thread_key, digest)
) STRICT, WITHOUT ROWID;
CREATE INDEX threads_of_entry ON metadata_entries (digest);

-- A row is a process that executes runs, until its lease ends.
CREATE TABLE workers (
  id          INTEGER PRIMARY KEY,
  lease_until INTEGER NOT NULL,
  boot_id     BLOB NOT NULL,
  name        TEXT NOT NULL,
  -- The queues that it serves: a JSON array.
  queues      TEXT NOT NULL,
  extra       BLOB NOT NULL
) STRICT;

-- A row is a schedule: the calendar of a graph's runs, and the occurrence that is next. `held_at` is an occurrence that
-- waits for the end of an earlier run, `runs` the runs that may be unfinished, `start_with` their input and options.
CREATE TABLE schedules (
  id         INTEGER PRIMARY KEY,
  revision   INTEGER NOT NULL,
  catch_up   INTEGER NOT NULL,
  jitter     INTEGER NOT NULL,
  until_at   INTEGER NOT NULL,
  next_at    INTEGER NOT NULL,
  due        INTEGER NOT NULL,
  held_at    INTEGER NOT NULL,
  last_at    INTEGER NOT NULL,
  fired      INTEGER NOT NULL,
  skipped    INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  is_paused  INTEGER NOT NULL,
  name       TEXT NOT NULL UNIQUE,
  graph      TEXT NOT NULL,
  cron       TEXT NOT NULL,
  zone       TEXT NOT NULL,
  overlap    TEXT NOT NULL,
  thread_id  TEXT,
  runs       TEXT NOT NULL,
  error      TEXT,
  metadata   TEXT NOT NULL,
  digest     BLOB NOT NULL,
  start_with BLOB NOT NULL
) STRICT;
CREATE INDEX schedules_due ON schedules (due) WHERE due < 4611686018427387904;

-- A row is a queue with limits, as the newest declaration has them (0: no limit). `rate_window` is in microseconds.
-- `last_key` is the key that a claim served last, and `starts` the log of recent starts. Only claims and declarations
-- change it.
CREATE TABLE queues (
  queue       TEXT PRIMARY KEY,
  concurrency INTEGER NOT NULL,
  per_key     INTEGER NOT NULL,
  rate_number INTEGER NOT NULL,
  rate_window INTEGER NOT NULL,
  declared_at INTEGER NOT NULL,
  last_key    INTEGER NOT NULL,
  starts      BLOB NOT NULL,
  extra       BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- A row is a message to a thread: an answer, a signal, an update. A consumed message keeps its key.
CREATE TABLE messages (
  thread_key INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  topic      TEXT NOT NULL,
  key        TEXT NOT NULL,
  taken      INTEGER NOT NULL,
  made_at    INTEGER NOT NULL,
  extra      BLOB NOT NULL,
  value      BLOB NOT NULL,
  PRIMARY KEY (thread_key, seq),
  UNIQUE (thread_key, topic, key)
) STRICT, WITHOUT ROWID;

-- The messages that no run has taken.
CREATE INDEX messages_unread ON messages (thread_key, topic) WHERE taken = 0;

-- A row is an event of the run `seq` that no checkpoint implies, in order of `version` and `position`: a custom event,
-- a message's token, or a task's result before its superstep is committed. `namespace`, `planned_at` and `task` are the
-- key of that task's record. `extra` is the id of the task that emitted a custom event or a message.
CREATE TABLE events (
  thread_key INTEGER NOT NULL,
  version    INTEGER NOT NULL,
  position   INTEGER NOT NULL,
  epoch      INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  kind       INTEGER NOT NULL,
  planned_at INTEGER NOT NULL,
  task       INTEGER NOT NULL,
  namespace  TEXT NOT NULL,
  extra      BLOB NOT NULL,
  value      BLOB NOT NULL,
  PRIMARY KEY (thread_key, version, position)
) STRICT, WITHOUT ROWID;
