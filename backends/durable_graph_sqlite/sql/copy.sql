-- Rows are copied as they are: their digests bind the thread's origin, which a copy keeps.

-- name: copy_lines
INSERT INTO lines (tid, lo, parent, digest) SELECT :target, lo, parent, digest FROM lines WHERE tid = :source;

-- name: copy_checkpoints
INSERT INTO checkpoints (tid, ns, no, parent, born, at, commit_id, state_digest, digest, header)
SELECT :target, ns, no, parent, born, at, commit_id, state_digest, digest, header
  FROM checkpoints WHERE tid = :source;

-- name: copy_channel_rows
INSERT INTO channel_rows (tid, ns, channel, no, prev, kind, digest, value)
SELECT :target, ns, channel, no, prev, kind, digest, value FROM channel_rows WHERE tid = :source;

-- name: copy_tasks
INSERT INTO tasks (tid, ns, born, ord, rank, revision, commit_id, digest, value)
SELECT :target, ns, born, ord, rank, revision, commit_id, digest, value FROM tasks WHERE tid = :source;
