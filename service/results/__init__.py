"""Results: the outcomes of cases in runs, their parts, lists, and pages."""
