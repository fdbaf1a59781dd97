"""Exports: requests, the tasks that write the files, and their downloads."""
