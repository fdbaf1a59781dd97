"""Links of the commands lead to pages of the console."""

from service.client.http import ConsoleLinks
from service.console.routes import ROUTES


def test_links_are_those_of_the_console() -> None:
    links = ConsoleLinks("https://r.example/base")
    assert links.run("a/b c?") == "https://r.example/base/console/runs/a%2Fb%20c%3F"
    assert links.result("res_1") == "https://r.example/base/console/results/res_1"
    assert {"/console/runs/{run_id}", "/console/results/{id}"} <= {route.path for route in ROUTES}
