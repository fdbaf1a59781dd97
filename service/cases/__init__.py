"""Cases: the tests of a project, with their statistics, rankings, and pages."""
