"""Members: who can sign in to the console, their sessions, and single sign-on."""
