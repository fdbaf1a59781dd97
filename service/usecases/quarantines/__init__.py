"""Management of quarantines, and the publication of their expiry."""
