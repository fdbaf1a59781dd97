"""Text of a producer can't run commands of a CI system."""

import time

import pytest

from service.client.terminal import print_message, printable_line, without_commands


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("::add-mask::a", ": :add-mask::a"),
        ("  ::error file=a::b", ": :error file=a::b"),
        ("a\n::stop-commands::b", "a ::stop-commands::b"),
        ("x ##[set-output name=a]b", "x # #[set-output name=a]b"),
        ("x ##vso[task.setvariable variable=a]b", "x # #vso[task.setvariable variable=a]b"),
        ("##teamcity[testFailed]", "# #teamcity[testFailed]"),
        ("std::vector ## [1] #1 ##", "std::vector ## [1] #1 ##"),
    ],
)
def test_commands_of_ci_systems_are_not_printed(text: str, printed: str) -> None:
    assert printable_line(text) == printed


def test_commands_in_later_lines_are_not_printed() -> None:
    assert without_commands("a\n ::error::b") == "a\n : :error::b"


def test_messages_contain_no_commands(capsys: pytest.CaptureFixture[str]) -> None:
    print_message("run ##vso[task.complete result=Succeeded] doesn't exist yet")
    assert capsys.readouterr().err == "run # #vso[task.complete result=Succeeded] doesn't exist yet\n"


def test_many_blank_lines_are_searched_in_linear_time() -> None:
    start = time.process_time()

    assert without_commands("\n" * 20_000 + "a") == "\n" * 20_000 + "a"
    assert time.process_time() - start < 0.1
