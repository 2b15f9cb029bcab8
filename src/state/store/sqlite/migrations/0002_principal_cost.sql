-- Finds the highest bcrypt cost of all stored hashes, whatever stands before it: what is refused has to cost as much as
-- the dearest of them. A bcrypt hash ends in two digits of the cost, a $, 22 characters of salt and 31 of hash.
CREATE INDEX principal_cost ON principal (CAST(substr(hash, -56, 2) AS INTEGER));
