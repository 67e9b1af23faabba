-- Format 3. Applied to a new schema; `migrations/` will have later formats. `{schema}` is the schema's quoted name.
--
-- Every table begins with `thread_key`, a 63-bit hash of the thread's id, so that rows whose thread's row is missing
-- still identify their thread, and so that the tables can be sharded by it. Columns of fixed width come first, without
-- padding. Times are microseconds since 1970. `extra` is room for later columns that a digest has to cover: a msgpack
-- array that only grows, or nothing. Every digest covers all columns of its row except the epoch and `run_seq` of a
-- thread, which are changed in SQL alone.

-- One row: the format of these tables.
CREATE TABLE {schema}.format (
  version integer NOT NULL
);
INSERT INTO {schema}.format VALUES (3);

-- A row is a thread, or the tombstone of a deleted thread: it has no thread id, and refuses late writers until
-- maintenance removes it. Every commit compares the row and replaces it: the
-- free space of a page has room for the row's new version, and no index changes.
CREATE TABLE {schema}.threads (
  thread_key      bigint PRIMARY KEY,
  -- Random for each new thread: commits of writers that know an earlier thread of the same id are refused.
  incarnation     bigint NOT NULL,
  -- The last assigned checkpoint number of all namespaces; and the root namespace's newest checkpoint.
  version         bigint NOT NULL,
  head            bigint NOT NULL,
  -- Operators change it to refuse the thread's current writers: every commit compares it.
  epoch           bigint NOT NULL,
  writes_seq      bigint NOT NULL,
  prunes          bigint NOT NULL,
  oldest_kept     bigint NOT NULL,
  -- The last assigned sequence number of a run of the thread.
  run_seq         bigint NOT NULL DEFAULT 0,
  status_since    bigint NOT NULL,
  created_at      bigint NOT NULL,
  updated_at      bigint NOT NULL,
  thread_id       text COLLATE "C" UNIQUE,
  -- The name of the graph that the thread belongs to, NULL for a graph without one; and a digest of its nodes' names.
  graph           text COLLATE "C",
  status          text COLLATE "C" NOT NULL,
  -- The nodes that run next, a JSON array of at most 100 names; the newest run's metadata, a JSON object; and the
  -- error of a failed thread.
  next            text COLLATE "C" NOT NULL,
  metadata        text COLLATE "C" NOT NULL,
  error           text COLLATE "C",
  -- The digests of the thread's rows include it; a copy keeps it.
  origin          bytea NOT NULL,
  graph_digest    bytea NOT NULL,
  commit_id       bytea NOT NULL,
  extra           bytea NOT NULL,
  -- The sum of the digests of the task records of checkpoint `head`.
  writes_digest   bytea NOT NULL,
  -- The sum of the digests of the branches in the lineage of `version`.
  branches_digest bytea NOT NULL,
  -- The sum of the digests of the thread's requests.
  requests_digest bytea NOT NULL,
  digest          bytea NOT NULL
) WITH (fillfactor = 60);

-- For listing threads by status and time, such as unfinished or expired threads, page by page. It has no column that
-- each commit changes.
CREATE INDEX threads_by_status ON {schema}.threads (status, status_since, thread_id);

-- A row is a branch: the checkpoints from `first` to before the next branch's first, grown from checkpoint `parent`
-- (0: none).
CREATE TABLE {schema}.branches (
  thread_key bigint NOT NULL,
  first      bigint NOT NULL,
  parent     bigint NOT NULL,
  digest     bytea NOT NULL,
  extra      bytea NOT NULL,
  PRIMARY KEY (thread_key, first)
);

-- A row is one checkpoint of one namespace. `planned_at` is the smallest checkpoint number under which a task of its
-- plan is recorded.
CREATE TABLE {schema}.checkpoints (
  thread_key   bigint NOT NULL,
  number       bigint NOT NULL,
  parent       bigint NOT NULL,
  planned_at   bigint NOT NULL,
  made_at      bigint NOT NULL,
  namespace    text COLLATE "C" NOT NULL,
  commit_id    bytea NOT NULL,
  state_digest bytea NOT NULL,
  digest       bytea NOT NULL,
  extra        bytea NOT NULL,
  header       bytea NOT NULL,
  PRIMARY KEY (thread_key, namespace, number)
);
ALTER TABLE {schema}.checkpoints ALTER COLUMN header SET STORAGE EXTERNAL;

-- Finds new checkpoints of nested graphs, for followers of a run's events.
CREATE INDEX checkpoints_of_namespaces ON {schema}.checkpoints (thread_key, number) WHERE namespace <> '';

-- A row is the change of one channel by checkpoint `number`; it extends the value of row `previous` (0: none).
CREATE TABLE {schema}.channel_rows (
  thread_key bigint NOT NULL,
  number     bigint NOT NULL,
  previous   bigint NOT NULL,
  kind       smallint NOT NULL,
  namespace  text COLLATE "C" NOT NULL,
  channel    text COLLATE "C" NOT NULL,
  digest     bytea NOT NULL,
  value      bytea NOT NULL,
  PRIMARY KEY (thread_key, namespace, channel, number)
);
ALTER TABLE {schema}.channel_rows ALTER COLUMN value SET STORAGE EXTERNAL;

-- A row is the outcome of one task: the task at `position` of those that checkpoint `planned_at` first planned.
CREATE TABLE {schema}.tasks (
  thread_key bigint NOT NULL,
  planned_at bigint NOT NULL,
  position   bigint NOT NULL,
  revision   bigint NOT NULL,
  rank       smallint NOT NULL,
  namespace  text COLLATE "C" NOT NULL,
  commit_id  bytea NOT NULL,
  digest     bytea NOT NULL,
  extra      bytea NOT NULL,
  value      bytea NOT NULL,
  PRIMARY KEY (thread_key, namespace, planned_at, position)
);
ALTER TABLE {schema}.tasks ALTER COLUMN value SET STORAGE EXTERNAL;

-- For the records of nested tasks and calls of all namespaces since a number: the head's sum, which detects a missing
-- record, covers them.
CREATE INDEX tasks_of_namespaces ON {schema}.tasks (thread_key, planned_at) WHERE namespace <> '';

-- A row is a request that was accepted once, with its caller's key. `input_digest` is the digest of graph and input,
-- `seq` the run's (0: none), `checkpoint` the checkpoint that the input made.
CREATE TABLE {schema}.requests (
  thread_key   bigint NOT NULL,
  seq          bigint NOT NULL,
  checkpoint   bigint NOT NULL,
  made_at      bigint NOT NULL,
  key          text COLLATE "C" NOT NULL,
  input_digest bytea NOT NULL,
  extra        bytea NOT NULL,
  digest       bytea NOT NULL,
  PRIMARY KEY (thread_key, key)
);

-- The tables below are for runs that outlive their process.

-- A row is one accepted input of a thread: its graph, its options, its worker, and when it is due. The runs of a page were
-- accepted together, and are claimed together: the free space of a page has room for a new version of each of its rows.
CREATE TABLE {schema}.runs (
  thread_key       bigint NOT NULL,
  seq              bigint NOT NULL,
  due              bigint NOT NULL,
  deadline         bigint NOT NULL,
  first_checkpoint bigint NOT NULL,
  checkpoint       bigint NOT NULL,
  claimed_version  bigint NOT NULL,
  claimed_writes   bigint NOT NULL DEFAULT 0,
  inbox            bigint NOT NULL,
  worker           bigint NOT NULL,
  accepted_at      bigint NOT NULL,
  ended_at         bigint NOT NULL,
  limit_key        bigint NOT NULL,
  parent_key       bigint NOT NULL,
  parent_seq       bigint NOT NULL,
  attempt          integer NOT NULL,
  state            smallint NOT NULL,
  priority         smallint NOT NULL,
  crashes          smallint NOT NULL,
  request          smallint NOT NULL,
  -- 1 if the run has a follower, 2 if its events are stored.
  followed         smallint NOT NULL DEFAULT 0,
  on_parent        smallint NOT NULL,
  queue            text COLLATE "C" NOT NULL,
  graph            text COLLATE "C" NOT NULL,
  thread_id        text COLLATE "C" NOT NULL,
  error            text COLLATE "C",
  -- What a waiting run waits for, and its caller's metadata: JSON objects. The checkpoint from which a run that has not
  -- begun will begin (0: an empty state), NULL for the head.
  waits_on         text COLLATE "C",
  metadata         text COLLATE "C",
  from_checkpoint  bigint,
  input_digest     bytea NOT NULL,
  input            bytea NOT NULL,
  options          bytea NOT NULL,
  context          bytea NOT NULL,
  extra            bytea NOT NULL,
  PRIMARY KEY (thread_key, seq)
) WITH (fillfactor = 50);
CREATE INDEX runs_of_thread ON {schema}.runs (thread_key, seq) WHERE state < 4;
CREATE INDEX runs_due ON {schema}.runs (queue, priority, due) WHERE state IN (0, 2);
CREATE INDEX runs_with_deadline ON {schema}.runs (deadline) WHERE state IN (0, 2, 3) AND deadline < 4611686018427387904;
CREATE INDEX runs_waiting_for_messages ON {schema}.runs (thread_key, seq) WHERE state = 2 AND waits_on LIKE '{"topics"%';
CREATE INDEX runs_ended ON {schema}.runs (ended_at) WHERE state IN (4, 5, 6);
CREATE INDEX runs_of_worker ON {schema}.runs (worker) WHERE state = 1;
-- The runs of queues with limits that are due at a time.
CREATE INDEX runs_keyed ON {schema}.runs (queue, priority, limit_key, due)
  WHERE state IN (0, 2) AND limit_key <> 0 AND due <> 4611686018427387904;
CREATE INDEX runs_limited ON {schema}.runs (queue, limit_key) WHERE state = 1;
CREATE INDEX runs_blocked ON {schema}.runs (queue, limit_key, priority, due) WHERE state = 3;
CREATE INDEX runs_of_parent ON {schema}.runs (parent_key, parent_seq) WHERE parent_key <> 0 AND state < 4;

-- A row is the metadata of a thread, a JSON object that its callers set. No commit reads or writes it, and it is deleted
-- with the thread.
CREATE TABLE {schema}.thread_metadata (
  thread_key bigint PRIMARY KEY,
  updated_at bigint NOT NULL,
  metadata   text COLLATE "C" NOT NULL
);

-- A row is a key of a thread's metadata with its value: a digest of both, by which a search finds the thread.
CREATE TABLE {schema}.metadata_entries (
  thread_key bigint NOT NULL,
  digest     bytea NOT NULL,
  PRIMARY KEY (thread_key, digest)
);
CREATE INDEX threads_of_entry ON {schema}.metadata_entries (digest, thread_key);

-- A row is a process that executes runs, until its lease ends.
CREATE TABLE {schema}.workers (
  id          bigint PRIMARY KEY,
  lease_until bigint NOT NULL,
  name        text COLLATE "C" NOT NULL,
  -- The queues that it serves: a JSON array.
  queues      text COLLATE "C" NOT NULL,
  boot_id     bytea NOT NULL,
  extra       bytea NOT NULL
);

-- A row is a schedule: the calendar of a graph's runs, and the occurrence that is next. `held_at` is an occurrence that
-- waits for the end of an earlier run, `runs` the runs that may be unfinished, `start_with` their input and options.
CREATE TABLE {schema}.schedules (
  id         bigint PRIMARY KEY,
  revision   bigint NOT NULL,
  catch_up   bigint NOT NULL,
  jitter     bigint NOT NULL,
  until_at   bigint NOT NULL,
  next_at    bigint NOT NULL,
  due        bigint NOT NULL,
  held_at    bigint NOT NULL,
  last_at    bigint NOT NULL,
  fired      bigint NOT NULL,
  skipped    bigint NOT NULL,
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL,
  is_paused  smallint NOT NULL,
  name       text COLLATE "C" NOT NULL UNIQUE,
  graph      text COLLATE "C" NOT NULL,
  cron       text COLLATE "C" NOT NULL,
  zone       text COLLATE "C" NOT NULL,
  overlap    text COLLATE "C" NOT NULL,
  thread_id  text COLLATE "C",
  runs       text COLLATE "C" NOT NULL,
  error      text COLLATE "C",
  metadata   text COLLATE "C" NOT NULL,
  digest     bytea NOT NULL,
  start_with bytea NOT NULL
);
CREATE INDEX schedules_due ON {schema}.schedules (due) WHERE due < 4611686018427387904;

-- A row is a queue with limits, as the newest declaration has them (0: no limit). `rate_window` is in microseconds.
-- `last_key` is the key that a claim served last, and `starts` the log of recent starts. Only claims and declarations
-- change it.
CREATE TABLE {schema}.queues (
  queue       text COLLATE "C" PRIMARY KEY,
  rate_window bigint NOT NULL,
  declared_at bigint NOT NULL,
  last_key    bigint NOT NULL,
  concurrency integer NOT NULL,
  per_key     integer NOT NULL,
  rate_number integer NOT NULL,
  starts      bytea NOT NULL,
  extra       bytea NOT NULL
) WITH (fillfactor = 50);

-- A row is a message to a thread: an answer, a signal, an update. A consumed message keeps its key.
CREATE TABLE {schema}.messages (
  thread_key bigint NOT NULL,
  seq        bigint NOT NULL,
  taken      bigint NOT NULL,
  made_at    bigint NOT NULL,
  topic      text COLLATE "C" NOT NULL,
  key        text COLLATE "C" NOT NULL,
  extra      bytea NOT NULL,
  value      bytea NOT NULL,
  PRIMARY KEY (thread_key, seq),
  UNIQUE (thread_key, topic, key)
);

-- The messages that no run has taken.
CREATE INDEX messages_unread ON {schema}.messages (thread_key, topic) WHERE taken = 0;

-- A row is an event of the run `seq` that no checkpoint implies, in order of `version` and `position`: a custom event,
-- a message's token, or a task's result before its superstep is committed. `namespace`, `planned_at` and `task` are the
-- key of that task's record. `extra` is the id of the task that emitted a custom event or a message.
CREATE TABLE {schema}.events (
  thread_key bigint NOT NULL,
  version    bigint NOT NULL,
  epoch      bigint NOT NULL,
  seq        bigint NOT NULL,
  planned_at bigint NOT NULL,
  task       bigint NOT NULL,
  position   integer NOT NULL,
  kind       smallint NOT NULL,
  namespace  text COLLATE "C" NOT NULL,
  extra      bytea NOT NULL,
  value      bytea NOT NULL,
  PRIMARY KEY (thread_key, version, position)
);
