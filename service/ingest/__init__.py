"""Ingest of run-completion events: from bytes to rows, once per event."""
