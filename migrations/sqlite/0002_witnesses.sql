-- What witnesses cosigned (C2SP tlog-cosignature). It comes after a head is signed and makes no leaf: a leaf for
-- a cosignature would make a head that needs cosignatures. Heads older than the newest that enough witnesses
-- cosigned are forgotten: that one continues them.
CREATE TABLE cosigned_heads (
    log        TEXT NOT NULL CHECK (log IN ('trail', 'authority')),
    size       INTEGER NOT NULL,
    checkpoint TEXT NOT NULL, -- the head as the log signed it
    written_by TEXT NOT NULL,
    PRIMARY KEY (log, size)
) STRICT, WITHOUT ROWID;

CREATE TABLE cosignatures (
    log        TEXT NOT NULL,
    size       INTEGER NOT NULL,
    cosigner   TEXT NOT NULL, -- name of the witness's key
    line       TEXT NOT NULL, -- its newest signature line
    written_by TEXT NOT NULL,
    PRIMARY KEY (log, size, cosigner),
    FOREIGN KEY (log, size) REFERENCES cosigned_heads (log, size) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;
