"""`python -m service` is the `zof-results` command."""

from service.cli import main

main()
