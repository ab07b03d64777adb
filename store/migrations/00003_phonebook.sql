-- +goose Up
-- Which contact of the PBX shows which entity of the portal. An entity with
-- many numbers has several parts. Contact 0: being made, its id not known yet.
CREATE TABLE phonebook (
    kind TEXT NOT NULL,
    id BIGINT NOT NULL,
    part BIGINT NOT NULL,
    contact_id BIGINT NOT NULL,
    fingerprint TEXT NOT NULL,
    seen BIGINT NOT NULL,
    PRIMARY KEY (kind, id, part)
);

-- +goose Down
DROP TABLE phonebook;
