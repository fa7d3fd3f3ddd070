-- The gateway's state. Times are Unix seconds unless a column says otherwise. `written_by` is the name of
-- the transaction that wrote the row last. Personal data stands only in `sealed_*` columns, under the data key
-- that `key_id` names in the keyring (a database of its own, never restored from this database's backups).

CREATE TABLE controllers (
    id              TEXT COLLATE "C" PRIMARY KEY,
    display_name    TEXT COLLATE "C" NOT NULL,
    house           BIGINT NOT NULL,
    key_set_version BIGINT NOT NULL DEFAULT 0,
    created_at      BIGINT NOT NULL,
    written_by      TEXT COLLATE "C" NOT NULL
);

-- PPIO's own privacy officer: at most one.
CREATE UNIQUE INDEX controllers_one_house ON controllers (house) WHERE house = 1;

CREATE TABLE agreements (
    id            TEXT COLLATE "C" PRIMARY KEY,
    controller_id TEXT COLLATE "C" NOT NULL REFERENCES controllers (id),
    terms         TEXT COLLATE "C" NOT NULL, -- JSON: categories, purposes, stores, regions
    start_at      BIGINT NOT NULL,
    end_at        BIGINT NOT NULL,
    written_by    TEXT COLLATE "C" NOT NULL
);
CREATE INDEX agreements_by_controller ON agreements (controller_id);

CREATE TABLE apps (
    id            TEXT COLLATE "C" PRIMARY KEY,
    controller_id TEXT COLLATE "C" NOT NULL REFERENCES controllers (id),
    display_name  TEXT COLLATE "C" NOT NULL,
    common_name   BIGINT NOT NULL,
    written_by    TEXT COLLATE "C" NOT NULL
);

-- Facts that route: unique across all controllers. `value` is folded (width and case), `shown` as registered.
CREATE TABLE app_facts (
    kind   TEXT COLLATE "C" NOT NULL CHECK (kind IN ('name', 'bundle_id', 'domain', 'sdk_app_id')),
    value  TEXT COLLATE "C" NOT NULL,
    shown  TEXT COLLATE "C" NOT NULL,
    app_id TEXT COLLATE "C" NOT NULL REFERENCES apps (id),
    alias  BIGINT NOT NULL,
    PRIMARY KEY (kind, value)
);

CREATE TABLE agents (
    id         TEXT COLLATE "C" PRIMARY KEY,
    region     TEXT COLLATE "C" NOT NULL,
    report_key TEXT COLLATE "C" NOT NULL, -- public JWK
    anchor_sequence BIGINT NOT NULL DEFAULT 0,
    anchor_head     TEXT COLLATE "C" NOT NULL DEFAULT '',
    written_by TEXT COLLATE "C" NOT NULL
);

CREATE TABLE agent_stores (
    store_id TEXT COLLATE "C" PRIMARY KEY,
    agent_id TEXT COLLATE "C" NOT NULL REFERENCES agents (id)
);

-- One key thumbprint has one use and one principal, for ever.
CREATE TABLE thumbprints (
    thumbprint TEXT COLLATE "C" PRIMARY KEY,
    use        TEXT COLLATE "C" NOT NULL,
    principal  TEXT COLLATE "C" NOT NULL
);

CREATE TABLE access_keys (
    thumbprint TEXT COLLATE "C" PRIMARY KEY REFERENCES thumbprints (thumbprint),
    principal  TEXT COLLATE "C" NOT NULL,
    jwk        TEXT COLLATE "C" NOT NULL,
    revoked_at BIGINT,
    written_by TEXT COLLATE "C" NOT NULL
);

CREATE TABLE key_sets (
    controller_id   TEXT COLLATE "C" NOT NULL REFERENCES controllers (id),
    version         BIGINT NOT NULL,
    digest          TEXT COLLATE "C" NOT NULL,
    jws             TEXT COLLATE "C" NOT NULL,
    authority_index BIGINT NOT NULL,
    leaf            BIGINT NOT NULL,
    written_by      TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (controller_id, version)
);

CREATE TABLE messages (
    id               TEXT COLLATE "C" PRIMARY KEY,
    state            TEXT COLLATE "C" NOT NULL CHECK (state IN ('triage', 'routed', 'dismissed')),
    triage_reason    TEXT COLLATE "C" NOT NULL,
    request_id       TEXT COLLATE "C",
    controller_id    TEXT COLLATE "C",
    app_id           TEXT COLLATE "C",
    received_at      BIGINT NOT NULL,
    flags            TEXT COLLATE "C" NOT NULL, -- JSON array
    key_id           TEXT COLLATE "C",          -- NULL once shredded
    sealed_mail      BYTEA,
    sealed_candidate BYTEA,
    sealed_salt      BYTEA,
    ended_at         BIGINT,
    shredded_at      BIGINT,
    written_by       TEXT COLLATE "C" NOT NULL
);
CREATE INDEX messages_by_state ON messages (state, id);

CREATE TABLE requests (
    id              TEXT COLLATE "C" PRIMARY KEY,
    controller_id   TEXT COLLATE "C" NOT NULL REFERENCES controllers (id),
    app_id          TEXT COLLATE "C" NOT NULL REFERENCES apps (id),
    origin          TEXT COLLATE "C" NOT NULL CHECK (origin IN ('mail', 'controller')),
    stage           TEXT COLLATE "C" NOT NULL,
    guardian        BIGINT NOT NULL,
    language        TEXT COLLATE "C" NOT NULL,
    flags           TEXT COLLATE "C" NOT NULL, -- JSON array
    categories      TEXT COLLATE "C" NOT NULL, -- JSON array
    matched_by      TEXT COLLATE "C" NOT NULL, -- JSON array
    message_id      TEXT COLLATE "C",
    received_at     BIGINT NOT NULL,
    forwarded_at    BIGINT,
    acknowledged_at BIGINT,
    closed_at       BIGINT,
    updated_at      BIGINT NOT NULL,
    version         BIGINT NOT NULL,
    key_id          TEXT COLLATE "C",          -- NULL once shredded
    sealed_content  BYTEA,          -- JSON: identifiers, extract, quotes, original
    shredded_at     BIGINT,
    written_by      TEXT COLLATE "C" NOT NULL
);
CREATE INDEX requests_by_controller ON requests (controller_id, id);

CREATE TABLE request_rights (
    request_id     TEXT COLLATE "C" NOT NULL REFERENCES requests (id),
    right_word     TEXT COLLATE "C" NOT NULL,
    stage          TEXT COLLATE "C" NOT NULL,
    instruction_id TEXT COLLATE "C",
    ground         TEXT COLLATE "C",
    PRIMARY KEY (request_id, right_word)
);

-- What is brought to a controller, in its own order: the number says nothing of others.
CREATE TABLE deliveries (
    controller_id   TEXT COLLATE "C" NOT NULL,
    sequence        BIGINT NOT NULL,
    request_id      TEXT COLLATE "C" NOT NULL REFERENCES requests (id),
    acknowledged_at BIGINT,
    PRIMARY KEY (controller_id, sequence)
);
CREATE UNIQUE INDEX deliveries_by_request ON deliveries (request_id, controller_id);

-- An instruction's id is chosen by its controller: only the pair is unique.
CREATE TABLE instructions (
    controller_id      TEXT COLLATE "C" NOT NULL,
    id                 TEXT COLLATE "C" NOT NULL,
    app_id             TEXT COLLATE "C" NOT NULL,
    act                TEXT COLLATE "C" NOT NULL,
    request_id         TEXT COLLATE "C",
    digest             TEXT COLLATE "C" NOT NULL,
    signed_part        BYTEA NOT NULL,
    key_set_version    BIGINT NOT NULL,
    authority_size     BIGINT NOT NULL,
    state              TEXT COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'admitted', 'held', 'executing', 'done', 'failed', 'revoked', 'contested', 'expired')),
    admitted_at        BIGINT NOT NULL,
    expires_at         BIGINT NOT NULL,
    leaf               BIGINT NOT NULL,
    missing            BIGINT NOT NULL, -- distinct signers it waits for
    withdrawn          TEXT COLLATE "C" NOT NULL, -- JSON array: keys whose signers took their signatures back
    held_until         BIGINT,
    ground             TEXT COLLATE "C", -- why the processor contests it
    key_id             TEXT COLLATE "C",       -- NULL once shredded
    sealed_envelope    BYTEA,       -- the instruction as received, disclosures and all
    ended_at           BIGINT,
    shredded_at        BIGINT,
    written_by         TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (controller_id, id)
);

-- Every jti that was ever used up, with the answer it got.
CREATE TABLE jtis (
    controller_id TEXT COLLATE "C" NOT NULL,
    jti           TEXT COLLATE "C" NOT NULL,
    digest        TEXT COLLATE "C" NOT NULL,
    outcome       TEXT COLLATE "C" NOT NULL,   -- 'admitted', 'waiting' or a reason code
    leaf          BIGINT NOT NULL,
    PRIMARY KEY (controller_id, jti)
);

CREATE TABLE executions (
    id               TEXT COLLATE "C" PRIMARY KEY,
    controller_id    TEXT COLLATE "C" NOT NULL,
    instruction_id   TEXT COLLATE "C" NOT NULL,
    store_id         TEXT COLLATE "C" NOT NULL,
    state            TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'leased', 'completed', 'partial', 'failed', 'refused')),
    attempt          BIGINT NOT NULL CHECK (attempt >= 0),
    next_attempt_at  BIGINT NOT NULL,
    agent_id         TEXT COLLATE "C",
    lease_token      TEXT COLLATE "C",         -- SHA-256 of it
    lease_expires_at BIGINT,
    reason           TEXT COLLATE "C",
    report           TEXT COLLATE "C",
    report_leaf      BIGINT,
    sealed_details   BYTEA,         -- under the instruction's data key
    updated_at       BIGINT NOT NULL,
    version          BIGINT NOT NULL,
    written_by       TEXT COLLATE "C" NOT NULL,
    FOREIGN KEY (controller_id, instruction_id) REFERENCES instructions (controller_id, id)
);
CREATE INDEX executions_by_instruction ON executions (controller_id, instruction_id);
CREATE INDEX executions_open ON executions (store_id, state, next_attempt_at) WHERE state IN ('pending', 'leased');

CREATE TABLE exports (
    id            TEXT COLLATE "C" PRIMARY KEY,
    execution_id  TEXT COLLATE "C" NOT NULL UNIQUE REFERENCES executions (id),
    controller_id TEXT COLLATE "C" NOT NULL,
    size          BIGINT NOT NULL,
    digest        TEXT COLLATE "C" NOT NULL,
    uploaded_at   BIGINT NOT NULL,
    expires_at    BIGINT NOT NULL,
    released      BIGINT NOT NULL, -- 1 once the signed report names this digest
    removed_at    BIGINT,
    written_by    TEXT COLLATE "C" NOT NULL
);

CREATE TABLE refusals (
    leaf        BIGINT PRIMARY KEY,
    principal   TEXT COLLATE "C" NOT NULL,
    reason      TEXT COLLATE "C" NOT NULL,
    refused_at  BIGINT NOT NULL,
    key_id      TEXT COLLATE "C",
    sealed_salt BYTEA,
    shredded_at BIGINT,
    written_by  TEXT COLLATE "C" NOT NULL
);

-- A call that was made once. `payload` is an HMAC under the resource's data key where it covers personal data.
CREATE TABLE calls (
    principal  TEXT COLLATE "C" NOT NULL,
    method     TEXT COLLATE "C" NOT NULL,
    request_id TEXT COLLATE "C" NOT NULL,
    key_id     TEXT COLLATE "C",
    payload    TEXT COLLATE "C" NOT NULL,
    resource   TEXT COLLATE "C" NOT NULL,
    leaf       BIGINT NOT NULL,
    PRIMARY KEY (principal, method, request_id)
);

-- The two logs. Heads, tiles and leaves are written by the sequencer alone.
CREATE TABLE log_heads (
    log        TEXT COLLATE "C" PRIMARY KEY CHECK (log IN ('trail', 'authority')),
    origin     TEXT COLLATE "C" NOT NULL,
    size       BIGINT NOT NULL,
    root       BYTEA NOT NULL,
    checkpoint TEXT COLLATE "C" NOT NULL,
    last_time  BIGINT NOT NULL -- milliseconds: the time of the last leaf
);

CREATE TABLE trail_leaves (
    idx        BIGINT PRIMARY KEY,
    subject    TEXT COLLATE "C" NOT NULL,
    type       TEXT COLLATE "C" NOT NULL,
    leaf       BYTEA NOT NULL,
    written_by TEXT COLLATE "C" NOT NULL
);
CREATE INDEX trail_leaves_by_subject ON trail_leaves (subject, type, idx);

CREATE TABLE authority_leaves (
    idx        BIGINT PRIMARY KEY,
    subject    TEXT COLLATE "C" NOT NULL,
    type       TEXT COLLATE "C" NOT NULL,
    leaf       BYTEA NOT NULL,
    written_by TEXT COLLATE "C" NOT NULL
);

CREATE TABLE tiles (
    log    TEXT COLLATE "C" NOT NULL,
    level  BIGINT NOT NULL,
    idx    BIGINT NOT NULL,
    hashes BYTEA NOT NULL, -- 32 bytes each, at most 256
    PRIMARY KEY (log, level, idx)
);
