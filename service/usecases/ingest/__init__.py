"""Store run-completion events."""
