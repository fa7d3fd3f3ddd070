-- How long the trail of each origin was when a gateway last told the keyring. Only grows: a database behind it is an older one.
CREATE TABLE marks (
    origin     text   COLLATE "C" PRIMARY KEY,
    size       bigint NOT NULL CHECK (size > 0),
    checkpoint text   NOT NULL -- signed note over so many leaves
);
