-- The keyring, in a database of its own: never in a backup together with the database whose rows it opens.

-- One data key each. Destroying a key deletes its row. `run` is the process's run that made it.
CREATE TABLE data_keys (
    id      bytea   PRIMARY KEY CHECK (octet_length(id) = 16),
    epoch   bigint  NOT NULL CHECK (epoch BETWEEN 0 AND 4294967295),
    run     integer NOT NULL,
    wrapped bytea   NOT NULL CHECK (octet_length(wrapped) = 60)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 100);

CREATE INDEX data_keys_of_run ON data_keys (run, id);

-- A process begins a run and holds an advisory lock on its number while it lives. `ended` is final: what
-- the run made and nobody refers to may be destroyed.
CREATE TABLE runs (
    run     integer     PRIMARY KEY GENERATED ALWAYS AS IDENTITY,
    seen_at timestamptz NOT NULL DEFAULT now(),
    ended   boolean     NOT NULL DEFAULT false
);

-- No key is wrapped under an epoch before `oldest_epoch` any more; `newest_epoch` is the last one begun.
CREATE TABLE ring (
    one          integer PRIMARY KEY CHECK (one = 1),
    oldest_epoch bigint  NOT NULL CHECK (oldest_epoch BETWEEN 0 AND 4294967295),
    newest_epoch bigint  NOT NULL CHECK (newest_epoch BETWEEN 0 AND 4294967295)
);

INSERT INTO ring (one, oldest_epoch, newest_epoch) VALUES (1, 0, 0);
