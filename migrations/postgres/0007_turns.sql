-- What one gateway at a time does for all: asking the witnesses. Whose turn it is, and until when by the clock of
-- this database: a gateway that vanishes holds nobody up for longer. A file has one gateway, so no such table.
CREATE TABLE turns (
    name       TEXT COLLATE "C" PRIMARY KEY,
    holder     TEXT COLLATE "C" NOT NULL, -- a name made up for the turn
    ends_at    BIGINT NOT NULL,           -- milliseconds since the epoch; 0: given back
    written_by TEXT COLLATE "C" NOT NULL
);
