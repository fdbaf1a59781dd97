"""`zof-results` with only the user commands, as in the client archive."""

import click

from service.client.user_commands import USER_COMMANDS
from service.command_line import CONTEXT, run_command, version_option


@click.group(context_settings=CONTEXT)
@version_option
def client() -> None:
    """Upload, check, export, list, and follow the results of validation runs.

    Set RESULTS_URL and RESULTS_API_KEY, or use --url and --key. Without a key, a CI job uses its ID token.
    """


for command in USER_COMMANDS:
    client.add_command(command)


def main() -> None:
    """Run the command."""
    run_command(client, "zof-results")


if __name__ == "__main__":
    main()
