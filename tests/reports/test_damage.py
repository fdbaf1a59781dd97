"""Damaged reports are parsed or rejected; the parsers raise no other exceptions."""

from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from service.reports.conversion.errors import ReportError
from tests.reports.conversions import convert_all
from tests.reports.manifests import OWN, all_listed
from tests.reports.mutants import TOKENS

REPORTS = [listed.path for listed in all_listed(OWN)]
FRAGMENTS = st.sampled_from(TOKENS) | st.binary(max_size=8)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A report with inserted, repeated, or removed fragments."""
    report = draw(st.sampled_from(REPORTS)).read_bytes()
    for _ in range(draw(st.integers(1, 4))):
        start, end = sorted(draw(st.integers(0, len(report))) for _ in range(2))
        report = draw(
            st.sampled_from(
                [
                    report[:start] + draw(FRAGMENTS) + report[start:],
                    report[:start] + report[end:],
                    report[:end] + report[start:],
                    report[:start],
                ]
            )
        )
    return report


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damaged(), st.sampled_from([None, "application/xml", "application/json"]))
def test_damaged_report_is_parsed_or_rejected(report: bytes, content_type: str | None) -> None:
    _parse_or_reject(report, content_type)


@pytest.mark.slow
@settings(max_examples=2_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damaged(), st.sampled_from([None, "application/xml", "application/json"]))
def test_many_damaged_reports_are_parsed_or_rejected(report: bytes, content_type: str | None) -> None:
    _parse_or_reject(report, content_type)


def _parse_or_reject(report: bytes, content_type: str | None) -> None:
    with TemporaryDirectory() as folder:
        source = Path(folder) / "report"
        source.write_bytes(report)
        with suppress(ReportError, ValidationError):  # ValidationError: native results that ingest rejects
            convert_all(source, Path(folder), content_type)
