"""Markdown contains no markup of the producer of a report, and is never longer than its limit."""

import pytest
from markdown_it import MarkdownIt

from service.client.changes import RunChanges
from service.client.checkout import RepositoryPaths
from service.client.http import ConsoleLinks
from service.client.markdown import Links, RunText, code_span, describe_problem, render_changes
from tests.client.changed_runs import changed, run_changes

LINKS = ConsoleLinks("https://r.example")
HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "@octocat please", "[click](https://evil.example)",
    "https://evil.example", "![x](https://evil.example/x.png)", "` <b>bold</b> `", "`", "``", "a`",
    "``` \n# heading\n```",
    "| a | b |", "**bold** _em_ ~~del~~", "- item\n- item", "&lt;b&gt; &#60;i&#62;", "#123", "octo/repo#1", "\\`x\\`",
    "<!-- zof-results -->", "</code></details>", "\x1b[31mred\x1b[0m", "a\u202eb", "  ", "www.evil.example", ":smile:",
    "foo@evil.example", "<https://evil.example>", "$`x`$", "line\r\n\r\n> quote", "[x]: https://evil.example",
]  # fmt: skip


def render(changes: RunChanges, title: str, max_length: int, missing: str | None = None) -> str:
    return render_changes(RunText(changes, title, missing), Links(LINKS, RepositoryPaths()), max_length)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_a_producer_is_one_code_span(text: str) -> None:
    result = changed(text, suite=text, file=text, failure_summary=text, variant={"os": text})
    since = changed(text, "known_failure", evidence=changed()["evidence"] | {"failed": 3, "failing_since_run_id": text})
    excused = changed("excused", "quarantined", quarantine_id="qua_1")
    quarantine = {"expires_at": "2026-12-09T00:00:00Z", "reason": text, "owner": text, "ticket_url": text}
    changes = run_changes(
        result, since, excused, baseline={"run_id": text, "branch": text, "commit_sha": text},
        quarantines={"qua_1": quarantine}, canceled=[text],
    )  # fmt: skip
    changes.run["run_id"] = text
    missing = {"missing_parts": [{"part": text, "variant": {text: text}, "shard": 2}]}
    rendered = render(changes, "1 new failure", 10_000, missing=changes.describe_missing_parts(missing, code_span))
    rendered += f"\n{describe_problem(f'lacks results: {text}')}\n"
    tokens = MarkdownIt("gfm-like").parse(rendered)
    kinds = {token.type for block in tokens for token in [block, *(block.children or ())]}
    links = [child for block in tokens for child in block.children or () if child.type == "link_open"]
    assert kinds <= {
        "heading_open", "heading_close", "inline", "paragraph_open", "paragraph_close", "bullet_list_open", "text",
        "bullet_list_close", "list_item_open", "list_item_close", "code_inline", "link_open", "link_close", "softbreak",
        "html_inline", "strong_open", "strong_close", "table_open", "table_close", "thead_open", "thead_close",
        "tr_open", "tr_close", "th_open", "th_close", "tbody_open", "tbody_close", "td_open", "td_close",
    }  # fmt: skip
    results = [LINKS.result(f"res_{name}") for name in (text, text, "excused")]
    assert [link.attrs["href"] for link in links] == [LINKS.run(text), *results]
    html = [child.content for block in tokens for child in block.children or () if child.type == "html_inline"]
    assert set(html) <= {"<br>"}


@pytest.mark.parametrize("text", [text for text in HOSTILE if text.strip() and text.isprintable()])
def test_code_span_shows_the_text(text: str) -> None:
    (block,) = MarkdownIt("gfm-like").parseInline(code_span(text))
    assert [(child.type, child.content) for child in block.children or ()] == [("code_inline", " ".join(text.split()))]


def test_long_text_is_shortened() -> None:
    assert len(code_span("x" * 10_000)) == 302


def test_failures_beyond_the_limit_are_counted() -> None:
    changes = run_changes(*(changed(f"test_{number}" + "x" * 200) for number in range(50)))
    rendered = render(changes, "50 new failures", 5_000)
    assert len(rendered) <= 5_000
    assert "[The run](https://r.example/console/runs/ci-43) has further failures that aren't shown here." in rendered
    assert "test_0" in rendered


def test_long_link_counts_towards_the_limit() -> None:
    changes = run_changes(*(changed(f"test_{number}" + "x" * 200) for number in range(50)))
    changes.run["run_id"] = "€" * 200
    rendered = render(changes, "50 new failures", 8_000)
    assert len(rendered) <= 8_000
    assert rendered.endswith("has further failures that aren't shown here.\n")


def test_all_failures_are_shown_below_the_limit() -> None:
    changes = run_changes(changed("a"), changed("b", "known_failure"))
    changes.comparison["counts"]["known_failure"] = 4
    rendered = render(changes, "1 new failure", 5_000)
    assert rendered == (
        "### 1 new failure\n\nRun [`ci-43`](https://r.example/console/runs/ci-43): 5 passed, 2 failed\n\n"
        "Compared with run `run-812` on `main` at commit `c0ffee0123`\n\n"
        "**New failures: 1**\n\n- [`shop > a`](https://r.example/console/results/res_a)\n"
        "  <br>`expected 200 got 503`\n  <br>Passed in all 3 runs on `main`\n\n"
        "**Known failures: 4**\n\n- [`shop > b`](https://r.example/console/results/res_b)\n"
        "  <br>`expected 200 got 503`\n  <br>Passed in all 3 runs on `main`\n"
        "- and 3 more\n"
    )


def test_result_without_a_name_has_a_link() -> None:
    rendered = render(run_changes(changed("", suite="")), "1 new failure", 5_000)
    assert "- [unnamed](https://r.example/console/results/res_)\n" in rendered


def test_what_is_missing_comes_first() -> None:
    rendered = render(run_changes(changed()), "1 new failure", 5_000, missing="1 of 2 jobs sent no results: `unit`")
    assert rendered.startswith("### 1 new failure\n\n**1 of 2 jobs sent no results: `unit`**\n\nRun [`ci-43`](")


def test_variants_of_a_test_are_one_item_whose_details_are_shown_once() -> None:
    variants = [changed(id=f"res_{os}", variant={"os": os}) for os in ("linux", "mac", "windows")]
    variants[2]["failure_summary"] = "timeout"
    rendered = render(run_changes(*variants, changed("ships")), "4 new failures", 5_000)
    assert rendered.partition("**New failures: 4**\n\n")[2] == (
        "- `shop > pays`\n"
        "  <br>[`os: linux`](https://r.example/console/results/res_linux),"
        " [`os: mac`](https://r.example/console/results/res_mac)\n"
        "  <br>`expected 200 got 503`\n  <br>Passed in all 3 runs on `main`\n"
        "  <br>[`os: windows`](https://r.example/console/results/res_windows)\n"
        "  <br>`timeout`\n  <br>Passed in all 3 runs on `main`\n"
        "- [`shop > ships`](https://r.example/console/results/res_ships)\n"
        "  <br>`expected 200 got 503`\n  <br>Passed in all 3 runs on `main`\n"
    )


def test_failing_results_are_counted_per_file_with_their_change() -> None:
    changes = run_changes(
        changed("a", file="a.py"), changed("b", file="a.py"), changed("c", "known_failure", file="a.py"),
        changed("d", "known_failure", file="b|`.py"), changed("e", "fixed", file="c.py", baseline_status="error"),
    )  # fmt: skip
    assert table(render(changes, "2 new failures", 5_000)) == [
        ["File", "Failing", "Change"], ["a.py", "3", "+2"], ["b|`.py", "1", "±0"], ["c.py", "0", "−1"],
    ]  # fmt: skip


def test_counts_have_no_change_without_a_baseline() -> None:
    changes = run_changes(changed(file="a.py", baseline_status=None), baseline=None)
    rendered = render(changes, "1 failure, not compared", 5_000)
    assert table(rendered)[1] == ["a.py", "1", "–"]
    assert "**Failures: 1**" in rendered
    assert "New failures" not in rendered


def test_incomplete_counts_are_stated_as_such() -> None:
    changes = run_changes(*(changed(f"{number}", file=f"{number:02}.py") for number in range(30)))
    changes.comparison["has_more"] = True
    rendered = render(changes, "600 new failures", 50_000)
    assert table(rendered)[20] == ["19.py", "1", "–"]
    assert "\nand 10 more files; of the first 30 failing and fixed results\n" in rendered


def test_result_has_its_file_and_line() -> None:
    changes = run_changes(changed(file="a.py"), details={"res_pays": {"line": 7}})
    assert "\n  <br>`a.py:7`\n" in render(changes, "1 new failure", 5_000)


def test_file_links_to_the_tested_commit() -> None:
    changes = run_changes(changed(file="a (1).py"), details={"res_pays": {"line": 7}})
    changes.run.update(repository_url="https://github.com/o/r", commit_sha="c0ffee01", pipeline="github-812")
    rendered = render(changes, "1 new failure", 5_000)
    assert "\n  <br>[`a (1).py:7`](https://github.com/o/r/blob/c0ffee01/a%20%281%29.py#L7)\n" in rendered
    assert "\n| [`a (1).py`](https://github.com/o/r/blob/c0ffee01/a%20%281%29.py) | 1 | +1 |\n" in rendered


@pytest.mark.parametrize("path", ["o/r)", "o/(r", "o/`r`", "o/r|r", "o/r\\", "o/<r>", "o/r*_~"])
def test_url_of_the_repository_stays_in_its_link(path: str) -> None:
    changes = run_changes(changed(file="a.py"))
    changes.run.update(repository_url=f"https://github.com/{path}", commit_sha="c0ffee01")
    tokens = MarkdownIt("gfm-like").parse(render(changes, "1 new failure", 5_000))
    links = [child.attrs["href"] for block in tokens for child in block.children or () if child.type == "link_open"]
    shown = "".join(child.content for block in tokens for child in block.children or ())
    assert len([link for link in links if str(link).startswith("https://github.com/")]) in (0, 2)
    assert "github.com" not in shown


def table(rendered: str) -> list[list[str]]:
    """Return the cells of the table."""
    tokens = MarkdownIt("gfm-like").parse(rendered)
    rows: list[list[str]] = []
    for index, token in enumerate(tokens):
        if token.type == "tr_open":
            rows.append([])
        elif token.type in ("th_open", "td_open"):
            rows[-1].append("".join(child.content for child in tokens[index + 1].children or ()))
    return rows
