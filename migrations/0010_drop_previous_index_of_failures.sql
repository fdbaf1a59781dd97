-- The index that 0009 replaces.

DROP INDEX result_details_with_or_without_fingerprint;
