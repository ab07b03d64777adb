-- +goose Up
-- The recordings that are on the portal's drive because of us. Age is that of
-- the call. They outlive the records of their calls.
CREATE TABLE files (
    file BIGINT NOT NULL PRIMARY KEY,
    call TEXT NOT NULL,
    age BIGINT NOT NULL
);
CREATE INDEX files_age ON files (age);

-- +goose Down
DROP TABLE files;
