-- A controller that lost its root begins anew at version 1: what tells its key sets apart, and orders them, is their
-- place in the authority log.
CREATE TABLE key_sets_in_order (
    controller_id   TEXT NOT NULL REFERENCES controllers (id),
    authority_index INTEGER NOT NULL,
    version         INTEGER NOT NULL,
    digest          TEXT NOT NULL,
    jws             TEXT NOT NULL,
    leaf            INTEGER NOT NULL,
    written_by      TEXT NOT NULL,
    PRIMARY KEY (controller_id, authority_index)
) STRICT, WITHOUT ROWID;

INSERT INTO key_sets_in_order (controller_id, authority_index, version, digest, jws, leaf, written_by)
SELECT controller_id, authority_index, version, digest, jws, leaf, written_by FROM key_sets;

DROP TABLE key_sets;
ALTER TABLE key_sets_in_order RENAME TO key_sets;
