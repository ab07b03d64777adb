-- +goose Up
-- Runs on SQLite and on PostgreSQL: TEXT, BIGINT (times are unix milliseconds,
-- booleans 0 and 1), BYTEA for bytes.

-- Small state: tokens, cursors, ledgers.
CREATE TABLE state (
    name TEXT PRIMARY KEY,
    value BYTEA NOT NULL,
    changed BIGINT NOT NULL
);

-- Who last spoke with whom. Employee 0: the binding was taken away, which
-- other nodes must hear of.
CREATE TABLE sticky (
    caller TEXT PRIMARY KEY,
    employee BIGINT NOT NULL,
    since BIGINT NOT NULL,
    until BIGINT NOT NULL,
    changed BIGINT NOT NULL
);
CREATE INDEX sticky_changed ON sticky (changed);

-- The copy of the portal. Cards and employees are JSON.
CREATE TABLE card (
    kind TEXT NOT NULL,
    id BIGINT NOT NULL,
    card TEXT NOT NULL,
    changed BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE TABLE employee (
    id BIGINT PRIMARY KEY,
    employee TEXT NOT NULL,
    changed BIGINT NOT NULL
);

-- Jobs that may be owed once only, also when they are done and forgotten.
CREATE TABLE job_once (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    owed BIGINT NOT NULL,
    PRIMARY KEY (kind, name)
);
CREATE INDEX job_once_owed ON job_once (owed);

-- +goose Down
DROP TABLE job_once;
DROP TABLE employee;
DROP TABLE card;
DROP TABLE sticky;
DROP TABLE state;
