"""The test tools: how a command names them, where their reports are, and what their exit codes prove.

`docs/runner-matrix.md` shows the experiments behind `evidence`: a tool is `documented` only if its documentation says
that the code means failed tests, and no other kind of failure had the same code.
"""

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Final, Literal, NamedTuple

from service.reports.format_table import REPORT_FORMATS

CodeEvidence = Literal["documented", "inside", "none"]


class Tool(NamedTuple):
    """A test tool.

    `commands` are the first words of its commands. `failed_codes` are the exit codes of failed tests, and a code is
    their number if `counts`. `source` is the documentation of the codes. `other_causes` says which other failures have
    the same code, empty if none has. A plugin of this service writes the report if `reports_live`.

    `evidence` is `documented` if the code has no other cause, `inside` if a plugin or reporter of this service can tell
    the cause, and otherwise `none`.
    """

    name: str
    title: str
    commands: tuple[str, ...]
    evidence: CodeEvidence
    failed_codes: range
    source: str
    other_causes: str = ""
    counts: bool = False
    reports_live: bool = False


class Wrapper(NamedTuple):
    """A program that executes the command behind its options, and exits with the command's code.

    Any other option makes the command unknown. `operands` is the number of words in front of the command.
    """

    command: str
    flags: frozenset[str] = frozenset()
    valued: frozenset[str] = frozenset()
    operands: int = 0


_ONE: Final = range(1, 2)

TOOLS: Final = (
    Tool(
        "pytest", "pytest", ("pytest", "py.test"), "inside", _ONE,
        "https://docs.pytest.org/en/stable/reference/exit-codes.html",
        "coverage below the threshold of pytest-cov, and plugins that change the code", reports_live=True,
    ),
    Tool(
        "playwright", "Playwright", ("playwright test",), "inside", _ONE,
        "https://playwright.dev/docs/api/class-reporter#reporter-on-end",
        "an invalid configuration, no tests, errors of the global setup, and time-outs of the run", reports_live=True,
    ),
    Tool(
        "jest", "Jest", ("jest",), "inside", _ONE, "https://jestjs.io/docs/cli",
        "an invalid configuration, no tests, coverage thresholds, and suites that can't be loaded",
    ),
    Tool(
        "vitest", "Vitest", ("vitest",), "inside", _ONE, "https://vitest.dev/guide/cli.html",
        "unhandled errors, no tests, coverage thresholds, and suites that can't be loaded",
    ),
    Tool(
        "nextest", "cargo-nextest", ("cargo nextest run", "cargo-nextest nextest run"), "documented", range(100, 101),
        "https://docs.rs/nextest-metadata/latest/nextest_metadata/enum.NextestExitCode.html",
    ),
    Tool(
        "robot", "Robot Framework", ("robot",), "documented", range(1, 250),
        "https://robotframework.org/robotframework/latest/RobotFrameworkUserGuide.html#return-codes", counts=True,
    ),
    Tool(
        "pabot", "Robot Framework", ("pabot", "pabot.pabot"), "none", range(1, 250), "https://pabot.org/",
        "processes of Pabot that don't finish", counts=True,
    ),
    Tool(
        "behave", "Behave", ("behave",), "none", _ONE, "https://behave.readthedocs.io/en/latest/",
        "errors of hooks, an invalid configuration, and step files that can't be loaded",
    ),
    Tool(
        "mocha", "Mocha", ("mocha",), "none", range(1, 250), "https://mochajs.org/",
        "files that can't be loaded, an invalid configuration, and hooks", counts=True,
    ),
    Tool(
        "node-test", "node:test", ("node --test",), "none", _ONE, "https://nodejs.org/api/test.html",
        "coverage thresholds, and errors of the global setup",
    ),
    Tool(
        "gotestsum", "gotestsum", ("gotestsum",), "none", _ONE, "https://pkg.go.dev/gotest.tools/gotestsum",
        "packages that can't be built, and `TestMain`",
    ),
    Tool(
        "go", "go test -json", ("go test",), "none", _ONE, "https://pkg.go.dev/cmd/go#hdr-Test_packages",
        "packages that can't be built, `go vet`, and `TestMain`",
    ),
    Tool(
        "ctest", "CTest", ("ctest",), "none", range(8, 9), "https://cmake.org/cmake/help/latest/manual/ctest.1.html",
        "programs that weren't built; the manual states no codes",
    ),
    Tool(
        "phpunit", "PHPUnit", ("phpunit",), "none", range(1, 3), "https://docs.phpunit.de/en/11.5/textui.html",
        "warnings, risky tests, and errors of PHPUnit itself",
    ),
    Tool(
        "rspec", "RSpec", ("rspec",), "none", _ONE,
        "https://rspec.info/features/3-13/rspec-core/command-line/exit-status",
        "files that can't be loaded, and hooks of the suite",
    ),
    Tool(
        "prove", "prove", ("prove",), "none", range(1, 250), "https://perldoc.perl.org/prove",
        "test files that fail without a failed test", counts=True,
    ),
    Tool(
        "bats", "Bats", ("bats",), "none", _ONE, "https://bats-core.readthedocs.io/en/stable/usage.html",
        "an invalid command, and files that can't be loaded",
    ),
)  # fmt: skip

_PYTHON_MODULES: Final = frozenset({"pytest", "behave", "robot", "pabot.pabot"})
_PYTHON_FLAGS: Final = frozenset({"-B", "-E", "-I", "-O", "-P", "-s", "-S", "-u", "-b", "-bb", "-d", "-OO"})
_NPM_FLAGS: Final = frozenset({"-y", "--yes", "--no", "--no-install", "-q", "--quiet", "--"})
_UV_FLAGS: Final = frozenset(
    {"--active", "--all-extras", "--all-groups", "--frozen", "--isolated", "--locked", "--no-dev", "--no-project"}
    | {"--no-sync", "--offline", "-q", "--quiet", "--"}
)
_UV_VALUED: Final = frozenset({"--extra", "--group", "--only-group", "--no-group", "--python", "-p", "--with"})
_WRAPPERS: Final = (
    Wrapper("npx", _NPM_FLAGS, frozenset({"-p", "--package"})),
    Wrapper("npm exec", _NPM_FLAGS, frozenset({"--package"})),
    Wrapper("pnpm exec", frozenset({"--"})),
    Wrapper("yarn exec", frozenset({"--"})),
    Wrapper("uv run", _UV_FLAGS, _UV_VALUED | {"--package", "--project", "--directory", "--env-file"}),
    Wrapper("poetry run"),
    Wrapper("bundle exec"),
    Wrapper("env", frozenset({"-i", "--ignore-environment", "-"}), frozenset({"-u", "--unset", "-C", "--chdir"})),
    Wrapper("timeout", frozenset({"-v", "--foreground", "--preserve-status"}), frozenset({"-k", "-s"}), operands=1),
    Wrapper("nice", valued=frozenset({"-n"})),
    Wrapper("nohup"),
)
# Programs in other folders of the repository can be scripts that do more.
_PROGRAM_FOLDERS: Final = frozenset({".venv", "venv", "node_modules", "vendor"})
_ENVIRONMENT_FILE: Final = "pyvenv.cfg"  # of a virtual environment of Python
_BIN_FOLDERS: Final = frozenset({"bin", ".bin", "Scripts"})


def tool_names() -> list[str]:
    """Return the names that `--tool` accepts."""
    return [tool.name for tool in TOOLS]


def find_tool(command: Sequence[str], name: str | None) -> Tool | None:
    """Return the tool with this name, or without a name the tool that the command executes, None if it's unknown."""
    if name is not None:
        return next(tool for tool in TOOLS if tool.name == name)
    words = _strip_wrappers(list(command))
    return next((tool for tool in TOOLS if any(_starts_with(words, known) for known in tool.commands)), None)


def usual_reports(tool: Tool) -> list[str]:
    """Return the usual paths of the tool's reports, as patterns."""
    pairs = (pair for known in REPORT_FORMATS for pair in known.paths)
    return list(dict.fromkeys(path for tools, path in pairs if tool.title in tools.split(", ")))


def _starts_with(words: list[str], known: str) -> bool:
    expected = known.split()
    return words[: len(expected)] == expected


def _strip_wrappers(words: list[str]) -> list[str]:
    """Return the words of the tool's command without paths and wrappers, empty if a wrapper is unknown."""
    while words:
        words = [_program(words[0]), *words[1:]]
        wrapper = next((known for known in _WRAPPERS if _starts_with(words, known.command)), None)
        if wrapper is not None:
            words = _behind(wrapper, words[len(wrapper.command.split()) :])
        elif _is_python(words[0]):
            words = _python_module(words[1:])
        elif words[0] == "node" and (script := _node_script(words[1:])):
            words = script
        else:
            return words
    return []


def _program(word: str) -> str:
    """Return the name of an installed program without its folder. Other programs keep it, so they're unknown."""
    path = Path(word)
    is_installed = path.is_absolute() or not _PROGRAM_FOLDERS.isdisjoint(path.parts)
    is_installed = is_installed or Path(path.parent.parent, _ENVIRONMENT_FILE).is_file()
    return path.name if is_installed and path.parent.name in _BIN_FOLDERS else word


def _behind(wrapper: Wrapper, words: list[str]) -> list[str]:
    while words and words[0].startswith("-"):
        option, has_value = words[0].partition("=")[::2]
        if option not in wrapper.flags and option not in wrapper.valued:
            return []
        words = words[2 if option in wrapper.valued and not has_value else 1 :]
    words = words[wrapper.operands :]
    while wrapper.command == "env" and words and "=" in words[0]:
        words = words[1:]
    return words


def _is_python(program: str) -> bool:
    return program in ("python", "python3") or program.startswith("python3.")


def _python_module(words: list[str]) -> list[str]:
    while words and (words[0] in _PYTHON_FLAGS or words[0] in ("-X", "-W")):
        words = words[2 if words[0] in ("-X", "-W") else 1 :]
    return words[1:] if words[:1] == ["-m"] and words[1:2] and words[1] in _PYTHON_MODULES else []


def _node_script(words: list[str]) -> list[str]:
    """Return the command of a tool that Node.js executes, such as `node_modules/jest/bin/jest.js`."""
    while words and words[0].startswith("--") and words[0] != "--test":
        words = words[1:]
    path = PurePath(words[0]) if words else PurePath()
    return [path.stem, *words[1:]] if "node_modules" in path.parts and path.stem != "node" else []
