"""Tests of the import rules: those of pyproject.toml, and the order of the roles of files in a subject."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]

# From the lowest to the highest: names of files of a subject, and packages and modules that know no subject.
# A module imports only what is in its own row or in a lower one. All other files of a subject are operations.
LAYERS: Final = (
    ("service.domain", "service.version"),
    ("model", "rows", "columns", "fingerprints", "sign_ins", "job_claims", "token_exchanges",
     "endpoint_limiter", "format_table", "found_files", "report_heads", "other_formats"),
    ("service.contracts",),
    ("contract", "asyncapi"),
    ("service.tracing", "service.stopping", "service.retries", "service.keepalive", "service.progress", "service.log"),
    ("service.storage", "service.outbound", "service.database"),
    ("store", "queries", "readers", "candidates", "minutes", "outbox", "file_deletions", "organization_store"),
    ("operations",),
    ("service.setting_values", "service.settings", "service.processes", "service.http"),
    ("api",),
    ("service.console",),
    ("pages", "owner_pages", "run_pages", "sign_in_pages"),
    ("service.console.app", "service.console.routes", "service.api", "service.command_line", "service.client"),
    ("consumers",),
    ("service.app", "service.administration", "service.mcp", "service.dev", "service.cli", "service.__main__"),
)  # fmt: skip
RANKS: Final = {name: rank for rank, names in enumerate(LAYERS) for name in names}
FILES: Final = [*(ROOT / "service").rglob("*.py"), *(ROOT / "consumers").rglob("*.py")]
MODULES: Final = {
    ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): file for file in FILES
}


def rank(module: str) -> int:
    """Return the row of a module in LAYERS."""
    parts = module.split(".")
    parents = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((RANKS[name] for name in (*parents, parts[-1]) if name in RANKS), RANKS["operations"])


def imports_of(module: str, *, in_functions: bool = True) -> Iterator[str]:
    """Yield the modules of the code base that a module imports, also in functions or only when it is loaded."""
    tree = ast.parse(MODULES[module].read_text())
    for node in ast.walk(tree) if in_functions else tree.body:
        if isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from {name if name in MODULES else str(node.module) for name in names} & MODULES.keys()


def test_code_follows_the_import_rules() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    checked = subprocess.run([linter, "--no-logo"], cwd=ROOT, check=False, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_module_imports_only_modules_of_its_role_or_of_a_lower_one() -> None:
    packages = {module for module in MODULES if MODULES[module].name == "__init__.py" and module.count(".") != 1}
    upward = [
        f"{module} imports {imported}"
        for module in MODULES.keys() - packages
        for imported in imports_of(module)
        if rank(imported) > rank(module)
    ]
    assert upward == []


def test_imports_contain_no_circle() -> None:
    remaining = {module: set(imports_of(module, in_functions=False)) for module in MODULES}
    while leaves := [module for module, imported in remaining.items() if not imported & (remaining.keys() - {module})]:
        for module in leaves:
            del remaining[module]
    assert remaining == {}


def test_handlers_and_pages_call_operations_instead_of_stores() -> None:
    surfaces = {RANKS[name] for name in ("service.http", "api", "service.console", "pages")}
    permitted = {
        "service.http.process",
        "service.http.backlog_metrics",
    }  # waiting requests, and samples of the backlogs
    direct = [
        f"{module} imports {imported}"
        for module in MODULES.keys() - permitted
        if rank(module) in surfaces
        for imported in imports_of(module)
        if rank(imported) == RANKS["store"]
    ]
    assert direct == []
