"""The MCP protocol on stdio. The tools do the work; this module imports the MCP SDK."""

import asyncio
from typing import Any, Final

from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server as McpServer
from mcp.server.stdio import stdio_server
from mcp.types import (
    INVALID_PARAMS,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
    ToolAnnotations,
)

from service.client.http import ClientError, Server
from service.client.servers import ServerKey, open_server
from service.mcp.tools import INSTRUCTIONS, TOOLS, describe_failure
from service.version import find_version

_RETRY_S: Final = 10  # an agent waits for the response
_READ_ONLY: Final = ToolAnnotations(read_only_hint=True, idempotent_hint=True, open_world_hint=False)


def serve(url: str, key: ServerKey) -> None:
    """Serve one client on stdin and stdout until it closes stdin. Raises ClientError."""
    with open_server(url, key, retry_s=_RETRY_S) as server:
        asyncio.run(_serve(new_mcp_server(server)))


def new_mcp_server(server: Server) -> McpServer[Any]:
    """Return an MCP server whose tools read from this server of the Results API."""

    async def list_tools(_: ServerRequestContext[Any], __: PaginatedRequestParams | None) -> ListToolsResult:
        return ListToolsResult(tools=[_describe(name) for name in TOOLS])

    async def call_tool(_: ServerRequestContext[Any], params: CallToolRequestParams) -> CallToolResult:
        return await _call(server, params)

    return McpServer(
        "zof-results", version=find_version(), title="Results API", instructions=INSTRUCTIONS,
        on_list_tools=list_tools, on_call_tool=call_tool,
    )  # fmt: skip


async def _serve(server: McpServer[Any]) -> None:
    async with stdio_server() as (requests, responses):
        await server.run(requests, responses, server.create_initialization_options())


def _describe(name: str) -> Tool:
    tool = TOOLS[name]
    schema = tool.arguments.model_json_schema()
    return Tool(
        name=name, title=tool.title, description=tool.description, input_schema=schema, annotations=_READ_ONLY
    )  # fmt: skip


async def _call(server: Server, params: CallToolRequestParams) -> CallToolResult:
    """Return the document of a tool, or the message of an error that the agent can correct."""
    tool = TOOLS.get(params.name)
    if tool is None:
        raise MCPError(code=INVALID_PARAMS, message=f"tool {params.name[:100]!r} not found")
    try:
        text = await asyncio.to_thread(tool.call, server, params.arguments or {})
    except ClientError as error:
        return CallToolResult(content=[TextContent(type="text", text=describe_failure(error))], is_error=True)
    return CallToolResult(content=[TextContent(type="text", text=text)])
