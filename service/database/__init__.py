"""The database: connections, statements, transactions, and migrations."""
