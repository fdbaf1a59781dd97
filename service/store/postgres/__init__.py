"""Database machinery: connections, statements, migrations, and notifications."""
