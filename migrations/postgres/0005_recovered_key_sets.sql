-- A controller that lost its root begins anew at version 1: what tells its key sets apart, and orders them, is their
-- place in the authority log.
ALTER TABLE key_sets DROP CONSTRAINT key_sets_pkey;
ALTER TABLE key_sets ADD PRIMARY KEY (controller_id, authority_index);
