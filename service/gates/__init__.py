"""Gates, the decisions about runs, and their waivers."""
