"""The commands with which operators administer a database: its schema, organizations, keys, and retention."""
