"""Measurements of the running product, each against a limit that it measures itself in the same run."""
