-- +goose Up
-- What was deleted of the copy of the portal, for nodes that have it in memory.
CREATE TABLE card_gone (
    kind TEXT NOT NULL,
    id BIGINT NOT NULL,
    changed BIGINT NOT NULL,
    PRIMARY KEY (kind, id)
);
CREATE INDEX card_gone_changed ON card_gone (changed);
CREATE INDEX card_changed ON card (changed);

-- The employees are kept as one value of state.
DROP TABLE employee;

-- +goose Down
CREATE TABLE employee (
    id BIGINT PRIMARY KEY,
    employee TEXT NOT NULL,
    changed BIGINT NOT NULL
);
DROP INDEX card_changed;
DROP TABLE card_gone;
