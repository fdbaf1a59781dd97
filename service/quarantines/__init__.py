"""Quarantines: the cases whose failures are excused for a time."""
