"""The `mcp` command. It imports the MCP SDK only when it runs, because the SDK is an optional dependency."""

from typing import TYPE_CHECKING, Final

import click

from service.client.arguments import server_options
from service.domain.errors import ServiceError

if TYPE_CHECKING:
    from service.client.servers import ServerKey


_SDK_PACKAGES: Final = ("mcp", "mcp_types")


class MissingMcpSdk(ServiceError):
    """The MCP SDK isn't installed. Install the extra `mcp`: pip install 'zof-results[mcp]'"""


@click.command()
@server_options
def mcp(url: str, key: "ServerKey") -> None:
    """Let a coding agent read results, as an MCP server on stdio.

    Start this command from the configuration of the agent. The tools explain a run, and show its failures, their
    history, and logs. They can't change anything. The command needs the extra `mcp` of the package.
    """
    try:
        from service.mcp.server import serve
    except ModuleNotFoundError as error:
        if error.name not in _SDK_PACKAGES:
            raise
        raise MissingMcpSdk(MissingMcpSdk.__doc__) from None
    serve(url, key)
