"""Identity of the cases of Allure results."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.reports.allure_documents import (
    FAILURE,
    LABELS,
    START,
    outcomes,
    read,
    read_one,
    result,
)


def test_case_does_not_depend_on_the_outcome_the_host_and_the_time(tmp_path: Path) -> None:
    labels = [*LABELS, {"name": "host", "value": "h7"}, {"name": "thread", "value": "2@h7.main"}]
    changed = result(
        "u2", status="broken", labels=labels, statusDetails=FAILURE, start=START + 9, steps=[{"name": "a"}]
    )

    assert _identity(read_one(tmp_path, result())) == _identity(read_one(tmp_path, changed))


@pytest.mark.parametrize(
    ("fields", "suite", "name"),
    [
        ({}, "shop.CartTest", "adds"),
        ({"name": "adds()"}, "shop.CartTest", "adds"),
        ({"name": "Adds an item"}, "shop.CartTest", "Adds an item"),
        ({"name": "[1] 7", "parameters": [{"name": "n", "value": "7"}]}, "shop.CartTest", "adds[n=7]"),
        ({"labels": [{"name": "suite", "value": "b"}, {"name": "parentSuite", "value": "a"}]}, "a > b", "adds"),
        ({"labels": [{"name": "suite", "value": "/builds/shop/cart.js"}]}, "cart.js", "adds"),
        ({"labels": [{"name": "package", "value": "shop"}]}, "shop", "adds"),
        ({"labels": [], "name": None, "fullName": "shop.adds"}, "", "shop.adds"),
        ({"labels": [], "name": "/home/ci/shop/cart.feature:3"}, "", "cart.feature:3"),
        ({"labels": None, "titlePath": 7}, "", "adds"),
        ({"labels": [{"name": "feature", "value": "Cart"}]}, "Cart", "adds"),
        ({"labels": [{"name": "feature", "value": "Cart"}], "fullName": "Shop: adds"}, "Shop", "adds"),
        ({"labels": [{"name": "feature", "value": "Cart"}], "fullName": "shop.Test.add_7"}, "Cart", "adds"),
        ({"labels": [{"name": "story", "value": "Sum"}, {"name": "feature", "value": "Cart"}]}, "Cart > Sum", "adds"),
        ({"labels": [], "fullName": "Cart: adds"}, "Cart", "adds"),
        ({"labels": [], "fullName": "features/cart.feature:adds"}, "features/cart.feature", "adds"),
        ({"labels": [], "fullName": "shop.CartTest.adds", "name": "A title"}, "shop.CartTest", "A title"),
        ({"labels": [], "fullName": "adds"}, "", "adds"),
        ({"labels": [{"name": "package", "value": "shop"}, {"name": "feature", "value": "Cart"}]}, "shop", "adds"),
    ],
)
def test_suite_and_name(fields: dict[str, Any], suite: str, name: str, tmp_path: Path) -> None:
    converted = read_one(tmp_path, result(**fields))

    assert (converted["suite"], converted["name"]) == (suite, name)


@pytest.mark.parametrize(
    ("full_name", "path", "suite"),
    [
        ("shop:test/cart.js#cart adds", ["shop", "test", "cart.js", "cart"], "test/cart.js > cart"),
        ("@acme/shop:test/cart.js: cart > adds", ["@acme/shop", "test", "cart.js", "cart"], "test/cart.js > cart"),
        ("cart.js#adds", ["cart.js"], "cart.js"),
        ("/builds/shop/test/cart.js#cart adds", ["test", "cart.js", "cart"], "cart.js > cart"),
    ],
)
def test_javascript_case_has_the_title_in_its_source(
    full_name: str, path: list[str], suite: str, tmp_path: Path
) -> None:
    document = result(name="title", fullName=full_name, titlePath=path, labels=[{"name": "framework", "value": "jest"}])

    converted = read_one(tmp_path, document)

    assert (converted["suite"], converted["name"], converted["properties"]) == (suite, "adds", {"title": "title"})


def test_name_of_pytest_without_its_id_is_composed_of_the_parameters(tmp_path: Path) -> None:
    parameters = [
        {"name": "b", "value": "'é'"},
        {"name": "a", "value": "1"},
        {"name": "c", "value": "2", "excluded": True},
    ]
    labels = [{"name": "framework", "value": "pytest"}]
    document = result(
        name="A title", fullName="tests.test_cart.TestCart#test_adds", labels=labels, parameters=parameters
    )

    converted = read_one(tmp_path, document)

    assert (converted["suite"], converted["name"]) == ("pytest > tests.test_cart.TestCart", "test_adds[1-\\xe9]")
    assert converted["properties"] == {"c": "2", "title": "A title"}


@pytest.mark.parametrize(
    ("full_name", "identifier", "suite"),
    [
        ("tests.test_cart.test_adds[a#test_adds", "test_adds[a::b]", "tests.test_cart"),
        ("tests.test_cart.TestCart.test_adds[a.b#test_adds", "test_adds[a::b::c]", "tests.test_cart.TestCart"),
        ("tests.test_cart.test_adds[a#b#test_adds", "test_adds[a#b::c]", "tests.test_cart"),
    ],
)
def test_colons_in_the_id_of_pytest_are_no_class(full_name: str, identifier: str, suite: str, tmp_path: Path) -> None:
    """allure-pytest separates the classes of `test_cart.py::test_adds[a::b]` by each pair of colons."""
    labels = [{"name": "framework", "value": "pytest"}]

    converted = read_one(tmp_path, result(name=identifier, fullName=full_name, labels=labels))

    assert (converted["suite"], converted["name"]) == (f"pytest > {suite}", identifier)


@pytest.mark.parametrize("full_name", ["test/specs/cart.e2e.js#cart adds", "cart adds"])
@pytest.mark.parametrize(
    ("parameter", "value", "variant"),
    [
        ("browser", "chrome-130.0.6723.59", "chrome"),
        ("browser", "chrome-headless-shell-131.0", "chrome-headless-shell"),
        ("device", "iPhone 15-17.5", "iPhone 15"),
    ],
)
def test_browser_of_wdio_is_the_variant_without_its_version(
    parameter: str, value: str, variant: str, full_name: str, tmp_path: Path
) -> None:
    document = result(
        fullName=full_name,
        titlePath=["test", "specs", "cart.e2e.js", "cart"],
        labels=[{"name": "framework", "value": "wdio"}, {"name": "suite", "value": "cart"}],
        parameters=[{"name": parameter, "value": value}],
    )

    converted = read_one(tmp_path, document)

    assert (converted["name"], converted["variant"]) == ("adds", {parameter: variant})
    assert converted["properties"] == {parameter: value}


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "adds[item=com.shop.Item, tags=<Tags>]"),
        ({"fullName": "tests.test_cart#adds", "labels": [{"name": "framework", "value": "pytest"}]},
         "adds[com.shop.Item-<Tags>]"),
    ],
    ids=["java", "python"],
)  # fmt: skip
def test_hashes_of_objects_are_no_part_of_the_name(fields: dict[str, Any], name: str, tmp_path: Path) -> None:
    parameters = [{"name": "item", "value": "com.shop.Item@1b2c3d"}, {"name": "tags", "value": "<Tags at 0x7f12ab>"}]
    document = result(**{"parameters": parameters, "name": "adds" if not fields else "A title", **fields})

    assert read_one(tmp_path, document)["name"] == name


@pytest.mark.parametrize("part", ["a.", "A", "$$Lambda"])
def test_long_parameters_are_read_in_a_short_time(part: str, tmp_path: Path) -> None:
    parameters = [{"name": "item", "value": part * 20_000 + "@"}]
    started = time.process_time()
    read_one(tmp_path, result(parameters=parameters))

    assert time.process_time() - started < 1


def test_parameter_that_the_name_does_not_show_is_a_property(tmp_path: Path) -> None:
    parameters = [{"name": "build", "value": "None", "excluded": True}]

    assert read_one(tmp_path, result(parameters=parameters))["properties"] == {"build": "None"}


@pytest.mark.parametrize("mode", ["masked", "hidden"])
@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({}, "adds[token=******]"),
        ({"labels": []}, "adds [******][token=******]"),
        ({"labels": [], "name": "A title"}, "A title[token=******]"),
    ],
    ids=["class", "name", "title"],
)
def test_secret_parameters_are_not_stored(fields: dict[str, Any], name: str, mode: str, tmp_path: Path) -> None:
    def named(value: str) -> Any:
        parameters = [{"name": "token", "value": value, "mode": mode}]
        steps = [{"name": "log in", "status": "failed", "parameters": parameters}]
        names = {"name": f"adds [{value}]", "fullName": f"Log in with {value}: adds [{value}]", **fields}
        return read_one(tmp_path, result(parameters=parameters, status="failed", steps=steps, **names))

    converted = named("s3cret-1")

    assert converted["name"] == name
    assert converted == named("s3cret-2")
    assert "s3cret" not in json.dumps(converted, default=str)


@pytest.mark.parametrize("starts", [(1, 2), (2, 1)])
def test_tests_with_secret_parameters_are_in_the_order_of_their_history(
    starts: tuple[int, int], tmp_path: Path
) -> None:
    parameters = [{"name": "token", "value": "s3cret", "mode": "masked"}]
    documents = [
        result(f"u{status}", historyId=key, status=status, start=start, parameters=parameters)
        for key, status, start in zip("ab", ("failed", "passed"), starts, strict=True)
    ]

    run = read(tmp_path, *documents)

    assert outcomes(run) == [("adds[token=******]", "failed"), ("adds[token=******]", "passed")]


def test_secret_parameters_of_steps_are_not_stored(tmp_path: Path) -> None:
    parameters = [
        {"name": "user", "value": "ann"},
        {"name": "password", "value": "s3cret", "mode": "masked"},
        {"name": "token", "value": "s3cret", "mode": "hidden"},
    ]
    run = read(
        tmp_path, result(status="failed", steps=[{"name": "log in", "status": "failed", "parameters": parameters}])
    )

    assert run.cases[0].output == {"steps.txt": "failed: log in (user=ann, password=******)"}


def _identity(converted: Any) -> tuple[Any, ...]:
    return converted["suite"], converted["name"], converted.get("file"), converted.get("variant")
