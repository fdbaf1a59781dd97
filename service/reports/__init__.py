"""Foreign report formats, each turned into the native event of contracts/run_events.py."""
