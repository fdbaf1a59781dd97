"""The rankings of the cases of a project, and the filters of cases."""

from typing import Final, Literal

from service.domain.filter_types import TextType, TimeType, WordsType
from service.domain.filters import VARIANT_TYPE, FilterParameter

Ranking = Literal["failures", "flaky", "duration"]

# Cases that are compared with the filters, in the order of their rank.
MAX_FILTERED_CASES: Final = 2_000

CASE_FILTERS: Final = (
    FilterParameter("branch", TextType(400), "Branch of the runs in which cases are looked up", ()),
    FilterParameter("from", TimeType(), "Earliest completion time of these runs (inclusive)", ()),
    FilterParameter("to", TimeType(), "Latest completion time of these runs (exclusive)", (), at_least="from"),
    FilterParameter("q", WordsType(), "Up to 5 words, each of which the suite or name contains in any case", ()),
    FilterParameter("variant", VARIANT_TYPE, "Pair of the variant; if repeated, all of them", (), repeatable=True),
)
