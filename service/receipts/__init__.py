"""Receipts of events and reports."""
