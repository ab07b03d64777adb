-- +goose Up
-- What one of several nodes has to itself for a while. Until is by the
-- database's clock, in unix milliseconds.
CREATE TABLE claims (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until BIGINT NOT NULL
);

-- +goose Down
DROP TABLE claims;
