"""Readers of the rows of an export, all from one database snapshot."""
