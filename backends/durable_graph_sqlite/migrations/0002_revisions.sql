-- A record is told from those before it by a number of its own: a task is recorded more often than it is attempted.
ALTER TABLE tasks RENAME COLUMN attempt TO revision;

-- For the records of nested tasks and calls, which a file of format 1 has none of.
CREATE INDEX tasks_of_namespaces ON tasks (tid, born) WHERE ns <> '';
