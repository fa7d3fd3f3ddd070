-- The key of each certificate that a principal called with, claimed (`thumbprints`) at its first call. When, so that
-- nobody claims more than so many an hour: each is a leaf.
CREATE TABLE tls_keys (
    thumbprint TEXT PRIMARY KEY REFERENCES thumbprints (thumbprint),
    principal  TEXT NOT NULL,
    claimed_at INTEGER NOT NULL,
    written_by TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tls_keys_by_principal ON tls_keys (principal, claimed_at);
