"""Readers of report formats: each converts a report to the native results of contracts/run_events.py."""
