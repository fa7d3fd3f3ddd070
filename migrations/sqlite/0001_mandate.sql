-- The gateway's state. Times are Unix seconds unless a column says otherwise. `written_by` is the name of
-- the transaction that wrote the row last. Personal data stands only in `sealed_*` columns, under the data key
-- that `key_id` names in the keyring (a file of its own, never restored from this database's backups).

CREATE TABLE controllers (
    id              TEXT PRIMARY KEY,
    display_name    TEXT NOT NULL,
    house           INTEGER NOT NULL,
    key_set_version INTEGER NOT NULL DEFAULT 0,
    created_at      INTEGER NOT NULL,
    written_by      TEXT NOT NULL
) STRICT;

-- PPIO's own privacy officer: at most one.
CREATE UNIQUE INDEX controllers_one_house ON controllers (house) WHERE house = 1;

CREATE TABLE agreements (
    id            TEXT PRIMARY KEY,
    controller_id TEXT NOT NULL REFERENCES controllers (id),
    terms         TEXT NOT NULL, -- JSON: categories, purposes, stores, regions
    start_at      INTEGER NOT NULL,
    end_at        INTEGER NOT NULL,
    written_by    TEXT NOT NULL
) STRICT;
CREATE INDEX agreements_by_controller ON agreements (controller_id);

CREATE TABLE apps (
    id            TEXT PRIMARY KEY,
    controller_id TEXT NOT NULL REFERENCES controllers (id),
    display_name  TEXT NOT NULL,
    common_name   INTEGER NOT NULL,
    written_by    TEXT NOT NULL
) STRICT;

-- Facts that route: unique across all controllers. `value` is folded (width and case), `shown` as registered.
CREATE TABLE app_facts (
    kind   TEXT NOT NULL CHECK (kind IN ('name', 'bundle_id', 'domain', 'sdk_app_id')),
    value  TEXT NOT NULL,
    shown  TEXT NOT NULL,
    app_id TEXT NOT NULL REFERENCES apps (id),
    alias  INTEGER NOT NULL,
    PRIMARY KEY (kind, value)
) STRICT, WITHOUT ROWID;

CREATE TABLE agents (
    id         TEXT PRIMARY KEY,
    region     TEXT NOT NULL,
    report_key TEXT NOT NULL, -- public JWK
    anchor_sequence INTEGER NOT NULL DEFAULT 0,
    anchor_head     TEXT NOT NULL DEFAULT '',
    written_by TEXT NOT NULL
) STRICT;

CREATE TABLE agent_stores (
    store_id TEXT PRIMARY KEY,
    agent_id TEXT NOT NULL REFERENCES agents (id)
) STRICT, WITHOUT ROWID;

-- One key thumbprint has one use and one principal, for ever.
CREATE TABLE thumbprints (
    thumbprint TEXT PRIMARY KEY,
    use        TEXT NOT NULL,
    principal  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE access_keys (
    thumbprint TEXT PRIMARY KEY REFERENCES thumbprints (thumbprint),
    principal  TEXT NOT NULL,
    jwk        TEXT NOT NULL,
    revoked_at INTEGER,
    written_by TEXT NOT NULL
) STRICT;

CREATE TABLE key_sets (
    controller_id   TEXT NOT NULL REFERENCES controllers (id),
    version         INTEGER NOT NULL,
    digest          TEXT NOT NULL,
    jws             TEXT NOT NULL,
    authority_index INTEGER NOT NULL,
    leaf            INTEGER NOT NULL,
    written_by      TEXT NOT NULL,
    PRIMARY KEY (controller_id, version)
) STRICT, WITHOUT ROWID;

CREATE TABLE messages (
    id               TEXT PRIMARY KEY,
    state            TEXT NOT NULL CHECK (state IN ('triage', 'routed', 'dismissed')),
    triage_reason    TEXT NOT NULL,
    request_id       TEXT,
    controller_id    TEXT,
    app_id           TEXT,
    received_at      INTEGER NOT NULL,
    flags            TEXT NOT NULL, -- JSON array
    key_id           TEXT,          -- NULL once shredded
    sealed_mail      BLOB,
    sealed_candidate BLOB,
    sealed_salt      BLOB,
    ended_at         INTEGER,
    shredded_at      INTEGER,
    written_by       TEXT NOT NULL
) STRICT;
CREATE INDEX messages_by_state ON messages (state, id);

CREATE TABLE requests (
    id              TEXT PRIMARY KEY,
    controller_id   TEXT NOT NULL REFERENCES controllers (id),
    app_id          TEXT NOT NULL REFERENCES apps (id),
    origin          TEXT NOT NULL CHECK (origin IN ('mail', 'controller')),
    stage           TEXT NOT NULL,
    guardian        INTEGER NOT NULL,
    language        TEXT NOT NULL,
    flags           TEXT NOT NULL, -- JSON array
    categories      TEXT NOT NULL, -- JSON array
    matched_by      TEXT NOT NULL, -- JSON array
    message_id      TEXT,
    received_at     INTEGER NOT NULL,
    forwarded_at    INTEGER,
    acknowledged_at INTEGER,
    closed_at       INTEGER,
    updated_at      INTEGER NOT NULL,
    version         INTEGER NOT NULL,
    key_id          TEXT,          -- NULL once shredded
    sealed_content  BLOB,          -- JSON: identifiers, extract, quotes, original
    shredded_at     INTEGER,
    written_by      TEXT NOT NULL
) STRICT;
CREATE INDEX requests_by_controller ON requests (controller_id, id);

CREATE TABLE request_rights (
    request_id     TEXT NOT NULL REFERENCES requests (id),
    right_word     TEXT NOT NULL,
    stage          TEXT NOT NULL,
    instruction_id TEXT,
    ground         TEXT,
    PRIMARY KEY (request_id, right_word)
) STRICT, WITHOUT ROWID;

-- What is brought to a controller, in its own order: the number says nothing of others.
CREATE TABLE deliveries (
    controller_id   TEXT NOT NULL,
    sequence        INTEGER NOT NULL,
    request_id      TEXT NOT NULL REFERENCES requests (id),
    acknowledged_at INTEGER,
    PRIMARY KEY (controller_id, sequence)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX deliveries_by_request ON deliveries (request_id, controller_id);

-- An instruction's id is chosen by its controller: only the pair is unique.
CREATE TABLE instructions (
    controller_id      TEXT NOT NULL,
    id                 TEXT NOT NULL,
    app_id             TEXT NOT NULL,
    act                TEXT NOT NULL,
    request_id         TEXT,
    digest             TEXT NOT NULL,
    signed_part        BLOB NOT NULL,
    key_set_version    INTEGER NOT NULL,
    authority_size     INTEGER NOT NULL,
    state              TEXT NOT NULL CHECK (state IN ('waiting', 'admitted', 'held', 'executing', 'done', 'failed', 'revoked', 'contested', 'expired')),
    admitted_at        INTEGER NOT NULL, -- 0 while it waits
    expires_at         INTEGER NOT NULL,
    leaf               INTEGER NOT NULL,
    missing            INTEGER NOT NULL, -- distinct signers it waits for
    withdrawn          TEXT NOT NULL, -- JSON array: keys whose signers took their signatures back
    held_until         INTEGER,
    ground             TEXT, -- why the processor contests it
    key_id             TEXT,       -- NULL once shredded
    sealed_envelope    BLOB,       -- the instruction as received, disclosures and all
    ended_at           INTEGER,
    shredded_at        INTEGER,
    written_by         TEXT NOT NULL,
    PRIMARY KEY (controller_id, id)
) STRICT, WITHOUT ROWID;

-- Every jti that was ever used up, with the answer it got.
CREATE TABLE jtis (
    controller_id TEXT NOT NULL,
    jti           TEXT NOT NULL,
    digest        TEXT NOT NULL,
    outcome       TEXT NOT NULL,   -- 'admitted', 'waiting' or a reason code
    leaf          INTEGER NOT NULL,
    PRIMARY KEY (controller_id, jti)
) STRICT, WITHOUT ROWID;

CREATE TABLE executions (
    id               TEXT PRIMARY KEY,
    controller_id    TEXT NOT NULL,
    instruction_id   TEXT NOT NULL,
    store_id         TEXT NOT NULL,
    state            TEXT NOT NULL CHECK (state IN ('pending', 'leased', 'completed', 'partial', 'failed', 'refused')),
    attempt          INTEGER NOT NULL CHECK (attempt >= 0),
    next_attempt_at  INTEGER NOT NULL,
    agent_id         TEXT,
    lease_token      TEXT,         -- SHA-256 of it
    lease_expires_at INTEGER,
    reason           TEXT,
    report           TEXT,
    report_leaf      INTEGER,
    sealed_details   BLOB,         -- under the instruction's data key
    updated_at       INTEGER NOT NULL,
    version          INTEGER NOT NULL,
    written_by       TEXT NOT NULL,
    FOREIGN KEY (controller_id, instruction_id) REFERENCES instructions (controller_id, id)
) STRICT;
CREATE INDEX executions_by_instruction ON executions (controller_id, instruction_id);
CREATE INDEX executions_open ON executions (store_id, state, next_attempt_at) WHERE state IN ('pending', 'leased');

CREATE TABLE exports (
    id            TEXT PRIMARY KEY,
    execution_id  TEXT NOT NULL UNIQUE REFERENCES executions (id),
    controller_id TEXT NOT NULL,
    size          INTEGER NOT NULL,
    digest        TEXT NOT NULL,
    uploaded_at   INTEGER NOT NULL,
    expires_at    INTEGER NOT NULL,
    released      INTEGER NOT NULL, -- 1 once the signed report names this digest
    removed_at    INTEGER,
    written_by    TEXT NOT NULL
) STRICT;

CREATE TABLE refusals (
    leaf        INTEGER PRIMARY KEY,
    principal   TEXT NOT NULL,
    reason      TEXT NOT NULL,
    refused_at  INTEGER NOT NULL,
    key_id      TEXT,
    sealed_salt BLOB,
    shredded_at INTEGER,
    written_by  TEXT NOT NULL
) STRICT;

-- A call that was made once. `payload` is an HMAC under the resource's data key where it covers personal data.
CREATE TABLE calls (
    principal  TEXT NOT NULL,
    method     TEXT NOT NULL,
    request_id TEXT NOT NULL,
    key_id     TEXT,
    payload    TEXT NOT NULL,
    resource   TEXT NOT NULL,
    leaf       INTEGER NOT NULL,
    PRIMARY KEY (principal, method, request_id)
) STRICT, WITHOUT ROWID;

-- The two logs. Heads, tiles and leaves are written by the sequencer alone.
CREATE TABLE log_heads (
    log        TEXT PRIMARY KEY CHECK (log IN ('trail', 'authority')),
    origin     TEXT NOT NULL,
    size       INTEGER NOT NULL,
    root       BLOB NOT NULL,
    checkpoint TEXT NOT NULL,
    last_time  INTEGER NOT NULL -- milliseconds: the time of the last leaf
) STRICT;

CREATE TABLE trail_leaves (
    idx        INTEGER PRIMARY KEY,
    subject    TEXT NOT NULL,
    type       TEXT NOT NULL,
    leaf       BLOB NOT NULL,
    written_by TEXT NOT NULL
) STRICT;
CREATE INDEX trail_leaves_by_subject ON trail_leaves (subject, type, idx);

CREATE TABLE authority_leaves (
    idx        INTEGER PRIMARY KEY,
    subject    TEXT NOT NULL,
    type       TEXT NOT NULL,
    leaf       BLOB NOT NULL,
    written_by TEXT NOT NULL
) STRICT;

CREATE TABLE tiles (
    log    TEXT NOT NULL,
    level  INTEGER NOT NULL,
    idx    INTEGER NOT NULL,
    hashes BLOB NOT NULL, -- 32 bytes each, at most 256
    PRIMARY KEY (log, level, idx)
) STRICT, WITHOUT ROWID;
