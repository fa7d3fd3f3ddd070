-- A report key that the agent's own vouched for: while it stands here both may sign reports.
ALTER TABLE agents ADD COLUMN next_report_key TEXT COLLATE "C" NOT NULL DEFAULT ''; -- public JWK

-- A restore takes key sets from the authority log before the trail says whose they are.
ALTER TABLE key_sets ALTER CONSTRAINT key_sets_controller_id_fkey DEFERRABLE INITIALLY IMMEDIATE;
