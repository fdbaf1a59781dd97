"""The pages of the console. A new page needs a row here, and is then tested in every setting."""

from collections.abc import Callable
from typing import Final, NamedTuple

from tests.console.browser.demo_site import DemoSite


class PageCase(NamedTuple):
    """A page, and the path of an example with data."""

    name: str
    path: Callable[[DemoSite], str]

    def __str__(self) -> str:
        return self.name


PAGES: Final = (
    PageCase("runs", lambda site: "/console/runs"),
)  # fmt: skip
