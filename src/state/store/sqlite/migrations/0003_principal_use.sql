-- From which networks a principal was used lately, coarse and bounded: at most 8 of the last 30 days. Written at most once
-- an hour for each row, and never counted as a change, since no decision on permissions depends on it. A new password
-- leaves it as it is: the owner is still in these networks.
CREATE TABLE principal_use (
    principal_id BIGINT  NOT NULL REFERENCES principal (id) ON DELETE CASCADE,
    -- As text: 192.0.2.0/24, 2001:db8:1::/48.
    network      TEXT    NOT NULL CONSTRAINT principal_use_network_there CHECK (length(network) > 0),
    -- The last use: seconds since 1970 UTC, the entry (smtp, api, web), and the client's address.
    used_at      BIGINT  NOT NULL,
    entry        TEXT    NOT NULL,
    address      TEXT    NOT NULL,
    PRIMARY KEY (principal_id, network)
);

-- The latest networks of a principal, and the oldest rows of all.
CREATE INDEX principal_use_latest ON principal_use (principal_id, used_at, network);
CREATE INDEX principal_use_oldest ON principal_use (used_at);
