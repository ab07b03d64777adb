-- +goose Up
-- The records of calls. The body is the record as the API shows it; the other
-- columns are what it is found by. Times are unix microseconds, since calls
-- are listed in the order of their start; 0 is none.
CREATE TABLE calls (
    id TEXT PRIMARY KEY,
    node TEXT NOT NULL,
    started BIGINT NOT NULL,
    ended BIGINT NOT NULL,
    direction TEXT NOT NULL,
    trunk TEXT NOT NULL,
    caller TEXT NOT NULL,
    target TEXT NOT NULL,
    outcome TEXT NOT NULL,
    result TEXT NOT NULL,
    state TEXT NOT NULL,
    body TEXT NOT NULL
);
CREATE INDEX calls_started ON calls (started, id);
CREATE INDEX calls_caller ON calls (caller, started, id);
CREATE INDEX calls_outcome ON calls (outcome, started, id);
CREATE INDEX calls_waiting ON calls (node, started) WHERE state = 'waiting';

-- What is owed to the CRM for a call, step by step. Times are unix
-- milliseconds.
CREATE TABLE ledger (
    call TEXT NOT NULL,
    step TEXT NOT NULL,
    leg BIGINT NOT NULL,
    state TEXT NOT NULL,
    tries BIGINT NOT NULL,
    error TEXT NOT NULL,
    next BIGINT NOT NULL,
    detail TEXT NOT NULL,
    begun BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    PRIMARY KEY (call, step, leg)
);
CREATE INDEX ledger_open ON ledger (state, step, changed) WHERE state <> 'done';
CREATE INDEX ledger_changed ON ledger (changed);

-- +goose Down
DROP TABLE ledger;
DROP TABLE calls;
