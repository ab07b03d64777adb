-- +goose Up
-- What a node knows of calls that the PBX has yet to account for, or may
-- account for once more.
CREATE TABLE pending (
    node TEXT NOT NULL,
    id TEXT NOT NULL,
    body BYTEA NOT NULL,
    PRIMARY KEY (node, id)
);

-- +goose Down
DROP TABLE pending;
