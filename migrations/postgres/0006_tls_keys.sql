-- The key of each certificate that a principal called with, claimed (`thumbprints`) at its first call. When, so that
-- nobody claims more than so many an hour: each is a leaf.
CREATE TABLE tls_keys (
    thumbprint TEXT COLLATE "C" PRIMARY KEY REFERENCES thumbprints (thumbprint),
    principal  TEXT COLLATE "C" NOT NULL,
    claimed_at BIGINT NOT NULL,
    written_by TEXT COLLATE "C" NOT NULL
);
CREATE INDEX tls_keys_by_principal ON tls_keys (principal, claimed_at);
