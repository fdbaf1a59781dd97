"""Artifacts: the files of results and runs."""
