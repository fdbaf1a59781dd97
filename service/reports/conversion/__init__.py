"""Conversion of reports to native results: what the readers of all formats share."""
