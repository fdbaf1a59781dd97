"""Lists and single objects for a caller: rows or public objects, restricted to the project of its key."""
