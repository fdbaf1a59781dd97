"""Links to code: the forms of each code host, patterns, and values that have no link."""

import pytest

from service.domain.code_links import check_code_url_pattern, code_links

COMMIT = "c0ffee1" + "0" * 33
BASE = "ba5e" + "0" * 36
PATTERN = "https://git.example.org/{commit}/{file}#L{line}"
GITHUB = "https://github.com/acme/shop"


@pytest.mark.parametrize(
    ("repository", "pipeline", "commit", "pull_request", "line"),
    [
        (GITHUB, None, f"/commit/{COMMIT}", "/pull/7", f"/blob/{COMMIT}/src/a.py#L3"),
        ("https://github.example.org/acme/shop", None, f"/commit/{COMMIT}", "/pull/7", f"/blob/{COMMIT}/src/a.py#L3"),
        ("https://code.example.org/ac/shop", "github-8", f"/commit/{COMMIT}", "/pull/7", f"/blob/{COMMIT}/src/a.py#L3"),
        (
            "https://gitlab.com/acme/web/shop", None,
            f"/-/commit/{COMMIT}", "/-/merge_requests/7", f"/-/blob/{COMMIT}/src/a.py#L3",
        ),
        (
            "https://code.example.org:8443/git/acme/shop", "gitlab-8",
            f"/-/commit/{COMMIT}", "/-/merge_requests/7", f"/-/blob/{COMMIT}/src/a.py#L3",
        ),
        (
            "https://bitbucket.org/acme/shop", "jenkins-8",
            f"/commits/{COMMIT}", "/pull-requests/7", f"/src/{COMMIT}/src/a.py#lines-3",
        ),
        (
            "https://bitbucket.example.org/projects/ACME/repos/shop", None,
            f"/commits/{COMMIT}", "/pull-requests/7", f"/browse/src/a.py?at={COMMIT}#3",
        ),
    ],
)  # fmt: skip
def test_links_have_the_form_of_the_code_host(
    repository: str, pipeline: str | None, commit: str, pull_request: str, line: str
) -> None:
    for written in (repository, f"{repository}/", f"{repository}.git"):
        links = code_links(written, pipeline=pipeline)
        assert links.commit_url(COMMIT) == repository + commit
        assert links.pull_request_url("7") == repository + pull_request
        assert links.file_url(COMMIT, "src/a.py", 3) == repository + line
        assert links.file_url(COMMIT, "src/a.py") == repository + line.removesuffix("#" + line.partition("#")[2])


@pytest.mark.parametrize(
    ("repository", "comparison"),
    [
        (GITHUB, f"/compare/{BASE}...{COMMIT}"),
        ("https://gitlab.com/acme/web/shop", f"/-/compare/{BASE}...{COMMIT}"),
        ("https://bitbucket.org/acme/shop", f"/branches/compare/{COMMIT}..{BASE}"),
        (
            "https://bitbucket.example.org/projects/ACME/repos/shop",
            f"/compare/diff?sourceBranch={COMMIT}&targetBranch={BASE}",
        ),
    ],
)
def test_comparison_of_commits_has_the_form_of_the_code_host(repository: str, comparison: str) -> None:
    assert code_links(repository).comparison_url(BASE, COMMIT) == repository + comparison


@pytest.mark.parametrize(
    ("base", "commit"), [(None, COMMIT), (COMMIT, None), (None, None), (COMMIT, COMMIT), ("main", COMMIT), (BASE, "x")]
)
def test_commits_that_are_equal_or_unknown_are_not_compared(base: str | None, commit: str | None) -> None:
    assert code_links(GITHUB).comparison_url(base, commit) is None
    assert code_links(None).comparison_url(BASE, COMMIT) is None


def test_server_that_both_names_match_has_the_form_of_its_host() -> None:
    assert code_links(GITHUB, pipeline="gitlab-1").commit_url(COMMIT) == f"{GITHUB}/commit/{COMMIT}"


@pytest.mark.parametrize(
    "repository",
    [
        None,
        "",
        "http://github.com/acme/shop",
        "git@github.com:acme/shop.git",
        "https://user:secret@github.com/acme/shop",
        "https://github.com/acme",
        "https://github.com/acme/shop?a=b",
        "https://github.com/acme/shop#readme",
        "https://notgithub.com/acme/shop",
        "https://bitbucket.example.org/scm/acme/shop",
        "https://code.example.org/acme/shop",
        "javascript://github.com/acme/shop",
    ],
)
def test_unknown_repository_has_no_links(repository: str | None) -> None:
    links = code_links(repository)
    assert (links.commit_url(COMMIT), links.pull_request_url("7"), links.file_url(COMMIT, "a.py", 1)) == (None,) * 3


@pytest.mark.parametrize("commit", [None, "", "main", "c0ffee", "c0ffee1/../..", "c" * 65])
def test_commit_must_be_a_hash(commit: str | None) -> None:
    links = code_links(GITHUB)
    assert links.commit_url(commit) is None
    assert links.file_url(commit, "a.py") is None
    assert code_links(GITHUB, pattern=PATTERN).file_url(commit, "a.py") is None


@pytest.mark.parametrize("number", [None, "", "0", "07", "7/files", "main", "-7"])
def test_pull_request_must_be_a_number(number: str | None) -> None:
    assert code_links(GITHUB).pull_request_url(number) is None


@pytest.mark.parametrize(
    "file",
    [
        None, "", ".", "/", "/src/a.py", "//a.py", "..", "../a.py", "src/../../a.py", "\\a.py", "..\\a.py", "C:\\a.py",
        "C:/a.py", "\\\\server\\a.py", "file:///a.py", "https://evil.example/a.py",
    ],
)  # fmt: skip
def test_file_outside_of_the_repository_has_no_link(file: str | None) -> None:
    assert code_links(GITHUB).file_url(COMMIT, file, 1) is None
    assert code_links(GITHUB, pattern=PATTERN).file_url(COMMIT, file, 1) is None


@pytest.mark.parametrize(
    ("file", "path"),
    [
        ("a b/größe.py", "a%20b/gr%C3%B6%C3%9Fe.py"),
        ("a#b?c&d%e.py", "a%23b%3Fc%26d%25e.py"),
        ("src\\pay.py", "src/pay.py"),
        ("./src//pay.py", "src/pay.py"),
        ("src/../pay.py", "pay.py"),
        ("{commit}/{line}.py", "%7Bcommit%7D/%7Bline%7D.py"),
        ("a\ud800.py", "a%3F.py"),
    ],
)
def test_segments_of_a_file_are_encoded(file: str, path: str) -> None:
    assert code_links(GITHUB).file_url(COMMIT, file, 1) == f"{GITHUB}/blob/{COMMIT}/{path}#L1"
    assert code_links(None, pattern=PATTERN).file_url(COMMIT, file, 1) == f"https://git.example.org/{COMMIT}/{path}#L1"


def test_pattern_replaces_only_the_links_to_files() -> None:
    links = code_links(GITHUB, pattern=PATTERN)
    assert links.file_url(COMMIT, "a.py", 7) == f"https://git.example.org/{COMMIT}/a.py#L7"
    assert links.file_url(COMMIT, "a.py") == f"https://git.example.org/{COMMIT}/a.py#L1"
    assert links.commit_url(COMMIT) == f"{GITHUB}/commit/{COMMIT}"


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("https://git.example.org/{file}", "must contain {commit} and {file}"),
        ("https://git.example.org/{commit}", "must contain {commit} and {file}"),
        ("https://git.example.org/{commit}/{file}{branch}", "must not contain other braces"),
        ("https://git.example.org/{commit}/{file}}", "must not contain other braces"),
        ("http://git.example.org/{commit}/{file}", "must be a URL that starts with https://"),
        ("{file}://git.example.org/{commit}", "must be a URL that starts with https://"),
        ("https://{file}.example.org/{commit}", "must not contain a placeholder in the host"),
        ("https://git.example.org{file}/{commit}", "must not contain a placeholder in the host"),
        ("https://a:b@git.example.org/{commit}/{file}", "must not contain a user name or password"),
        ("https://git.example.org/{commit}/{file} ", "must contain only printable ASCII characters"),
        (f"{PATTERN}{'x' * 1_000}", "must have at most 1000 characters"),
    ],
)
def test_invalid_pattern_is_an_error(pattern: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("{", "\\{")):
        check_code_url_pattern(pattern)


def test_valid_pattern_is_unchanged() -> None:
    for pattern in (PATTERN, "https://git.example.org/?h={commit}&f={file}"):
        assert check_code_url_pattern(pattern) == pattern
