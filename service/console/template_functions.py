"""The filters and functions that every template can use, in addition to `url` and `static`."""

from datetime import UTC, datetime

from jinja2 import Environment

from service.console import charts, formats
from service.console.active_filters import active_filters
from service.console.labels import find_label
from service.console.trends import rate_trend


def add_functions(environment: Environment) -> None:
    """Add the filters and functions."""
    environment.filters.update(
        count=formats.format_count,
        duration=formats.format_duration,
        exact_duration=formats.format_exact_duration,
        exact_time=formats.format_exact_time,
        rate=formats.format_rate,
        relative_time=lambda time: formats.format_relative_time(time, datetime.now(UTC)),
        safe_url=formats.safe_url,
        short_count=formats.format_short_count,
        utc=formats.format_time,
    )
    environment.globals.update(
        active_filters=active_filters,
        count_segments=charts.count_segments,
        describe_counts=charts.describe_counts,
        duration_chart=charts.duration_chart,
        find_label=find_label,
        history_strip=charts.history_strip,
        plural=formats.format_plural,
        rate_chart=charts.rate_chart,
        rate_trend=rate_trend,
    )
