"""Delete runs, expired results, and other expired rows."""
