"""Runs: their state, parts, lists, and pages."""
