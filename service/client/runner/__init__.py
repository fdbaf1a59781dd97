"""The command `run`: executes a test command, uploads its reports, and excuses quarantined failures."""
