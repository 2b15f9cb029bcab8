-- The lowest schema whose version of Gatepost may still run on this one. Migrations only add, so two neighbouring versions
-- run side by side; one that removes something raises this number first, in a version before.
CREATE TABLE oldest_schema (
    one    BOOLEAN PRIMARY KEY DEFAULT true CONSTRAINT oldest_schema_only_row CHECK (one),
    number BIGINT  NOT NULL
);

INSERT INTO oldest_schema (number) VALUES (1);
