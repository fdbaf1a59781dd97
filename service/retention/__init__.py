"""Retention: deletion, erasure, expiry, and the export of an organization."""
