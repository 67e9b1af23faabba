-- A record is told from those before it by a number of its own: a task is recorded more often than it is attempted.
ALTER TABLE tasks RENAME COLUMN attempt TO revision;
