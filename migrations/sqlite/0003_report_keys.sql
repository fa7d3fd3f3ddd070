-- A report key that the agent's own vouched for: while it stands here both may sign reports.
ALTER TABLE agents ADD COLUMN next_report_key TEXT NOT NULL DEFAULT ''; -- public JWK
