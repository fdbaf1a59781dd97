"""The filter options of the export command become the filters of the request."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from service.cli import cli
from service.client import export as exports

SERVER = ["--url", "http://h", "--key", "zof_1"]


@pytest.mark.parametrize(
    ("options", "filters"),
    [
        (["--flaky"], {"flaky": True}),
        (["--no-flaky", "--status", "passed"], {"flaky": False, "status": ("passed",)}),
        (
            ["--commit", "C0FFEE1", "--label", "a:b", "--label", "c:d", "--min-duration-ms", "5"],
            {"commit_sha": "c0ffee1", "label": ("a:b", "c:d"), "min_duration_ms": 5},
        ),
        ([], {}),
    ],
)
def test_options_are_the_filters_of_the_request(
    options: list[str], filters: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    requests: list[Any] = []
    monkeypatch.setattr(exports, "export", lambda _, __, request, ___: requests.append(request))
    result = CliRunner().invoke(cli, ["export", *SERVER, "-o", str(tmp_path / "a.csv"), *options])
    assert result.exit_code == 0, result.output
    assert [request["filter"] for request in requests] == [filters]
