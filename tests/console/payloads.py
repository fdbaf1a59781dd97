"""Texts that would run a script if a page didn't escape them, and data with such a text in every field of a producer.

A script that runs sets the property `xss` of the window. The number 1337 in a page shows that a template was evaluated.
"""

from typing import Any, Final

_RUN: Final = "window.xss=1"

# Each text fits into an ID.
PAYLOADS: Final = {
    "script": f"<script>{_RUN}</script>",
    "double-quote": f'" autofocus onfocus={_RUN} onmouseover={_RUN} onload={_RUN} x="',
    "single-quote": f"' autofocus onfocus={_RUN} onmouseover={_RUN} onload={_RUN} x='",
    "space": f"x autofocus onfocus={_RUN} onmouseover={_RUN} onload={_RUN} style=position:fixed",
    "image": f'"><img src=x onerror={_RUN}>',
    "svg": f"'><svg onload={_RUN}><style><a title='</style><img src=x onerror={_RUN}>'>",
    "closing-tags": f"</title></style></textarea></pre></script></svg></select></a><script>{_RUN}</script>",
    "comment": f"--><script>{_RUN}</script><!--",
    "entities": f"&quot;&gt;&lt;img src=x onerror={_RUN}&gt;&#34;&#62;&#60;script&#62;{_RUN}&#60;/script&#62;",
    "javascript-url": f"javascript:{_RUN}//' onclick='{_RUN}",
    "data-url": "data:text/html,<script>top.xss=1</script>",
    "frame": '"><iframe srcdoc="<script>top.xss=1</script>"></iframe><base href="//other.example/">',
    "form": f'"></form><form action=javascript:{_RUN}><button autofocus formaction=javascript:{_RUN} onfocus={_RUN}>',
    "template": "{{ 7 * 191 }}{% set x = 1 %}${7*191}#{7*191}<%= 7*191 %>[[7*191]]",
    "script-string": f"\\u003c/script\\u003e</script>\\';{_RUN};//\\\";{_RUN};//`${{{_RUN}}}`]]>",
}
BENIGN: Final = "plain text that has about the same length as the others, without any special character"
BENIGN_URL: Final = "https://ci.example.com/builds/1"
EVALUATED: Final = "1337"

# One text that leaves most contexts.
POLYGLOT: Final = f"""x'"><script>{_RUN}</script></title></textarea></style><img src=x onerror={_RUN}>{{{{7*191}}}}"""

# URLs that no page can use as the target of a link.
URLS: Final = (
    f"javascript:{_RUN}",
    f" javascript:{_RUN}",
    f"JaVaScRiPt:{_RUN}//https://ci.example.com/",
    f"java\nscript:{_RUN}",
    "data:text/html,<script>top.xss=1</script>",
    "vbscript:msgbox(1)",
    f"//other.example/{_RUN}",
    f'https://ci.example.com/" onmouseover="{_RUN}',
    f"https://ci.example.com/'><script>{_RUN}</script>",
)


def long_text(payload: str) -> str:
    """Return lines with the payload, also between escape sequences of a terminal and between line separators."""
    return "\n".join((payload, f"\x1b[31m{payload}\x1b[0m", f"at {payload} (file.js:1:2)", f"\u2028{payload}\u2029"))


def run_fields(payload: str, url: str) -> dict[str, Any]:
    """Return the fields of a run that a producer can choose."""
    return {
        "project_id": payload,
        "environment": payload,
        "branch": payload,
        "base_branch": payload,
        "commit_sha": payload,
        "pull_request": payload,
        "ci_url": url,
        "pipeline": payload,
        "title": payload,
        "author": payload,
        "workflow": payload,
        "job_url": url,
        "repository_url": url,
        "labels": {payload[:100]: payload},
    }


def result_fields(payload: str, url: str, name: str) -> dict[str, Any]:
    """Return the fields of a result that a producer can choose. The name makes the case unique."""
    failure = {"type": payload, "message": long_text(payload), "details": long_text(payload)}
    return {
        "case_id": f"{name} {payload}"[:200],
        "suite": payload,
        "name": f"{name} {payload}",
        "file": payload,
        "line": 7,
        "variant": {payload[:64]: payload[:64]},
        "logs_ref": url,
        "properties": {payload[:100]: payload},
        "failure": failure,
        "artifacts": [{"kind": "screenshot", "name": f"{payload}.png", "content_type": "image/png", "uri": url}],
    }


def flaky_attempts(payload: str, url: str) -> list[dict[str, Any]]:
    """Return a failed and a passed attempt."""
    failure = {"type": payload, "message": payload, "details": long_text(payload)}
    return [{"status": "failed", "logs_ref": url, "failure": failure}, {"status": "passed", "logs_ref": url}]


def report(payload: str) -> bytes:
    """Return a JUnit report whose texts are the payload, with output of the case and of the suite."""
    text = "".join(f"&#{ord(character)};" for character in long_text(payload) if character != "\x1b")
    inline = "".join(f"&#{ord(character)};" for character in payload)
    return f"""\
<testsuite name="{inline}">
  <testcase classname="{inline}" name="{inline}" file="{inline}" time="1">
    <properties><property name="{inline}" value="{inline}"/></properties>
    <failure type="{inline}" message="{inline}">{text}</failure>
    <system-out>{text}</system-out>
    <system-err>{text}</system-err>
  </testcase>
  <system-out>{text}</system-out>
</testsuite>""".encode()
