"""Markdown contains no markup of the producer of a report, and is never longer than its limit."""

import pytest
from markdown_it import MarkdownIt

from service.client.links import ConsoleLinks
from service.client.markdown import code_span, render_changes
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


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_a_producer_is_one_code_span(text: str) -> None:
    result = changed(text, suite=text, failure_summary=text, variant={"os": text})
    changes = run_changes(result, baseline={"run_id": text, "branch": text, "commit_sha": text})
    changes.run["run_id"] = text
    rendered = render_changes(changes, "1 new failure", LINKS, 10_000)
    tokens = MarkdownIt("gfm-like").parse(rendered)
    kinds = {token.type for block in tokens for token in [block, *(block.children or ())]}
    links = [child for block in tokens for child in block.children or () if child.type == "link_open"]
    assert kinds <= {
        "heading_open", "heading_close", "inline", "paragraph_open", "paragraph_close", "bullet_list_open", "text",
        "bullet_list_close", "list_item_open", "list_item_close", "code_inline", "link_open", "link_close", "softbreak",
        "html_inline", "strong_open", "strong_close",
    }  # fmt: skip
    assert [link.attrs["href"] for link in links] == [LINKS.run(text), LINKS.result(f"res_{text}")]
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
    rendered = render_changes(changes, "50 new failures", LINKS, 5_000)
    assert len(rendered) <= 5_000
    assert "[The run](https://r.example/console/runs/ci-43) has further failures that aren't shown here." in rendered
    assert "test_0" in rendered


def test_long_link_counts_towards_the_limit() -> None:
    changes = run_changes(*(changed(f"test_{number}" + "x" * 200) for number in range(50)))
    changes.run["run_id"] = "€" * 200
    rendered = render_changes(changes, "50 new failures", LINKS, 8_000)
    assert len(rendered) <= 8_000
    assert rendered.endswith("has further failures that aren't shown here.\n")


def test_all_failures_are_shown_below_the_limit() -> None:
    changes = run_changes(changed("a"), changed("b", "known_failure"))
    changes.comparison["counts"]["known_failure"] = 4
    rendered = render_changes(changes, "1 new failure", LINKS, 5_000)
    assert rendered == (
        "### 1 new failure\n\nRun [`ci-43`](https://r.example/console/runs/ci-43): 5 passed, 2 failed\n\n"
        "`compared with run run-812 on main at commit c0ffee0123`\n\n"
        "**New failures: 1**\n\n- [`shop > a`](https://r.example/console/results/res_a)\n"
        "  <br>`expected 200 got 503`\n  <br>`passed in its last 3 runs on main`\n\n"
        "**Known failures: 4**\n\n- [`shop > b`](https://r.example/console/results/res_b)\n"
        "  <br>`expected 200 got 503`\n  <br>`passed in its last 3 runs on main`\n"
        "- and 3 more\n"
    )


def test_result_without_a_name_has_a_link() -> None:
    rendered = render_changes(run_changes(changed("", suite="")), "1 new failure", LINKS, 5_000)
    assert "- [unnamed](https://r.example/console/results/res_)\n" in rendered
