"""Links to the pages of the console and to objects of the API that a command prints."""

from typing import NamedTuple
from urllib.parse import quote


class ConsoleLinks(NamedTuple):
    """The links of a server. IDs of a producer can contain any printable character, so they are escaped."""

    url: str  # of the server

    def run(self, run_id: str) -> str:
        """Return the URL of the page of a run."""
        return f"{self.url}/console/runs/{quote(run_id, safe='')}"

    def result(self, result_id: str) -> str:
        """Return the URL of the page of a result."""
        return f"{self.url}/console/results/{quote(result_id, safe='')}"

    def decision(self, decision_id: str) -> str:
        """Return the URL of a stored decision in the API. The page of its run shows it, too."""
        return f"{self.url}/v1/decisions/{quote(decision_id, safe='')}"
