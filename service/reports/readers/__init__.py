"""The readers of the report formats: each one converts a report to native results."""
