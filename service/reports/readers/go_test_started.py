"""What `go test -json` reports about a test, package, or build before its end."""

from datetime import datetime

from service.domain.properties import PropertyCollector
from service.reports.bounded_text import BoundedText


class Started:
    """A test, package, or build that has started and not ended."""

    __slots__ = (
        "has_failures", "has_start", "is_measured", "is_truncated", "memory", "output", "properties", "started_at",
        "tests",
    )  # fmt: skip

    def __init__(self) -> None:
        self.started_at: datetime | None = None
        self.output: BoundedText | None = None
        self.memory = 0  # bytes of the output
        self.is_truncated = False  # the rest of the output is ignored
        self.properties: PropertyCollector | None = None
        self.is_measured = False  # of a benchmark: it has a measurement, but no end unless it fails or writes a log
        self.has_start = False  # of a package: the report states that it has started, also without a time
        self.tests: dict[str, Started] = {}  # of a package
        self.has_failures = False  # of a package or build

    @property
    def details(self) -> str:
        """The output as the details of a failure."""
        return self.output.details().strip("\n") if self.output else ""

    def add_output(self, output: str) -> int:
        """Add a line of output, and return the change of the memory in bytes."""
        self.output = self.output or BoundedText()
        added = self.output.add(output)
        self.memory += added
        return added

    def add_property(self, name: str, value: str) -> bool:
        """Add a named value, and return False if it exceeds the limits."""
        self.properties = self.properties or PropertyCollector()
        return self.properties.add(name, value)
