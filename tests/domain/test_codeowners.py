"""Owners of files according to CODEOWNERS: the documented rules of both hosts, real files, and the time it takes.

The quoted rules are those of "About code owners" of GitHub (docs.github.com) and of "Syntax of CODEOWNERS file" and
"Advanced CODEOWNERS configuration" of GitLab (docs.gitlab.com), as of December 2, 2026.
"""

import pickle
import re
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from service.domain.codeowners import MAX_OWNERS, FileOwners, OwnersHost, has_sections, parse_codeowners

DATA = Path(__file__).parents[1] / "data/codeowners"
SOURCE = re.compile(r"# Source: \S+ of https://(github|gitlab)\.com/\S+ at [0-9a-f]{40}, patterns only")


def owners_of(text: str, host: OwnersHost, **others: Any) -> FileOwners:
    sections = parse_codeowners(text, host).sections
    return FileOwners({"host": host, "sections": sections, "map": [], **others})


GITHUB = r"""
# This is a comment.
*       @global-owner1 @global-owner2
*.js    @js-owner #This is an inline comment.
*.go docs@example.com
*.txt @octo-org/octocats
/build/logs/ @doctocat
docs/*  docs@example.com
apps/ @octocat
/docs/ @doctocat
/scripts/ @doctocat @octocat
**/logs @octocat
/apps/ @octocat
/apps/github
/apps/github @doctocat #@ghost
/apps/free
spaced\ folder/a\ b.py @spaces
/UPPER/ @upper
"""


@pytest.mark.parametrize(
    ("file", "owners"),
    [
        ("a.py", ["@global-owner1", "@global-owner2"]),  # the default owners of everything in the repository
        ("deep/er/a.py", ["@global-owner1", "@global-owner2"]),
        (".hidden", ["@global-owner1", "@global-owner2"]),
        ("web/a.js", ["@js-owner"]),  # the last matching pattern takes the most precedence
        ("web/a.js/b.ts", ["@js-owner"]),  # as in gitignore, a pattern can match a folder
        ("a.go", ["docs@example.com"]),
        ("a.txt", ["@octo-org/octocats"]),
        ("build/logs/x/y.log", ["@doctocat", "@octocat"][1:]),  # **/logs is a later match
        ("docs/getting-started.md", ["@doctocat"]),
        ("web/docs/a.md", ["@global-owner1", "@global-owner2"]),  # `docs/*` is relative to the root
        ("web/apps/a.md", ["@octocat"]),  # any file in an apps directory anywhere
        ("scripts/logs/a/b", ["@octocat"]),
        ("scripts/a", ["@doctocat", "@octocat"]),
        ("deeply/nested/logs", ["@octocat"]),
        ("apps/a", ["@octocat"]),
        ("apps/github/a", ["@doctocat"]),
        ("apps/free/a/b", []),  # its owners are left empty
        ("spaced folder/a b.py", ["@spaces"]),
        ("UPPER/a", ["@upper"]),
        ("upper/a", ["@global-owner1", "@global-owner2"]),  # paths are case sensitive
    ],
)
def test_documented_rules_of_github(file: str, owners: list[str]) -> None:
    assert owners_of(GITHUB, "github").find(file) == owners


def test_pattern_with_an_asterisk_at_its_end_matches_no_nested_files_on_github() -> None:
    found = owners_of("docs/* @a\n/* @root", "github")
    files = ("docs/a.md", "docs/build-app/troubleshooting.md", "a.md")
    assert [found.find(file) for file in files] == [["@a"], [], ["@root"]]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("!docs/ @a", "!docs/"),  # using `!` to negate a pattern doesn't work
        ("[Dd]ocs/ @a", "[Dd]ocs/"),  # using `[ ]` to define a character range doesn't work
        (r"\#docs @a", r"\#docs"),  # escaping a pattern that starts with `#` doesn't work
        ("/ @a", "/"),
        ("docs/ Unmaintained", "docs/ Unmaintained"),  # a line with invalid syntax is skipped
        ("docs/ @a @", "docs/ @"),
    ],
)
def test_lines_that_github_skips_are_reported(line: str, reason: str) -> None:
    parsed = parse_codeowners(f"* @all\n{line}\n", "github")
    assert parsed.ignored == [f"line 2: GitHub skips it: {reason}"]
    assert parsed.sections == [[("*", ["@all"])]]


GITLAB = r"""
* @default-owner
*.rb @ruby-owner
\#file_with_pound.rb @pound
LICENSE @legal this_does_not_match janedoe@gitlab.com
README @group @group/with-nested/subgroup
/docs/ @all-docs
/docs/* @root-docs
/docs/**/*.md @markdown-docs  # Match specific file types in any subdirectory
/db/**/index.md @index-docs   # @also-parsed
lib/ @lib-owner
/config/ @@maintainer
internal/README.md @internal
/plain @plain
path\ with\ spaces/*.md @space-owner
!pom.xml
pom.xml @again
/named* # none

[Documentation][2] @docs-team
doc/
!doc/generated/
doc/generated/kept.md @kept

^[Database] @database-team @agarcia
model/db/
config/db/setup.md @docs-team
model/db/none.md # none

[DOCUMENTATION]
doc/last.md @last
[unparsable @x
"""


@pytest.mark.parametrize(
    ("file", "owners"),
    [
        ("a.py", ["@default-owner"]),
        ("x/.env", ["@default-owner"]),  # FNM_DOTMATCH
        ("x/a.rb", ["@ruby-owner"]),
        ("#file_with_pound.rb", ["@pound"]),
        ("LICENSE", ["@legal", "janedoe@gitlab.com"]),  # malformed owners are ignored
        ("x/README", ["@group", "@group/with-nested/subgroup"]),  # relative paths are globstar paths
        ("docs/a", ["@root-docs"]),
        ("docs/x/a", ["@all-docs"]),
        ("docs/a.md", ["@markdown-docs"]),  # `**` also matches no folder
        ("docs/x/y/a.md", ["@markdown-docs"]),
        ("db/x/index.md", ["@index-docs", "@also-parsed"]),  # code owners in a comment are parsed
        ("x/lib/y/a", ["@lib-owner"]),
        ("config/a", ["@@maintainer"]),
        ("x/internal/README.md", ["@internal"]),
        ("plain", ["@plain"]),
        ("plain/a", ["@default-owner"]),  # only a slash at the end matches the files of a folder
        ("x/path with spaces/a.md", ["@space-owner"]),
        ("x/pom.xml", []),  # after a pattern is excluded, it can't be included again in the same section
        ("named", []),
        ("doc/a", ["@default-owner", "@docs-team"]),  # each section has its own owners
        ("doc/generated/kept.md", ["@default-owner"]),  # an exclusion applies in its section
        ("doc/last.md", ["@default-owner", "@last"]),  # sections of one name in any case are combined
        ("config/db/setup.md", ["@@maintainer", "@docs-team"]),
        ("x/model/db/a", ["@default-owner", "@database-team", "@agarcia"]),  # default owners of an optional section
        ("model/db/none.md", ["@default-owner"]),
        ("[unparsable", ["@default-owner", "@x"]),  # parsed as an entry
    ],
)
def test_documented_rules_of_gitlab(file: str, owners: list[str]) -> None:
    assert owners_of(GITLAB, "gitlab").find(file) == owners


def test_rules_that_gitlab_ignores_are_reported() -> None:
    assert parse_codeowners(GITLAB, "gitlab").ignored == [
        "line 5: only 10 names of at most 100 characters are owners: @legal this_does_not_match janedoe@gitlab.com"
    ]


@pytest.mark.parametrize(
    ("pattern", "file", "matches"),
    [
        ("x[ab].md", "xb.md", True),
        ("x[!ab].md", "xc.md", True),
        ("x[^ab].md", "xb.md", False),
        ("x[a-c]/y", "xb/y", True),
        ("x[z-a]", "xz", False),
        ("a[/]b", "a/b", False),
        ("a?c", "abc", True),
        ("a?c", "a/c", False),
        ("/docs/**", "docs/a", True),
        ("/docs/**", "docs/x/a", False),
        ("a//b", "a/b", False),
        ("/", "x/a", True),
    ],
)
def test_wildcards_of_gitlab(pattern: str, file: str, matches: bool) -> None:
    assert bool(owners_of(f"{pattern} @x", "gitlab").find(file)) is matches


def test_limits_of_owners_are_reported() -> None:
    names = [f"@team-{number}" for number in range(11)]
    for host in ("github", "gitlab"):
        parsed = parse_codeowners(f"a {' '.join(names)}\nb @{'x' * 100} @c\n", host)
        assert parsed.sections == [[("a", names[:MAX_OWNERS]), ("b", ["@c"])]]
        assert [message[:6] for message in parsed.ignored] == ["line 1", "line 2"]


def test_owners_of_many_sections_are_limited_with_a_note() -> None:
    found = owners_of("".join(f"[S{number}]\n* @{number}\n" for number in range(12)), "gitlab")
    assert found.find("a") == [f"@{number}" for number in range(MAX_OWNERS)]
    assert found.find("b") == found.find("a")
    assert found.take_notes() == ["owners: a has 12 owners, of which 10 are stored"]
    assert found.take_notes() == []


@pytest.mark.parametrize(
    ("text", "expected"), [("* @a", False), ("[a] @b", True), ("x\n^[a]\n", True), ("[a", False), ("x [a]", False)]
)
def test_sections_are_recognized(text: str, expected: bool) -> None:
    assert has_sections(text) is expected


def test_map_applies_to_files_without_owners() -> None:
    rules = [["tests/*", ["@qa"]], ["tests/web/*", ["@web"]], ["*.md", ["@docs"]], ["tests/free/*", []]]
    found = owners_of("/src/ @src\n/tests/own.py @own\n/tests/none.md\n", "github", map=rules)
    files = ("src/a.py", "tests/own.py", "tests/a.py", "tests/web/a.py", "tests/none.md", "tests/free/a", "other.py")
    assert [found.find(file) for file in files] == [["@src"], ["@own"], ["@qa"], ["@web"], ["@docs"], [], []]


@pytest.mark.parametrize("file", ["./src/a.py", "/src/a.py", "src\\a.py", "src/x/../a.py"])
def test_forms_of_a_path(file: str) -> None:
    assert owners_of("/src/a.py @a", "github").find(file) == ["@a"]


def test_statements_of_results() -> None:
    results: list[Any] = [
        {"file": "src/a.py", "owners": ["@report"], "properties": {"owner": "@p"}},
        {"file": "other.py"},
        {"file": "other.py", "owners": ["@report"]},
        {"file": "other.py", "properties": {"owner": "@p"}},
        {"file": "other.py", "properties": 7, "owners": None},
        {"name": "without a file"},
        {"file": 7},
        "invalid",
    ]
    owners_of("/src/ @a", "github").apply(results)
    stated = [result.get("owners", "none") for result in results if isinstance(result, dict)]
    assert stated == [["@a"], [], ["@report"], "none", [], "none", "none"]


def test_only_the_document_is_pickled() -> None:
    found = pickle.loads(pickle.dumps(owners_of("* @a", "github")))
    assert found.find("a") == ["@a"]


def files_of(patterns: Iterable[str]) -> list[str]:
    """Return files that patterns match, and similar ones that they don't match."""
    files: dict[str, None] = {}
    for pattern in patterns:
        path = re.sub(r"\\(.)", r"\1", pattern.lstrip("!/"))
        for globstar in ("", "x/y/"):
            for star in ("", "one"):
                name = path.replace("**/", globstar).replace("*", star).strip("/") or "file"
                files |= dict.fromkeys((name, f"{name}/a.py", f"{name}/b/c.py", f"pkg/{name}", f"pkg/{name}/a.py"))
                files |= dict.fromkeys((f"{name}x", f"x{name}", name.rpartition("/")[2]))
    return [file for file in files if "//" not in file]


def git(folder: Path, *arguments: str, stdin: str) -> str:
    command = ("git", "-C", str(folder), "-c", "core.quotePath=false", *arguments)
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=False).stdout


def ignored_by_git(folder: Path, pattern: str, files: Sequence[str]) -> set[str]:
    """Return the files that a gitignore file with this pattern ignores."""
    (folder / ".gitignore").write_text(f"{pattern}\n")
    found = set(git(folder, "check-ignore", "--no-index", "--stdin", stdin="\n".join(files)).splitlines())
    if pattern.endswith("/*") and not pattern.endswith("**/*"):  # the documented exception
        depth = pattern.strip("/").count("/")
        found = {file for file in found if file.count("/") == depth}
    return found


def attributes_of_git(folder: Path, patterns: Sequence[str], files: Sequence[str]) -> Mapping[str, int]:
    """Return the number of the last pattern of gitattributes that matches each file. No pattern matches folders."""
    lines = []
    for number, pattern in enumerate(patterns):
        rooted = pattern if pattern.startswith("/") else f"/**/{pattern}"
        rooted = f"{rooted}**/*" if rooted.endswith("/") else re.sub(r"/\*\*$", "/*", rooted)  # as in fnmatch of Ruby
        lines.append(f'"{rooted}" owner={number}')
    (folder / ".gitattributes").write_text("\n".join(lines))
    output = git(folder, "check-attr", "--stdin", "owner", stdin="\n".join(files))
    found = dict(line.rsplit(": owner: ", 1) for line in output.splitlines())
    return {file: int(value) for file, value in found.items() if value.isdigit()}


def real_files() -> Iterator[Any]:
    for path in sorted(DATA.glob("*/*")):
        yield pytest.param(path, id=f"{path.parent.name}-{path.name}")


def test_real_files_name_their_sources() -> None:
    paths = sorted(DATA.glob("*/*"))
    assert len(paths) >= 20
    assert sum(has_sections(path.read_text()) for path in paths if path.parent.name == "gitlab") >= 5
    for path in paths:
        assert SOURCE.fullmatch(path.read_text().partition("\n")[0]), path


@pytest.mark.parametrize("path", list(real_files()))
def test_real_file_has_the_owners_that_git_finds(path: Path, tmp_path: Path) -> None:
    """The owner of each rule is its number, and git finds the rules that match: as gitignore, or as gitattributes."""
    host: OwnersHost = "gitlab" if path.parent.name == "gitlab" else "github"
    git(tmp_path, "init", "-q", stdin="")
    sections = parse_codeowners(path.read_text(), host).sections
    numbered = [
        [(pattern, [f"@{number}-{rule}"] if owners else []) for rule, (pattern, owners) in enumerate(rules)]
        for number, rules in enumerate(sections)
    ]
    files = files_of(pattern for rules in sections for pattern, _ in rules)
    expected: dict[str, list[str]] = {file: [] for file in files}
    for number, rules in enumerate(numbered):
        if host == "github":
            last: dict[str, int] = {}
            for rule, (pattern, _) in enumerate(rules):
                last |= dict.fromkeys(ignored_by_git(tmp_path, pattern, files), rule)
        else:
            included = {rule: pattern for rule, (pattern, _) in enumerate(rules) if not pattern.startswith("!")}
            excluding = [pattern[1:] for pattern, _ in rules if pattern.startswith("!")]
            excluded = attributes_of_git(tmp_path, excluding, files)
            found = attributes_of_git(tmp_path, list(included.values()), files)
            last = {file: list(included)[index] for file, index in found.items() if file not in excluded}
        for file, rule in last.items():
            expected[file] += rules[rule][1]
        assert last, f"no file matches section {number}"
    found_owners = FileOwners({"host": host, "sections": numbered, "map": []})
    assert {file: list(found_owners.find(file)) for file in files} == {
        file: owners[:MAX_OWNERS] for file, owners in expected.items()
    }


@pytest.mark.parametrize("host", ["github", "gitlab"])
def test_many_rules_match_many_files_in_seconds(host: OwnersHost) -> None:
    """5,000 rules and 10,000 files take less than 1 s on one core; without the index, more than a minute."""
    rules = ["* @all"]
    for number in range(0, 5000, 5):
        folder = f"area{number % 70}/part{number % 90}"
        rules += [f"/{folder}/{number}/ @a", f"/{folder}/**/*.spec{number}.ts @b", f"name{number}/ @c"]
        rules += [f"*.suffix{number} @d", f"/{folder}/x/test_{number}.py @e"]
    found = owners_of("\n".join(rules), host)
    started = time.process_time()
    for number in range(10_000):
        found.find(f"area{number % 70}/part{number % 90}/{number % 100 * 5}/test_{number}.py")
    assert time.process_time() - started < 8
