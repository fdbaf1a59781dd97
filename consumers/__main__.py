"""`python -m consumers [ROLE…]` runs the consumers; `python -m consumers dead-letters …` manages dead letters."""

import sys

from consumers.consumer_commands import consume, dead_letters
from service.command_line import run_command


def main() -> None:
    """Run `dead-letters` if it is the first argument, otherwise `consume`."""
    if sys.argv[1:2] == ["dead-letters"]:
        run_command(dead_letters, "zof-results dead-letters", sys.argv[2:])
    run_command(consume, "zof-results consume", sys.argv[1:])


if __name__ == "__main__":
    main()
