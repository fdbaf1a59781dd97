"""The page of the matrix shows the outcomes that the nightly test expects."""

import os

from tests.runner.kinds import all_kinds, cells
from tests.runner.page import PAGE, render


def test_page_equals_the_kinds() -> None:
    if os.environ.get("UPDATE_SNAPSHOTS"):
        PAGE.write_text(render())
    assert PAGE.read_text() == render(), "run this test with UPDATE_SNAPSHOTS=1, and review the page"


def test_matrix_has_enough_kinds_with_a_failure_that_is_not_quarantined() -> None:
    names = [kind.name for kind in all_kinds()]
    assert len(names) == len(set(names))
    never_excused = {kind.name for kind, _, change in cells() if change.expected != "excused"}
    assert len(never_excused) >= 60
