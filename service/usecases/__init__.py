"""One verb per function; each owns its transaction."""
