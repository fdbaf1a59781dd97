"""The filters and functions that every template can use, in addition to `url` and `static`."""

from datetime import UTC, datetime

from jinja2 import Environment

from service.console import charts, formats
from service.console.active_filters import active_filters
from service.console.artifacts import trace_command
from service.console.comparisons import describe_baseline
from service.console.labels import CHANGE_TITLES, draw_icon, field_label, find_label
from service.console.trends import rate_trend
from service.domain.code_links import code_links
from service.domain.failures import strip_escapes
from service.domain.gates import describe_rule
from service.domain.keys import actor_kind, creator_of, roles_with
from service.domain.texts import format_rate


def add_functions(environment: Environment) -> None:
    """Add the filters and functions."""
    environment.filters.update(
        actor_kind=actor_kind,
        breakable=formats.breakable,
        count=formats.format_count,
        creator_of=creator_of,
        duration=formats.format_duration,
        exact_duration=formats.format_exact_duration,
        exact_time=formats.format_exact_time,
        first_line=formats.first_line,
        plain=strip_escapes,
        rate=format_rate,
        rfc3339=formats.format_rfc3339,
        relative_time=lambda time: formats.format_relative_time(time, datetime.now(UTC)),
        safe_url=formats.safe_url,
        short_count=formats.format_short_count,
        size=formats.format_size,
        utc=formats.format_time,
    )
    environment.globals.update(
        active_filters=active_filters,
        code_links=lambda run: code_links(run.repository_url, pipeline=run.pipeline),
        change_titles=CHANGE_TITLES,
        count_segments=charts.count_segments,
        describe_baseline=describe_baseline,
        describe_counts=charts.describe_counts,
        describe_rule=describe_rule,
        draw_icon=draw_icon,
        duration_chart=charts.duration_chart,
        field_label=field_label,
        find_label=find_label,
        history_strip=charts.history_strip,
        plural=formats.format_plural,
        rate_chart=charts.rate_chart,
        rate_trend=rate_trend,
        roles_with=roles_with,
        trace_command=trace_command,
    )
