-- Who processes in PPIO's stead (R25), and which stores they operate. A store that names nobody is PPIO's own.
CREATE TABLE sub_processors (
    id           TEXT COLLATE "C" PRIMARY KEY,
    display_name TEXT COLLATE "C" NOT NULL,
    region       TEXT COLLATE "C" NOT NULL,
    purposes     TEXT COLLATE "C" NOT NULL, -- JSON array
    written_by   TEXT COLLATE "C" NOT NULL
);

ALTER TABLE agent_stores ADD COLUMN operated_by TEXT COLLATE "C" REFERENCES sub_processors (id);
