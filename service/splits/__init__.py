"""Splits: the plans that distribute the items of a test suite to parallel jobs."""
