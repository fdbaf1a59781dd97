"""Comparison of runs, gates, and decisions."""
