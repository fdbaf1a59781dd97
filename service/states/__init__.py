"""States of cases on the default branch: healthy, flaky, or broken."""
