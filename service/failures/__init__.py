"""Failures: their summaries, fingerprints, groups, and pages."""
