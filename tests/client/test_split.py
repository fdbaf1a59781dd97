"""`split` prints the part of a job from the plan of the server, or by name, and `report` and `run` state it."""

import asyncio
import gzip
import json
import threading
import time
from collections.abc import Iterator, Mapping
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import pytest
from click.testing import CliRunner

from service.client.__main__ import client
from service.client.ci import CiJob
from service.client.splits import describe_split
from service.splits.model import MAX_ITEMS, plan_parts, select_by_name
from tests.runner.executions import Checkout
from tests.runner.unreliable_servers import BEHAVIORS, serving

LIMIT_S: Final = 5
ITEMS: Final = [f"tests/test_{number}.py" for number in range(20)]
DURATIONS: Final = {item: 1000 + 137 * number for number, item in enumerate(ITEMS[:18])}
OPTIONS: Final = ("--run-id", "run_1", "--total", "4", "--index", "2")
GITLAB: Final = {
    "GITLAB_CI": "true", "CI_PIPELINE_ID": "7", "CI_JOB_NAME": "test 2/4", "CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "4",
    "CI_JOB_ID": "71", "CI_JOB_URL": "https://gitlab.example.org/jobs/71",
}  # fmt: skip
# A name that is never resolved.
UNRESOLVED: Final = "import socket, time\nsocket.getaddrinfo = lambda *_, **__: time.sleep(1000)\n"
DIFFERENCE: Final = "the request lacks 'a.py'; the plan lacks 'b.py'"
JUNIT: Final = b'<testsuite name="s" tests="1"><testcase classname="tests.test_1" name="test_a"/></testsuite>'
LABELS: Final = ("--label", "a:b", "--label", "c:d")
EMPTY: Final = b'<testsuite name="s" tests="0"/>'
RECEIPT: Final = {"id": "rcp_1", "status": "queued", "results": 0, "replaced": 0, "problems": []}


class StubServer(ThreadingHTTPServer):
    """A server that plans splits, and accepts reports without storing them."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.requests: list[tuple[str, Any]] = []
        self.refusal: tuple[int, Mapping[str, Any]] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def assignments(self) -> list[Any]:
        """The assignments of the newest report."""
        files = self.requests[-1][1]
        return [json.loads(gzip.decompress(content)) for field, content in files if field == "split"]

    def plan(self, path: str, request: Mapping[str, Any]) -> tuple[int, Mapping[str, Any]]:
        if self.refusal:
            return self.refusal
        plan = plan_parts(request["items"], DURATIONS, request["total"])
        parts = [
            {"index": number + 1, "items": items, "predicted_ms": plan.predicted_ms and plan.predicted_ms[number]}
            for number, items in enumerate(plan.parts)
        ]
        return 201, {"key": path.rpartition("/")[2], "parts": parts, "unknown_items": plan.unknown_items}


class _Handler(BaseHTTPRequestHandler):
    server: StubServer

    def do_PUT(self) -> None:
        request = json.loads(self._body())
        self.server.requests.append((self.path, request))
        self._answer(*self.server.plan(self.path, request))

    def do_POST(self) -> None:
        head = f"Content-Type: {self.headers['Content-Type']}\r\n\r\n".encode()
        parts: Any = message_from_bytes(head + self._body()).get_payload()
        files = [
            (part.get_param("name", header="Content-Disposition"), part.get_payload(decode=True)) for part in parts
        ]
        self.server.requests.append((self.path, files))
        self._answer(202, RECEIPT)

    def _body(self) -> bytes:
        if "Content-Length" in self.headers:
            return self.rfile.read(int(self.headers["Content-Length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        return body

    def _answer(self, status: int, document: Mapping[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def server() -> Iterator[StubServer]:
    with StubServer() as started:
        threading.Thread(target=started.serve_forever, daemon=True).start()
        yield started
        started.shutdown()


@pytest.fixture
def checkout(server: StubServer, tmp_path: Path) -> Checkout:
    variables = {"RESULTS_URL": server.url, "RESULTS_API_KEY": "zof_key", "RESULTS_PROJECT": "shop"}
    folder = tmp_path / "checkout"
    (folder / ".git").mkdir(parents=True)
    return Checkout(folder, variables)


def lines(*items: str) -> bytes:
    return "".join(f"{item}\n" for item in items).encode()


def assignment_files(checkout: Checkout) -> list[Any]:
    files = sorted((checkout.folder / ".zof-results" / "splits").glob("*.json"))
    return [json.loads(path.read_bytes()) for path in files]


async def test_parts_of_the_plan_contain_each_item_once(checkout: Checkout, server: StubServer) -> None:
    printed = []
    for number in range(1, 5):
        ended = await checkout.invoke("split", *OPTIONS[:-1], str(number), stdin=lines(*ITEMS))
        assert ended.code == 0, ended.stderr
        printed += ended.stdout.decode().splitlines()
    assert sorted(printed) == sorted(ITEMS)
    path, request = server.requests[0]
    assert path == "/v1/splits/tests"
    assert request == {
        "project_id": "shop", "pipeline": None, "run_id": "run_1", "unit": "file", "total": 4, "variant": {},
        "path_prefix": "", "items": ITEMS,
    }  # fmt: skip
    assert "part 4 of 4 has 5 of 20 items" in ended.stderr
    assert "predicted: 10.8 s, slowest part: 10.9 s, items without a duration: 2" in ended.stderr


async def test_file_states_the_assignment(checkout: Checkout) -> None:
    ended = await checkout.execute("split", *OPTIONS, "--key", "unit", stdin=lines(*ITEMS))
    (document,) = assignment_files(checkout)
    assert document["format"] == 1
    assert document["job"] == {"part": None, "job_url": None, "attempt": None}
    assert document["assignment"] == {
        "format": 1, "key": "unit", "project_id": "shop", "pipeline": None, "run_id": "run_1", "unit": "file",
        "total": 4, "index": 2, "variant": {}, "path_prefix": "", "items": ended.stdout.decode().splitlines(),
        "all_items": None, "expects_results": False,
    }  # fmt: skip
    assert (checkout.folder / ".zof-results" / "splits" / ".gitignore").read_text() == "*\n"


async def test_working_directory_below_the_root_is_the_prefix(checkout: Checkout, server: StubServer) -> None:
    checkout.write("services/web/a.py", "")
    below = Checkout(checkout.folder / "services" / "web", checkout.variables)
    await below.invoke("split", *OPTIONS, stdin=lines("a.py"))
    await below.invoke("split", *OPTIONS, "--key", "cases", "--unit", "case", stdin=lines("suite > a"))
    assert [request["path_prefix"] for _, request in server.requests] == ["services/web", ""]
    assert len(assignment_files(checkout)) == 2


async def test_ci_system_states_pipeline_part_and_key(checkout: Checkout, server: StubServer) -> None:
    checkout.variables |= GITLAB
    ended = await checkout.invoke("split", "--variant", "os:linux", stdin=lines(*ITEMS))
    assert ended.code == 0
    path, request = server.requests[0]
    assert path == "/v1/splits/test%20os%3Alinux"
    assert (request["pipeline"], request["run_id"], request["total"]) == ("gitlab-7", None, 4)
    assert request["variant"] == {"os": "linux"}
    assert "part 2 of 4" in ended.stderr
    (document,) = assignment_files(checkout)
    assert document["job"] == {"part": "test", "job_url": GITLAB["CI_JOB_URL"], "attempt": "71"}


@pytest.mark.parametrize(
    ("part", "key"),
    [
        ("test", "test"), ("test 2/8", "test"), ("test (2/8)", "test"), ("test: [2/8]", "test"), ("a 2 of 8", "a"),
        ("test 3/8", "test 3/8"), ("test-3.2", "test-3.2"), ("test 2", "test 2"), ("2/8", "tests"), (None, "tests"),
    ],
)  # fmt: skip
def test_default_key_lacks_the_number_of_the_parallel_job(part: str | None, key: str) -> None:
    job = CiJob(pipeline="gitlab-7", part=part, shard="2", shards="8")
    unstated: dict[str, Any] = dict.fromkeys(("split_key", "total", "index", "run_id"))
    stated = describe_split(job, project_id="shop", unit="file", variant=(), expects_results=False, **unstated)
    assert stated["key"] == key


@pytest.mark.parametrize("name", [*sorted(set(BEHAVIORS) - {"400"}), "refused", "unresolved", "no key", "unknown"])
async def test_items_are_split_by_name_without_the_server(name: str, checkout: Checkout) -> None:
    urls = {"refused": "http://127.0.0.1:9", "unresolved": "http://host.example", "unknown": "http://host.invalid"}
    async with serving(BEHAVIORS.get(name, BEHAVIORS["500"])) as url:
        checkout.variables["RESULTS_URL"] = urls.get(name, url)
        if name == "unresolved":
            checkout.write("sitecustomize.py", UNRESOLVED)
            checkout.variables["PYTHONPATH"] = f"{checkout.folder}:{Path.cwd()}"
        if name == "no key":
            checkout.variables["RESULTS_API_KEY"] = ""
        start_s = time.monotonic()
        ended = await checkout.execute("split", *OPTIONS, stdin=lines(*ITEMS))
        duration_s = time.monotonic() - start_s
    assert ended.code == 0, ended.stderr
    assert duration_s < 3 * LIMIT_S, name  # this machine executes other tests
    assert ended.stdout.decode().splitlines() == select_by_name(ITEMS, 4, 2)
    assert "split by name, because " in ended.stderr
    (document,) = assignment_files(checkout)
    assert document["assignment"]["all_items"] == sorted(ITEMS)
    assert document["assignment"]["items"] == select_by_name(ITEMS, 4, 2)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500])
async def test_server_that_refuses_the_job_splits_nothing(status: int, checkout: Checkout, server: StubServer) -> None:
    server.refusal = status, {"error": {"code": "unauthorized", "message": "the reason", "param": None}}
    ended = await checkout.invoke("split", *OPTIONS, stdin=lines(*ITEMS))
    assert ended.code == 0
    assert ended.stdout.decode().splitlines() == select_by_name(ITEMS, 4, 2)
    assert "split by name, because the reason" in ended.stderr


@pytest.mark.parametrize(("status", "code"), [(409, 3), (400, 1), (413, 1), (422, 1)])
async def test_rejected_items_are_an_error(status: int, code: int, checkout: Checkout, server: StubServer) -> None:
    server.refusal = status, {"error": {"code": "conflict", "message": DIFFERENCE, "param": None}}
    ended = await checkout.execute("split", *OPTIONS, stdin=lines("a.py"))
    assert (ended.code, ended.stdout) == (code, b"")
    assert f"Error: {DIFFERENCE} ({status})" in ended.stderr
    assert assignment_files(checkout) == []


async def test_same_job_gets_the_same_items_without_a_request(checkout: Checkout, server: StubServer) -> None:
    checkout.variables |= GITLAB
    first = await checkout.invoke("split", stdin=lines(*ITEMS))
    again = await checkout.invoke("split", stdin=lines(*reversed(ITEMS)))
    assert again.stdout == first.stdout
    assert len(server.requests) == 1
    for options in (("--index", "1"), ("--total", "3"), ("--unit", "case"), ("--variant", "os:linux"), ()):
        items = ITEMS[1:] if not options else ITEMS
        await checkout.invoke("split", *options, stdin=lines(*items))
    checkout.variables["CI_JOB_ID"] = "72"
    await checkout.invoke("split", stdin=lines(*ITEMS[1:]))
    assert len(server.requests) == 7
    assert len(assignment_files(checkout)) == 2  # a variant has a key of its own


async def test_workers_of_one_job_agree_in_an_outage(checkout: Checkout) -> None:
    async with serving(BEHAVIORS["hang"]) as url:
        checkout.variables["RESULTS_URL"] = url
        first = asyncio.create_task(checkout.execute("split", *OPTIONS, stdin=lines(*ITEMS)))
        await asyncio.sleep(2)
        checkout.variables["RESULTS_URL"] = "http://127.0.0.1:9"
        second = await checkout.execute("split", *OPTIONS, stdin=lines(*ITEMS))
    assert "because" not in second.stderr  # it has waited for the first one
    assert second.stdout == (await first).stdout


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        (b"a\n\xff\n", "stdin, line 2: must be UTF-8"),
        (b"a\n\n\nb\0\n", "stdin, line 4: must be one of at most 50,000 items of 1 to 1,000 characters"),
        (b"a\n./\n", "stdin, line 2: must be one of at most 50,000 items of 1 to 1,000 characters, but is './'"),
        (b"a\n" + b"x" * 1_001, "stdin, line 2: must be one of at most 50,000 items of 1 to 1,000 characters"),
        (lines(*map(str, range(MAX_ITEMS + 1))), f"stdin, line {MAX_ITEMS + 1}: must be one of at most 50,000"),
        (b"\n \n", "stdin: must contain at least one item, and at most 4,194,304 bytes"),
        (lines(*(f"{number}-{'x' * 900}" for number in range(5_000))), "stdin: must contain at least one item, and"),
    ],
)  # fmt: skip
def test_invalid_items_are_usage_errors(
    stdin: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    variables = {"RESULTS_PROJECT": "shop", "RESULTS_URL": "", "RESULTS_API_KEY": ""}
    result = CliRunner().invoke(client, ["split", *OPTIONS], input=stdin, env=variables)
    assert result.exit_code == 2, result.output
    assert message in result.output


def test_items_are_printed_as_they_were_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    stdin = " a.py\r\n\nb\u2028.py\ncafe\u0301.py\n./c.py\n a.py\n\x1b[0m.py\n".encode()
    options = ["split", "--project", "shop", "--run-id", "run_1", "--total", "1", "--index", "1"]
    result = CliRunner().invoke(client, options, input=stdin, env={"RESULTS_API_KEY": ""})
    assert result.exit_code == 0, result.output
    assert sorted(result.stdout_bytes.decode().split("\n")) == sorted(
        ["", " a.py", "b\u2028.py", "cafe\u0301.py", "./c.py", "\x1b[0m.py"]
    )
    assert "warning: repeated items are removed: 1, the first one in line 6" in result.stderr


@pytest.mark.parametrize(
    ("variables", "options", "message"),
    [
        ({}, (), "--run-id: must be set outside of a known CI system"),
        ({}, ("--run-id", "r"), "--index, --total: must be such as 2 and 8, but are unset and unset"),
        ({}, ("--run-id", "r", "--total", "2", "--index", "3"), "must be such as 2 and 8, but are 3 and 2"),
        (
            {"GITHUB_ACTIONS": "true", "GITHUB_RUN_ID": "1"}, (),
            "--index ${{ matrix.index }} --total ${{ strategy.job-total }}",
        ),
        ({"RESULTS_PROJECT": ""}, (), "--project: must be set"),
    ],
)  # fmt: skip
def test_missing_options_are_usage_errors(
    variables: dict[str, str], options: tuple[str, ...], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    stated = {"RESULTS_PROJECT": "shop", "RESULTS_URL": "", "RESULTS_API_KEY": "", **variables}
    result = CliRunner().invoke(client, ["split", *options], input=b"a\n", env=stated)
    assert result.exit_code == 2, result.output
    assert message in result.output


async def test_job_without_parallel_jobs_has_the_only_part(checkout: Checkout) -> None:
    checkout.variables |= {"CIRCLECI": "true", "CIRCLE_PIPELINE_ID": "p", "CIRCLE_NODE_TOTAL": "1"}
    ended = await checkout.invoke("split", stdin=lines(*ITEMS))
    assert ended.stdout.decode().splitlines() == sorted(ITEMS)


async def report(checkout: Checkout, *options: str, content: bytes = JUNIT) -> Any:
    checkout.write("junit.xml", content)
    return await checkout.invoke("report", "junit.xml", *options)


async def test_report_states_the_assignments_of_its_job(checkout: Checkout, server: StubServer) -> None:
    checkout.variables |= GITLAB
    await checkout.execute("split", stdin=lines(*ITEMS))
    await checkout.execute("split", "--key", "other", stdin=lines("a.py"))
    ended = await report(checkout, "--pipeline")
    assert ended.code == 0, ended.stderr
    documents = {document["assignment"]["key"]: document["assignment"] for document in assignment_files(checkout)}
    assert server.assignments == [{**documents["test"], "expects_results": True}, documents["other"]]


@pytest.mark.parametrize(
    "changed",
    [
        {"CI_JOB_ID": "72"},
        {"CI_JOB_URL": "https://gitlab.example.org/jobs/72"},
        {"CI_JOB_NAME": "other"},
        {"CI_PIPELINE_ID": "8"},
        {"RESULTS_PROJECT": "web"},
    ],
    ids=lambda changed: next(iter(changed)),
)
async def test_assignment_of_another_job_is_not_sent(
    changed: dict[str, str], checkout: Checkout, server: StubServer
) -> None:
    checkout.variables |= GITLAB
    await checkout.invoke("split", stdin=lines(*ITEMS))
    checkout.variables |= changed
    assert (await report(checkout, "--pipeline")).code == 0
    assert server.assignments == []


async def test_assignment_of_another_run_is_not_sent(checkout: Checkout, server: StubServer) -> None:
    await checkout.invoke("split", *OPTIONS, stdin=lines(*ITEMS))
    assert (await report(checkout, "--run-id", "run_2")).code == 0
    assert server.assignments == []
    assert (await report(checkout, "--run-id", "run_1")).code == 0
    assert len(server.assignments) == 1


async def test_later_job_replaces_the_file(checkout: Checkout, server: StubServer) -> None:
    checkout.variables |= GITLAB
    await checkout.invoke("split", stdin=lines(*ITEMS))
    checkout.variables |= {"CI_JOB_NAME": "test 3/4", "CI_NODE_INDEX": "3", "CI_JOB_ID": "72"}
    await checkout.invoke("split", stdin=lines(*ITEMS))
    assert (await report(checkout, "--pipeline")).code == 0
    assert [assignment["index"] for assignment in server.assignments] == [3]


async def test_files_of_one_key_are_one_assignment(checkout: Checkout, server: StubServer) -> None:
    files = []
    for number in ("1", "2"):
        await checkout.invoke("split", "--run-id", "r", "--total", "4", "--index", number, stdin=lines(*ITEMS))
        (document,) = assignment_files(checkout)
        files += ["--split", checkout.write(f"{number}.json", json.dumps(document))]
    assert (await report(checkout, "--run-id", "r", *files)).code == 0
    (stated,) = server.assignments
    assert (len(stated["items"]), stated["all_items"]) == (10, None)


async def test_unreadable_file_is_a_warning(checkout: Checkout, server: StubServer) -> None:
    checkout.write(".zof-results/splits/0.json", b'{"format": 2}')
    ended = await report(checkout, "--run-id", "run_1")
    assert ended.code == 0
    assert " isn't used: unknown format 2" in ended.stderr
    assert server.assignments == []


async def test_report_can_state_the_files_of_other_jobs(checkout: Checkout, server: StubServer) -> None:
    checkout.variables |= GITLAB
    await checkout.invoke("split", stdin=lines(*ITEMS))
    next((checkout.folder / ".zof-results" / "splits").glob("*.json")).rename(checkout.folder / "part.json")
    checkout.variables |= {"CI_JOB_ID": "80", "CI_JOB_NAME": "collect"}
    assert (await report(checkout, "--pipeline", "--split", "part.json")).code == 0
    assert [assignment["index"] for assignment in server.assignments] == [2]
    checkout.variables["CI_PIPELINE_ID"] = "8"
    ended = await checkout.execute("report", "junit.xml", "--pipeline", "--split", "part.json")
    assert ended.code == 1
    assert "--split: part.json contains no assignment of this project and of this pipeline or run" in ended.stderr


@pytest.mark.parametrize("items", [("a.py",), ITEMS])
async def test_job_without_items_can_have_no_results(
    items: tuple[str, ...], checkout: Checkout, server: StubServer
) -> None:
    await checkout.invoke("split", *OPTIONS, stdin=lines(*items))
    assert (await report(checkout, "--run-id", "run_1", *LABELS, content=EMPTY)).code == 0
    path = server.requests[-1][0]
    assert ("allow_empty=true" in path) is (len(items) == 1)
    assert "labels=a%3Ab&labels=c%3Ad" in path


async def test_help_is_at_most_80_columns_wide(checkout: Checkout) -> None:
    ended = await checkout.execute("split", "--help")
    assert max(map(len, ended.stdout.decode().splitlines())) <= 80
