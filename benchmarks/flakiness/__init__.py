"""Rules that find flaky and broken tests, compared on labeled histories."""
