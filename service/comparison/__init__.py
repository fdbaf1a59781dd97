"""Comparison of a run with its baseline: changes, evidence, and what is missing."""
