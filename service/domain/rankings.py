"""The rankings of the cases of a project, and their filters."""

from typing import Final, Literal

from service.domain.filter_types import TextType, WordsType
from service.domain.filters import VARIANT_TYPE, FilterParameter

Ranking = Literal["failures", "flaky", "duration"]

# Cases that are compared with the filters, in the order of their rank.
MAX_FILTERED_CASES: Final = 2_000

RANKING_FILTERS: Final = (
    FilterParameter("branch", TextType(400), "Branch of the runs (requires sort)", (), requires="sort"),
    FilterParameter(
        "q", WordsType(), "Up to 5 words, each of which the suite or name contains in any case (requires sort)", (),
        requires="sort",
    ),
    FilterParameter(
        "variant", VARIANT_TYPE, "Pair of the variant; if repeated, all of them (requires sort)", (), repeatable=True,
        requires="sort",
    ),
)  # fmt: skip
