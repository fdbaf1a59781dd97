"""Reports: a reader per format converts a report to the native results of contracts/run_events.py."""
