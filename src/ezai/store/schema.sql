-- The schema that the migrations lead to, for a database that is made anew: no Alembic is needed for that.
-- A test holds the two together; `sqlite3 FILE .schema` on a migrated database shows what belongs here.

CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);

CREATE TABLE virtual_key (
    public_id TEXT NOT NULL,
    digest BLOB NOT NULL,
    pepper_id TEXT NOT NULL,
    last4 TEXT NOT NULL,
    name TEXT NOT NULL,
    account TEXT NOT NULL,
    admin INTEGER NOT NULL,
    models TEXT NOT NULL,
    budget_nanousd INTEGER,
    budget_period TEXT,
    requests_per_minute INTEGER,
    tokens_per_minute INTEGER,
    concurrent_requests INTEGER,
    created_at_ms INTEGER NOT NULL,
    expires_at_ms INTEGER,
    revoked_at_ms INTEGER,
    CONSTRAINT virtual_key_key PRIMARY KEY (public_id),
    CONSTRAINT virtual_key_admin_is_flag CHECK (admin IN (0, 1)),
    CONSTRAINT virtual_key_digest_unique UNIQUE (digest)
) STRICT;

CREATE TABLE key_change (
    id INTEGER NOT NULL,
    number INTEGER NOT NULL,
    CONSTRAINT key_change_key PRIMARY KEY (id),
    CONSTRAINT key_change_has_one_row CHECK (id = 1)
) STRICT;

CREATE TABLE request (
    id TEXT NOT NULL,
    key_id TEXT,
    account TEXT NOT NULL,
    dialect TEXT NOT NULL,
    requested_model TEXT NOT NULL,
    route TEXT NOT NULL,
    streamed INTEGER NOT NULL,
    admitted_at_ms INTEGER NOT NULL,
    ended_at_ms INTEGER,
    cause TEXT,
    CONSTRAINT request_key PRIMARY KEY (id)
) STRICT;

CREATE INDEX request_admitted ON request (admitted_at_ms);

CREATE TABLE attempt (
    request_id TEXT NOT NULL,
    n INTEGER NOT NULL,
    upstream TEXT NOT NULL,
    upstream_model TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at_ms INTEGER NOT NULL,
    first_event_ms INTEGER,
    duration_ms INTEGER,
    input_tokens INTEGER,
    cache_read_input_tokens INTEGER,
    cache_creation_input_tokens INTEGER,
    cache_creation_1h_input_tokens INTEGER,
    output_tokens INTEGER,
    thinking_tokens INTEGER,
    usage_source TEXT,
    cause TEXT,
    stop_reason TEXT,
    upstream_request_id TEXT,
    input_picousd INTEGER,
    output_picousd INTEGER,
    cache_read_picousd INTEGER,
    cache_write_picousd INTEGER,
    cache_write_1h_picousd INTEGER,
    cost_nanousd INTEGER,
    CONSTRAINT attempt_key PRIMARY KEY (request_id, n),
    CONSTRAINT attempt_request_id_refers FOREIGN KEY(request_id) REFERENCES request (id)
) STRICT;

INSERT INTO alembic_version VALUES ('0001');
INSERT INTO key_change VALUES (1, 0);
