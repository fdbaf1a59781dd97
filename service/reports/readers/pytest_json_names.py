"""The names of tests in pytest-json-report, which are those of the JUnit XML of pytest."""

import re
from typing import Final, cast

from service.contracts.run_events import ResultIn
from service.reports.paths import Checkout, portable_path
from service.reports.suites import SUITE_LEVEL_NAME, suite_label

_ROOT_SUITE: Final = "pytest"
_SUFFIX: Final = re.compile(r"\.py$")


class NamesOfTests:
    """Returns results with the names of tests. Most tests follow one of the same class, whose names are kept."""

    def __init__(self, checkout: Checkout) -> None:
        self._checkout = checkout
        self._owner: str | None = None
        self._suite = self._file = ""

    def result_of(self, node_id: str | None) -> ResultIn:
        """Return a result with suite, name, and file.

        `tests/test_cart.py::TestCart::test_adds[a::b]` is `test_adds[a::b]` in `pytest > tests.test_cart.TestCart`.
        """
        if node_id is None:  # ingest rejects the result with its index
            return {"suite": _ROOT_SUITE, "name": cast("str", None), "status": "error"}
        address, bracket, parameters = node_id.partition("[")
        owner, separator, name = address.rpartition("::")
        if not separator:  # a file or a folder
            owner, name = name, _module_of(name)
        if owner != self._owner:
            path, *classes = owner.split("::")
            parents = [_module_of(path), *classes] if separator else ()
            self._suite = suite_label((_ROOT_SUITE,), ".".join(parents))
            self._file = self._checkout.file_of(path)
            self._owner = owner if separator else None
        name = f"{name}{bracket}{parameters}" if bracket else name
        result: ResultIn = {"suite": self._suite, "name": name or SUITE_LEVEL_NAME, "status": "passed"}
        if self._file:
            result["file"] = self._file
        return result


def _module_of(path: str) -> str:
    return _SUFFIX.sub("", portable_path(path).replace("/", "."))
