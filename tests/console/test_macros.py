"""Tests that the macros of the templates render text of producers as text, and only web addresses as links."""

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from service.comparison.model import CHANGES
from service.console.charts import duration_chart, history_strip, rate_chart
from service.console.labels import CASE_LABELS, CHANGE_LABELS, DECISION_LABELS, RESULT_LABELS
from service.console.rendering import add_functions
from service.domain.statuses import RESULT_STATUSES, STATE_VALUES, Counts
from service.results.pages import strip_item
from tests.console.rows import result_row

TEMPLATES = Path(__file__).parents[2] / "service/console/templates"
ATTACKS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "javascript:alert(1)",
    "</title></style></textarea><svg onload=alert(1)>",
    "{{ 7 * 7 }}",
)
VALUES = "macros/values.html"
LAYOUT = "macros/layout.html"
FORMS = "macros/forms.html"
CHARTS = "macros/charts.html"

# One use of every macro that renders a text.
USES = {
    "variant_text": (VALUES, "{{ m.variant_text({text: text}, text) }}"),
    "icon": (VALUES, "{{ m.icon('check', text) }}"),
    "badge": (VALUES, "{{ m.badge(text) }}"),
    "run_badge": (VALUES, "{{ m.run_badge({'status': text, 'complete': true}) }}"),
    "time": (VALUES, "{{ m.time(text) }}"),
    "truncated": (VALUES, "{{ m.truncated(text) }}"),
    "heading": (VALUES, "{{ m.heading(text) }}"),
    "external_link": (VALUES, "{{ m.external_link(text) }}"),
    "external_link_text": (VALUES, "{{ m.external_link('https://example.com/', text) }}"),
    "branch": (VALUES, "{{ m.branch(text) }}"),
    "commit": (VALUES, "{{ m.commit(text) }}"),
    "pull_request": (VALUES, "{{ m.pull_request(text) }}"),
    "environment": (VALUES, "{{ m.environment(text) }}"),
    "tags": (VALUES, "{{ m.tags({text: text}) }}"),
    "notice": (LAYOUT, "{% call m.notice('failed') %}{{ text }}{% endcall %}"),
    "empty": (LAYOUT, "{% call m.empty(text) %}{{ text }}{% endcall %}"),
    "command": (LAYOUT, "{{ m.command(text) }}"),
    "facts": (LAYOUT, "{% call m.facts() %}{% call m.fact(text) %}{{ text }}{% endcall %}{% endcall %}"),
    "figures": (LAYOUT, "{{ m.figures([(text, text)]) }}"),
    "code": (LAYOUT, "{{ m.code(text, failure=true, tall=true, label=text) }}"),
    "tabs": (LAYOUT, "{{ m.tabs([{'href': '#a', 'text': text, 'count': 1}], '#a', text) }}"),
    "page_links": (LAYOUT, "{{ m.page_links('?a', '?b', text, text) }}"),
    "crumbs": (LAYOUT, "{{ m.crumbs([('/console/runs', text)]) }}"),
    "panel": (LAYOUT, "{% call m.panel(text, 1, id='a') %}{{ text }}{% endcall %}"),
    "token_field": (FORMS, "{{ m.token_field(text) }}"),
    "text_field": (FORMS, "{{ m.text_field('a', text, text, problem=text, placeholder=text) }}"),
    "text_area": (FORMS, "{{ m.text_area('a', text, text, hint=text) }}"),
    "select_field": (FORMS, "{{ m.select_field('a', text, [(text, text)], text, text) }}"),
    "label_choices": (FORMS, "{{ m.label_choices('a', text, [text], [text]) }}"),
    "filters_in_use": (
        FORMS,
        "{% call(rest) m.filters_in_use([{'name': text, 'value': text, 'rest': text}], text) %}{{ rest }}{% endcall %}",
    ),
    "confirm_form": (FORMS, "{{ m.confirm_form('/console/x', text, text, text, fields={text: text}) }}"),
    "history": (CHARTS, "{{ m.history(history_strip([strip_item(result_row('failed', text), text)])) }}"),
    "rates": (CHARTS, "{{ m.rates(rate_chart([1]), [{'label': text, 'text': text}], text) }}"),
    "durations": (
        CHARTS,
        "{{ m.durations(duration_chart([1], [2], {text: 1}),"
        " [{'label': text, 'text': text, 'status': none}], text, upper=text) }}",
    ),
}


class Page(HTMLParser):
    """The elements and the text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def attributes(self, name: str) -> list[str | None]:
        return [attributes[name] for _, attributes in self.elements if name in attributes]


@pytest.fixture(scope="module")
def environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    add_functions(environment)
    environment.globals.update(
        duration_chart=duration_chart, history_strip=history_strip, rate_chart=rate_chart, strip_item=strip_item
    )
    return environment


def render(environment: Environment, file: str, use: str, **context: Any) -> Page:
    source = f"{{% import '{file}' as m %}}{use}"
    return Page(environment.from_string(source).render(**context))


def elements_of(page: Page) -> list[tuple[str, list[str]]]:
    """Return the elements with the names of their attributes, without the places where a name can break."""
    return [(tag, list(attributes)) for tag, attributes in page.elements if tag != "wbr"]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("name", USES)
def test_text_stays_text(environment: Environment, name: str, attack: str) -> None:
    file, use = USES[name]
    harmless, page = (render(environment, file, use, text=text, result_row=result_row) for text in ("harmless", attack))
    assert elements_of(page) == elements_of(harmless)
    shown = page.text + "".join(value or "" for _, attributes in page.elements for value in attributes.values())
    assert attack[:8].lower() in shown.lower() or name == "time"


@pytest.mark.parametrize("url", ["javascript:alert(1)", "data:text/html,x", " javascript:alert(1)", "//example.com"])
def test_only_web_addresses_are_links(environment: Environment, url: str) -> None:
    page = render(environment, VALUES, "{{ m.external_link(url) }}", url=url)
    assert page.attributes("href") == []
    assert page.text == url


def test_link_to_another_site_reveals_no_page(environment: Environment) -> None:
    page = render(environment, VALUES, "{{ m.external_link(url, 'CI job') }}", url="https://ci.example.com/1?a=1&b=2")
    assert page.attributes("href") == ["https://ci.example.com/1?a=1&b=2"]
    assert page.attributes("rel") == ["noopener noreferrer nofollow"]
    assert page.text == "CI job"


@pytest.mark.parametrize(("kind", "values"), [("result", RESULT_STATUSES), ("change", CHANGES), ("case", STATE_VALUES)])
def test_every_value_has_a_label_with_its_own_icon(
    environment: Environment, kind: str, values: tuple[str, ...]
) -> None:
    pages = [render(environment, VALUES, "{{ m.badge(value, kind) }}", value=value, kind=kind) for value in values]
    assert all(page.text for page in pages)
    icons = {str(page.attributes("href")) for page in pages}
    assert len(icons) == len(values)


def test_icons_of_a_property_differ_and_exist() -> None:
    sprite = (TEMPLATES / "macros/sprite.html").read_text()
    for labels in (RESULT_LABELS, CHANGE_LABELS, DECISION_LABELS, CASE_LABELS):
        icons = [label.icon for label in labels.values()]
        assert len(set(icons)) == len(icons)
        assert all(f'id="i-{icon}"' in sprite for icon in icons)


def test_incomplete_run_is_not_shown_as_finished(environment: Environment) -> None:
    page = render(environment, VALUES, "{{ m.run_badge({'status': 'passed', 'complete': false}) }}")
    assert page.text == "Incomplete"


def test_counts_are_short_and_their_titles_are_exact(environment: Environment) -> None:
    counts = Counts(passed=1_234_567, failed=1)
    page = render(environment, CHARTS, "{{ m.counts(counts) }}", counts=counts)
    assert "1.2M passed" in page.text
    assert "1,234,567 passed" in page.attributes("title")
    assert page.attributes("aria-label") == ["1 failed, 1,234,567 passed"]


def test_counts_of_no_results_are_explained(environment: Environment) -> None:
    page = render(environment, CHARTS, "{{ m.counts(counts) }}", counts=Counts())
    assert page.text.strip() == "No results"


def test_times_are_machine_readable_and_have_an_exact_title(environment: Environment) -> None:
    page = render(environment, VALUES, "{{ m.time('2026-05-20T12:00:00.123Z') }}")
    assert page.elements == [("time", {"datetime": "2026-05-20T12:00:00.123Z", "title": "2026-05-20 12:00:00.123 UTC"})]
    assert page.text == "2026-05-20 12:00 UTC"


def test_forms_that_change_something_contain_the_token(environment: Environment) -> None:
    page = render(environment, FORMS, "{{ m.confirm_form('/console/x', 't0ken', 'End', 'End it?') }}")
    assert ("form", {"method": "post", "action": "/console/x", "class": "row"}) in page.elements
    assert ("input", {"type": "hidden", "name": "form_token", "value": "t0ken"}) in page.elements


def test_field_with_a_problem_refers_to_its_message(environment: Environment) -> None:
    page = render(environment, FORMS, "{{ m.text_field('reason', 'Reason', problem='is required') }}")
    (described,) = page.attributes("aria-describedby")
    assert described in page.attributes("id")
    assert page.attributes("aria-invalid") == ["true"]


def test_templates_have_no_inline_styles_and_scripts() -> None:
    for file in TEMPLATES.rglob("*.html"):
        for tag, attributes in Page(file.read_text()).elements:
            assert tag != "style", file
            assert tag != "script" or attributes.get("src"), file
            assert not [name for name in attributes if name == "style" or name.startswith("on")], file
