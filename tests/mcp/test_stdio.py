"""The MCP server over stdio, with the client of the SDK and a served API."""

import asyncio
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from service.mcp.documents import MAX_CHARACTERS
from service.version import find_version
from tests.report_api import serving_reports_with_ingester
from tests.served import Api

if TYPE_CHECKING:
    from mcp import Client
    from mcp.types import CallToolResult


pytestmark = pytest.mark.slow

TIMEOUT_S = 60
REPORT = b"""<testsuite name="shop">
<testcase name="pays" time="1"><failure type="AssertionError" message="expected 200 got 503">at line 3</failure>
<system-out>POST /pay
503 no money</system-out></testcase>
<testcase name="ships" time="2"/></testsuite>"""
PASSING = b'<testsuite name="shop"><testcase name="pays"/><testcase name="ships"/></testsuite>'


def environment(api: Api, key: str | None = None) -> dict[str, str]:
    return {"RESULTS_URL": str(api.http.make_url("/")), "RESULTS_API_KEY": key or api.key}


@asynccontextmanager
async def agent(env: dict[str, str], **options: Any) -> AsyncIterator["Client"]:
    """Start the server as an agent does, and connect to it."""
    from mcp import Client, StdioServerParameters

    parameters = StdioServerParameters(command=sys.executable, args=["-m", "service", "mcp"], env=env)
    async with asyncio.timeout(TIMEOUT_S), Client(parameters, **options) as client:
        yield client


def text_of(called: "CallToolResult") -> str:
    from mcp.types import TextContent

    (content,) = called.content
    assert isinstance(content, TextContent)
    assert len(content.text) <= MAX_CHARACTERS
    return content.text


async def use(client: "Client", name: str, **arguments: Any) -> Any:
    """Return the document of a successful call."""
    called = await client.call_tool(name, arguments)
    assert not called.is_error, called
    return orjson.loads(text_of(called))


@pytest.mark.slow
async def test_agent_finds_out_whether_a_change_caused_a_failure(database_url: str, tmp_path: Path) -> None:
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        await reports.ingest(PASSING, "main_1", {"branch": "main", "commit_sha": "aaaaaaa1"})
        await reports.ingest(REPORT, "fix_1", {"branch": "fix", "base_branch": "main", "commit_sha": "bbbbbbb1"})
        key = (await reports.api.make_key("viewer")).key
        async with agent(environment(reports.api, key)) as client:
            (run,) = (await use(client, "find_runs", commit_sha="bbbbbbb"))["runs"]
            explained = await use(client, "explain_run", run_id=run["untrusted"]["run_id"])
            assert explained["comparison"]["baseline"]["untrusted"]["commit_sha"] == "aaaaaaa1"
            (failure,) = explained["results"]
            assert (failure["change"], failure["untrusted"]["name"]) == ("new_failure", "pays")
            result = await use(client, "get_result", result_id=failure["result_id"])
            assert result["failure"]["untrusted"]["message"] == "expected 200 got 503"
            log = next(each for each in result["artifacts"] if each["untrusted"]["name"].startswith("system-out"))
            output = await use(client, "read_log", artifact_id=log["artifact_id"])
            assert output["untrusted"]["text"].endswith("503 no money")
            history = await use(client, "get_case_history", case=failure["case"])
            assert [item["status"] for item in history["results"]] == ["failed", "passed"]
            (group,) = (await use(client, "list_failure_groups", project_id="shop"))["failure_groups"]
            assert (await use(client, "get_failure_group", failure_id=group["failure_id"]))["results"]
            (slowest, _) = (await use(client, "rank_cases", project_id="shop", sort="duration"))["cases"]
            assert slowest["untrusted"]["name"] == "ships"


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_agent_sees_read_only_tools_and_instructions(api: Api, mode: str) -> None:
    from mcp import MCPError

    async with agent(environment(api), mode=mode) as client:
        tools = (await client.list_tools()).tools
        assert 0 < len(tools) <= 10
        for tool in tools:
            assert tool.annotations is not None
            assert tool.annotations.read_only_hint is True
            assert tool.input_schema["additionalProperties"] is False
        assert client.instructions is not None
        assert "`untrusted`" in client.instructions
        assert client.server_info is not None
        assert (client.server_info.name, client.server_info.version) == ("zof-results", find_version())
        assert (await client.call_tool("explain_run", {"run_id": "absent"})).is_error
        with pytest.raises(MCPError, match="tool 'delete_run' not found"):
            await client.call_tool("delete_run", {})


@pytest.mark.slow
async def test_unavailable_server_is_an_error_that_the_agent_sees(api: Api) -> None:
    async with agent({"RESULTS_URL": "http://127.0.0.1:9", "RESULTS_API_KEY": "zof_1"}) as client:
        called = await client.call_tool("find_runs", {})
        assert called.is_error
        assert text_of(called).startswith("http://127.0.0.1:9 doesn't respond")
    async with agent(environment(api, "zof_wrong")) as client:
        assert "(401)" in text_of(await client.call_tool("find_runs", {}))


async def test_missing_extra_is_a_clear_error() -> None:
    code = "import sys; sys.modules['mcp'] = None; from service.cli import main; main()"
    command = (sys.executable, "-c", code, "mcp", "--url", "http://127.0.0.1:9", "--key", "zof_1")
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert err == b"Error: The MCP SDK isn't installed. Install the extra `mcp`: pip install 'zof-results[mcp]'\n"
