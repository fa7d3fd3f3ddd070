-- Who processes in PPIO's stead (R25), and which stores they operate. A store that names nobody is PPIO's own.
CREATE TABLE sub_processors (
    id           TEXT PRIMARY KEY,
    display_name TEXT NOT NULL,
    region       TEXT NOT NULL,
    purposes     TEXT NOT NULL, -- JSON array
    written_by   TEXT NOT NULL
) STRICT;

ALTER TABLE agent_stores ADD COLUMN operated_by TEXT REFERENCES sub_processors (id);
