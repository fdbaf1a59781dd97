-- Changes nothing. A stored column with the JSON of each case would rewrite the table, and a transaction with an older snapshot
-- reads a table that was rewritten as empty.
SELECT;
