"""Ingest run-completion events."""
